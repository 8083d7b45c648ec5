//! What the files of a v2 group count, admin-guide/cgroup-v2.rst, in v1's words: swap is counted with memory.

use super::Place;
use super::error::GroupError;
use super::stats::{
    BlockIoEntry, BlockIoStats, Files, HugepageStats, MemoryEntry, Pressure, PressureEntry, Stats,
    machine_page_sizes,
};
use super::stats_v1;

/// `core` is false for a v2 hierarchy beside v1: there only the controllers count that it has.
pub(super) fn add(place: &Place, core: bool, stats: &mut Stats) -> Result<(), GroupError> {
    let files = Files(&place.path);
    let counts = |controller: &str| core || place.has(controller);
    if counts("cpu") {
        cpu(&files, stats)?;
    }
    if counts("memory") {
        memory(&files, stats)?;
    }
    if counts("pids") {
        pids(&files, stats)?;
    }
    if counts("io") {
        io(&files, stats)?;
    }
    if counts("hugetlb") {
        hugepages(&files, &machine_page_sizes(), stats)?;
    }
    Ok(())
}

fn cpu(files: &Files<'_>, stats: &mut Stats) -> Result<(), GroupError> {
    let table = files.table("cpu.stat")?;
    let number = |name: &str| table.get(name).copied().unwrap_or(0);
    let (usage, throttling) = (&mut stats.cpu.usage, &mut stats.cpu.throttling);
    usage.total = number("usage_usec") * 1000;
    usage.user = number("user_usec") * 1000;
    usage.kernel = number("system_usec") * 1000;
    throttling.periods = number("nr_periods");
    throttling.throttled_periods = number("nr_throttled");
    throttling.throttled_time = number("throttled_usec") * 1000;
    stats.cpu.psi = pressure(files, "cpu.pressure")?;
    Ok(())
}

fn memory(files: &Files<'_>, stats: &mut Stats) -> Result<(), GroupError> {
    let entry = |kind: &str| -> Result<MemoryEntry, GroupError> {
        let number =
            |what: &str| files.number(&format!("memory.{kind}{what}")).map(Option::unwrap_or_default);
        let (limit, usage, max) = (number("max")?, number("current")?, number("peak")?);
        Ok(MemoryEntry { limit, usage, max, failcnt: 0 })
    };
    let memory = &mut stats.memory;
    memory.raw = files.table("memory.stat")?;
    memory.cache = memory.raw.get("file").copied().unwrap_or(0);
    memory.usage = entry("")?;
    let swap = entry("swap.")?;
    // The peaks of both need not have come together.
    memory.swap = MemoryEntry {
        limit: swap.limit.saturating_add(if swap.limit == u64::MAX { 0 } else { memory.usage.limit }),
        usage: swap.usage + memory.usage.usage,
        max: 0,
        failcnt: 0,
    };
    memory.psi = pressure(files, "memory.pressure")?;
    Ok(())
}

fn pids(files: &Files<'_>, stats: &mut Stats) -> Result<(), GroupError> {
    stats_v1::pids(files, stats)?;
    if stats.pids.current == 0 {
        // Without the controller.
        let text = files.text("cgroup.procs")?.unwrap_or_default();
        stats.pids.current = text.lines().count() as u64;
    }
    Ok(())
}

fn io(files: &Files<'_>, stats: &mut Stats) -> Result<(), GroupError> {
    stats.blkio = block_io(files)?;
    stats.blkio.psi = pressure(files, "io.pressure")?;
    Ok(())
}

/// Lines of `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`.
pub(in crate::cgroup) fn block_io(files: &Files<'_>) -> Result<BlockIoStats, GroupError> {
    let mut stats = BlockIoStats::default();
    const FILE: &str = "io.stat";
    let text = files.text(FILE)?.unwrap_or_default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some((major, minor)) = words.next().and_then(|device| device.split_once(':')) else { continue };
        let (major, minor) = (files.parse(FILE, major)?, files.parse(FILE, minor)?);
        for word in words {
            let Some((name, value)) = word.split_once('=') else { continue };
            let (op, list) = match name {
                "rbytes" => ("Read", &mut stats.io_service_bytes_recursive),
                "wbytes" => ("Write", &mut stats.io_service_bytes_recursive),
                "rios" => ("Read", &mut stats.io_serviced_recursive),
                "wios" => ("Write", &mut stats.io_serviced_recursive),
                _ => continue,
            };
            list.push(BlockIoEntry { major, minor, op: op.to_owned(), value: files.parse(FILE, value)? });
        }
    }
    Ok(stats)
}

