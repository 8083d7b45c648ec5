//! `list` and `state`.

use cais_test::isolation::isolated;
use serde_json::{Value, json};

use crate::bed::Bed;

#[test]
fn lists_in_every_shape() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.bundle("c0", &["true"]);
        bed.create("c0");
        bed.ok("delete c0");
        assert_eq!(bed.ok("list -q"), "");
        bed.sleeper("c1");
        let bundle = bed.bundle("c2", &["true"]);
        bed.create("c2");
        let table = bed.ok("list");
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows.len(), 3, "{table}");
        assert_eq!(rows[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
        let pid = bed.pid("c2").to_string();
        assert_eq!(rows[2][..4], ["c2", pid.as_str(), "created", &bundle.folder().to_string_lossy()]);
        assert_eq!((rows[1][0], rows[1][2], rows[1][5]), ("c1", "running", "root"));
        assert_eq!(bed.ok("list --quiet"), "c1\nc2");
        let json: Value = serde_json::from_str(&bed.ok("list --format=json")).unwrap();
        assert_eq!(json.as_array().map(Vec::len), Some(2));
        let second = &json[1];
        assert_eq!((&second["id"], &second["status"]), (&json!("c2"), &json!("created")));
        assert_eq!(second["rootfs"], json!(bed.folder().join("rootfs")));
        assert_eq!(second["owner"], "root");
        assert_eq!(bed.ok("list -f table"), table);
        bed.refuses("list --format xml", "format");
        bed.refuses("list c1", "list");
    });
}

#[test]
fn a_state_that_is_not_there() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.refuses("state c1", "container does not exist");
        bed.refuses("state", "state");
    });
}

#[test]
fn a_process_that_is_gone_is_stopped_whoever_ended_it() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.sleeper("c1");
        let pid = rustix::process::Pid::from_raw(bed.pid("c1") as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        bed.wait_for("c1", "stopped");
        let list: Value = serde_json::from_str(&bed.ok("list -f json")).unwrap();
        assert_eq!((&list[0]["pid"], &list[0]["status"]), (&json!(0), &json!("stopped")));
    });
}
