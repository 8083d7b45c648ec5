//! `stats`: what running containers use. Read from the kernel's files directly; nothing is asked of a monitor.

use std::time::Instant;

use cais_runtime::cgroup::Cgroup;

use crate::limits::Group;
use crate::view::ContainerView;
use crate::{Engine, Error, ErrorKind, NetworkRequest, Result};

/// From this many containers on another thread saves more than it costs.
const THREAD_WORTH_CONTAINERS: usize = 32;

/// CPU time of a container up to a moment: two of them make a rate.
#[derive(Clone, Copy, Debug)]
pub struct CpuTime {
    /// Nanoseconds of all CPUs together since the start.
    pub used_ns: u64,
    /// When that was read.
    pub at: Instant,
}

/// What a container uses. What the kernel does not count is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerStats {
    /// Memory without the part of the page cache that is given back first.
    pub memory_bytes: u64,
    /// Its limit, or the machine's memory.
    pub memory_limit_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
    /// From block devices.
    pub read_bytes: u64,
    /// To block devices.
    pub written_bytes: u64,
    /// By all network interfaces but loopback; 0 in the host's network.
    pub received_bytes: u64,
    /// As `received_bytes`.
    pub sent_bytes: u64,
}

impl Engine {
    /// CPU time of containers, in their order; `None` for those that do not run or are not counted.
    ///
    /// # Errors
    /// When the machine's cgroups cannot be looked at.
    pub fn cpu_times(&self, views: &[ContainerView]) -> Result<Vec<Option<CpuTime>>> {
        self.measure(views, |_, cgroup| {
            let used_ns = cgroup?.cpu_ns().ok()??;
            Some(CpuTime { used_ns, at: Instant::now() })
        })
    }

    /// What containers use beside CPU time, in their order; `None` for those that do not run or are not counted.
    ///
    /// # Errors
    /// When the machine's cgroups or its memory cannot be looked at.
    pub fn usages(&self, views: &[ContainerView]) -> Result<Vec<Option<ContainerStats>>> {
        let machine = machine_memory_bytes()?;
        self.measure(views, |view, cgroup| {
            let usage = cgroup?.usage().ok()??;
            let (received_bytes, sent_bytes) = network_bytes(view);
            let limit = usage.memory_limit_bytes.filter(|limit| *limit < machine);
            Some(ContainerStats {
                memory_bytes: usage.memory_bytes,
                memory_limit_bytes: limit.unwrap_or(machine),
                pids: usage.pids,
                read_bytes: usage.read_bytes,
                written_bytes: usage.written_bytes,
                received_bytes,
                sent_bytes,
            })
        })
    }

    fn measure<T: Clone + Send>(
        &self,
        views: &[ContainerView],
        read: impl Fn(&ContainerView, Option<&Cgroup>) -> Option<T> + Sync,
    ) -> Result<Vec<Option<T>>> {
        // Found out once, before there are threads.
        self.layout()?;
        let one = |view: &ContainerView| {
            let cgroup =
                view.is_alive().then(|| Group::presume(self, &view.record.id).ok().flatten()).flatten();
            read(view, cgroup.as_ref())
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = views.len().div_ceil(threads).max(THREAD_WORTH_CONTAINERS);
        Ok(std::thread::scope(|scope| {
            let one = &one;
            let (first, rest) = views.split_at(share.min(views.len()));
            let workers: Vec<_> = rest
                .chunks(share)
                .map(|views| scope.spawn(move || views.iter().map(one).collect::<Vec<_>>()))
                .collect();
            let mut all: Vec<Option<T>> = first.iter().map(one).collect();
            for worker in workers {
                all.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            all
        }))
    }
}

/// Received and sent in the network namespace that the container's first process is in.
fn network_bytes(view: &ContainerView) -> (u64, u64) {
    let own = !matches!(view.record.network, NetworkRequest::Host);
    let Some(run) = view.run.as_ref().filter(|run| own && run.pid > 0) else { return (0, 0) };
    let text = std::fs::read_to_string(format!("/proc/{}/net/dev", run.pid)).unwrap_or_default();
    sum_interfaces(&text)
}

/// proc_pid_net(5): `eth0: bytes packets errs drop fifo frame compressed multicast bytes …`, after two lines of titles.
fn sum_interfaces(text: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for line in text.lines().skip(2) {
        let Some((name, numbers)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let number = |at| numbers.split_ascii_whitespace().nth(at).and_then(|word| word.parse::<u64>().ok());
        sum.0 += number(0).unwrap_or(0);
        sum.1 += number(8).unwrap_or(0);
    }
    sum
}

fn machine_memory_bytes() -> Result<u64> {
    const FILE: &str = "/proc/meminfo";
    let text = std::fs::read_to_string(FILE)
        .map_err(|error| Error::caused(ErrorKind::System, format_args!("read {FILE}"), error))?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = total.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
    Ok(kilobytes.unwrap_or(0) * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_summed_without_loopback() {
        let text = "Inter-|   Receive                                                |  Transmit\n face |bytes\n    lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n  eth0:100 2 0 0 0 0 0 0 200 3 0 0 0 0 0 0\n  eth1: 1 2 0 0 0 0 0 0 2 3 0 0 0 0 0 0\n";
        assert_eq!(sum_interfaces(text), (101, 202));
        assert_eq!(sum_interfaces(""), (0, 0));
    }

    #[test]
    fn the_machine_has_memory() {
        assert!(machine_memory_bytes().unwrap() > 1 << 20);
    }
}
