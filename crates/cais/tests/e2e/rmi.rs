//! `cais rmi`.

use cais_test::e2e;

#[test]
fn names_go_first_and_the_image_with_its_last_name() {
    e2e(|cais| {
        let id = cais.ok("images -q --no-trunc busybox");
        cais.ok("tag busybox other:1");
        let text = cais.ok("rmi other:1");
        assert!(text.contains("Untagged: other:1") && !text.contains("Deleted:"), "{text}");
        let text = cais.ok("rmi busybox");
        assert!(
            text.contains("Untagged: busybox:latest") && text.contains(&format!("Deleted: {id}")),
            "{text}"
        );
        assert_eq!(cais.ok("images -aq"), "");
        cais.fails(1, "rmi busybox").one_clear_error().says("busybox");
        let layers = std::fs::read_dir(cais.root().join("layers")).map_or(0, Iterator::count);
        assert_eq!(layers, 0, "its layers are gone from the disk");
    });
}

#[test]
fn an_image_in_use_is_kept() {
    e2e(|cais| {
        let id = cais.ok("create --name user busybox true");
        let refused = cais.fails(1, "rmi busybox").one_clear_error();
        let text = refused.stderr_text();
        assert!(text.contains("user") || text.contains(&id[..12]), "says who uses it: {text}");
        cais.ok("start -a user");
        cais.ok("rm user");
        cais.ok("rmi busybox");
    });
}

#[test]
fn by_id_needs_force_when_several_names_are_on_it() {
    e2e(|cais| {
        let id = cais.ok("images -q busybox");
        cais.ok("tag busybox other:1");
        cais.fails(1, &format!("rmi {id}")).one_clear_error();
        cais.ok(&format!("rmi -f {id}"));
        assert_eq!(cais.ok("images -aq"), "");
    });
}