fn hugepages(files: &Files<'_>, sizes: &[String], stats: &mut Stats) -> Result<(), GroupError> {
    for size in sizes {
        let number = |what: &str| files.number(&format!("hugetlb.{size}{what}"));
        let usage = match number(".rsvd.current")? {
            Some(usage) => Some(usage),
            None => number(".current")?,
        };
        let Some(usage) = usage else { continue };
        let failcnt = files.table(&format!("hugetlb.{size}.events"))?.get("max").copied().unwrap_or(0);
        stats.hugetlb.insert(size.clone(), HugepageStats { usage, max: 0, failcnt });
    }
    Ok(())
}

/// Lines of `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
fn pressure(files: &Files<'_>, file: &str) -> Result<Option<Pressure>, GroupError> {
    let Some(text) = files.text(file)? else { return Ok(None) };
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let entry: &mut PressureEntry = match words.next() {
            Some("some") => &mut pressure.some,
            Some("full") => &mut pressure.full,
            _ => continue,
        };
        for word in words {
            let wrong = || files.unexpected(file, line);
            let (name, value) = word.split_once('=').ok_or_else(wrong)?;
            let average = || value.parse::<f64>().map_err(|_| wrong());
            match name {
                "avg10" => entry.avg10 = average()?,
                "avg60" => entry.avg60 = average()?,
                "avg300" => entry.avg300 = average()?,
                "total" => entry.total = files.parse(file, value)?,
                _ => {}
            }
        }
    }
    Ok(Some(pressure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_v2() {
        let directory = tempfile::tempdir().unwrap();
        for (file, text) in [
            (
                "cpu.stat",
                "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 4\nnr_throttled 1\nthrottled_usec 9\n",
            ),
            (
                "cpu.pressure",
                "some avg10=1.50 avg60=0.00 avg300=0.00 total=7\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
            ),
            ("memory.stat", "anon 1\nfile 42\n"),
            ("memory.current", "50\n"),
            ("memory.max", "60\n"),
            ("memory.peak", "55\n"),
            ("memory.swap.current", "1\n"),
            ("memory.swap.max", "max\n"),
            ("cgroup.procs", "12\n13\n"),
            ("io.stat", "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n7:0 \n"),
            ("hugetlb.2MB.current", "6\n"),
            ("hugetlb.2MB.events", "max 8\n"),
        ] {
            std::fs::write(directory.path().join(file), text).unwrap();
        }
        let place = Place {
            name: String::new(),
            controllers: vec!["memory".to_owned()],
            unified: true,
            path: directory.path().to_owned(),
            made: Vec::new(),
            kept: Vec::new(),
        };
        let mut stats = Stats::default();
        add(&place, true, &mut stats).unwrap();
        stats.hugetlb.clear();
        hugepages(&Files(directory.path()), &["2MB".to_owned()], &mut stats).unwrap();
        let mut json = serde_json::to_value(&stats).unwrap();
        json.as_object_mut().unwrap().remove("cpuset");
        let want = serde_json::json!({
            "cpu": {"usage": {"total": 5000, "kernel": 2000, "user": 3000},
                "throttling": {"periods": 4, "throttledPeriods": 1, "throttledTime": 9000},
                "psi": {"some": {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 7}}},
            "memory": {"cache": 42, "usage": {"limit": 60, "usage": 50, "max": 55, "failcnt": 0},
                "swap": {"limit": u64::MAX, "usage": 51, "failcnt": 0}, "raw": {"anon": 1, "file": 42}},
            "pids": {"current": 2},
            "blkio": {"ioServiceBytesRecursive": [{"major": 8, "minor": 16, "op": "Read", "value": 1},
                    {"major": 8, "minor": 16, "op": "Write", "value": 2}],
                "ioServicedRecursive": [{"major": 8, "minor": 16, "op": "Read", "value": 3},
                    {"major": 8, "minor": 16, "op": "Write", "value": 4}]},
            "hugetlb": {"2MB": {"usage": 6, "failcnt": 8}}, "intel_rdt": {}, "network_interfaces": null,
        });
        assert_eq!(json, want);
        // Beside v1 only the controllers that are there count.
        let mut beside = Stats::default();
        add(&place, false, &mut beside).unwrap();
        assert_eq!(beside.memory.cache, 42);
        assert_eq!(beside.cpu, Stats::default().cpu);
    }
}
