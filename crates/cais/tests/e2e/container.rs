//! `cais container`: the long forms, and the commands that have no short one.

use cais_test::e2e;
use cais_test::pty::Terminal;

#[test]
fn every_command_has_its_long_form() {
    e2e(|cais| {
        cais.ok("container create --name c1 busybox sleep 1000");
        for line in ["start c1", "pause c1", "unpause c1", "restart -t 0 c1", "update --pids-limit 50 c1"] {
            assert_eq!(cais.ok(&format!("container {line}")), "c1", "{line}");
        }
        assert_eq!(cais.ok("container ls -q").len(), 12);
        assert_eq!(cais.ok("container top c1 pid").lines().count(), 2);
        assert_eq!(cais.ok("container stats --no-stream --format {{.Name}}"), "c1");
        assert_eq!(cais.ok("container inspect -f {{.Name}} c1"), "/c1");
        cais.ok("container rename c1 d1");
        assert_eq!(cais.ok("container exec d1 echo up"), "up");
        assert_eq!(cais.ok("container kill d1"), "d1");
        assert_eq!(cais.ok("container wait d1"), "137");
        cais.ok("container logs d1");
        assert_eq!(cais.ok("container stop d1"), "d1");
        assert_eq!(cais.ok("container rm d1"), "d1");
        let help = cais.ok("container --help");
        for word in ["clone", "exists", "prune", "restart", "stats", "top", "update", "rename"] {
            assert!(help.lines().any(|line| line.trim_start().starts_with(word)), "{word}: {help}");
        }
    });
}

#[test]
fn exists_tells_by_its_exit_code() {
    e2e(|cais| {
        cais.ok("create --name c1 busybox");
        cais.cmd("container exists c1").output().code(0);
        let finished = cais.cmd("container exists c2").output().code(1);
        assert_eq!((finished.stdout_text(), finished.stderr_text()), (String::new(), String::new()));
    });
}

#[test]
fn prune_asks_on_a_terminal() {
    e2e(|cais| {
        let id = cais.ok("create --name c1 busybox");
        for (answer, left) in [("n\n", 1), ("\n", 1), ("y\n", 0)] {
            let mut terminal = Terminal::start(&cais.cmd("container prune"), 24, 80);
            terminal.expect("Are you sure you want to continue? [y/N]");
            terminal.send(answer);
            if left == 0 {
                terminal.expect(&id);
            }
            assert_eq!(terminal.wait(), 0);
            assert_eq!(cais.ok("ps -aq").lines().count(), left, "{answer:?}");
        }
    });
}

#[test]
fn a_clone_has_the_definition_of_the_old_one() {
    e2e(|cais| {
        cais.ok("run -d --name web -e A=1 -v kept:/kept -v /own --label l=1 -m 64m busybox sleep 1000");
        let id = cais.ok("container clone web");
        assert_eq!(cais.inspect(&id, "{{.Name}} {{.State.Status}}"), "/web-clone created");
        cais.ok("container clone --memory 32m --run web second");
        assert_eq!(
            cais.inspect("second", "{{.State.Status}} {{.HostConfig.Memory}} {{.Config.Labels.l}}"),
            format!("running {} 1", 32 << 20)
        );
        assert_eq!(cais.cmd("exec second sh -c").arg("echo $A").ok(), "1");
        let volumes = |name: &str| cais.inspect(name, "{{range .Mounts}}{{.Name}}\n{{end}}");
        let (old, new) = (volumes("web"), volumes("second"));
        assert!(old.contains("kept") && new.contains("kept") && old != new, "{old} {new}");
        assert_eq!(cais.inspect(&cais.ok("container clone web"), "{{.Name}}"), "/web-clone1");
        cais.fails(1, "container clone --destroy web third").one_clear_error().says("--force");
        cais.ok("container clone --destroy -f --name third web");
        cais.cmd("container exists web").output().code(1);
        cais.fails(1, "container clone no-such-container").one_clear_error();
        cais.fails(1, "container clone second third").one_clear_error().says("third");
    });
}
