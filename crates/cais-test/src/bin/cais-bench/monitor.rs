//! What the monitor of a detached, idle container costs: memory, threads, wake-ups.

use std::fs;
use std::time::Duration;

use crate::contender::{Contender, IMAGE};
use crate::table::{Cell, Table};

const WATCHED: Duration = Duration::from_secs(3);

struct Monitor {
    command: String,
    pss_kb: u64,
    threads: u64,
    switches: u64,
}

/// Rows for the parent process of a container's first one.
pub fn rows(contenders: &[Contender], table: &mut Table) {
    eprintln!("monitors");
    let monitors: Vec<Option<Monitor>> = contenders.iter().map(watch).collect();
    let row = |text: fn(&Monitor) -> String| {
        monitors.iter().map(|monitor| Cell::Text(monitor.as_ref().map_or("–".to_owned(), text))).collect()
    };
    table.row("monitor of an idle container: PSS", row(|m| format!("{} kB (`{}`)", m.pss_kb, m.command)));
    table.row("… threads", row(|m| m.threads.to_string()));
    table.row("… wake-ups in 3 s", row(|m| m.switches.to_string()));
}

fn watch(contender: &Contender) -> Option<Monitor> {
    contender.run(&format!("run -d --name bench-idle {IMAGE} sleep 100000"));
    let init: u32 = contender.run("inspect --format {{.State.Pid}} bench-idle").parse().ok()?;
    let monitor = parent(init).and_then(|pid| measure(pid, WATCHED));
    contender.run(&format!("{} bench-idle", contender.remove));
    monitor
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn measure(pid: u32, watched: Duration) -> Option<Monitor> {
    // What starting woke goes to sleep first.
    std::thread::sleep(watched);
    let before = switches(pid)?;
    std::thread::sleep(watched);
    let after = switches(pid)?;
    let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
    let field = |text: &str, name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok())
    };
    Some(Monitor {
        command: file("comm")?.trim().to_owned(),
        pss_kb: field(&file("smaps_rollup")?, "Pss:")?,
        threads: field(&file("status")?, "Threads:")?,
        switches: after - before,
    })
}

/// Voluntary and other context switches of all threads.
fn switches(pid: u32) -> Option<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        for line in status.lines().filter(|line| line.contains("ctxt_switches:")) {
            sum += line.split_whitespace().next_back()?.parse::<u64>().ok()?;
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_watched() {
        let monitor = measure(std::process::id(), Duration::from_millis(1)).unwrap();
        assert!(monitor.pss_kb > 0 && monitor.threads >= 2 && monitor.switches > 0);
        assert!(parent(std::process::id()).unwrap() > 0);
    }
}
