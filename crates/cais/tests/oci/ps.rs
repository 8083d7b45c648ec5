//! `ps`.

use cais_test::isolation::isolated;

use crate::bed::Bed;

#[test]
fn processes_as_lines_and_as_numbers() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.bundle("c1", &["sh", "-c", "sleep 1001 & sleep 1002 & wait"]);
        bed.run_detached("c1");
        let pids = || serde_json::from_str::<Vec<i64>>(&bed.ok("ps --format json c1")).unwrap();
        cais_test::wait_until("three processes", || pids().len() == 3);
        assert!(pids().contains(&bed.pid("c1")));
        let table = bed.ok("ps c1");
        assert!(table.starts_with("UID "), "{table}");
        assert_eq!(table.lines().count(), 4, "{table}");
        assert!(table.contains("sleep 1001") && table.contains("sleep 1002"));
        let own = bed.ok("ps c1 -o pid,args -A");
        assert!(
            own.lines().next().is_some_and(|line| line.split_whitespace().eq(["PID", "COMMAND"])),
            "{own}"
        );
        assert_eq!(own.lines().count(), 4, "{own}");
        bed.refuses("ps c1 -o args", "PID");
        bed.refuses("ps -f xml c1", "format");
        bed.refuses("ps c2", "container does not exist");
        bed.ok("kill c1 KILL");
        bed.wait_for("c1", "stopped");
        assert_eq!(bed.ok("ps c1").lines().count(), 1);
    });
}
