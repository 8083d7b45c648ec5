//! `cais ps`.

use cais_test::e2e;
use cais_test::pty::Terminal;

#[test]
fn running_ones_are_shown_and_all_on_request() {
    e2e(|cais| {
        let up = cais.ok("run -d --name up busybox sleep 1000");
        cais.fails(3, "run --name down busybox sh -c 'exit 3'");
        cais.ok("create --name born busybox");
        let table = cais.ok("ps");
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[0].starts_with("CONTAINER ID") && lines[0].ends_with("NAMES"), "{table}");
        assert_eq!(lines.len(), 2, "{table}");
        assert!(
            lines[1].starts_with(&up[..12]) && lines[1].ends_with("up") && lines[1].contains("Up "),
            "{table}"
        );
        assert!(lines[1].contains("\"sleep 1000\""), "{table}");
        assert_eq!(cais.ok("ps -q"), up[..12]);
        assert_eq!(cais.ok("ps -q --no-trunc"), up);
        assert_eq!(cais.ok("ps -aq").lines().count(), 3);
        let all = cais.ok("ps -a");
        assert!(all.contains("Exited (3)") && all.contains("Created"), "{all}");
        assert_eq!(cais.ok("ps -l --format {{.Names}}"), "born");
        assert_eq!(cais.ok("ps -n 2 --format {{.Names}}"), "born\ndown");
    });
}

#[test]
fn filters_choose() {
    e2e(|cais| {
        cais.ok("run -d --name alpha --label tier=web busybox sleep 1000");
        cais.fails(3, "run --name beta --label tier=db busybox sh -c 'exit 3'");
        let names = |filter: &str| {
            let list = cais.ok(&format!("ps -a --format {{{{.Names}}}} {filter}"));
            let mut names: Vec<String> = list.lines().map(str::to_owned).collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(names("-f name=alp"), "alpha");
        assert_eq!(names("-f label=tier"), "alpha beta");
        assert_eq!(names("-f label=tier=db"), "beta");
        assert_eq!(names("-f status=exited"), "beta");
        assert_eq!(names("-f status=running -f status=exited"), "alpha beta");
        assert_eq!(names("-f exited=3"), "beta");
        assert_eq!(names("-f ancestor=busybox"), "alpha beta");
        assert_eq!(names("-f ancestor=other"), "");
        assert_eq!(names("-f before=beta"), "alpha");
        assert_eq!(names("-f since=alpha"), "beta");
        assert_eq!(names("-f network=bridge -f name=alpha"), "alpha");
        cais.fails(1, "ps -f nonsense=1").one_clear_error().says("nonsense");
    });
}

#[test]
fn formats_are_templates_or_json() {
    e2e(|cais| {
        let id = cais.ok("run -d --name f1 --label a=1 -p 127.0.0.1:8080:80 busybox sleep 1000");
        assert_eq!(
            cais.ok("ps --format '{{.ID}} {{.Image}} {{.Ports}} {{.State}} {{.Label \"a\"}}'"),
            format!("{} busybox 127.0.0.1:8080->80/tcp running 1", &id[..12])
        );
        assert_eq!(cais.ok("ps --format 'table {{.Names}}\t{{.Image}}'").lines().count(), 2);
        let json: serde_json::Value = serde_json::from_str(&cais.ok("ps --format json")).unwrap();
        assert_eq!(json["Names"], "f1");
        assert_eq!(json["ID"], id[..12]);
        assert_eq!(json["Labels"], "a=1");
        cais.fails(1, "ps --format '{{.NoSuchField}}'").one_clear_error().says("NoSuchField");
        cais.fails(1, "ps --format '{{'").one_clear_error();
    });
}

#[test]
fn a_table_fits_the_terminal_and_is_whole_elsewhere() {
    e2e(|cais| {
        let label = "registry.example.org/a/very/long/name/of/an/image/that/fills/lines:1.2.3";
        cais.ok(&format!("tag busybox {label}"));
        cais.ok(&format!("create --name quay {label}"));
        let terminal = Terminal::start(&cais.cmd("ps -a"), 24, 90);
        terminal.expect("quay");
        let screen = terminal.screen();
        assert_eq!(terminal.wait(), 0);
        assert!(screen.contains('…') && screen.contains(":1.2.3") && screen.contains("quay"), "{screen}");
        assert!(screen.lines().all(|line| line.trim_end().chars().count() <= 90), "{screen}");
        let terminal = Terminal::start(&cais.cmd("ps -a --no-trunc"), 24, 90);
        terminal.expect(label);
        assert_eq!(terminal.wait(), 0);
        assert!(cais.ok("ps -a").contains(label));
    });
}
