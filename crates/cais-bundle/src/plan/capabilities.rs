//! Capability sets of a process: names to bits, kept within what the kernel will accept.
//!
//! What is unknown or not available here is left out with a warning, as the specification wants and runc does. The kernel's
//! own rules are applied beforehand (effective within permitted, inheritable within bounding, ambient within permitted
//! and inheritable), so that no configuration fails by them.

use std::collections::BTreeSet;

use cais_oci::runtime::Capabilities;
use cais_runtime::capability::{CapSet, Capability};

use super::draft::Draft;

/// The sets of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// What may ever be had.
    pub bounding: CapSet,
    /// What is checked.
    pub effective: CapSet,
    /// What may become effective.
    pub permitted: CapSet,
    /// What files may hand on.
    pub inheritable: CapSet,
    /// What survives execve.
    pub ambient: CapSet,
}

/// The sets that a configuration asks for, out of what is available. Without a configuration there are none.
pub fn sets(wanted: Option<&Capabilities>, available: CapSet, draft: &mut Draft) -> Sets {
    let Some(wanted) = wanted else { return Sets::default() };
    let mut ignored = BTreeSet::new();
    let mut set = |names: &Option<Vec<String>>| -> CapSet {
        let mut found = CapSet::EMPTY;
        for name in names.iter().flatten() {
            match name.parse::<Capability>().ok().filter(|capability| available.contains(*capability)) {
                Some(capability) => found = found.with(capability),
                None => {
                    ignored.insert(name.clone());
                }
            }
        }
        found
    };
    let bounding = set(&wanted.bounding);
    let effective = set(&wanted.effective);
    let permitted = set(&wanted.permitted);
    let inheritable = set(&wanted.inheritable);
    let ambient = set(&wanted.ambient);
    if !ignored.is_empty() {
        let names: Vec<String> = ignored.into_iter().collect();
        draft.warn(format!("ignoring unknown or unavailable capabilities: [{}]", names.join(" ")));
    }
    let inheritable = within(draft, ("inheritable", inheritable), ("bounding", bounding));
    Sets {
        bounding,
        effective: within(draft, ("effective", effective), ("permitted", permitted)),
        permitted,
        inheritable,
        ambient: raised(draft, ambient, permitted.intersect(inheritable)),
    }
}

/// In runc's words, one by one: what cannot be granted must be told.
fn raised(draft: &mut Draft, ambient: CapSet, limit: CapSet) -> CapSet {
    for capability in ambient.iter().filter(|capability| !limit.contains(*capability)) {
        draft.warn(format!(
            "can't raise ambient capability {capability}: it is not both permitted and inheritable"
        ));
    }
    ambient.intersect(limit)
}

fn within(draft: &mut Draft, (name, set): (&str, CapSet), (limit_name, limit): (&str, CapSet)) -> CapSet {
    let outside: Vec<String> =
        set.iter().filter(|cap| !limit.contains(*cap)).map(|cap| cap.to_string()).collect();
    if !outside.is_empty() {
        let names = outside.join(" ");
        draft.warn(format!(
            "ignoring {name} capabilities that are not {limit_name}: [{names}]: operation not permitted"
        ));
    }
    set.intersect(limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::draft::Frame;

    fn names(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn planned(wanted: &Capabilities, available: CapSet) -> (Sets, Vec<String>) {
        let mut draft = Draft::new(0).expect("none preserved");
        let sets = sets(Some(wanted), available, &mut draft);
        let frame = Frame { role: 0, outer: 0, clone_flags: 0, tty: false, console_size: (0, 0) };
        (sets, draft.finish(&frame).warnings)
    }

    #[test]
    fn what_the_kernel_would_refuse_is_left_out() {
        let wanted = Capabilities {
            bounding: names(&["CAP_KILL", "CAP_CHOWN"]),
            effective: names(&["CAP_KILL", "CAP_SETUID"]),
            permitted: names(&["CAP_KILL", "CAP_SYS_ADMIN"]),
            inheritable: names(&["CAP_KILL", "CAP_NET_RAW"]),
            ambient: names(&["CAP_KILL", "CAP_SYS_ADMIN"]),
        };
        let (sets, warnings) = planned(&wanted, CapSet::ALL);
        let kill = CapSet::EMPTY.with(Capability::KILL);
        assert_eq!(sets.bounding, kill.with(Capability::CHOWN));
        assert_eq!(sets.permitted, kill.with(Capability::SYS_ADMIN));
        assert_eq!((sets.effective, sets.inheritable, sets.ambient), (kill, kill, kill));
        assert_eq!(
            warnings,
            [
                "ignoring inheritable capabilities that are not bounding: [CAP_NET_RAW]: operation not permitted",
                "ignoring effective capabilities that are not permitted: [CAP_SETUID]: operation not permitted",
                "can't raise ambient capability CAP_SYS_ADMIN: it is not both permitted and inheritable",
            ]
        );
    }

    #[test]
    fn what_is_unknown_or_missing_is_told() {
        let wanted = Capabilities {
            bounding: names(&["CAP_KILL", "CAP_NOPE", "CAP_SYS_RESOURCE"]),
            ..Capabilities::default()
        };
        let (sets, warnings) = planned(&wanted, CapSet::ALL.without(Capability::SYS_RESOURCE));
        assert_eq!(sets.bounding, CapSet::EMPTY.with(Capability::KILL));
        assert_eq!(warnings, ["ignoring unknown or unavailable capabilities: [CAP_NOPE CAP_SYS_RESOURCE]"]);
    }
}
