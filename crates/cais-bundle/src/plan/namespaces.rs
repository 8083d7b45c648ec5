//! Which namespaces a container makes and joins, in which order, and who does it: config-linux.md "Namespaces".
//!
//! Without a user namespace, a time namespace or a joined PID namespace the shim is the first process, cloned into the
//! new namespaces; it joins the others itself. Else the shim prepares and clones ([`role::PARENT`]): what decides about
//! children (PID, time) and what the user namespace would not allow any more stands among its outer steps. Whoever is
//! privileged joins everything before the user namespace, because what is joined may belong to an outer one; an
//! unprivileged caller has rights inside of it only, so it is joined first. The cgroup namespace comes last, in the
//! first process: its root is the group that the process is in by then.

use std::path::PathBuf;

use cais_oci::runtime::{Clock, IdMapping, Linux, Spec};
use cais_plan::{Bytes, Step, Str, role};

use super::draft::Draft;
use super::error::{PlanError, Result};
use super::numbers::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWUSER,
    CLONE_NEWUTS, clone_flag,
};
use super::{Machine, Subject, Wanted};

/// Joined in this order: the mount namespace late, since paths mean something else from then on.
const JOIN_ORDER: [(u64, &str); 6] = [
    (CLONE_NEWIPC, "IPC"),
    (CLONE_NEWUTS, "UTS"),
    (CLONE_NEWNET, "network"),
    (CLONE_NEWTIME, "time"),
    (CLONE_NEWPID, "PID"),
    (CLONE_NEWNS, "mount"),
];

/// The namespaces of a container.
pub struct Spaces<'a> {
    made: u64,
    joined: Vec<(u64, &'a str)>,
    linux: Option<&'a Linux>,
}

impl<'a> Spaces<'a> {
    /// As configured.
    pub fn of(spec: &'a Spec) -> Spaces<'a> {
        let linux = spec.linux.as_ref();
        let (mut made, mut joined) = (0, Vec::new());
        for namespace in linux.map_or(&[][..], |linux| &linux.namespaces) {
            match &namespace.path {
                Some(path) => joined.push((clone_flag(namespace.kind), path.as_str())),
                None => made |= clone_flag(namespace.kind),
            }
        }
        Spaces { made, joined, linux }
    }

    /// The container has one of its own, made or joined.
    pub fn has(&self, kind: u64) -> bool {
        self.makes(kind) || self.path(kind).is_some()
    }

    /// A new one is made.
    pub fn makes(&self, kind: u64) -> bool {
        self.made & kind != 0
    }

    /// File of the one that is joined.
    pub fn path(&self, kind: u64) -> Option<&'a str> {
        self.joined.iter().find(|(known, _)| *known == kind).map(|(_, path)| *path)
    }

    /// All that the container has.
    pub fn all(&self) -> u64 {
        self.joined.iter().fold(self.made, |all, (kind, _)| all | kind)
    }

    /// Role of the shim.
    pub fn role(&self) -> u32 {
        let prepares =
            self.has(CLONE_NEWUSER) || self.has(CLONE_NEWTIME) || self.path(CLONE_NEWPID).is_some();
        if prepares { role::PARENT } else { role::FIRST }
    }

    /// Namespaces of the clone: the cgroup namespace comes later, the time namespace was made before.
    pub fn clone_flags(&self) -> u64 {
        self.made & !(CLONE_NEWCGROUP | CLONE_NEWTIME)
    }

    /// Trees are opened before the user namespace is entered: inside, their directories may be out of reach and their
    /// owners cannot be mapped.
    pub fn opens_early(&self, machine: &Machine) -> bool {
        self.has(CLONE_NEWUSER) && machine.capable
    }

    /// Joins one by path.
    fn join(&self, draft: &mut Draft, kind: u64, name: &str) {
        if let Some(path) = self.path(kind) {
            let fd = draft.fd(Wanted::Namespace { path: PathBuf::from(path), kind });
            draft.step(format!("join the {name} namespace {path}"), &Step::SetNs { fd, flags: kind });
        }
    }

    /// Joins what is joined by path, but the user and the cgroup namespace.
    pub fn join_others(&self, draft: &mut Draft) {
        for (kind, name) in JOIN_ORDER {
            self.join(draft, kind, name);
        }
    }

    /// Joins the user namespace, if that is joined by path.
    pub fn join_user(&self, draft: &mut Draft) {
        self.join(draft, CLONE_NEWUSER, "user");
    }

