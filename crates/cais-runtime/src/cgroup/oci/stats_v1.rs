//! What the files of a v1 group count, admin-guide/cgroup-v1.

use super::Place;
use super::error::GroupError;
use super::stats::{
    BlockIoEntry, BlockIoStats, Files, HugepageStats, MemoryEntry, Stats, machine_page_sizes,
};

/// Nanoseconds of a tick: `USER_HZ` is 100 everywhere.
const TICK_NS: u64 = 10_000_000;

pub(super) fn add(place: &Place, stats: &mut Stats) -> Result<(), GroupError> {
    let files = Files(&place.path);
    for controller in &place.controllers {
        match controller.as_str() {
            "cpu" => throttling(&files, stats)?,
            "cpuacct" => cpu(&files, stats)?,
            "cpuset" => cpuset(&files, stats)?,
            "memory" => memory(&files, stats)?,
            "pids" => pids(&files, stats)?,
            "blkio" => stats.blkio = block_io(&files)?,
            "hugetlb" => hugepages(&files, &machine_page_sizes(), stats)?,
            _ => {}
        }
    }
    Ok(())
}

fn throttling(files: &Files<'_>, stats: &mut Stats) -> Result<(), GroupError> {
    let table = files.table("cpu.stat")?;
    let number = |name: &str| table.get(name).copied().unwrap_or(0);
    let throttling = &mut stats.cpu.throttling;
    throttling.periods = number("nr_periods");
    throttling.throttled_periods = number("nr_throttled");
    throttling.throttled_time = number("throttled_time");
    Ok(())
}

fn cpu(files: &Files<'_>, stats: &mut Stats) -> Result<(), GroupError> {
    let usage = &mut stats.cpu.usage;
    let ticks = files.table("cpuacct.stat")?;
    let time = |name: &str| ticks.get(name).map_or(0, |ticks| ticks * TICK_NS);
    (usage.user, usage.kernel) = (time("user"), time("system"));
    usage.total = files.number("cpuacct.usage")?.unwrap_or(0);
    let text = files.text("cpuacct.usage_percpu")?.unwrap_or_default();
    let numbers = text.split_ascii_whitespace().map(|word| files.parse("cpuacct.usage_percpu", word));
    usage.percpu = numbers.collect::<Result<_, _>>()?;
    // Lines of: cpu user system
    let text = files.text("cpuacct.usage_all")?.unwrap_or_default();
    for line in text.lines().skip(1) {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (Some(user), Some(kernel)) = (words.next(), words.next()) else { continue };
        usage.percpu_user.push(files.parse("cpuacct.usage_all", user)?);
        usage.percpu_kernel.push(files.parse("cpuacct.usage_all", kernel)?);
    }
    Ok(())
}

fn cpuset(files: &Files<'_>, stats: &mut Stats) -> Result<(), GroupError> {
    let cpuset = &mut stats.cpuset;
    let prefix = if files.0.join("cpuset.cpus").exists() { "cpuset." } else { "" };
    for (name, list) in [("cpus", &mut cpuset.cpus), ("mems", &mut cpuset.mems)] {
        let file = format!("{prefix}{name}");
        let text = files.text(&file)?.unwrap_or_default();
        *list = numbers(text.trim()).ok_or_else(|| files.unexpected(&file, &text))?;
    }
    for (name, flag) in [
        ("cpu_exclusive", &mut cpuset.cpu_exclusive),
        ("mem_hardwall", &mut cpuset.mem_hardwall),
        ("mem_exclusive", &mut cpuset.mem_exclusive),
        ("memory_migrate", &mut cpuset.memory_migrate),
        ("memory_spread_page", &mut cpuset.memory_spread_page),
        ("memory_spread_slab", &mut cpuset.memory_spread_slab),
        ("memory_pressure", &mut cpuset.memory_pressure),
        ("sched_load_balance", &mut cpuset.sched_load_balance),
    ] {
        *flag = files.number(&format!("{prefix}{name}"))?.unwrap_or(0);
    }
    let file = format!("{prefix}sched_relax_domain_level");
    if let Some(text) = files.text(&file)? {
        let level = text.trim().parse().map_err(|_| files.unexpected(&file, &text))?;
        cpuset.sched_relax_domain_level = level;
    }
    Ok(())
}

/// `0-2,7`
fn numbers(text: &str) -> Option<Vec<u16>> {
    let mut list = Vec::new();
    for range in text.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        list.extend(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?);
    }
    Some(list)
}

