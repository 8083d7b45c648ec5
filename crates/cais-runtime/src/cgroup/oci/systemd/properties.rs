//! From `linux.resources` to properties of a systemd unit, systemd.resource-control(5): a pure translation.
//!
//! systemd is told so that it does not undo the limits when it writes its own; the files are written as well, because
//! systemd knows less than they do. So what it cannot express is left to them, and where a list of devices is such,
//! systemd guards none: both guards hold, and a looser one beside ours is no hole.

use cais_oci::runtime::{Cpu, Resources};

use super::wire::Value;
use crate::cgroup::limits::{PERIOD_US, io_weight};
use crate::cgroup::oci::devices::{DeviceList, device_rules};
use crate::cgroup::oci::error::GroupError;
use crate::cgroup::oci::plan::said;
use crate::cgroup::oci::plan_v2::{Weights, swap_alone, unified_controller};
use crate::device::{DeviceKind, DeviceRule};

/// Versions of systemd that brought properties.
const QUOTA_PERIOD: u32 = 242;
const ALLOWED_CPUS: u32 = 244;
const CPU_IDLE: u32 = 252;
const OOM_POLICY: u32 = 253;
/// Before this, rules for devices that do not exist make it complain.
const DEVICE_NUMBERS: u32 = 240;

pub(in super::super) type Property = (String, Value);

struct List {
    properties: Vec<Property>,
    /// Of systemd.
    version: u32,
}

impl List {
    fn add(&mut self, name: &str, value: Value) {
        // systemd takes a property once.
        self.properties.retain(|(other, _)| other != name);
        self.properties.push((name.to_owned(), value));
    }

    fn number(&mut self, name: &str, value: u64) {
        self.add(name, Value::U64(value));
    }
}

/// -1 is systemd's largest number, `infinity`.
fn bytes(value: i64) -> u64 {
    value as u64
}

/// Limits of a v1 unit.
///
/// # Errors
/// Lists of processors that are none.
pub(in super::super) fn limits_v1(resources: &Resources, version: u32) -> Result<Vec<Property>, GroupError> {
    let mut list = List { properties: Vec::new(), version };
    if let Some(limit) = resources.memory.as_ref().and_then(|memory| said(memory.limit)) {
        list.number("MemoryLimit", bytes(limit));
    }
    if let Some(cpu) = &resources.cpu {
        said(cpu.shares).into_iter().for_each(|shares| list.number("CPUShares", shares));
        cpu_time(cpu, &mut list)?;
    }
    if let Some(weight) = resources.block_io.as_ref().and_then(|block_io| said(block_io.weight)) {
        list.number("BlockIOWeight", weight.into());
    }
    tasks(resources, &mut list);
    Ok(list.properties)
}

/// Limits of a v2 unit.
///
/// # Errors
/// Values that mean nothing.
pub(in super::super) fn limits_v2(
    resources: &Resources,
    weights: Weights,
    version: u32,
) -> Result<Vec<Property>, GroupError> {
    let mut list = List { properties: Vec::new(), version };
    if let Some(memory) = &resources.memory {
        said(memory.limit).into_iter().for_each(|limit| list.number("MemoryMax", bytes(limit)));
        said(memory.reservation).into_iter().for_each(|limit| list.number("MemoryLow", bytes(limit)));
        swap_alone(memory)?.into_iter().for_each(|limit| list.number("MemorySwapMax", bytes(limit)));
    }
    if let Some(cpu) = &resources.cpu {
        if cpu.idle == Some(1) && version >= CPU_IDLE {
            // A weight of nothing is systemd's word for idle.
            list.number("CPUWeight", 0);
        } else if let Some(shares) = said(cpu.shares) {
            list.number("CPUWeight", weights.weight(shares));
        }
        cpu_time(cpu, &mut list)?;
    }
    if let Some(weight) = resources.block_io.as_ref().and_then(|block_io| said(block_io.weight)) {
        list.number("IOWeight", io_weight(weight));
    }
    tasks(resources, &mut list);
    for (key, value) in &resources.unified {
        unified_controller(key)?;
        unified(resources, key, value.trim(), &mut list)
            .ok_or_else(|| GroupError::UnifiedValue { key: key.clone(), value: value.clone() })?;
    }
    Ok(list.properties)
}

