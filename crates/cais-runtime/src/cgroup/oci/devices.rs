//! Rules for devices: those of the configuration, those that every container has, and what v1 is written.
//!
//! Everything is denied at first, whether or not the configuration says so. Behind its rules come the default ones
//! (config-linux.md, "Default Devices"), which cannot be taken away: null, zero, full, random, urandom, tty, console, ptmx
//! and terminals, and making nodes, as both runc and crun allow. `/dev/net/tun` is none of them.
//!
//! v1 (admin-guide/cgroup-v1/devices.rst) knows a default and exceptions from it, takes `a` for everything whatever the
//! numbers, and silently leaves a wider exception as it is. So the list is reduced here: [`plan_devices_v1`] ends in the
//! state that the rules, read in order, describe, or refuses. v2 is a program, `cgroup::filter`.

use cais_oci::runtime::{DeviceRule as Asked, DeviceRuleType, Resources};

use super::error::GroupError;
use super::plan::Write;
use crate::device::{DeviceKind, DeviceRule, default_rules};

/// The rules of a container in order; the first denies everything, of all that match the last wins.
///
/// # Errors
/// Numbers and letters that are none.
pub fn device_rules(resources: &Resources) -> Result<Vec<DeviceRule>, GroupError> {
    let mut rules = vec![DeviceRule::everything(false)];
    for asked in &resources.devices {
        rules.push(rule(asked)?);
    }
    // The first of the defaults denies everything.
    rules.extend(default_rules().into_iter().skip(1));
    Ok(rules)
}

fn rule(asked: &Asked) -> Result<DeviceRule, GroupError> {
    let number = |number: Option<i64>| match number {
        None | Some(-1) => Ok(None),
        Some(number) => u32::try_from(number)
            .map(Some)
            .map_err(|_| GroupError::Value { what: "device number", value: number.to_string() }),
    };
    // Letters that are none of the three mean nothing, as in runc.
    let access = asked.access.as_deref().unwrap_or("rwm");
    let kind = match asked.kind {
        None | Some(DeviceRuleType::All) => DeviceKind::All,
        Some(DeviceRuleType::Block) => DeviceKind::Block,
        Some(DeviceRuleType::Char) => DeviceKind::Char,
    };
    Ok(DeviceRule {
        kind,
        major: number(asked.major)?,
        minor: number(asked.minor)?,
        read: access.contains('r'),
        write: access.contains('w'),
        mknod: access.contains('m'),
        allow: asked.allow,
    })
}

/// The default and the exceptions from it that some rules lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceList {
    /// Whether what no exception is about is allowed.
    pub allow: bool,
    /// All of the other kind than the default, none about both block and character devices.
    pub exceptions: Vec<DeviceRule>,
}

impl DeviceList {
    /// Reads rules in order.
    ///
    /// # Errors
    /// [`GroupError::DeviceHole`] when an exception would have an exception.
    pub fn of(rules: &[DeviceRule]) -> Result<DeviceList, GroupError> {
        let mut list = DeviceList { allow: false, exceptions: Vec::new() };
        for rule in rules {
            if rule.is_everything() {
                list = DeviceList { allow: rule.allow, exceptions: Vec::new() };
                continue;
            }
            let kinds = match rule.kind {
                DeviceKind::All => &[DeviceKind::Block, DeviceKind::Char][..],
                DeviceKind::Block => &[DeviceKind::Block],
                DeviceKind::Char => &[DeviceKind::Char],
            };
            for kind in kinds {
                let rule = DeviceRule { kind: *kind, ..rule.clone() };
                if rule.allow == list.allow { list.take_back(&rule)? } else { list.except(rule) }
            }
        }
        Ok(list)
    }

    fn except(&mut self, rule: DeviceRule) {
        match self.exceptions.iter_mut().find(|one| same_device(one, &rule)) {
            Some(one) => {
                one.read |= rule.read;
                one.write |= rule.write;
                one.mknod |= rule.mknod;
            }
            None if rule.read || rule.write || rule.mknod => self.exceptions.push(rule),
            None => {}
        }
    }

    /// Back to the default for all that the rule is about.
    fn take_back(&mut self, rule: &DeviceRule) -> Result<(), GroupError> {
        for one in &mut self.exceptions {
            let common = (one.read && rule.read) || (one.write && rule.write) || (one.mknod && rule.mknod);
            if !common || !overlap(one, rule) {
                continue;
            }
            if !covers(rule.major, one.major) || !covers(rule.minor, one.minor) {
                let verb = if rule.allow { "allow" } else { "deny" };
                return Err(GroupError::DeviceHole { rule: format!("{verb} {rule}") });
            }
            one.read &= !rule.read;
            one.write &= !rule.write;
            one.mknod &= !rule.mknod;
        }
        self.exceptions.retain(|one| one.read || one.write || one.mknod);
        Ok(())
    }
}

fn same_device(a: &DeviceRule, b: &DeviceRule) -> bool {
    (a.kind, a.major, a.minor) == (b.kind, b.major, b.minor)
}

fn covers(wide: Option<u32>, narrow: Option<u32>) -> bool {
    wide.is_none() || wide == narrow
}

