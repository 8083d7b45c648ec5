//! `cais top`.

use cais_test::{Cais, e2e};

/// The words of each line behind the titles.
fn rows(text: &str) -> Vec<Vec<&str>> {
    text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect()
}

fn start(cais: &Cais) {
    cais.ok("run -d --name t1 --user 7:8 busybox sh -c 'sleep 1234 & echo up; wait'");
    cais.wait_for_log("t1", "up");
}

#[test]
fn the_usual_columns_are_those_of_ps_ef() {
    e2e(|cais| {
        start(cais);
        let text = cais.ok("top t1");
        let title = "UID                 PID                 PPID                C                   STIME               TTY                 TIME                CMD";
        assert_eq!(text.lines().next(), Some(title), "as docker pads it");
        let rows = rows(&text);
        assert_eq!(rows.len(), 2, "{text}");
        let pid = cais.inspect("t1", "{{.State.Pid}}");
        assert_eq!(rows[0][1], pid);
        assert_eq!(rows[1][2], pid, "the parent");
        assert_eq!(rows[1][7..], ["sleep", "1234"]);
        assert_eq!(rows[0][5], "?", "no terminal");
        let host = std::fs::read_to_string("/etc/passwd").unwrap();
        let user = host.lines().find(|line| line.split(':').nth(2) == Some("7"));
        assert_eq!(rows[0][0], user.map_or("7", |line| line.split(':').next().unwrap()));
    });
}

#[test]
fn columns_of_ps_can_be_chosen() {
    e2e(|cais| {
        start(cais);
        assert_eq!(
            cais.ok("top t1 -eo uid,comm,args")
                .lines()
                .last()
                .unwrap()
                .split_whitespace()
                .collect::<Vec<_>>(),
            ["7", "sleep", "sleep", "1234"]
        );
        let text = cais.ok("top t1 aux");
        assert!(text.starts_with("USER ") && text.lines().next().unwrap().ends_with("COMMAND"), "{text}");
        assert!(rows(&text)[0][5].parse::<u64>().unwrap() > 0, "resident: {text}");
        cais.fails(1, "top t1 -o nonsense").one_clear_error().says("nonsense");
        cais.fails(1, "top t1 --forest").one_clear_error().says("--forest");
    });
}

#[test]
fn descriptors_show_what_the_container_sees() {
    e2e(|cais| {
        start(cais);
        let text = cais.ok("top t1 pid ppid hpid,user state capeff");
        let rows = rows(&text);
        assert_eq!(rows[0][..2], ["1", "0"], "{text}");
        assert_eq!(rows[1][1], "1");
        assert_eq!(rows[0][2], cais.inspect("t1", "{{.State.Pid}}"));
        assert_eq!(rows[0][5], "none", "an ordinary user has no capabilities");
        cais.fails(1, "top t1 nonsense").one_clear_error().says("nonsense");
    });
}

#[test]
fn names_of_the_containers_users_do_not_lead_out_of_it() {
    e2e(|cais| {
        cais.ok("run -d --name t1 busybox sh -c 'rm -f /etc/passwd; ln -s /secret /etc/passwd; echo x:x:0:0:: >/secret; echo up; sleep 1000'");
        cais.wait_for_log("t1", "up");
        assert_eq!(cais.ok("top t1 user").lines().nth(1).map(str::trim), Some("x"));
        cais.ok("exec t1 sh -c 'rm /etc/passwd; mkfifo /etc/passwd'");
        assert_eq!(
            cais.ok("top t1 user").lines().nth(1).map(str::trim),
            Some("0"),
            "nobody waits for a pipe"
        );
    });
}

#[test]
fn with_exec_latest_and_without_a_run() {
    e2e(|cais| {
        cais.ok("create --name c1 busybox");
        cais.fails(1, "top c1").one_clear_error().says("not running");
        cais.fails(1, "top no-such-container").one_clear_error();
        cais.fails(1, "top").one_clear_error();
        start(cais);
        cais.ok("exec -d -t t1 sleep 4321");
        let text = cais.ok("top -l");
        let exec = rows(&text).into_iter().find(|row| row[7..] == ["sleep", "4321"]).expect("exec'd");
        assert_eq!(exec[5], "pts/0");
    });
}
