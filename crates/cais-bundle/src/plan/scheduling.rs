//! Limits and priorities of a process: rlimits, oom_score_adj, scheduler, I/O priority, processors, memory nodes,
//! execution domain; setrlimit(2), sched_setattr(2), ioprio_set(2), sched_setaffinity(2), set_mempolicy(2).

use cais_oci::runtime::{
    IoPriorityClass, Linux, MemoryPolicyFlag, MemoryPolicyMode, PersonalityDomain, Process, Rlimit,
    RlimitType, Scheduler, SchedulerFlag, SchedulerPolicy,
};
use cais_plan::{Bytes, Step, Str};

use super::draft::Draft;
use super::error::{PlanError, Result};
use super::{Machine, Subject};

/// Highest processor or memory node that a list may name.
const HIGHEST: u32 = 64 * 1024;

/// The process's rlimits, no higher than the machine allows.
pub fn limits(draft: &mut Draft, limits: &[Rlimit], machine: &Machine) {
    for limit in limits {
        let resource = resource(limit.kind);
        let (mut soft, mut hard) = (limit.soft, limit.hard);
        let own = machine.hard_limits.iter().find(|(known, _)| *known == resource).map(|(_, hard)| *hard);
        if let Some(own) = own.filter(|own| hard > *own && !machine.may_raise_limits) {
            draft.warn(format!("{}: {hard} is more than this machine allows, {own} it is", limit.kind));
            hard = own;
            soft = soft.min(own);
        }
        let sentence = format!("set {} to {soft}:{hard}", limit.kind);
        draft.about(Subject::Process, sentence, &Step::Limit { resource, soft, hard });
    }
}

/// `RLIMIT_*` of asm-generic.
fn resource(kind: RlimitType) -> u32 {
    match kind {
        RlimitType::Cpu => 0,
        RlimitType::Fsize => 1,
        RlimitType::Data => 2,
        RlimitType::Stack => 3,
        RlimitType::Core => 4,
        RlimitType::Rss => 5,
        RlimitType::Nproc => 6,
        RlimitType::Nofile => 7,
        RlimitType::Memlock => 8,
        RlimitType::As => 9,
        RlimitType::Locks => 10,
        RlimitType::Sigpending => 11,
        RlimitType::Msgqueue => 12,
        RlimitType::Nice => 13,
        RlimitType::Rtprio => 14,
        RlimitType::Rttime => 15,
    }
}

/// The process's oom_score_adj, no lower than the machine allows.
pub fn oom_score_adj(draft: &mut Draft, wanted: Option<i64>, machine: &Machine) {
    let Some(mut score) = wanted else { return };
    let own = i64::from(machine.oom_score_adj);
    if score < own && !machine.may_raise_limits {
        draft.warn(format!("oom_score_adj: {score} is less than this machine allows, {own} it is"));
        score = own;
    }
    let content = score.to_string();
    let step = Step::WriteProc {
        file: Str(b"self/oom_score_adj"),
        content: Bytes(content.as_bytes()),
        optional: machine.rootless,
    };
    draft.about(Subject::Process, format!("set oom_score_adj to {score}"), &step);
}

/// Scheduler and I/O priority of the process, memory policy and execution domain of the container.
pub fn priorities(draft: &mut Draft, process: &Process, linux: Option<&Linux>) -> Result<()> {
    if let Some(wanted) = &process.scheduler {
        let attributes = scheduler(wanted);
        let step = Step::Scheduler { attributes: Bytes(&attributes) };
        let cpus = linux.and_then(|linux| linux.resources.as_ref()?.cpu.as_ref()?.cpus.as_ref());
        // In runc's words: the kernel's errno alone leads nowhere.
        let hint =
            if cpus.is_some() { " (process scheduler can't be used together with AllowedCPUs)" } else { "" };
        draft.about(Subject::Process, format!("set the scheduler {}{hint}", wanted.policy), &step);
    }
    if let Some(io) = &process.io_priority {
        let class = match io.class {
            IoPriorityClass::Rt => 1,
            IoPriorityClass::Be => 2,
            IoPriorityClass::Idle => 3,
        };
        let value = class << 13 | (io.priority as u32 & 7);
        let sentence = format!("set the I/O priority {} {}", io.class, io.priority);
        draft.about(Subject::Process, sentence, &Step::IoPriority { value });
    }
    let Some(linux) = linux else { return Ok(()) };
    if let Some(policy) = &linux.memory_policy {
        let mode = policy.flags.iter().fold(memory_mode(policy.mode), |mode, flag| mode | memory_flag(*flag));
        let nodes = mask("linux.memoryPolicy.nodes", policy.nodes.as_deref())?;
        let step = Step::MemoryPolicy { mode, nodes: Bytes(&nodes) };
        draft.about(Subject::Process, format!("set the memory policy {}", policy.mode), &step);
    }
    if let Some(personality) = &linux.personality {
        let persona = match personality.domain {
            PersonalityDomain::Linux => 0,
            PersonalityDomain::Linux32 => 8,
        };
        let sentence = format!("set the execution domain {}", personality.domain);
        draft.about(Subject::Process, sentence, &Step::Personality { persona });
    }
    Ok(())
}

