//! `cais stats`.

use std::io::{BufRead, BufReader};

use cais_test::pty::Terminal;
use cais_test::{e2e, has_controller};

#[test]
fn one_sample_as_a_table_json_and_template() {
    e2e(|cais| {
        let id = cais.ok("run -d --name s1 -m 64m busybox sh -c 'while :; do :; done'");
        cais.ok("create --name c1 busybox");
        let text = cais.ok("stats --no-stream");
        let title = text.lines().next().unwrap();
        let titles = "CONTAINER ID NAME CPU % MEM USAGE / LIMIT MEM % NET I/O BLOCK I/O PIDS";
        assert_eq!(title.split_whitespace().collect::<Vec<_>>().join(" "), titles);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains('\x1b'), "{text:?}");
        let json: serde_json::Value =
            serde_json::from_str(&cais.ok("stats --no-stream --format json s1")).unwrap();
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        // As docker's.
        assert_eq!(
            keys,
            ["BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs"]
        );
        assert_eq!((json["Container"].as_str(), json["ID"].as_str()), (Some("s1"), Some(&id[..12])));
        let all = cais.ok("stats --no-stream -a --format '{{.Name}} {{.MemUsage}} {{.PIDs}}'");
        assert!(all.lines().any(|line| line == "c1 0B / 0B 0"), "{all}");
        if has_controller("memory") {
            assert!(json["MemUsage"].as_str().unwrap().ends_with(" / 64MiB"), "{json}");
        }
        if has_controller("pids") {
            assert_eq!(json["PIDs"], "1");
        }
        if has_controller("cpu") {
            let percent: f64 = json["CPUPerc"].as_str().unwrap().trim_end_matches('%').parse().unwrap();
            assert!(percent > 0.5, "it does nothing but count: {json}");
        }
        cais.fails(1, "stats --no-stream s1 no-such-container").one_clear_error().says("no-such-container");
        cais.fails(1, "stats --no-stream --format '{{.NoSuchField}}'").one_clear_error();
        assert_eq!(cais.ok("stats --no-stream --no-trunc --format {{.ID}}"), id);
    });
}

#[test]
fn the_network_is_counted_in_the_containers_namespace() {
    e2e(|cais| {
        cais.ok("run -d --name n1 busybox sleep 1000");
        let net = |name: &str| cais.ok(&format!("stats --no-stream --format {{{{.NetIO}}}} {name}"));
        cais.ok("exec n1 sh -c 'dd if=/dev/zero bs=1000 count=200 2>/dev/null | nc -u -w 1 172.17.0.254 9 || true'");
        let sent = net("n1");
        assert!(!sent.ends_with("/ 0B"), "{sent}");
        cais.ok("run -d --name h1 --network host busybox sleep 1000");
        assert_eq!(net("h1"), "0B / 0B");
    });
}

#[test]
fn a_stream_goes_on_until_all_are_gone() {
    e2e(|cais| {
        cais.ok("run -d --name s1 busybox sleep 1000");
        let binary = cais.cmd("stats --format '{{.Name}} {{.PIDs}}' s1");
        let mut child = binary.command().stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..2 {
            let line = lines.next().unwrap().unwrap();
            assert!(line.starts_with("s1 "), "{line:?}");
        }
        cais.ok("rm -f s1");
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        assert!(rest.iter().all(|line| line.starts_with("s1 ")), "{rest:?}");
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn a_reader_that_goes_ends_the_stream() {
    e2e(|cais| {
        cais.ok("run -d --name s1 busybox sleep 1000");
        let mut child = cais.cmd("stats").command().stdout(std::process::Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn a_terminal_is_written_over() {
    e2e(|cais| {
        cais.ok("run -d --name s1 busybox sleep 1000");
        let terminal = Terminal::start(&cais.cmd("stats s1").env("TERM", "xterm"), 24, 120);
        terminal.expect("\x1b[J\x1b[H");
        cais.ok("rm -f s1");
        assert_eq!(terminal.wait(), 0);
    });
}