    /// Makes or joins the cgroup namespace.
    pub fn cgroup(&self, draft: &mut Draft) {
        self.join(draft, CLONE_NEWCGROUP, "cgroup");
        if self.makes(CLONE_NEWCGROUP) {
            draft.step("create a cgroup namespace", &Step::Unshare { flags: CLONE_NEWCGROUP });
        }
    }

    /// Makes the time namespace that children are born in, with its offsets.
    pub fn time(&self, draft: &mut Draft, machine: &Machine) -> Result<()> {
        if !self.makes(CLONE_NEWTIME) {
            return Ok(());
        }
        if !machine.capable {
            return Err(PlanError::TimeNamespace);
        }
        draft.step("create a time namespace", &Step::Unshare { flags: CLONE_NEWTIME });
        let offsets = self.linux.map(|linux| &linux.time_offsets);
        let lines: String = offsets
            .into_iter()
            .flatten()
            .map(|(clock, offset)| {
                let name = match clock {
                    Clock::Monotonic => "monotonic",
                    Clock::Boottime => "boottime",
                };
                format!("{name} {} {}\n", offset.secs, offset.nanosecs)
            })
            .collect();
        if lines.is_empty() {
            return Ok(());
        }
        draft.step("open procfs", &Step::ProcHandle {});
        let step = Step::WriteProc {
            file: Str(b"self/timens_offsets"),
            content: Bytes(lines.as_bytes()),
            optional: false,
        };
        draft.step("set the offsets of the time namespace", &step);
        Ok(())
    }

    /// Becomes root of the user namespace, or, where that has none, the user that the command runs as.
    pub fn become_root(&self, draft: &mut Draft, user: (u32, u32), groups: bool) {
        if !self.has(CLONE_NEWUSER) {
            return;
        }
        let known = |maps: &[IdMapping], id| {
            if maps.is_empty() || maps.iter().any(|map| map.container_id == 0 && map.size > 0) {
                0
            } else {
                id
            }
        };
        let (uids, gids) =
            self.linux.map_or((&[][..], &[][..]), |linux| (&linux.uid_mappings[..], &linux.gid_mappings[..]));
        let step =
            Step::Ids { uid: known(uids, user.0), gid: known(gids, user.1), groups: Bytes(&[]), home: false };
        draft.about(Subject::User, "become root in the user namespace", &step);
        draft.about(Subject::User, "become root in the user namespace", &Step::SwitchUser { groups });
    }

    /// Whether sysfs, which shows a network namespace, belongs to somebody else than whoever mounts it: the kernel
    /// refuses a new one. A network namespace that is joined together with a user namespace is taken to be its own.
    pub fn sysfs_is_foreign(&self, machine: &Machine) -> bool {
        let joined_network = self.path(CLONE_NEWNET).is_some();
        if self.makes(CLONE_NEWNET) {
            false
        } else if self.has(CLONE_NEWUSER) {
            self.makes(CLONE_NEWUSER) || !joined_network
        } else {
            machine.user_namespace && !joined_network && !machine.owns_network
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(namespaces: &str) -> Spec {
        let json = format!(
            r#"{{"ociVersion":"1.2.0","linux":{{"namespaces":{namespaces},
            "uidMappings":[{{"containerID":5,"hostID":0,"size":1}}]}}}}"#
        );
        Spec::parse(json.as_bytes()).expect("well-formed")
    }

    #[test]
    fn who_clones() {
        for (namespaces, role, flags) in [
            ("[]", role::FIRST, 0),
            (r#"[{"type":"pid"},{"type":"mount"}]"#, role::FIRST, CLONE_NEWPID | CLONE_NEWNS),
            (r#"[{"type":"cgroup"},{"type":"ipc"}]"#, role::FIRST, CLONE_NEWIPC),
            (r#"[{"type":"network","path":"/n"},{"type":"uts","path":"/u"}]"#, role::FIRST, 0),
            (r#"[{"type":"pid","path":"/p"},{"type":"mount"}]"#, role::PARENT, CLONE_NEWNS),
            (r#"[{"type":"time"},{"type":"pid"}]"#, role::PARENT, CLONE_NEWPID),
            (r#"[{"type":"time","path":"/t"}]"#, role::PARENT, 0),
            (r#"[{"type":"user"},{"type":"pid"}]"#, role::PARENT, CLONE_NEWUSER | CLONE_NEWPID),
            (r#"[{"type":"user","path":"/u"},{"type":"pid"}]"#, role::PARENT, CLONE_NEWPID),
        ] {
            let spec = spec(namespaces);
            let spaces = Spaces::of(&spec);
            assert_eq!((spaces.role(), spaces.clone_flags()), (role, flags), "{namespaces}");
        }
    }
}
