//! `cais events`.

use cais_test::{Cais, e2e, wait_until};
use serde_json::Value;

/// All events so far, `TYPE ACTION` each, but those of other objects than these types.
fn actions(cais: &Cais, more: &str) -> Vec<String> {
    let line = format!("events --stream=false --format '{{{{.Type}}}} {{{{.Action}}}}' {more}");
    cais.ok(&line).lines().map(str::to_owned).collect()
}

#[test]
fn the_life_of_a_container() {
    e2e(|cais| {
        cais.fails(3, "run --name x1 -l tier=front -v data:/d busybox sh -c 'exit 3'");
        assert_eq!(
            actions(cais, ""),
            [
                "image load",
                "volume create",
                "container create",
                "container attach",
                "volume mount",
                "network connect",
                "container start",
                "network disconnect",
                "volume unmount",
                "container die",
            ]
        );
        let die = cais.ok("events --stream=false --filter event=die --format json");
        let die: Value = serde_json::from_str(&die).unwrap();
        let id = cais.inspect("x1", "{{.Id}}");
        assert_eq!((die["id"].as_str(), die["Actor"]["ID"].as_str()), (Some(&*id), Some(&*id)));
        let attributes = &die["Actor"]["Attributes"];
        for (key, value) in [("exitCode", "3"), ("name", "x1"), ("image", "busybox"), ("tier", "front")] {
            assert_eq!(attributes[key], value, "{key}");
        }
        cais.fails(3, "start -a x1");
        cais.ok("rm -v x1");
        cais.ok("volume rm data");
        let container = actions(cais, "--filter container=x1");
        let words: Vec<&str> = container.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
        assert_eq!(words, ["create", "attach", "start", "die", "attach", "start", "die", "destroy"]);
        assert_eq!(actions(cais, "--filter type=volume").last().unwrap(), "volume destroy");
    });
}

