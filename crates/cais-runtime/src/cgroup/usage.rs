//! What a group uses, for lists of many containers: the few files that count, each read once.

use super::layout::Controller;
use super::oci::stats::{BlockIoEntry, Files};
use super::oci::{GroupError, stats_v1, stats_v2};
use super::{Cgroup, NO_LIMIT_BYTES};

/// What is in use, and what was used since the group was made. What the kernel does not count is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory without the part of the page cache that is given back first, as Docker counts.
    pub memory_bytes: u64,
    /// The hard limit, if any.
    pub memory_limit_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// From block devices.
    pub read_bytes: u64,
    /// To block devices.
    pub written_bytes: u64,
}

impl Cgroup {
    /// CPU time of all processes that are or were in the group, in nanoseconds; `None` when the kernel does not count.
    ///
    /// # Errors
    /// When a file that is there cannot be read or is not understood.
    pub fn cpu_ns(&self) -> Result<Option<u64>, GroupError> {
        let Some(group) = self.group(Controller::Cpuacct) else { return Ok(None) };
        let files = Files(&group.path);
        if self.unified {
            return Ok(files.table("cpu.stat")?.get("usage_usec").map(|us| us * 1000));
        }
        files.number("cpuacct.usage")
    }

    /// Everything but CPU time; `None` when neither memory nor processes are counted, as in a group that is gone.
    ///
    /// # Errors
    /// As for [`Cgroup::cpu_ns`].
    pub fn usage(&self) -> Result<Option<Usage>, GroupError> {
        let mut usage = Usage::default();
        let mut counts = false;
        if let Some(group) = self.group(Controller::Memory) {
            counts |= self.add_memory(&Files(&group.path), &mut usage)?;
        }
        if let Some(group) = self.group(Controller::Pids) {
            let current = Files(&group.path).number("pids.current")?;
            counts |= current.is_some();
            usage.pids = current.unwrap_or(0);
        }
        if !counts {
            return Ok(None);
        }
        if let Some(group) = self.group(Controller::Io) {
            let files = Files(&group.path);
            let entries = if self.unified {
                stats_v2::block_io(&files)?.io_service_bytes_recursive
            } else {
                stats_v1::service_bytes(&files)?
            };
            usage.read_bytes = sum(&entries, "Read");
            usage.written_bytes = sum(&entries, "Write");
        }
        Ok(Some(usage))
    }

    /// False when memory is not counted.
    fn add_memory(&self, files: &Files<'_>, usage: &mut Usage) -> Result<bool, GroupError> {
        let [current, limit, inactive] = if self.unified {
            ["memory.current", "memory.max", "inactive_file"]
        } else {
            ["memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file"]
        };
        let Some(used) = files.number(current)? else { return Ok(false) };
        let cache = files.table("memory.stat")?.get(inactive).copied().unwrap_or(0);
        // A group whose numbers are not of one moment: then all of it is in use.
        usage.memory_bytes = if cache < used { used - cache } else { used };
        usage.memory_limit_bytes = files.number(limit)?.filter(|bytes| *bytes < NO_LIMIT_BYTES);
        Ok(true)
    }
}

fn sum(entries: &[BlockIoEntry], op: &str) -> u64 {
    entries.iter().filter(|entry| entry.op == op).map(|entry| entry.value).sum()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Group;
    use super::*;

    fn group(path: &Path, unified: bool) -> Cgroup {
        let controllers = [Controller::Cpuacct, Controller::Memory, Controller::Pids, Controller::Io];
        let group = Group { name: String::new(), controllers: controllers.into(), path: path.to_owned() };
        Cgroup { groups: vec![group], unified }
    }

    fn write(directory: &Path, files: &[(&str, &str)]) {
        for (file, text) in files {
            std::fs::write(directory.join(file), text).unwrap();
        }
    }

    #[test]
    fn both_versions_count_the_same() {
        let directory = tempfile::tempdir().unwrap();
        write(
            directory.path(),
            &[
                ("cpuacct.usage", "5000\n"),
                ("cpu.stat", "usage_usec 5\nuser_usec 3\n"),
                ("memory.usage_in_bytes", "1000\n"),
                ("memory.current", "1000\n"),
                ("memory.stat", "cache 500\ntotal_inactive_file 300\ninactive_file 300\n"),
                ("memory.limit_in_bytes", "2000\n"),
                ("memory.max", "2000\n"),
                ("pids.current", "3\n"),
                ("blkio.throttle.io_service_bytes", "8:0 Read 7\n8:0 Write 9\n8:16 Read 1\nTotal 17\n"),
                ("io.stat", "8:0 rbytes=7 wbytes=9 rios=1 wios=1 dbytes=5 dios=1\n8:16 rbytes=1\n"),
            ],
        );
        let want = Usage {
            memory_bytes: 700,
            memory_limit_bytes: Some(2000),
            pids: 3,
            read_bytes: 8,
            written_bytes: 9,
        };
        for unified in [false, true] {
            let group = group(directory.path(), unified);
            assert_eq!(group.usage().unwrap(), Some(want), "unified: {unified}");
            assert_eq!(group.cpu_ns().unwrap(), Some(5000));
        }
        write(directory.path(), &[("memory.limit_in_bytes", "9223372036854771712"), ("memory.max", "max")]);
        for unified in [false, true] {
            assert_eq!(group(directory.path(), unified).usage().unwrap().unwrap().memory_limit_bytes, None);
        }
    }

    #[test]
    fn a_group_that_is_gone_uses_nothing() {
        let gone = group(Path::new("/nowhere"), false);
        assert_eq!(gone.usage().unwrap(), None);
        assert_eq!(gone.cpu_ns().unwrap(), None);
        std::fs::metadata("/nowhere").unwrap_err();
    }
}