/// Binds to processors; an absent list leaves them alone.
pub fn affinity(draft: &mut Draft, field: &'static str, cpus: Option<&str>) -> Result<()> {
    let mask = mask(field, cpus)?;
    if !mask.is_empty() {
        let sentence = format!("set the CPU affinity {}", cpus.unwrap_or_default());
        draft.about(Subject::Process, sentence, &Step::Affinity { mask: Bytes(&mask) });
    }
    Ok(())
}

/// All processors that the control group allows: the runtime's caller may be bound to less.
pub fn any_processor(draft: &mut Draft) {
    draft.about(Subject::Process, "reset the CPU affinity", &Step::Affinity { mask: Bytes(&[]) });
}

/// `struct sched_attr`, the version with utilization clamps.
fn scheduler(wanted: &Scheduler) -> Vec<u8> {
    const SIZE: u32 = 56;
    let policy: u32 = match wanted.policy {
        SchedulerPolicy::Other => 0,
        SchedulerPolicy::Fifo => 1,
        SchedulerPolicy::Rr => 2,
        SchedulerPolicy::Batch => 3,
        SchedulerPolicy::Iso => 4,
        SchedulerPolicy::Idle => 5,
        SchedulerPolicy::Deadline => 6,
    };
    let flags = wanted.flags.iter().fold(0_u64, |flags, flag| {
        flags
            | match flag {
                SchedulerFlag::ResetOnFork => 0x01,
                SchedulerFlag::Reclaim => 0x02,
                SchedulerFlag::DlOverrun => 0x04,
                SchedulerFlag::KeepPolicy => 0x08,
                SchedulerFlag::KeepParams => 0x10,
                SchedulerFlag::UtilClampMin => 0x20,
                SchedulerFlag::UtilClampMax => 0x40,
            }
    });
    let mut bytes = Vec::with_capacity(SIZE as usize);
    bytes.extend(SIZE.to_ne_bytes());
    bytes.extend(policy.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(wanted.nice.to_ne_bytes());
    bytes.extend(wanted.priority.to_ne_bytes());
    bytes.extend(wanted.runtime.to_ne_bytes());
    bytes.extend(wanted.deadline.to_ne_bytes());
    bytes.extend(wanted.period.to_ne_bytes());
    bytes.resize(SIZE as usize, 0);
    bytes
}

fn memory_mode(mode: MemoryPolicyMode) -> u32 {
    match mode {
        MemoryPolicyMode::Default => 0,
        MemoryPolicyMode::Preferred => 1,
        MemoryPolicyMode::Bind => 2,
        MemoryPolicyMode::Interleave => 3,
        MemoryPolicyMode::Local => 4,
        MemoryPolicyMode::PreferredMany => 5,
        MemoryPolicyMode::WeightedInterleave => 6,
    }
}

fn memory_flag(flag: MemoryPolicyFlag) -> u32 {
    match flag {
        MemoryPolicyFlag::NumaBalancing => 1 << 13,
        MemoryPolicyFlag::RelativeNodes => 1 << 14,
        MemoryPolicyFlag::StaticNodes => 1 << 15,
    }
}

/// A list such as `0-3,7` as a bit mask, an array of u64; absent = empty.
fn mask(field: &'static str, list: Option<&str>) -> Result<Vec<u8>> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let wrong = || PlanError::Numbers { field, list: list.to_owned() };
    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|number| *number <= HIGHEST);
    let mut words: Vec<u64> = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (number(first).ok_or_else(wrong)?, number(last).ok_or_else(wrong)?);
        if first > last {
            return Err(wrong());
        }
        for bit in first..=last {
            let word = bit as usize / 64;
            if words.len() <= word {
                words.resize(word + 1, 0);
            }
            words[word] |= 1 << (bit % 64);
        }
    }
    if words.is_empty() {
        return Err(wrong());
    }
    Ok(words.into_iter().flat_map(u64::to_ne_bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &str) -> Option<Vec<u64>> {
        let bytes = mask("x", Some(list)).ok()?;
        Some(
            bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("8 bytes"))).collect(),
        )
    }

    #[test]
    fn lists_of_numbers() {
        assert_eq!(words("0-3,7"), Some(vec![0b1000_1111]));
        assert_eq!(words(" 1 , 64,"), Some(vec![2, 1]));
        assert_eq!(words("0-127"), Some(vec![u64::MAX, u64::MAX]));
        assert_eq!(mask("x", None), Ok(Vec::new()));
        for wrong in ["", "a", "3-1", "-1", "1-", "70000", ","] {
            assert_eq!(words(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_scheduler_is_56_bytes() {
        let wanted = Scheduler {
            policy: SchedulerPolicy::Deadline,
            nice: -1,
            priority: 2,
            flags: vec![SchedulerFlag::ResetOnFork, SchedulerFlag::DlOverrun],
            runtime: 3,
            deadline: 4,
            period: 5,
        };
        let bytes = scheduler(&wanted);
        assert_eq!(bytes.len(), 56);
        assert_eq!(bytes[..8], [56_u32.to_ne_bytes(), 6_u32.to_ne_bytes()].concat());
        assert_eq!(bytes[8..16], 5_u64.to_ne_bytes());
        assert_eq!(bytes[16..24], [(-1_i32).to_ne_bytes(), 2_i32.to_ne_bytes()].concat());
        assert_eq!(bytes[24..48], [3_u64.to_ne_bytes(), 4_u64.to_ne_bytes(), 5_u64.to_ne_bytes()].concat());
    }
}
