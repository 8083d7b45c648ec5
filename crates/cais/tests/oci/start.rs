//! `start`.

use cais_test::isolation::isolated;

use crate::bed::Bed;

#[test]
fn once_and_only_what_was_created() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.refuses("start c1", "container does not exist");
        bed.bundle("c1", &["sleep", "1000"]);
        bed.create("c1");
        bed.ok("start c1");
        assert_eq!(bed.status("c1"), "running");
        bed.refuses("start c1", "cannot start an already running container");
        bed.ok("kill c1 KILL");
        bed.wait_for("c1", "stopped");
        bed.refuses("start c1", "cannot start a container that has stopped");
        bed.refuses("start", "start");
        bed.refuses("start c1 c2", "start");
    });
}
