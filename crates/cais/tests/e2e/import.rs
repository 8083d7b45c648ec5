//! `cais import`.

use cais_test::{e2e, e2e_empty};

#[test]
fn a_tar_of_a_root_becomes_an_image() {
    e2e_empty(|cais| {
        let Some(layer) = cais_test::rootfs::busybox_layer() else {
            return cais_test::skip("busybox-static is missing");
        };
        let tar = cais.folder().join("root.tar");
        std::fs::write(&tar, layer.tar()).unwrap();
        let id = cais
            .cmd("import --change 'CMD [\"echo\",\"imported\"]' --change 'ENV A=1' -m why")
            .arg(&tar)
            .arg("root:1")
            .ok();
        assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
        assert_eq!(cais.ok("run --rm -e PATH=/bin root:1"), "imported");
        assert_eq!(cais.ok("image inspect --format '{{.Config.Env}}' root:1"), "[A=1]");
        let again = cais.cmd("import - root:2").stdin(layer.tar()).ok();
        assert!(again.starts_with("sha256:"));
    });
}

#[test]
fn what_is_no_tar_is_refused() {
    e2e(|cais| {
        cais.cmd("import - bad:1").stdin("not a tar").output().code(1).one_clear_error();
        cais.fails(1, "import /no/such/file").one_clear_error().says("/no/such/file");
        cais.fails(1, "image inspect bad:1");
    });
}
