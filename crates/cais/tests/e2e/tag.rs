//! `cais tag`.

use cais_test::e2e;

#[test]
fn a_second_name_for_the_same_image() {
    e2e(|cais| {
        cais.ok("tag busybox example.test:5000/deep/er/name:v1.2");
        let id = |name: &str| cais.ok(&format!("image inspect --format {{{{.Id}}}} {name}"));
        assert_eq!(id("example.test:5000/deep/er/name:v1.2"), id("busybox"));
        cais.ok("tag busybox plain");
        assert_eq!(id("docker.io/library/plain:latest"), id("busybox"));
        cais.fails(1, "tag no-such x:1").one_clear_error().says("no-such");
        cais.fails(1, "tag busybox 'Bad Name'").one_clear_error();
        cais.fails(
            1,
            "tag busybox x@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        )
        .one_clear_error();
    });
}
