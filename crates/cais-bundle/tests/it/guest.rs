//! All of these tests once more on a unified tree with every controller, in a virtual machine.

use cais_test::vm::{Profile, tests_in_guest};

#[test]
fn version_2() {
    tests_in_guest(&Profile::default(), &[]);
}
