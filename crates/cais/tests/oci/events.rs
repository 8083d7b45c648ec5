//! `events`.

use cais_test::isolation::isolated;
use serde_json::Value;

use crate::bed::Bed;

#[test]
fn figures_once_and_at_intervals() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.refuses("events --stats c1", "container does not exist");
        bed.sleeper("c1");
        let event: Value = serde_json::from_str(&bed.ok("events --stats c1")).unwrap();
        assert_eq!((event["type"].as_str(), event["id"].as_str()), (Some("stats"), Some("c1")));
        assert!(event["data"]["pids"]["current"].as_u64().is_some_and(|count| count > 0), "{event}");
        assert!(event["data"]["memory"]["usage"]["limit"].as_u64().is_some_and(|limit| limit > 0), "{event}");
        assert!(event["data"]["cpu"]["usage"]["total"].as_u64().is_some(), "{event}");

        let file = bed.folder().join("events");
        let script = format!("exec \"$@\" >{}", file.display());
        let inner = bed.cmd("events --interval 20ms c1").command();
        let shell = cais_test::Invocation::new("sh", "-c").arg(script).arg("sh").arg(inner.get_program());
        let running = inner.get_args().fold(shell, |shell, arg| shell.arg(arg)).spawn();
        cais_test::wait_until("three lines", || {
            std::fs::read_to_string(&file).unwrap_or_default().lines().count() >= 3
        });
        bed.ok("delete --force c1");
        running.wait().code(0);
        for line in std::fs::read_to_string(&file).unwrap().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            assert!(["stats", "oom"].contains(&event["type"].as_str().unwrap_or_default()), "{event}");
        }
    });
}

#[test]
fn what_is_refused() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.sleeper("c1");
        bed.refuses("events --interval 0 c1", "interval must be greater than 0");
        bed.refuses("events --interval soon c1", "interval");
        bed.ok("kill c1 KILL");
        bed.wait_for("c1", "stopped");
        bed.refuses("events --stats c1", "is not running");
    });
}
