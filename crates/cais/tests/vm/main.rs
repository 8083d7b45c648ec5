//! What the host may lack, in virtual machines: a unified cgroup v2 tree with all controllers, an ordinary user with a
//! delegated cgroup, AppArmor, Debian's kernel.
//!
//! One boot for each test, many checks in it: a guest is 10 to 50 times slower than its host. Skipped where there is no
//! qemu or no kernel; `cargo xtask test` gets both.

mod apparmor;
#[path = "../oci/bed.rs"]
#[expect(dead_code, reason = "what only the runtime's own tests use")]
mod bed;
mod checkpoint;
mod criu;
mod root;
mod rootless;
mod runtime;
mod runtime_systemd;
mod runtime_user;
mod selinux;

use cais_test::vm::{Init, Profile, Security, TESTER_CGROUP, TESTER_CGROUP_SYSTEMD, batch, in_guest};

#[test]
fn version_2_as_root() {
    in_guest(&Profile::default(), |cais| {
        cais.mark();
        batch(cais, root::CHECKS);
        cais.assert_nothing_left();
    });
}

#[test]
fn version_2_below_other_engines() {
    in_guest(&Profile::default(), |_| {
        let bed = bed::Bed::new().expect("busybox");
        batch(&bed, runtime::CHECKS);
        assert!(bed.ok("list -q").is_empty());
    });
}

#[test]
fn version_2_with_criu() {
    in_guest(&Profile::default(), |cais| {
        cais.mark();
        batch(cais, checkpoint::CHECKS);
        cais.assert_nothing_left();
        batch(&bed::Bed::new().expect("busybox"), criu::CHECKS);
    });
}

#[test]
fn version_2_with_criu_elsewhere() {
    in_guest(&Profile::default(), |cais| batch(cais, checkpoint::MORE_CHECKS));
}

#[test]
fn version_2_as_an_ordinary_user() {
    in_guest(&Profile::default(), |cais| {
        let tester = rootless::Tester::new(cais, TESTER_CGROUP);
        batch(&tester, &[rootless::CHECKS, runtime_user::CHECKS].concat());
    });
}

#[test]
fn version_2_beside_systemd() {
    if !std::path::Path::new("/lib/systemd/systemd").exists() {
        return cais_test::skip("systemd is not installed");
    }
    let profile = Profile { init: Init::Systemd, limit_secs: 450, ..Profile::default() };
    in_guest(&profile, |cais| {
        let tester = rootless::Tester::new(cais, TESTER_CGROUP_SYSTEMD);
        batch(&tester, &[rootless::CHECKS_OF_SYSTEMD, runtime_user::CHECKS_OF_SYSTEMD].concat());
        batch(cais, root::CHECKS_OF_SYSTEMD);
        let bed = bed::Bed::new().expect("busybox");
        batch(&bed, runtime_systemd::CHECKS);
    });
}

#[test]
fn apparmor_confines() {
    let profile = Profile { security: Security::AppArmor, ..Profile::default() };
    in_guest(&profile, |cais| {
        batch(cais, apparmor::CHECKS);
        batch(&bed::Bed::new().expect("busybox"), apparmor::RUNTIME_CHECKS);
    });
}

#[test]
fn selinux_confines() {
    let profile = Profile { security: Security::SeLinux, ..Profile::default() };
    in_guest(&profile, |cais| {
        if !selinux::load() {
            return;
        }
        batch(cais, selinux::CHECKS);
        batch(&bed::Bed::new().expect("busybox"), selinux::RUNTIME_CHECKS);
    });
}