fn tasks(resources: &Resources, list: &mut List) {
    let limit = resources.pids.as_ref().and_then(|pids| pids.limit);
    // systemd takes no 0.
    limit
        .into_iter()
        .for_each(|limit| list.number("TasksMax", if limit < 0 { u64::MAX } else { bytes(limit.max(1)) }));
}

fn cpu_time(cpu: &Cpu, list: &mut List) -> Result<(), GroupError> {
    quota(said(cpu.quota), said(cpu.period), list);
    for (name, text) in [("AllowedCPUs", &cpu.cpus), ("AllowedMemoryNodes", &cpu.mems)] {
        let Some(text) = text else { continue };
        let what = if name == "AllowedCPUs" { "list of CPUs" } else { "list of memory nodes" };
        let wrong = || GroupError::Value { what, value: format!("{text:?}") };
        let bits = bits(text).ok_or_else(wrong)?;
        if list.version >= ALLOWED_CPUS {
            list.add(name, Value::bytes(&bits));
        }
    }
    Ok(())
}

fn quota(quota: Option<i64>, period: Option<u64>, list: &mut List) {
    if let Some(period) = period.filter(|_| list.version >= QUOTA_PERIOD) {
        list.number("CPUQuotaPeriodUSec", period);
    }
    if quota.is_none() && period.is_none() {
        return;
    }
    let per_second = match quota {
        Some(quota) if quota > 0 => {
            let exact = u128::from(bytes(quota)) * 1_000_000 / u128::from(period.unwrap_or(PERIOD_US));
            // systemd keeps percents of a processor: rounded up, so that the files' exact limit fits in.
            u64::try_from(exact).unwrap_or(u64::MAX).div_ceil(10_000).saturating_mul(10_000)
        }
        _ => u64::MAX,
    };
    list.number("CPUQuotaPerSecUSec", per_second);
}

/// The property for a file of v2, if systemd has one; `None` for a value that it could not be told.
fn unified(resources: &Resources, key: &str, value: &str, list: &mut List) -> Option<()> {
    let limit = || if value == "max" { Some(u64::MAX) } else { value.parse().ok() };
    let idle = |list: &List| {
        resources.unified.get("cpu.idle").is_some_and(|idle| idle.trim() == "1") && list.version >= CPU_IDLE
    };
    match key {
        "cpu.idle" if idle(list) => list.number("CPUWeight", 0),
        // The idle one wins; the file would be refused.
        "cpu.weight" if idle(list) => {}
        "cpu.weight" => list.number("CPUWeight", value.parse().ok()?),
        "cpu.max" => {
            let mut words = value.split_ascii_whitespace();
            let time = words.next()?;
            let time = if time == "max" { Some(-1) } else { Some(time.parse().ok()?) };
            let period = match words.next() {
                Some(period) => period.parse().ok()?,
                None => PERIOD_US,
            };
            if words.next().is_some() || period == 0 {
                return None;
            }
            quota(time, Some(period), list);
        }
        "cpuset.cpus" | "cpuset.mems" => {
            let bits = bits(value)?;
            let name = if key == "cpuset.cpus" { "AllowedCPUs" } else { "AllowedMemoryNodes" };
            if list.version >= ALLOWED_CPUS {
                list.add(name, Value::bytes(&bits));
            }
        }
        "memory.min" => list.number("MemoryMin", limit()?),
        "memory.low" => list.number("MemoryLow", limit()?),
        "memory.high" => list.number("MemoryHigh", limit()?),
        "memory.max" => list.number("MemoryMax", limit()?),
        "memory.swap.max" => list.number("MemorySwapMax", limit()?),
        "pids.max" => list.number("TasksMax", limit()?.max(1)),
        _ => {}
    }
    Some(())
}

/// What can be said only when a unit starts.
pub(in super::super) fn at_start(resources: &Resources, version: u32) -> Vec<Property> {
    let policy = match resources.unified.get("memory.oom.group").map(|value| value.trim()) {
        Some("0") => "continue",
        Some("1") => "kill",
        _ => return Vec::new(),
    };
    let property = ("OOMPolicy".to_owned(), Value::Text(policy.to_owned()));
    if version >= OOM_POLICY { vec![property] } else { Vec::new() }
}

