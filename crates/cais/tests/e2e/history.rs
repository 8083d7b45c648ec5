//! `cais history`.

use cais_test::e2e;

#[test]
fn steps_last_one_first() {
    e2e(|cais| {
        cais.ok("run --name c1 busybox sh -c 'echo 123456789 >/file'");
        let id = cais.ok("commit -m remark c1 made:1");
        let lines = cais.ok("history made:1");
        let lines: Vec<&str> = lines.lines().collect();
        let titles: Vec<&str> = lines[0].split_whitespace().collect();
        assert_eq!(titles, ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]);
        assert!(
            lines[1].starts_with(&id[7..19]) && lines[1].contains("10B") && lines[1].ends_with("remark"),
            "{lines:?}"
        );
        assert!(lines[2].starts_with("<missing>") && lines[2].contains("cais-test"), "{lines:?}");
        assert_eq!(cais.ok("history -q --no-trunc made:1"), format!("{id}\n<missing>"));
        let exact = cais.ok("image history -H=false --no-trunc made:1");
        assert!(exact.contains("CREATED AT") && !exact.contains(" ago"), "{exact}");
        assert_eq!(
            cais.ok("history --human=false --format '{{.Size}} {{.CreatedBy}}' made:1")
                .lines()
                .next()
                .unwrap(),
            "10 sh -c echo 123456789 >/file"
        );
        let json = cais.ok("history --format json made:1");
        let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        for key in ["Comment", "CreatedAt", "CreatedBy", "CreatedSince", "ID", "Size"] {
            assert!(first[key].is_string(), "{key} in {json}");
        }
        let long = "x".repeat(60);
        cais.ok(&format!("run --name c2 busybox echo {long}"));
        cais.ok("commit c2 made:2");
        let short = cais.ok("history --format '{{.CreatedBy}}' made:2");
        assert_eq!(short.lines().next().unwrap(), format!("echo {}…", &long[..39]));
        cais.fails(1, "history nosuch").one_clear_error().says("nosuch");
    });
}
