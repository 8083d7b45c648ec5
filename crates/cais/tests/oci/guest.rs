//! Engines on cgroup v2: some of these tests once more, in a virtual machine.

use cais_test::vm::{Profile, tests_in_guest};

#[test]
fn version_2() {
    let names = ["podman::the_life", "podman::limits", "containerd::the_life", "dockerd::the_life"];
    let profile = Profile { limit_secs: 400, ..Profile::default() };
    tests_in_guest(&profile, &names);
}
