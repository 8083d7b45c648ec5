//! Readers of bytes that others wrote, as `fuzz/` and the units with random bytes call them: they must not panic, and what
//! they make of the bytes must hold together. No part of the interface.

use std::path::{Path, PathBuf};

use cais_oci::runtime::{ContainerProcessState, Spec, Status};
use cais_plan::{Plan, Setup, wire};
use cais_runtime::capability::CapSet;
use cais_runtime::cgroup::oci::{device_rules, plan_v1, plan_v2};

use crate::filter::{self, Compiled};
use crate::launch::{Blame, Failed, blame};
use crate::plan::{self, CgroupShape, ContainerRequest, ExecRequest, Found, Machine, Planned};
use crate::state::Record;
use crate::{process, readiness};

const STATUSES: [Status; 5] =
    [Status::Creating, Status::Created, Status::Running, Status::Paused, Status::Stopped];

/// A `state.json`: read, asked for everything that stands in it alone, written and read again.
///
/// # Panics
/// When what is written is not what was read.
pub fn state(text: &[u8]) {
    let Ok(record) = Record::parse(text) else { return };
    for status in STATUSES {
        let state = record.state(status);
        assert!(state.pid.is_none_or(|pid| pid > 0), "a signal to it would go to several processes");
    }
    for index in [0, 1, record.late.first as u32, u32::MAX] {
        let failed = Failed { index, errno: 2, detail: wire::detail::HOOK, said: String::new() };
        assert!(!blame(failed, &Blame::kept(&record.late)).to_string().is_empty());
    }
    let Ok(written) = serde_json::to_vec(&record) else { panic!("it cannot be written") };
    let Ok(again) = Record::parse(&written) else { panic!("what was written cannot be read") };
    assert_eq!(serde_json::to_vec(&again).ok(), Some(written));
}

/// A packet of a first process, a message to a container's `NOTIFY_SOCKET`, one to the watcher of a seccomp filter, a
/// line of `/proc/PID/stat`: the first byte says which.
///
/// # Panics
/// When something that was understood makes no sense.
pub fn message(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 4 {
        0 => match wire::Word::parse(bytes) {
            Some(wire::Word::Cloned { pid }) => assert!(pid > 0),
            Some(wire::Word::Failed { index, errno, detail }) => {
                let said = String::from_utf8_lossy(bytes).into_owned();
                let failed = Failed { index, errno, detail, said };
                let Ok(planned) = plan_of(&crate::template(false), Variant::PLAIN) else { return };
                assert!(!blame(failed, &Blame::planned(&planned, "sh")).to_string().is_empty());
            }
            _ => {}
        },
        1 => {
            let line = readiness::ready(bytes);
            assert!(line.is_none_or(|line| !line.contains(&b'\n')), "one line is passed on");
        }
        2 => {
            let Ok(message) = serde_json::from_slice::<ContainerProcessState>(bytes) else { return };
            assert!(serde_json::to_vec(&message).is_ok());
        }
        _ => drop(process::parse(bytes)),
    }
}

/// A config.json: checked, its filter compiled, its limits and its plan made, valid or not. A plan must be one that the
/// shim can read to its end.
///
/// # Panics
/// When it is not.
pub fn config(json: &[u8]) {
    let Ok(spec) = Spec::parse(json) else { return };
    // Planned also when it is not valid: nothing may depend on being asked first.
    let _ = spec.validate();
    let _ = Compiled::of(&spec);
    let _ = filter::listener(&spec);
    if let Some(resources) = spec.linux.as_ref().and_then(|linux| linux.resources.as_ref()) {
        let _ = (plan_v1(resources), device_rules(resources));
        let _ = plan_v2(resources, Default::default());
    }
    for variant in Variant::ALL {
        if let Ok(planned) = plan_of(&spec, variant) {
            check(&planned);
        }
        if let Some(Ok(planned)) = plan_of_exec(&spec, variant) {
            check(&planned);
        }
    }
}

/// Circumstances of a plan.
#[derive(Clone, Copy)]
struct Variant {
    capable: bool,
    unified: bool,
    odd: bool,
}

impl Variant {
    const PLAIN: Variant = Variant { capable: true, unified: false, odd: false };
    const ALL: [Variant; 4] = [
        Variant::PLAIN,
        Variant { unified: true, ..Variant::PLAIN },
        Variant { capable: false, unified: true, odd: false },
        Variant { odd: true, ..Variant::PLAIN },
    ];

    fn machine(self) -> Machine {
        Machine {
            rootless: !self.capable,
            capable: self.capable,
            user_namespace: self.odd,
            may_set_groups: self.capable,
            owns_network: !self.odd,
            bounding: CapSet::DEFAULT,
            may_raise_limits: self.odd,
            hard_limits: vec![(7, 1024)],
            oom_score_adj: 0,
            apparmor: Some("attr/exec"),
            selinux: true,
            landlock_abi: 6,
        }
    }
}

