//! `cais completion`, `__complete`, manual pages and "did you mean".

use std::fs;
use std::path::PathBuf;

use cais_test::pty::Terminal;
use cais_test::{Cais, Invocation, e2e, e2e_empty, skip};

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

/// A command line of this store, as far as its arguments.
fn beginning(cais: &Cais) -> String {
    let (root, run_root) = (cais.root(), cais.run_root());
    format!("cais --root {} --run-root {}", root.display(), run_root.display())
}

/// The folder with the script, and the binary where the shell finds it.
fn script_of(cais: &Cais, shell: &str) -> (PathBuf, String) {
    let script = cais.folder().join(format!("completion.{shell}"));
    fs::write(&script, cais.ok(&format!("completion {shell}"))).expect("written");
    let folder = cais.binary().parent().expect("a folder").display().to_string();
    (script, format!("{folder}:/usr/bin:/bin:/usr/sbin:/sbin"))
}

fn has(program: &str) -> bool {
    let there = Invocation::new("sh", "-c").arg(format!("command -v {program}")).output().status() == 0;
    if !there {
        skip(format!("{program} is not installed"));
    }
    there
}

#[test]
fn fish_completes_with_the_script() {
    if !has("fish") {
        return;
    }
    e2e(|cais| {
        cais.ok("create --name quay busybox");
        let (script, path) = script_of(cais, "fish");
        fs::write(cais.folder().join("here.txt"), "").expect("written");
        for (line, expected) in [
            ("inspect q", "quay\tbusybox"),
            ("start ", "quay\tbusybox"),
            ("run --network=ho", "--network=host"),
            ("run --netw", "--network\t"),
            ("comple", "completion\t"),
            ("load --input her", "here.txt"),
        ] {
            let typed = format!("{} {line}", beginning(cais));
            let found = Invocation::new("fish", "--no-config -c")
                .arg("source $argv[1]; complete -C $argv[2]")
                .arg(&script)
                .arg(&typed)
                .env("PATH", &path)
                .env("HOME", cais.folder())
                .folder(cais.folder())
                .ok();
            assert!(found.lines().any(|word| word.starts_with(expected)), "{line}: {found}");
        }
    });
}

/// Has zsh print the line that is being typed when `^T` is pressed.
const SHOW: &str = "show() { print -r -- \"<$BUFFER>\"; BUFFER=; zle .accept-line }; zle -N show; \
                    bindkey '^T' show; echo bou''nd\n";

#[test]
fn zsh_completes_with_the_script() {
    if !has("zsh") {
        return;
    }
    e2e(|cais| {
        cais.ok("create --name quay busybox");
        let (script, path) = script_of(cais, "zsh");
        fs::write(cais.folder().join("here.txt"), "").expect("written");
        for (line, expected) in [
            ("inspect q", "inspect quay"),
            ("run --network=ho", "run --network=host"),
            ("run --netw", "run --network"),
            ("comple", " completion >"),
            ("load --input her", "load --input here.txt"),
        ] {
            // A shell at a terminal, as it is used: what stands behind the prompt after a tab, then an end of line.
            let shell = Invocation::new("zsh", "-f -i")
                .env("PATH", &path)
                .env("HOME", cais.folder())
                .env("TERM", "dumb")
                .folder(cais.folder());
            let mut terminal = Terminal::start(&shell, 40, 400);
            let ready =
                "PS1=; unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -u -D; echo re''ady; cd";
            terminal.send(format!("{ready} {}\n", cais.folder().display()));
            terminal.expect("ready");
            terminal.send(format!("source {}; echo load''ed\n", script.display()));
            terminal.expect("loaded");
            // Entering the line shows the words as they were completed; the command itself is not wanted.
            terminal.send(SHOW);
            terminal.expect("bound");
            terminal.send(format!("{} {line}\t\x14", beginning(cais)));
            terminal.expect(expected);
            terminal.send("exit\n");
            terminal.wait();
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
fn roff_understands_every_page() {
    if !has("groff") {
        return;
    }
    e2e_empty(|cais| {
        let pages = cais.folder().join("man");
        cais.cmd("man --dir").arg(&pages).ok();
        // Every warning that there is; plain text, without the overstriking of printers.
        let roff = || Invocation::new("groff", "-man -ww -Tutf8 -P-c -P-b -P-u");
        let mut count = 0;
        for entry in fs::read_dir(&pages).expect("a folder").flatten() {
            let shown = roff().arg("-rLL=80n").arg(entry.path()).output();
            // Lines without blanks cannot be filled.
            let harmless = ["can't break line", "cannot adjust line"];
            let said = shown.stderr_text();
            let said: Vec<_> =
                said.lines().filter(|line| !harmless.iter().any(|words| line.contains(words))).collect();
            assert!(shown.status() == 0 && said.is_empty(), "{said:#?}");
            assert!(shown.stdout_text().contains("NAME"), "{shown}");
            count += 1;
        }
        assert!(count > 60, "{count} pages");
        // The roff tool does find what is wrong.
        let wrong = roff().stdin(".TH x 1\n.NOTHING\n\\[nonsense]\n").output();
        assert!(!wrong.stderr_text().is_empty(), "{wrong}");
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
