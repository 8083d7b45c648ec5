//! Kills for memory in a container: told when the monitor hears of them, or at the end of the run. Whom the kernel killed
//! it says in its log; where that cannot be read the victim is not known.

use std::io::{Read, Seek};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::kernel_log;
use crate::limits::Group;
use crate::{ContainerRecord, Engine, OomRecord, Result};

/// With cgroup v1 the kernel says that memory has run out before it kills.
const KILL_PATIENCE: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(5);

impl Engine {
    /// Called by the monitor of a running container when the kernel has killed in it for memory, or is about to: tells it.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn out_of_memory(&self, id: &str) -> Result<()> {
        let record = self.store.load_container(id)?;
        let Some(run) = self.store.read_facts(id)?.map(|facts| facts.started) else { return Ok(()) };
        let told = self.store.read_oom(id)?.filter(|oom| oom.at >= run).map_or(0, |oom| oom.kills);
        let counter =
            Group::presume(self, id)?.and_then(|group| group.oom_counter()).map(std::fs::File::from);
        let Some(mut counter) = counter else { return Ok(()) };
        let limit = Instant::now() + KILL_PATIENCE;
        let mut kills = count(&mut counter);
        while kills <= told && !record.request.resources.oom_kill_disable && Instant::now() < limit {
            std::thread::sleep(LOOK_EVERY);
            kills = count(&mut counter);
        }
        // One that may not be killed is told, too; a group that is going away is not.
        if kills > told || record.request.resources.oom_kill_disable {
            self.tell_oom_kill(&record, kills);
        }
        Ok(())
    }

    /// Tells of a kill, and writes it down for who shows the container.
    pub(crate) fn tell_oom_kill(&self, record: &ContainerRecord, kills: u64) {
        let oom = OomRecord { kills, at: format!("{:.9}", Timestamp::now()), ..find(record) };
        // Without it only that there was a kill is known.
        let _ = self.store.write_oom(&record.id, &oom);
        let limit = oom.limit_bytes.map(|limit| limit.to_string()).unwrap_or_default();
        let pid = oom.victim_pid.to_string();
        let known = [("limit", limit.as_str()), ("victim", &oom.victim), ("victimPid", &pid)];
        let known: Vec<_> =
            known.into_iter().filter(|(_, value)| !value.is_empty() && *value != "0").collect();
        self.tell_container(record, "oom", &known);
    }
}

/// Kills that the kernel has counted.
fn count(counter: &mut std::fs::File) -> u64 {
    let mut text = Vec::new();
    let read = counter.rewind().and_then(|()| counter.read_to_end(&mut text));
    read.map_or(0, |_| cais_plan::oom::kills(&text))
}

/// What is known of a kill for memory in this container.
fn find(record: &ContainerRecord) -> OomRecord {
    let limit_bytes = record.request.resources.memory_bytes.filter(|limit| *limit > 0);
    let (victim, victim_pid) = kernel_log::last(|line| victim(line, &record.id)).unwrap_or_default();
    OomRecord { victim, victim_pid, limit_bytes, ..OomRecord::default() }
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
