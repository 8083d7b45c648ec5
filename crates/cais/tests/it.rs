//! What needs no container: help, usage errors with their exit codes, suggestions. Everything else is in `tests/e2e`.

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;

const COMMANDS: &str = "run|exec|ps|logs|create|start|stop|kill|rm|attach|wait|debug|why|inspect|container inspect|port|pull|load|\
    import|images|image inspect|tag|rmi|volume create|volume ls|volume inspect|volume rm|info|version|system check|\
    container ls|image ls|container run|system info";

fn cais(root: &Path, line: &[&str]) -> Output {
    let mut command = Command::cargo_bin("cais").expect("the binary is built");
    command.env_clear().env("CAIS_ROOT", root.join("root")).env("CAIS_RUN_ROOT", root.join("run"));
    command.args(line).output().expect("it runs")
}

fn told(line: &[&str], code: i32, part: &str) {
    let root = tempfile::tempdir().expect("a directory");
    let output = cais(root.path(), line);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{line:?}: {err}");
    let (text, other) = if code == 0 { (&out, &err) } else { (&err, &out) };
    assert!(text.contains(part), "{line:?}: {text}");
    assert!(other.is_empty(), "{line:?}: {other}");
}

#[test]
fn every_command_has_help_and_refuses_an_unknown_flag() {
    for name in COMMANDS.split('|') {
        let words: Vec<&str> = name.split(' ').collect();
        told(&[&words[..], &["--help"]].concat(), 0, "Usage:  cais ");
        let code = match words.last() {
            Some(&("run" | "exec" | "debug" | "create")) if words[0] != "volume" => 125,
            _ => 1,
        };
        told(&[&words[..], &["--no-such-flag"]].concat(), code, "unknown flag: --no-such-flag\nhint: ");
    }
}

#[test]
fn h_is_help_but_for_run_and_create() {
    told(&["ps", "-h"], 0, "Usage:  cais ps");
    told(&["image", "ls", "-h"], 0, "Usage:  cais images");
    told(&["run", "-h", "name"], 125, "arguments are missing");
    told(&["-h"], 0, "Common commands:");
    told(&[], 0, "Common commands:");
    told(&["volume"], 0, "Usage:  cais volume COMMAND");
    told(&["help", "run"], 0, "Usage:  cais run");
}

#[test]
fn similar_words_are_suggested() {
    told(&["rnu", "x"], 1, "did you mean 'cais run'?");
    told(&["run", "--interactiv", "x"], 125, "did you mean --interactive?");
    told(&["image", "lst"], 1, "did you mean 'cais image ls'?");
}

#[test]
fn usage_errors_come_before_anything_is_done() {
    let cases: [(&[&str], i32, &str); 18] = [
        (&["run"], 125, "cais: run: arguments are missing"),
        (&["create"], 125, "cais: create: arguments are missing"),
        (&["rm"], 1, "cais: rm: arguments are missing"),
        (&["pause"], 1, "cais: pause: arguments are missing"),
        (&["stop", "--all", "x"], 1, "conflicting options: use names, --all"),
        (&["top"], 1, "cais: top: arguments are missing"),
        (&["update", "x"], 1, "nothing to update"),
        (&["rm", "--time", "3", "x"], 1, "--time: only means something with --force"),
        (&["create", "--replace", "x"], 125, "--replace: needs --name"),
        (&["ps", "extra"], 1, "unexpected argument \"extra\""),
        (&["exec", "x"], 125, "a command is missing"),
        (&["run", "--gpus", "all", "x"], 125, "cais: run: --gpus: GPUs are not supported yet"),
        (&["run", "-it", "x"], 1, "the input device is not a TTY"),
        (&["run", "--memory", "lots", "x"], 125, "--memory: invalid size \"lots\""),
        (&["run", "-d", "-a", "stdin", "x"], 125, "conflicting options: --attach and --detach"),
        (&["logs", "--since", "yesterday", "x"], 1, "--since: \"yesterday\" is no time"),
        (&["ps", "--format", "{{.Names"], 1, "--format: template, column 1: unclosed action"),
        (&["run", "--detach-keys", "alt-x", "x"], 125, "--detach-keys alt-x: unknown key"),
    ];
    for (line, code, part) in cases {
        let root = tempfile::tempdir().expect("a directory");
        let output = cais(root.path(), line);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line:?}: {text}");
        assert!(text.contains(part) && output.stdout.is_empty(), "{line:?}: {text}");
        assert!(!root.path().join("root").exists(), "{line:?} has made the store");
    }
}

#[test]
fn the_version_is_one_line() {
    told(&["--version"], 0, "cais version ");
    told(&["-v"], 0, "cais version ");
}
