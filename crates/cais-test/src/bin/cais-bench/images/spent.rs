//! What a command costs until its effect is on the disk: time, processor time of client, daemon and all their children, peak
//! memory of the largest process that is not a short helper of a daemon.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::contender::Contender;

/// Ticks of processor time in a second, in `/proc/PID/stat`.
const TICKS: f64 = 100.0;

/// The cost of a command.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// Until the command ended and everything of it was on the disk.
    pub durable: Duration,
    /// In user and kernel mode.
    pub cpu: Duration,
    /// Bytes.
    pub peak_bytes: u64,
    /// What came over the loopback, all directions.
    pub moved_bytes: u64,
}

/// Runs a command of an engine; `None` when it fails, or when GNU time, which does the counting, is missing.
pub fn spend(contender: &Contender, line: &str, folder: &Path) -> Option<Spent> {
    let report = folder.join("spent");
    let inner = contender.command(line);
    let mut command = Command::new("/usr/bin/time");
    command.arg("-o").arg(&report).args(["-f", "%U %S %M"]).arg(inner.get_program()).args(inner.get_args());
    for (key, value) in inner.get_envs() {
        value.map(|value| command.env(key, value));
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let disk = File::open(folder).ok()?;
    // What others have left to write is not this command's.
    rustix::fs::syncfs(&disk).ok()?;
    let daemons = contender.daemon_pid().map(family).unwrap_or_default();
    // The peak counts from here: proc(5), clear_refs.
    daemons.keys().for_each(|pid| drop(fs::write(format!("/proc/{pid}/clear_refs"), "5")));
    let (began, loopback) = (Instant::now(), received());
    let output = command.output().ok()?;
    rustix::fs::syncfs(&disk).ok()?;
    let durable = began.elapsed();
    let moved_bytes = received() - loopback;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        eprintln!("{} {line}: {}", contender.name, text.lines().next_back().unwrap_or("failed"));
        return None;
    }
    let after = contender.daemon_pid().map(family).unwrap_or_default();
    let of_daemons = after.values().sum::<f64>() - daemons.values().sum::<f64>();
    let report = fs::read_to_string(report).ok()?;
    let numbers: Vec<f64> =
        report.lines().next_back()?.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [user, system, peak_kib] = numbers[..] else { return None };
    let peaks = after.keys().filter_map(|pid| peak_kib_of(*pid));
    let peak_kib = peaks.chain([peak_kib as u64]).max()?;
    let cpu = Duration::from_secs_f64((user + system + of_daemons).max(0.0));
    Some(Spent { durable, cpu, peak_bytes: peak_kib << 10, moved_bytes })
}

/// Processor seconds of a process and everything below it, the ended ones that were waited for included.
fn family(root: u32) -> BTreeMap<u32, f64> {
    let mut parents = BTreeMap::new();
    let mut seconds = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(PathBuf::from("/proc").join(pid.to_string()).join("stat")) else {
            continue;
        };
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<u64> = rest.split(' ').map(|word| word.parse().unwrap_or(0)).collect();
        if fields.len() > 14 {
            parents.insert(pid, fields[1] as u32);
            seconds.insert(pid, fields[11..15].iter().sum::<u64>() as f64 / TICKS);
        }
    }
    let belongs = |pid: u32| {
        let line = std::iter::successors(Some(pid), |pid| parents.get(pid).copied());
        line.take(64).any(|ancestor| ancestor == root)
    };
    seconds.into_iter().filter(|(pid, _)| belongs(*pid)).collect()
}

fn peak_kib_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Bytes that the loopback has carried.
fn received() -> u64 {
    let text = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_of_its_own_family() {
        let own = std::process::id();
        assert!(family(own).contains_key(&own));
        assert!(peak_kib_of(own).unwrap() > 100);
    }
}
