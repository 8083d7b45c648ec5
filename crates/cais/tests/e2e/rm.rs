//! `cais rm`.

use cais_test::e2e;

#[test]
fn a_running_container_needs_force() {
    e2e(|cais| {
        cais.mark();
        cais.ok("run -d --name r1 -p 8080:80 -v /data --tmpfs /t busybox sleep 1000");
        cais.fails(1, "rm r1").one_clear_error().says("running");
        assert_eq!(cais.ok("rm -f -v r1"), "r1");
        cais.fails(1, "rm r1").one_clear_error().says("r1");
        assert_eq!(cais.ok("ps -aq"), "");
        cais.assert_nothing_left();
    });
}

#[test]
fn forced_removal_of_nothing_is_no_error() {
    e2e(|cais| {
        cais.cmd("rm -f no-such-container").output().code(0);
    });
}

#[test]
fn named_volumes_survive() {
    e2e(|cais| {
        cais.ok("run --name v1 -v kept:/a -v /b busybox true");
        cais.ok("rm -v v1");
        assert_eq!(cais.ok("volume ls -q"), "kept");
    });
}

#[test]
fn by_id_prefix_and_many_at_once() {
    e2e(|cais| {
        cais.mark();
        let ids: Vec<String> = (0..4).map(|_| cais.ok("run -d busybox sleep 1000")).collect();
        let list: Vec<&str> = ids.iter().map(|id| &id[..12]).collect();
        assert_eq!(cais.ok(&format!("rm -f {}", list.join(" "))), list.join("\n"));
        cais.assert_nothing_left();
    });
}

#[test]
fn all_latest_and_those_that_pass_a_filter() {
    e2e(|cais| {
        cais.mark();
        cais.ok("run -d --name r1 busybox sleep 1000");
        cais.ok("create --name c1 --label x busybox");
        let latest = cais.ok("create --name c2 busybox");
        assert_eq!(cais.ok("rm -l"), latest);
        assert_eq!(cais.ok("rm --filter label=x").len(), 64);
        cais.fails(1, "rm -a").one_clear_error().says("running");
        let script = "sh -c 'trap \"exit 0\" TERM; echo up; while :; do sleep 0.1; done'";
        cais.cmd("run -d --rm --name t1 busybox").args(script).ok();
        cais.wait_for_log("t1", "up");
        cais.ok("rm -f -t 20 t1");
        assert_eq!(cais.ok("rm -af").len(), 64);
        cais.fails(1, "rm").one_clear_error().says("arguments are missing");
        cais.cmd("rm --ignore r1").output().code(0).prints("");
        cais.fails(1, "rm --link r1").one_clear_error().says("--link");
        cais.assert_nothing_left();
    });
}