#[test]
fn stopping_killing_and_executing() {
    e2e(|cais| {
        cais.ok("run -d --name x1 busybox sleep 1000");
        cais.fails(7, "exec x1 sh -c 'exit 7'");
        cais.ok("stop -t 0 x1");
        cais.ok("start x1");
        cais.ok("kill x1");
        wait_until("the end is told", || {
            actions(cais, "--filter container=x1").iter().filter(|action| action.ends_with(" die")).count()
                == 2
        });
        cais.ok("run -d --name y1 --rm busybox sleep 1000");
        cais.ok("rm -f y1");
        let words = |name: &str| {
            let lines = actions(cais, &format!("--filter container={name}"));
            lines.iter().map(|line| line.trim_start_matches("container ").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            words("x1"),
            [
                "create",
                "start",
                "exec_create: sh -c exit 7",
                "exec_start: sh -c exit 7",
                "exec_die",
                "kill",
                "kill",
                "die",
                "stop",
                "start",
                "kill",
                "die",
            ]
        );
        assert_eq!(words("y1"), ["create", "start", "kill", "die", "destroy"]);
        let code = cais
            .ok("events --stream=false --filter event=exec_die --format '{{.Actor.Attributes.exitCode}}'");
        assert_eq!(code, "7");
    });
}

#[test]
fn an_end_without_anybody_is_told_once() {
    e2e(|cais| {
        cais.ok("run -d --name x1 busybox sh -c 'exit 5'");
        let run = cais.cmd("run --name y1 busybox sh -c 'echo up; sleep 1000'").spawn();
        cais.wait_for_log("y1", "up");
        cais.ok("stop -t 0 y1");
        run.wait();
        cais.ok("wait x1");
        wait_until("both ends are told", || actions(cais, "--filter event=die").len() >= 2);
        cais.ok("system check --repair");
        assert_eq!(actions(cais, "--filter event=die").len(), 2);
        let line = "events --stream=false --filter event=die --filter container=x1 --format {{.Actor.Attributes.exitCode}}";
        assert_eq!(cais.ok(line), "5");
    });
}

#[test]
fn restarts_and_health_are_told() {
    e2e(|cais| {
        cais.ok("run -d --name x1 --restart on-failure:2 busybox sh -c 'exit 4'");
        wait_until("the policy has given up", || {
            actions(cais, "--filter container=x1 --filter event=die").len() == 3
        });
        assert_eq!(actions(cais, "--filter container=x1 --filter event=start").len(), 3);
        cais.ok("run -d --name y1 --health-cmd 'test -e /ok' --health-interval 10ms --health-retries 1 busybox sleep 1000");
        let health = || actions(cais, "--filter container=y1 --filter event=health_status");
        wait_until("it is told that y1 is unhealthy", || health() == ["container health_status: unhealthy"]);
        cais.ok("exec y1 touch /ok");
        wait_until("it is told that y1 is healthy", || health().len() == 2);
        wait_until("it was probed again", || {
            cais.inspect("y1", "{{json .State.Health.Log}}").matches("\"ExitCode\":0").count() == 5
        });
        assert_eq!(health().len(), 2, "only changes are told");
    });
}

#[test]
fn images_are_told() {
    e2e(|cais| {
        cais.ok("tag busybox other:1");
        cais.ok("rmi other:1");
        cais.ok("rmi busybox");
        assert_eq!(
            actions(cais, "--filter type=image"),
            ["image load", "image tag", "image untag", "image untag", "image delete"]
        );
        let names = cais.ok("events --stream=false --filter event=tag --format {{.Actor.Attributes.name}}");
        assert_eq!(names, "other:1");
    });
}

#[test]
fn a_follower_sees_what_comes_and_ends_in_time() {
    e2e(|cais| {
        cais.ok("create --name before busybox");
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let end = now() + 3;
        let line =
            format!("events --since {} --until {end} --filter event=create --format {{{{.Name}}}}", end - 3);
        let follower = cais.cmd(&line).spawn();
        let mut names = Vec::new();
        while now() <= end {
            names.push(format!("c{}", names.len()));
            cais.ok(&format!("create --name {} busybox", names.last().unwrap()));
        }
        let seen = follower.wait().stdout_text();
        let seen: Vec<&str> = seen.lines().filter(|name| name.starts_with('c')).collect();
        assert!(seen.len() >= 2, "{seen:?}");
        assert_eq!(seen, names[..seen.len()], "each once, in order");
        let line = cais.ok("events --since 1h --until 0s --filter container=before");
        assert!(
            line.contains(" container create ") && line.ends_with(" (image=busybox, name=before)"),
            "{line}"
        );
        assert_eq!(cais.ok("events --until 2001-01-01T00:00:00Z"), "");
        cais.fails(1, "events --filter colour=red").says("unknown filter");
    });
}

#[test]
fn what_changes_a_container_is_told() {
    e2e(|cais| {
        let id = cais.ok("run -d --name x1 busybox sleep 1000");
        for line in [
            "pause x1",
            "unpause x1",
            "rename x1 x2",
            "update --pids-limit 50 x2",
            "restart -t 0 x2",
            "commit x2 made:1",
        ] {
            cais.ok(line);
        }
        cais.ok("export -o /dev/null x2");
        let told = actions(cais, &format!("--filter container={id}"));
        for action in ["pause", "unpause", "rename", "update", "restart", "commit", "export"] {
            let line = format!("container {action}");
            assert_eq!(told.iter().filter(|told| **told == line).count(), 1, "{action}: {told:?}");
        }
        let old =
            cais.ok("events --stream=false --filter event=rename --format {{.Actor.Attributes.oldName}}");
        assert_eq!(old, "/x1");
        cais.ok("rm -f x2");
        cais.ok("image prune -a -f");
        assert!(actions(cais, "--filter type=image").contains(&"image prune".to_owned()));
    });
}