fn overlap(a: &DeviceRule, b: &DeviceRule) -> bool {
    let meet = |a: Option<u32>, b: Option<u32>| covers(a, b) || covers(b, a);
    a.kind == b.kind && meet(a.major, b.major) && meet(a.minor, b.minor)
}

/// The files of v1 for some rules, in order.
///
/// # Errors
/// As [`DeviceList::of`].
pub fn plan_devices_v1(rules: &[DeviceRule]) -> Result<Vec<Write>, GroupError> {
    let list = DeviceList::of(rules)?;
    let file = |allow: bool| if allow { "devices.allow" } else { "devices.deny" };
    let mut writes = vec![Write::new("devices", file(list.allow), "a")];
    writes.extend(list.exceptions.iter().map(|rule| Write::new("devices", file(rule.allow), rule)));
    Ok(writes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<DeviceRule> {
        texts
            .iter()
            .map(|text| {
                let allow = text.starts_with('+');
                DeviceRule { allow, ..text[1..].parse().unwrap() }
            })
            .collect()
    }

    fn lines(texts: &[&str]) -> Vec<String> {
        let writes = plan_devices_v1(&rules(texts)).unwrap();
        writes.iter().map(|w| format!("{} {}", w.file.trim_start_matches("devices."), w.value)).collect()
    }

    fn asked(json: &str) -> Resources {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_configuration_without_devices_denies_all_but_the_defaults() {
        let writes = plan_devices_v1(&device_rules(&Resources::default()).unwrap()).unwrap();
        let lines: Vec<String> = writes.iter().map(|w| format!("{} {}", w.file, w.value)).collect();
        assert_eq!(lines[0], "devices.deny a");
        assert_eq!(lines[1..3], ["devices.allow c *:* m", "devices.allow b *:* m"]);
        for device in ["1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:1", "5:2", "136:*"] {
            assert!(lines.contains(&format!("devices.allow c {device} rwm")), "{device}");
        }
        assert!(!lines.iter().any(|line| line.contains("10:200")), "tun is no default device");
        assert_eq!(lines.len(), 12);
    }

    #[test]
    fn the_configuration_is_read_as_go_reads_it() {
        let resources = asked(
            r#"{"devices": [{"allow": false, "access": "rwm"},
                {"allow": false, "type": "c", "major": 1, "minor": 11, "access": "rwa"},
                {"allow": true, "type": "b", "major": 8, "minor": -1, "access": "r"},
                {"allow": true, "major": -1, "minor": 7, "access": "m"}]}"#,
        );
        let rules = device_rules(&resources).unwrap();
        let texts: Vec<String> =
            rules.iter().map(|r| format!("{}{r}", if r.allow { '+' } else { '-' })).collect();
        assert_eq!(texts[..5], ["-a *:* rwm", "-a *:* rwm", "-c 1:11 rw", "+b 8:* r", "+a *:7 m"]);
        assert!(matches!(
            device_rules(&asked(r#"{"devices": [{"major": 4294967296}]}"#)),
            Err(GroupError::Value { .. })
        ));
    }

    #[test]
    fn all_kinds_with_numbers_become_two_lines() {
        assert_eq!(lines(&["+a *:7 m"]), ["deny a", "allow b *:7 m", "allow c *:7 m"]);
        assert_eq!(lines(&["+a *:* m"]), ["deny a", "allow b *:* m", "allow c *:* m"]);
        assert_eq!(lines(&["+c 1:3 r", "+a *:* rwm", "+b 8:0 r"]), ["allow a"]);
        assert_eq!(lines(&["+a *:* rwm", "-b 8:0 w"]), ["allow a", "deny b 8:0 w"]);
    }

    #[test]
    fn later_rules_change_earlier_ones() {
        assert_eq!(lines(&["+c 1:3 r", "+c 1:3 w"]), ["deny a", "allow c 1:3 rw"]);
        assert_eq!(lines(&["+c 1:3 rw", "-c 1:3 w"]), ["deny a", "allow c 1:3 r"]);
        assert_eq!(lines(&["+c 1:3 rw", "+b 8:0 r", "-c *:* rwm"]), ["deny a", "allow b 8:0 r"]);
        assert_eq!(lines(&["+a *:* rwm", "-c 10:* rwm", "+c 10:* r"]), ["allow a", "deny c 10:* wm"]);
        assert_eq!(lines(&["-c 1:11 rw"]), ["deny a"]);
    }

    #[test]
    fn holes_are_refused_and_not_ignored() {
        for texts in [
            &["+c 10:* rw", "-c 10:200 r"][..],
            &["+c *:200 rw", "-c 10:200 r"],
            &["+c *:* m", "-a 10:200 m"],
            &["+a *:* rwm", "-b 8:* w", "+b 8:1 w"],
        ] {
            let error = plan_devices_v1(&rules(texts)).unwrap_err();
            assert!(matches!(error, GroupError::DeviceHole { .. }), "{error}");
        }
        // Another kind of access is no hole.
        assert_eq!(lines(&["+c 10:* r", "-c 10:200 w"]), ["deny a", "allow c 10:* r"]);
    }
}