/// Rules for devices: a list of what is allowed, or nothing where systemd cannot say it.
///
/// # Errors
/// Numbers and letters that are none.
pub(in super::super) fn devices(resources: &Resources, version: u32) -> Result<Vec<Property>, GroupError> {
    let rules = device_rules(resources)?;
    let allowed = match DeviceList::of(&rules) {
        Ok(list) if !list.allow && version >= DEVICE_NUMBERS => list.exceptions.iter().map(allow).collect(),
        _ => None,
    };
    let policy = if allowed.is_some() { "strict" } else { "auto" };
    let entries = |entries: Vec<Value>| Value::Array("(ss)".to_owned(), entries);
    let mut properties = vec![("DevicePolicy".to_owned(), Value::Text(policy.to_owned()))];
    // An empty list takes away what was there.
    properties.push(("DeviceAllow".to_owned(), entries(Vec::new())));
    properties.extend(allowed.map(|allowed| ("DeviceAllow".to_owned(), entries(allowed))));
    Ok(properties)
}

/// `None` for a rule about all majors with one minor, which systemd has no words for.
fn allow(rule: &DeviceRule) -> Option<Value> {
    let kind = if rule.kind == DeviceKind::Block { "block" } else { "char" };
    let path = match (rule.major, rule.minor) {
        (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
        (Some(major), None) => format!("{kind}-{major}"),
        (None, None) => format!("{kind}-*"),
        (None, Some(_)) => return None,
    };
    let letters = [(rule.read, 'r'), (rule.write, 'w'), (rule.mknod, 'm')];
    let access: String = letters.iter().filter(|(on, _)| *on).map(|(_, letter)| *letter).collect();
    Some(Value::Struct(vec![Value::Text(path), Value::Text(access)]))
}

/// `0-3,7` as bits, the lowest number in the lowest bit of the first byte.
fn bits(text: &str) -> Option<Vec<u8>> {
    /// More processors than Linux can have.
    const MAX: usize = 1 << 16;
    let mut bits = Vec::new();
    for range in text.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if first > last || last >= MAX {
            return None;
        }
        if bits.len() <= last / 8 {
            bits.resize(last / 8 + 1, 0_u8);
        }
        (first..=last).for_each(|number| bits[number / 8] |= 1 << (number % 8));
    }
    (!bits.is_empty()).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(json: &str) -> Resources {
        serde_json::from_str(json).unwrap()
    }

    fn lines(properties: Vec<Property>) -> Vec<String> {
        let text = |value: Value| match value {
            Value::U64(u64::MAX) => "infinity".to_owned(),
            Value::U64(number) => number.to_string(),
            Value::Text(text) => text,
            Value::Array(_, items) => format!("{}", items.len()),
            other => format!("{other:?}"),
        };
        properties.into_iter().map(|(name, value)| format!("{name}={}", text(value))).collect()
    }

    const FULL: &str = r#"{"memory": {"limit": 100, "reservation": 50, "swap": 150}, "pids": {"limit": 7},
        "cpu": {"shares": 1024, "quota": 33333, "period": 100000, "cpus": "0-8", "mems": "0"},
        "blockIO": {"weight": 750}}"#;

    #[test]
    fn limits_of_both_versions() {
        assert_eq!(
            lines(limits_v2(&resources(FULL), Weights::Quadratic, 257).unwrap()),
            [
                "MemoryMax=100",
                "MemoryLow=50",
                "MemorySwapMax=50",
                "CPUWeight=100",
                "CPUQuotaPeriodUSec=100000",
                "CPUQuotaPerSecUSec=340000",
                "AllowedCPUs=2",
                "AllowedMemoryNodes=1",
                "IOWeight=7475",
                "TasksMax=7",
            ]
        );
        assert_eq!(
            lines(limits_v1(&resources(FULL), 241).unwrap()),
            [
                "MemoryLimit=100",
                "CPUShares=1024",
                "CPUQuotaPerSecUSec=340000",
                "BlockIOWeight=750",
                "TasksMax=7"
            ]
        );
        let none = r#"{"memory": {"limit": -1}, "pids": {"limit": -1}, "cpu": {"quota": -1}}"#;
        assert_eq!(
            lines(limits_v2(&resources(none), Weights::Quadratic, 257).unwrap()),
            [
                "MemoryMax=infinity",
                "MemorySwapMax=infinity",
                "CPUQuotaPerSecUSec=infinity",
                "TasksMax=infinity"
            ]
        );
        assert!(limits_v2(&Resources::default(), Weights::Quadratic, 257).unwrap().is_empty());
        assert_eq!(lines(limits_v1(&resources(r#"{"pids": {"limit": 0}}"#), 257).unwrap()), ["TasksMax=1"]);
    }

    #[test]
    fn unified_overrides() {
        let both = resources(
            r#"{"memory": {"limit": 100}, "cpu": {"shares": 2}, "unified": {"memory.max": "max", "memory.high": "5",
                "cpu.max": "10000 100000", "cpu.weight": "42", "pids.max": "0", "cpuset.cpus": " 1 ", "io.max": "x",
                "memory.oom.group": "1"}}"#,
        );
        assert_eq!(
            lines(limits_v2(&both, Weights::Quadratic, 257).unwrap()),
            [
                "CPUQuotaPeriodUSec=100000",
                "CPUQuotaPerSecUSec=100000",
                "CPUWeight=42",
                "AllowedCPUs=1",
                "MemoryHigh=5",
                "MemoryMax=infinity",
                "TasksMax=1",
            ]
        );
        assert_eq!(lines(at_start(&both, 253)), ["OOMPolicy=kill"]);
        assert!(at_start(&both, 252).is_empty());
        let idle = resources(r#"{"cpu": {"shares": 2}, "unified": {"cpu.idle": "1", "cpu.weight": "8"}}"#);
        assert_eq!(lines(limits_v2(&idle, Weights::Quadratic, 252).unwrap()), ["CPUWeight=0"]);
        for (key, value) in [
            ("memory.max", "lots"),
            ("cpu.max", "1 2 3"),
            ("cpu.max", ""),
            ("cpuset.cpus", "3-1"),
            ("a", "b"),
            ("a/b.c", "d"),
        ] {
            let wrong =
                Resources { unified: [(key.to_owned(), value.to_owned())].into(), ..Resources::default() };
            assert!(limits_v2(&wrong, Weights::Quadratic, 257).is_err(), "{key}={value}");
        }
    }

    #[test]
    fn devices_are_a_list_or_left_to_our_own_guard() {
        assert_eq!(
            lines(devices(&Resources::default(), 257).unwrap()),
            ["DevicePolicy=strict", "DeviceAllow=0", "DeviceAllow=11"]
        );
        for json in [
            r#"{"devices": [{"allow": true, "access": "rwm"}]}"#,
            r#"{"devices": [{"allow": true, "minor": 7, "access": "r"}]}"#,
            r#"{"devices": [{"allow": true, "type": "c", "major": 7}, {"allow": false, "type": "c", "major": 7, "minor": 1}]}"#,
        ] {
            assert_eq!(
                lines(devices(&resources(json), 257).unwrap()),
                ["DevicePolicy=auto", "DeviceAllow=0"],
                "{json}"
            );
        }
        let text = |path: &str, access: &str| {
            Value::Struct(vec![Value::Text(path.into()), Value::Text(access.into())])
        };
        for (rule, entry) in [
            ("c 1:3 rw", text("/dev/char/1:3", "rw")),
            ("b 8:* r", text("block-8", "r")),
            ("c *:* m", text("char-*", "m")),
        ] {
            assert_eq!(allow(&rule.parse().unwrap()), Some(entry));
        }
    }

    #[test]
    fn lists_of_processors() {
        for (text, want) in [("0", &[1][..]), ("0-3,7", &[0x8f]), ("8", &[0, 1]), (" 1 ,, 9", &[2, 2])] {
            assert_eq!(bits(text).unwrap(), want, "{text}");
        }
        for text in ["", ",", "a", "1-", "-1", "4-2", "65536", "0-99999999999"] {
            assert!(bits(text).is_none(), "{text}");
        }
    }
}
