//! `cais images`.

use cais_test::{Image, Layer, e2e, e2e_empty};

#[test]
fn images_are_listed_with_name_and_size() {
    e2e(|cais| {
        let table = cais.ok("images");
        let lines: Vec<&str> = table.lines().collect();
        let heads: Vec<&str> = lines[0].split("  ").filter(|word| !word.is_empty()).map(str::trim).collect();
        assert_eq!(heads, ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
        assert!(
            lines[1].starts_with("busybox") && lines[1].contains("latest") && lines[1].ends_with('B'),
            "{table}"
        );
        let id = cais.ok("images -q --no-trunc busybox");
        assert!(id.starts_with("sha256:") && id.len() == 71);
        assert_eq!(cais.ok("images -q busybox"), id[7..19]);
        assert_eq!(
            cais.ok("images --format '{{.Repository}}:{{.Tag}} {{.ID}}' busybox"),
            format!("busybox:latest {}", &id[7..19])
        );
        let json: serde_json::Value = serde_json::from_str(&cais.ok("images --format json busybox")).unwrap();
        assert_eq!(json["Repository"], "busybox");
        assert_eq!(cais.ok("image ls -q busybox"), id[7..19]);
    });
}

#[test]
fn filters_choose() {
    e2e(|cais| {
        let archive = cais.folder().join("i.tar");
        let image = |text: &str| {
            Image::new().layer(Layer::new().file("a", text)).set("Labels", serde_json::json!({"of": text}))
        };
        image("first").build().write_docker_archive(&archive, &["app:1"]).unwrap();
        cais.cmd("load -q -i").arg(&archive).ok();
        image("second").build().write_docker_archive(&archive, &["app:1"]).unwrap();
        cais.cmd("load -q -i").arg(&archive).ok();
        let count = |flags: &str| cais.ok(&format!("images -q {flags}")).lines().count();
        assert_eq!(count("-f dangling=true"), 1, "the first app:1 lost its name");
        assert_eq!(count("-f reference=app:*"), 1);
        assert_eq!(count("-f reference=*:latest"), 1);
        assert_eq!(count("-f label=of"), 2);
        assert_eq!(count("-f label=of=second"), 1);
        assert_eq!(count("no-such"), 0);
        cais.fails(1, "images -f nonsense=1").one_clear_error().says("nonsense");
    });
}

#[test]
fn an_empty_store_has_a_header_only() {
    e2e_empty(|cais| {
        assert_eq!(cais.ok("images").lines().count(), 1);
        assert_eq!(cais.ok("images -q"), "");
    });
}