fn memory(files: &Files<'_>, stats: &mut Stats) -> Result<(), GroupError> {
    let entry = |kind: &str| -> Result<MemoryEntry, GroupError> {
        let number =
            |what: &str| files.number(&format!("memory.{kind}{what}")).map(Option::unwrap_or_default);
        Ok(MemoryEntry {
            limit: number("limit_in_bytes")?,
            usage: number("usage_in_bytes")?,
            max: number("max_usage_in_bytes")?,
            failcnt: number("failcnt")?,
        })
    };
    let memory = &mut stats.memory;
    memory.raw = files.table("memory.stat")?;
    memory.cache = memory.raw.get("cache").copied().unwrap_or(0);
    memory.usage = entry("")?;
    memory.swap = entry("memsw.")?;
    memory.kernel = entry("kmem.")?;
    memory.kernel_tcp = entry("kmem.tcp.")?;
    Ok(())
}

pub(super) fn pids(files: &Files<'_>, stats: &mut Stats) -> Result<(), GroupError> {
    stats.pids.current = files.number("pids.current")?.unwrap_or(0);
    stats.pids.limit = files.number("pids.max")?.filter(|limit| *limit != u64::MAX).unwrap_or(0);
    Ok(())
}

fn hugepages(files: &Files<'_>, sizes: &[String], stats: &mut Stats) -> Result<(), GroupError> {
    for size in sizes {
        for kind in [".rsvd", ""] {
            let number = |what: &str| files.number(&format!("hugetlb.{size}{kind}.{what}"));
            let Some(usage) = number("usage_in_bytes")? else { continue };
            let max = number("max_usage_in_bytes")?.unwrap_or(0);
            let failcnt = number("failcnt")?.unwrap_or(0);
            stats.hugetlb.insert(size.clone(), HugepageStats { usage, max, failcnt });
            break;
        }
    }
    Ok(())
}

/// How the files of block I/O begin and end: BFQ's, CFQ's, those of throttling.
const BLOCK_IO_FILES: [(&str, &str); 4] = [
    ("blkio.bfq.", "_recursive"),
    ("blkio.", "_recursive"),
    ("blkio.throttle.", "_recursive"),
    ("blkio.throttle.", ""),
];

/// Bytes that were read and written, from the first set of files that is there.
pub(in crate::cgroup) fn service_bytes(files: &Files<'_>) -> Result<Vec<BlockIoEntry>, GroupError> {
    for (prefix, end) in BLOCK_IO_FILES {
        let list = entries(files, &format!("{prefix}io_service_bytes{end}"))?;
        if !list.is_empty() {
            return Ok(list);
        }
    }
    Ok(Vec::new())
}

/// The first set of files that is there.
fn block_io(files: &Files<'_>) -> Result<BlockIoStats, GroupError> {
    let list = |file: String| -> Result<Vec<BlockIoEntry>, GroupError> { entries(files, &file) };
    for (prefix, end) in BLOCK_IO_FILES {
        let stats = BlockIoStats {
            io_service_bytes_recursive: list(format!("{prefix}io_service_bytes{end}"))?,
            io_serviced_recursive: list(format!("{prefix}io_serviced{end}"))?,
            io_queued_recursive: list(format!("{prefix}io_queued{end}"))?,
            io_service_time_recursive: list(format!("{prefix}io_service_time{end}"))?,
            io_wait_time_recursive: list(format!("{prefix}io_wait_time{end}"))?,
            io_merged_recursive: list(format!("{prefix}io_merged{end}"))?,
            io_time_recursive: list(format!("{prefix}time{end}"))?,
            sectors_recursive: list(format!("{prefix}sectors{end}"))?,
            psi: None,
        };
        if stats != BlockIoStats::default() {
            return Ok(stats);
        }
    }
    Ok(BlockIoStats::default())
}

