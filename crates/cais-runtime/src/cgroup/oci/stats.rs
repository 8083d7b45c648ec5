//! What a group uses, in the form of runc's `events --stats` (`types/events.go`), names and omissions included.
//!
//! Times are nanoseconds, sizes bytes. Without a limit a limit is the kernel's largest number (but 0 for processes).
//! What the kernel does not count is zero, and left out where runc leaves it out.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::error::GroupError;
use super::{GroupState, stats_v1, stats_v2};
use crate::cgroup::{CgroupError, read_text};

/// One line of `events`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatsEvent<'a> {
    /// `stats`; `oom` goes without data.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The container's.
    pub id: &'a str,
    /// What it uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a Stats>,
}

/// What a container uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// CPU time.
    pub cpu: CpuStats,
    /// CPUs and memory nodes (v1).
    pub cpuset: CpusetStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Processes.
    pub pids: PidsStats,
    /// Block I/O.
    pub blkio: BlockIoStats,
    /// Huge pages, by size.
    pub hugetlb: BTreeMap<String, HugepageStats>,
    /// Cache and memory bandwidth; not counted here.
    pub intel_rdt: BTreeMap<String, serde_json::Value>,
    /// Network interfaces, which the caller has to count.
    pub network_interfaces: Option<Vec<NetworkStats>>,
}

fn zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// CPU time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CpuStats {
    /// Used.
    #[serde(skip_serializing_if = "zero")]
    pub usage: CpuUsage,
    /// Withheld.
    #[serde(skip_serializing_if = "zero")]
    pub throttling: Throttling,
    /// Waited for (v2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// CPU time used, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CpuUsage {
    /// All of it.
    #[serde(skip_serializing_if = "zero")]
    pub total: u64,
    /// By CPU (v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// By CPU, in the kernel (v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    /// By CPU, outside of the kernel (v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    /// In the kernel.
    pub kernel: u64,
    /// Outside of the kernel.
    pub user: u64,
}

/// CPU time withheld.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods so far.
    #[serde(skip_serializing_if = "zero")]
    pub periods: u64,
    /// Those in which the quota was used up.
    #[serde(skip_serializing_if = "zero")]
    pub throttled_periods: u64,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "zero")]
    pub throttled_time: u64,
}

/// How long processes waited, accounting/psi.rst.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// At least one.
    #[serde(skip_serializing_if = "zero")]
    pub some: PressureEntry,
    /// All of them.
    #[serde(skip_serializing_if = "zero")]
    pub full: PressureEntry,
}

/// Percents of the time, and microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PressureEntry {
    /// Of the last 10 s.
    pub avg10: f64,
    /// Of the last minute.
    pub avg60: f64,
    /// Of the last five minutes.
    pub avg300: f64,
    /// Microseconds so far.
    pub total: u64,
}

/// CPUs and memory nodes: the files of a v1 cpuset.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CpusetStats {
    /// Numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    /// Flag.
    pub cpu_exclusive: u64,
    /// Numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    /// Flag.
    pub mem_hardwall: u64,
    /// Flag.
    pub mem_exclusive: u64,
    /// Flag.
    pub memory_migrate: u64,
    /// Flag.
    pub memory_spread_page: u64,
    /// Flag.
    pub memory_spread_slab: u64,
    /// Reclaims a second, times 1000.
    pub memory_pressure: u64,
    /// Flag.
    pub sched_load_balance: u64,
    /// Level.
    pub sched_relax_domain_level: i64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MemoryStats {
    /// Of files.
    #[serde(skip_serializing_if = "zero")]
    pub cache: u64,
    /// Without swap.
    #[serde(skip_serializing_if = "zero")]
    pub usage: MemoryEntry,
    /// With swap.
    #[serde(skip_serializing_if = "zero")]
    pub swap: MemoryEntry,
    /// Of the kernel (v1).
    #[serde(skip_serializing_if = "zero")]
    pub kernel: MemoryEntry,
    /// Of the kernel for TCP (v1).
    #[serde(rename = "kernelTCP", skip_serializing_if = "zero")]
    pub kernel_tcp: MemoryEntry,
    /// `memory.stat`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// Waited for (v2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One kind of memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MemoryEntry {
    /// Most that may be used.
    pub limit: u64,
    /// Used.
    #[serde(skip_serializing_if = "zero")]
    pub usage: u64,
    /// The most so far.
    #[serde(skip_serializing_if = "zero")]
    pub max: u64,
    /// How often the limit was met.
    pub failcnt: u64,
}

/// Processes and threads.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PidsStats {
    /// Now.
    #[serde(skip_serializing_if = "zero")]
    pub current: u64,
    /// At most; 0 is no limit.
    #[serde(skip_serializing_if = "zero")]
    pub limit: u64,
}