fn plan_of(spec: &Spec, variant: Variant) -> Result<Planned, plan::PlanError> {
    let machine = variant.machine();
    let views = [("cpu,cpuacct".to_owned(), PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/c"))];
    let found = vec![Found { symlink: Some("../x".into()), procfs: true }; spec.mounts.len()];
    let sources = [(0, PathBuf::from("/dev/other"))];
    let odd = variant.odd;
    plan::container(&ContainerRequest {
        spec,
        id: "c",
        bundle: Path::new("/bundle"),
        rootfs: Path::new("/bundle/rootfs"),
        found: if odd { &found } else { &[] },
        device_sources: if odd { &sources } else { &[] },
        joins_own_network: odd,
        cgroup: shape(&views, variant),
        machine: &machine,
        seccomp: Some(plan::Filter { program: &[0; 8], flags: 0, listener: odd }),
        no_pivot: odd,
        no_new_keyring: odd,
        preserve: if odd { 3 } else { 0 },
        begin: if odd { plan::Begin::AfterGo } else { plan::Begin::ByStart },
    })
}

fn plan_of_exec(spec: &Spec, variant: Variant) -> Option<Result<Planned, plan::PlanError>> {
    let process = spec.process.as_ref()?;
    Some(plan::exec(&ExecRequest {
        process,
        spec,
        id: "c",
        pid: 1,
        cgroup: shape(&[], variant),
        machine: &variant.machine(),
        seccomp: None,
        no_new_keyring: variant.odd,
        preserve: 1,
        waits: process.terminal && variant.odd,
    }))
}

fn shape(views: &[(String, PathBuf)], variant: Variant) -> CgroupShape<'_> {
    CgroupShape {
        tasks: 1,
        clone_into: variant.unified,
        moved_by_manager: variant.odd,
        views,
        unified: variant.unified,
        own_group: None,
    }
}

fn check(planned: &Planned) {
    let bytes = planned.steps.finish(&Setup::NONE);
    let Ok(plan) = Plan::parse(&bytes) else { panic!("the plan has no header") };
    assert_eq!(plan.steps().filter(Result::is_ok).count(), planned.steps.len());
    assert_eq!(planned.steps.len(), planned.subjects.len());
    assert!(planned.outer as usize <= planned.steps.len());
    assert!(planned.fds.is_sorted_by_key(|(number, _)| *number));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATE: &str = r#"{"ociVersion":"1.2.0","id":"c1","bundle":"/b","created":"2024-01-01T00:00:00Z","uid":0,
        "rootfs":"/b/rootfs","complete":true,"init":{"pid":77,"start":5},"ownPidNamespace":true,"cgroup":null,
        "rootlessCgroup":false,"hooks":{"poststop":[{"path":"/bin/true","timeout":3}]},
        "late":{"command":"sh","first":40,"sentences":["startContainer hook #0","execute sh"]},
        "listener":{"path":"/agent.sock"},"notifySocket":"/run/n"}"#;

    /// The text with some bytes replaced, which reaches further than random bytes.
    fn damaged(text: String) -> impl Strategy<Value = Vec<u8>> {
        let places = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
        let cut = any::<prop::sample::Index>();
        (places, prop::option::weighted(0.2, cut)).prop_map(move |(places, cut)| {
            let mut bytes = text.clone().into_bytes();
            for (place, byte) in places {
                let at = place.index(bytes.len());
                // Most changes leave it JSON.
                bytes[at] =
                    if byte < 64 || !bytes[at].is_ascii_alphanumeric() { byte } else { b'0' + byte % 10 };
            }
            bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(text.len())));
            bytes
        })
    }

    fn template() -> String {
        serde_json::to_string(&crate::template(false)).unwrap()
    }

    proptest! {
        #[test]
        fn any_state(bytes: Vec<u8>, near in damaged(STATE.to_owned())) {
            state(&bytes);
            state(&near);
        }

        #[test]
        fn any_message(bytes: Vec<u8>, kind in 0..4_u8, letter in prop::sample::select(b"PYNFG".to_vec()), words: Vec<u32>) {
            message(&bytes);
            message(&[&[kind], bytes.as_slice()].concat());
            let payload: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            message(&[&[0, letter], payload.as_slice()].concat());
        }

        #[test]
        fn any_config(bytes: Vec<u8>, near in damaged(template())) {
            config(&bytes);
            config(&near);
        }
    }

    #[test]
    fn the_samples_are_read() {
        assert!(Record::parse(STATE.as_bytes()).is_ok());
        for pid in ["0", "-1", "-77"] {
            let text = STATE.replace("77", pid);
            assert!(Record::parse(text.as_bytes()).is_err(), "{pid}");
        }
        state(STATE.replace("40", &usize::MAX.to_string()).as_bytes());
        assert!(plan_of(&crate::template(false), Variant::PLAIN).is_ok());
        config(template().as_bytes());
        message(b"\x00F\xff\xff\xff\xff\0\0\0\0\0\0\0\0");
    }
}
