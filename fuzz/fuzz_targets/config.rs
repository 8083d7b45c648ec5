//! Any bytes as a config.json: reading, checking and planning must not panic, valid or not, and a plan that comes out
//! must be one that the shim can read to its end.
//!
//! Run by `cargo +nightly fuzz run config`.

#![no_main]

use std::path::{Path, PathBuf};

use cais_bundle::plan::{self, CgroupShape, ContainerRequest, ExecRequest, Filter, Machine, Planned};
use cais_oci::runtime::Spec;
use cais_plan::{Plan, Setup};
use cais_runtime::capability::CapSet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(spec) = Spec::parse(data) else { return };
    // Planned also when it is not valid: nothing may depend on being asked first.
    let _ = spec.validate();
    let views = [("cpu,cpuacct".to_owned(), PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/c"))];
    for (capable, unified) in [(true, true), (true, false), (false, true)] {
        let machine = machine(capable);
        let cgroup =
            CgroupShape { tasks: 1, clone_into: unified, views: &views, unified, ..CgroupShape::default() };
        let seccomp = Some(Filter { program: &[0; 8], flags: 0, listener: false });
        let planned = plan::container(&ContainerRequest {
            spec: &spec,
            id: "c",
            bundle: Path::new("/bundle"),
            rootfs: Path::new("/bundle/rootfs"),
            found: &[],
            device_sources: &[],
            joins_own_network: false,
            cgroup,
            machine: &machine,
            seccomp,
            no_pivot: false,
            no_new_keyring: false,
            preserve: 0,
            waits: true,
        });
        if let Ok(planned) = &planned {
            check(planned);
        }
        let Some(process) = &spec.process else { continue };
        let (id, pid) = ("c", 1);
        let request = ExecRequest {
            process,
            spec: &spec,
            id,
            pid,
            cgroup,
            machine: &machine,
            seccomp,
            no_new_keyring: true,
            preserve: 1,
        };
        if let Ok(planned) = plan::exec(&request) {
            check(&planned);
        }
    }
});

fn machine(capable: bool) -> Machine {
    Machine {
        rootless: !capable,
        capable,
        user_namespace: false,
        may_set_groups: capable,
        owns_network: true,
        bounding: CapSet::DEFAULT,
        may_raise_limits: false,
        hard_limits: vec![(7, 1024)],
        oom_score_adj: 0,
        apparmor: Some("attr/exec"),
        selinux: true,
        landlock_abi: 6,
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
