//! `checkpoint` and `restore`: what they refuse. Processes can only be dumped where CRIU works.

use cais_test::isolation::isolated;

use crate::bed::Bed;

#[test]
fn what_is_refused() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.refuses("checkpoint c1", "container does not exist");
        bed.sleeper("c1");
        let images = bed.folder().join("images");
        let with = |flags: &str| {
            bed.cmd("checkpoint --image-path").arg(&images).args(flags).arg("c1").output().code(1)
        };
        with("--page-server x").says("--page-server ADDRESS:PORT");
        with("--page-server x:y").says("nvalid port number");
        with("--empty-ns uts").says("is not supported");
        if bed.is_ours() {
            with("--parent-path /absolute").says("must be relative");
            with("--manage-cgroups-mode gentle").says("manage-cgroups-mode");
            std::fs::create_dir_all(&images).unwrap();
            let without =
                |line: &str| bed.cmd(line).arg("--image-path").arg(&images).env("PATH", "/no/such/folder");
            without("checkpoint").arg("c1").output().code(1).says("criu, which is not installed");
            let bundle = bed.folder().join("c1");
            without("restore")
                .arg("-b")
                .arg(bundle)
                .arg("c2")
                .output()
                .code(1)
                .says("criu, which is not installed");
        }
        bed.refuses("checkpoint", "checkpoint");
        bed.refuses("restore", "restore");
        assert_eq!((bed.status("c1"), bed.ok("list -q")), ("running".to_owned(), "c1".to_owned()));
        bed.ok("kill c1 KILL");
        bed.wait_for("c1", "stopped");
        bed.refuses("checkpoint c1", "stopped");
    });
}
