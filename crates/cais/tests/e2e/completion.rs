//! `cais completion`, `__complete`, manual pages and "did you mean".

use cais_test::{Invocation, e2e};

#[test]
fn live_names_are_offered() {
    e2e(|cais| {
        cais.ok("run -d --name quay --network none busybox sleep 1000");
        cais.ok("create --name born busybox");
        cais.ok("volume create data");
        assert_eq!(cais.ok("__complete stop ''"), "quay\tbusybox\n:4");
        assert_eq!(cais.ok("__complete start ''"), "born\tbusybox\n:4");
        assert_eq!(cais.ok("__complete rm -f b"), "born\tbusybox\n:4");
        assert_eq!(cais.ok("__complete volume rm ''"), "data\n:4");
        assert!(cais.ok("__complete rmi b").contains("busybox:latest"));
        assert!(cais.ok("__complete run --network container:").contains("container:quay"));
        assert!(cais.ok("__complete run --net").contains("--network\t"));
    });
}

#[test]
fn bash_completes_with_the_script() {
    e2e(|cais| {
        cais.ok("create --name quay busybox");
        let script = cais.folder().join("completion.bash");
        std::fs::write(&script, cais.ok("completion bash")).expect("written");
        let program =
            "source \"$1\"; COMP_LINE=\"$2 $3\"; COMP_POINT=${#COMP_LINE}; _cais; echo \"${COMPREPLY[*]}\"";
        let global = format!(
            "{} --root {} --run-root {}",
            cais.binary().display(),
            cais.root().display(),
            cais.run_root().display()
        );
        for (line, expected) in [
            ("inspect q", "quay"),
            ("run --network=ho", "host"),
            ("run --netw", "--network"),
            ("comple", "completion"),
        ] {
            let found = Invocation::new("bash", "-c")
                .arg(program)
                .arg("bash")
                .arg(&script)
                .arg(&global)
                .arg(line)
                .ok();
            assert_eq!(found, expected, "{line}");
        }
    });
}

#[test]
fn every_shell_has_a_script_and_every_command_a_page() {
    e2e(|cais| {
        for shell in ["bash", "zsh", "fish"] {
            assert!(cais.ok(&format!("completion {shell}")).contains("__complete"), "{shell}");
        }
        cais.fails(1, "completion powershell").one_clear_error().says("powershell");
        let pages = cais.folder().join("man");
        cais.cmd("man --dir").arg(&pages).ok();
        let page = std::fs::read_to_string(pages.join("cais-run.1")).expect("a page");
        assert!(page.contains("\\-\\-privileged") && page.contains(".SH EXAMPLES"), "{page}");
        assert!(pages.join("cais.1").exists() && pages.join("cais-volume-ls.1").exists());
    });
}

#[test]
fn names_that_were_meant_are_told_and_never_used() {
    e2e(|cais| {
        cais.ok("create --name database busybox");
        cais.fails(1, "rm databsae").says("did you mean database?");
        cais.fails(1, "image inspect busybux").says("did you mean busybox?");
        cais.fails(1, "inspect --tpye container database").says("did you mean --type?");
        let far = cais.fails(1, "rm frobnicate");
        assert!(!far.stderr_text().contains("did you mean"), "{far}");
        assert_eq!(cais.ok("ps -aq").lines().count(), 1);
    });
}
