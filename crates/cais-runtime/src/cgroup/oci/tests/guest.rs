//! These tests once more where the unified tree has every controller: in a virtual machine.

use cais_test::vm::{Profile, tests_in_guest};

#[test]
fn version_2() {
    tests_in_guest(&Profile::default(), &["cgroup::oci::tests::"]);
}
