//! `delete`.

use cais_test::isolation::isolated;

use crate::bed::Bed;

#[test]
fn only_what_does_not_run_unless_forced() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.sleeper("c1");
        bed.refuses("delete c1", "cannot delete container c1 that is not stopped: running");
        assert_eq!(bed.status("c1"), "running");
        bed.ok("delete --force c1");
        bed.assert_gone("c1");
        bed.refuses("delete c1", "container does not exist");
        bed.ok("delete -f c1");
        bed.refuses("delete", "delete");
    });
}

#[test]
fn a_created_container_is_killed() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.bundle("c1", &["true"]);
        bed.create("c1");
        let pid = bed.pid("c1");
        bed.ok("delete c1");
        bed.assert_gone("c1");
        cais_test::wait_until("its process is gone", || {
            !std::path::Path::new(&format!("/proc/{pid}")).exists()
        });
    });
}

#[test]
fn a_paused_container_by_force() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.sleeper("c1");
        bed.ok("pause c1");
        bed.ok("delete --force c1");
        bed.assert_gone("c1");
    });
}