/// Block I/O, by device and kind; the first two are what v2 has.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockIoStats {
    /// Bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlockIoEntry>,
    /// Requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlockIoEntry>,
    /// Requests that wait.
    #[serde(rename = "ioQueueRecursive", skip_serializing_if = "Vec::is_empty")]
    pub io_queued_recursive: Vec<BlockIoEntry>,
    /// Nanoseconds in the device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlockIoEntry>,
    /// Nanoseconds in the queue.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlockIoEntry>,
    /// Requests merged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlockIoEntry>,
    /// Milliseconds of disk time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlockIoEntry>,
    /// Sectors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlockIoEntry>,
    /// Waited for (v2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One number of one device.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BlockIoEntry {
    /// Number of the device.
    #[serde(skip_serializing_if = "zero")]
    pub major: u64,
    /// Number of the device.
    #[serde(skip_serializing_if = "zero")]
    pub minor: u64,
    /// `Read`, `Write`, `Sync`, `Async`, `Discard`, `Total`.
    #[serde(skip_serializing_if = "zero")]
    pub op: String,
    /// The number.
    #[serde(skip_serializing_if = "zero")]
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HugepageStats {
    /// Used, or reserved where the kernel counts that.
    #[serde(skip_serializing_if = "zero")]
    pub usage: u64,
    /// The most so far (v1).
    #[serde(skip_serializing_if = "zero")]
    pub max: u64,
    /// How often the limit was met.
    pub failcnt: u64,
}

/// What went through a network interface; the names are Go's.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct NetworkStats {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// See [`super::Group::stats`].
pub(super) fn collect(state: &GroupState) -> Result<Stats, GroupError> {
    let mut stats = Stats::default();
    for place in &state.places {
        if place.unified {
            stats_v2::add(place, state.version == 2, &mut stats)?;
        } else {
            stats_v1::add(place, &mut stats)?;
        }
    }
    Ok(stats)
}

/// A directory of files with numbers; a file that is not there says nothing.
pub(in crate::cgroup) struct Files<'a>(pub(in crate::cgroup) &'a Path);

impl Files<'_> {
    pub(in crate::cgroup) fn text(&self, file: &str) -> Result<Option<String>, GroupError> {
        use rustix::io::Errno;
        let path = self.0.join(file);
        match read_text(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) => match Errno::from_io_error(&error) {
                // Also: a group that is gone, pressure that is not counted.
                Some(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(None),
                _ => Err(CgroupError::Read { path, source: error }.into()),
            },
        }
    }

    /// `max` is the largest number.
    pub(in crate::cgroup) fn number(&self, file: &str) -> Result<Option<u64>, GroupError> {
        self.text(file)?.map(|text| self.parse(file, text.trim())).transpose()
    }

    pub(super) fn parse(&self, file: &str, word: &str) -> Result<u64, GroupError> {
        if word == "max" {
            return Ok(u64::MAX);
        }
        // A counter that was read between its parts may be below zero.
        let parsed = word.parse::<u64>().ok().or_else(|| word.parse::<i64>().ok().map(|_| 0));
        parsed.ok_or_else(|| self.unexpected(file, word))
    }

    pub(super) fn unexpected(&self, file: &str, text: &str) -> GroupError {
        GroupError::Content { path: self.0.join(file), text: text.to_owned() }
    }

    /// Lines of a name and a number.
    pub(in crate::cgroup) fn table(&self, file: &str) -> Result<BTreeMap<String, u64>, GroupError> {
        let text = self.text(file)?.unwrap_or_default();
        let mut table = BTreeMap::new();
        for line in text.lines() {
            let (name, number) = line.split_once(' ').ok_or_else(|| self.unexpected(file, line))?;
            table.insert(name.to_owned(), self.parse(file, number.trim())?);
        }
        Ok(table)
    }
}

/// The sizes of huge pages as the files are named: `2MB`.
pub(super) fn page_sizes(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let size = |name: String| {
        let kilobytes: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        Some(match kilobytes {
            0x10_0000.. => format!("{}GB", kilobytes >> 20),
            0x400.. => format!("{}MB", kilobytes >> 10),
            _ => format!("{kilobytes}KB"),
        })
    };
    names.into_iter().filter_map(size).collect()
}

/// Those that this kernel has.
pub(super) fn machine_page_sizes() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten();
    page_sizes(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_looks_as_in_runc() {
        let stats = Stats::default();
        let event = StatsEvent { kind: "stats", id: "c", data: Some(&stats) };
        let want = concat!(
            r#"{"type":"stats","id":"c","data":{"cpu":{},"cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"#,
            r#""memory_migrate":0,"memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"#,
            r#""sched_load_balance":0,"sched_relax_domain_level":0},"memory":{},"pids":{},"blkio":{},"hugetlb":{},"#,
            r#""intel_rdt":{},"network_interfaces":null}}"#
        );
        assert_eq!(serde_json::to_string(&event).unwrap(), want);
        let event = StatsEvent { kind: "oom", id: "c", data: None };
        assert_eq!(serde_json::to_string(&event).unwrap(), r#"{"type":"oom","id":"c"}"#);
    }

    #[test]
    fn sizes_of_pages() {
        let names = ["hugepages-2048kB", "hugepages-1048576kB", "hugepages-64kB", "other"].map(str::to_owned);
        assert_eq!(page_sizes(names), ["2MB", "1GB", "64KB"]);
    }
}
