//! Flags before the command, the log, help and the version.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use cais_test::Invocation;
use cais_test::isolation::isolated;
use cais_test::skip;
use serde_json::Value;

use crate::bed::Bed;

#[test]
fn errors_are_logged_and_told() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let log = bed.folder().join("log");
        let fail = |flags: &str| {
            bed.bare(flags)
                .arg("--log")
                .arg(&log)
                .arg("--root")
                .arg(bed.root())
                .args("state c1")
                .output()
                .code(1)
        };
        let text = || fs::read_to_string(&log).unwrap();
        fail("").says("container does not exist");
        let first = text();
        assert!(first.starts_with("time=\"20") && first.contains("level=error msg=\""), "{first}");
        assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o644);
        let finished = fail("--log-format=json");
        let all = text();
        assert!(all.starts_with(&first), "appended");
        let last: Value = serde_json::from_str(all.lines().next_back().unwrap()).unwrap();
        assert_eq!(last["level"], "error");
        assert_eq!(last["msg"].as_str().unwrap().trim_end(), finished.stderr_text());
        assert!(last["time"].as_str().is_some_and(|time| time.starts_with("20")), "{last}");
        fail("--debug");
        assert!(text().contains("level=debug") || !bed.is_ours());
        bed.bare("--log-format xml list").output().code(1).says("log-format");
        bed.bare("--log /no/such/folder/log list").output().code(1).says("no such file or directory");
    });
}

#[test]
fn flags_in_every_spelling() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.sleeper("c1");
        let root = bed.root();
        let root = root.to_string_lossy();
        for flags in [
            format!("--root {root}"),
            format!("--root={root}"),
            format!("--systemd-cgroup=false --rootless auto --root {root}"),
            format!("--rootless=false --log-format text --root {root}"),
        ] {
            assert_eq!(bed.bare(&flags).args("list -q").ok(), "c1", "{flags}");
        }
        if bed.is_ours() {
            bed.bare("--root / list").output().code(1).says("--root");
        }
        bed.bare("--no-such-flag list").output().code(1).says("no-such-flag");
    });
}

#[test]
fn the_word_runtime_is_the_same_as_the_name() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        if !bed.is_ours() {
            skip("another runtime is judged");
            return;
        }
        let cais = || Invocation::new(env!("CARGO_BIN_EXE_cais"), "runtime --root").arg(bed.root());
        bed.sleeper("c1");
        assert_eq!(cais().args("list -q").ok(), "c1");
        cais().args("state c2").output().code(1).says("container does not exist");
        let help = Invocation::new(env!("CARGO_BIN_EXE_cais"), "runtime create --help").ok();
        assert!(help.starts_with("NAME:\n   cais runtime create - "), "{help}");
        // Nothing of the engine's is looked at.
        let bad =
            Invocation::new(env!("CARGO_BIN_EXE_cais"), "runtime --version").env("CAIS_ROOT", "relative");
        assert!(bad.ok().starts_with("cais-runtime version "));
    });
}

#[test]
fn help_and_version() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        if !bed.is_ours() {
            skip("another runtime is judged");
            return;
        }
        let version = bed.bare("--version").ok();
        let lines: Vec<&str> = version.lines().collect();
        assert!(
            lines[0].starts_with("cais-runtime version ") && lines[1].starts_with("commit: "),
            "{version}"
        );
        assert!(lines[2].starts_with("spec: 1."), "{version}");
        assert_eq!(bed.bare("-v").ok(), version);
        let help = bed.bare("--help").ok();
        assert_eq!(bed.bare("help").ok(), help);
        for command in ["create", "exec", "update", "restore", "features"] {
            assert!(help.contains(&format!("   {command} ")), "{command}");
            let own = bed.bare(command).arg("--help").ok();
            assert!(own.starts_with(&format!("NAME:\n   cais-runtime {command} - ")), "{own}");
            assert_eq!(bed.bare("help").arg(command).ok(), own);
        }
        bed.bare("frobnicate").output().code(1).says("unknown command: frobnicate");
        bed.bare("frobnicate -h").output().code(1).says("No help topic for 'frobnicate'");
        bed.bare("").output().code(1).says("a command is missing");
        assert!(!bed.root().exists(), "nothing was made");
    });
}

#[test]
fn state_lies_below_the_users_folder_unless_root() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        if !bed.is_ours() {
            skip("another runtime is judged");
            return;
        }
        let folder = bed.folder().join("xdg");
        fs::create_dir(&folder).unwrap();
        assert_eq!(bed.bare("list -q").env("XDG_RUNTIME_DIR", &folder).ok(), "");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "root has no use for it");
        let inner = bed.bare("create --bundle /no/such/bundle c1").command();
        let user = Invocation::new("unshare", "--user --map-root-user").arg(inner.get_program());
        let user = inner.get_args().fold(user, |user, arg| user.arg(arg));
        user.env("XDG_RUNTIME_DIR", &folder).env("USER", "quay").output().code(1);
        let mode = fs::metadata(folder.join("cais-runtime")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o1700, "kept from being tidied away");
    });
}
