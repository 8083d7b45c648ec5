//! Whom the kernel killed for memory in a container, from the kernel's log: `/dev/kmsg`, one record for each read(2).
//!
//! The log is a ring, and an ordinary user may not be allowed to read it: then the victim is not known.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use crate::{ContainerRecord, OomRecord};

/// Records are shorter.
const RECORD_BYTES: usize = 8 << 10;

/// What is known of a kill for memory in this container.
pub(crate) fn find(record: &ContainerRecord) -> OomRecord {
    let limit_bytes = record.request.resources.memory_bytes.filter(|limit| *limit > 0);
    let (victim, victim_pid) = last_victim(&record.id).unwrap_or_default();
    OomRecord { victim, victim_pid, limit_bytes }
}

fn last_victim(id: &str) -> Option<(String, i32)> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut log = std::fs::OpenOptions::new().read(true).custom_flags(flags).open("/dev/kmsg").ok()?;
    let mut record = vec![0; RECORD_BYTES];
    let mut found = None;
    loop {
        match log.read(&mut record) {
            Ok(0) => return found,
            Ok(length) => found = victim(&String::from_utf8_lossy(&record[..length]), id).or(found),
            // EPIPE: what was to be read next was overwritten; the log goes on behind it.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return found,
        }
    }
}

/// Name and pid in the kernel's line (Linux ≥ 5.0) about a cgroup of this container.
fn victim(line: &str, id: &str) -> Option<(String, i32)> {
    let (_, line) = line.split_once(";oom-kill:")?;
    let field = |key: &str| {
        let start = line.find(&format!(",{key}="))? + key.len() + 2;
        line.get(start..)?.split([',', '\n']).next()
    };
    if !field("task_memcg")?.contains(id) {
        return None;
    }
    Some((field("task")?.to_owned(), field("pid")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn victims() {
        let id = "ab".repeat(32);
        let line = format!(
            "6,257243,27571950266,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset={id},mems_allowed=0,\
             oom_memcg=/cais/{id},task_memcg=/cais/{id},task=a b,pid=6592,uid=0\n"
        );
        assert_eq!(victim(&line, &id), Some(("a b".to_owned(), 6592)));
        assert_eq!(victim(&line, &"cd".repeat(32)), None);
        assert_eq!(victim("6,1,2,-;usb 1-1: new device", &id), None);
    }
}
