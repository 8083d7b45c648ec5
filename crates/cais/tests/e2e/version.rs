//! `cais version`, `--version`, `--help` and what is typed wrong.

use cais_test::e2e_empty;

#[test]
fn version_says_what_this_is() {
    e2e_empty(|cais| {
        let line = cais.ok("--version");
        assert!(line.starts_with("cais version "), "{line}");
        let version = cais.ok("version --format '{{.Client.Version}}'");
        assert!(line.contains(&version), "{line} {version}");
        let json: serde_json::Value = serde_json::from_str(&cais.ok("version --format json")).unwrap();
        assert_eq!(json["Client"]["Os"], "linux");
    });
}

#[test]
fn help_is_on_standard_output_and_names_the_commands() {
    e2e_empty(|cais| {
        let text = cais.ok("--help");
        let commands = "run create start stop kill rm ps logs exec attach wait inspect port pull load import images rmi tag volume info version";
        for command in commands.split(' ') {
            assert!(text.contains(command), "{command} in:\n{text}");
            assert!(
                cais.ok(&format!("{command} --help")).to_lowercase().contains("usage"),
                "{command} --help"
            );
        }
    });
}

#[test]
fn a_wrong_command_gets_a_hint() {
    e2e_empty(|cais| {
        let finished = cais.cmd("rnu busybox").output();
        assert_ne!(finished.status(), 0);
        assert!(finished.stdout.is_empty());
        finished.says("rnu").says("run");
    });
}

#[test]
fn output_to_a_closed_pipe_is_no_crash() {
    e2e_empty(|cais| {
        let finished = cais.cmd("--help").piped_into("true").output();
        assert!(!finished.stderr_text().contains("panicked"), "{finished}");
    });
}
