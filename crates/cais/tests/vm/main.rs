//! What the host may lack, in virtual machines: a unified cgroup v2 tree with all controllers, an ordinary user with a
//! delegated cgroup, AppArmor, Debian's kernel.
//!
//! One boot for each test, many checks in it: a guest is 10 to 50 times slower than its host. Skipped where there is no
//! qemu or no kernel; `cargo xtask test` gets both.

mod apparmor;
mod root;
mod rootless;

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
fn version_2_as_an_ordinary_user() {
    in_guest(&Profile::default(), |cais| {
        let tester = rootless::Tester::new(cais, TESTER_CGROUP);
        batch(&tester, rootless::CHECKS);
    });
}

#[test]
fn version_2_beside_systemd() {
    if !std::path::Path::new("/lib/systemd/systemd").exists() {
        return cais_test::skip("systemd is not installed");
    }
    let profile = Profile { init: Init::Systemd, ..Profile::default() };
    in_guest(&profile, |cais| {
        let tester = rootless::Tester::new(cais, TESTER_CGROUP_SYSTEMD);
        batch(&tester, rootless::CHECKS_OF_SYSTEMD);
        batch(cais, root::CHECKS_OF_SYSTEMD);
    });
}

#[test]
fn apparmor_confines() {
    let profile = Profile { security: Security::AppArmor, ..Profile::default() };
    in_guest(&profile, |cais| batch(cais, apparmor::CHECKS));
}
