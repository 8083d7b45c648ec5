//! Engines on cgroup v2: some of these tests once more, in a virtual machine.

use cais_test::vm::{Profile, tests_in_guest};

#[test]
fn version_2() {
    let names = ["podman::the_life", "podman::limits", "containerd::the_life", "dockerd::the_life"];
    tests_in_guest(&Profile::default(), &names);
}