/// Lines of `8:0 Read 12` or `8:0 12`, and a `Total 12` that is left out.
fn entries(files: &Files<'_>, file: &str) -> Result<Vec<BlockIoEntry>, GroupError> {
    let text = files.text(file)?.unwrap_or_default();
    let mut list = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split([' ', ':']).filter(|word| !word.is_empty()).collect();
        let (major, minor, op, value) = match words[..] {
            ["Total", _] => continue,
            [major, minor, op, value] => (major, minor, op, value),
            [major, minor, value] => (major, minor, "", value),
            _ => return Err(files.unexpected(file, line)),
        };
        let number = |word| files.parse(file, word);
        let (major, minor, value) = (number(major)?, number(minor)?, number(value)?);
        list.push(BlockIoEntry { major, minor, op: op.to_owned(), value });
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn place(path: &Path) -> Place {
        let controllers = ["cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "hugetlb", "freezer"];
        Place {
            name: String::new(),
            controllers: controllers.map(str::to_owned).into(),
            unified: false,
            path: path.to_owned(),
            made: Vec::new(),
            kept: Vec::new(),
        }
    }

    #[test]
    fn files_of_v1() {
        let directory = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("cpu.stat", "nr_periods 3\nnr_throttled 2\nthrottled_time 1\nnr_bursts 0\n"),
            ("cpuacct.stat", "user 5\nsystem 7\n"),
            ("cpuacct.usage", "123\n"),
            ("cpuacct.usage_percpu", "100 23 \n"),
            ("cpuacct.usage_all", "cpu user system\n0 90 10\n1 20 3\n"),
            ("cpuset.cpus", "0-1,3\n"),
            ("cpuset.mems", "\n"),
            ("cpuset.sched_relax_domain_level", "-1\n"),
            ("cpuset.sched_load_balance", "1\n"),
            ("memory.stat", "cache 42\nrss 1\n"),
            ("memory.usage_in_bytes", "50\n"),
            ("memory.limit_in_bytes", "60\n"),
            ("memory.memsw.usage_in_bytes", "51\n"),
            ("memory.kmem.usage_in_bytes", "9\n"),
            ("memory.failcnt", "4\n"),
            ("pids.current", "2\n"),
            ("pids.max", "max\n"),
            ("blkio.throttle.io_service_bytes", "8:0 Read 12\n8:0 Total 12\nTotal 12\n"),
            ("blkio.throttle.io_serviced", "8:0 Read 3\nTotal 3\n"),
        ] {
            std::fs::write(directory.path().join(file), text).unwrap();
        }
        let mut stats = Stats::default();
        add(&place(directory.path()), &mut stats).unwrap();
        let json = serde_json::to_value(&stats).unwrap();
        let want = serde_json::json!({
            "cpu": {"usage": {"total": 123, "percpu": [100, 23], "percpu_kernel": [10, 3], "percpu_user": [90, 20],
                    "kernel": 70_000_000, "user": 50_000_000},
                "throttling": {"periods": 3, "throttledPeriods": 2, "throttledTime": 1}},
            "cpuset": {"cpus": [0, 1, 3], "cpu_exclusive": 0, "mem_hardwall": 0, "mem_exclusive": 0, "memory_migrate": 0,
                "memory_spread_page": 0, "memory_spread_slab": 0, "memory_pressure": 0, "sched_load_balance": 1,
                "sched_relax_domain_level": -1},
            "memory": {"cache": 42, "usage": {"limit": 60, "usage": 50, "failcnt": 4},
                "swap": {"limit": 0, "usage": 51, "failcnt": 0}, "kernel": {"limit": 0, "usage": 9, "failcnt": 0},
                "raw": {"cache": 42, "rss": 1}},
            "pids": {"current": 2},
            "blkio": {"ioServiceBytesRecursive": [{"major": 8, "op": "Read", "value": 12}, {"major": 8, "op": "Total", "value": 12}],
                "ioServicedRecursive": [{"major": 8, "op": "Read", "value": 3}]},
            "hugetlb": {}, "intel_rdt": {}, "network_interfaces": null,
        });
        assert_eq!(json, want);
    }

    #[test]
    fn reserved_huge_pages_come_first() {
        let directory = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("hugetlb.2MB.usage_in_bytes", "1"),
            ("hugetlb.2MB.rsvd.usage_in_bytes", "2"),
            ("hugetlb.2MB.rsvd.failcnt", "3"),
            ("hugetlb.1GB.usage_in_bytes", "4"),
        ] {
            std::fs::write(directory.path().join(file), text).unwrap();
        }
        let mut stats = Stats::default();
        let sizes = ["2MB", "1GB", "64KB"].map(str::to_owned);
        hugepages(&Files(directory.path()), &sizes, &mut stats).unwrap();
        let entry = |usage, failcnt| HugepageStats { usage, max: 0, failcnt };
        let want = [("1GB".to_owned(), entry(4, 0)), ("2MB".to_owned(), entry(2, 3))];
        assert_eq!(stats.hugetlb, want.into());
    }

    #[test]
    fn content_that_is_not_understood_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("pids.current"), "many\n").unwrap();
        let error = add(&place(directory.path()), &mut Stats::default()).unwrap_err().to_string();
        assert!(error.ends_with("pids.current: \"many\" is not what was expected"), "{error}");
    }
}
