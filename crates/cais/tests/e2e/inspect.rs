//! `cais inspect`.

use cais_test::e2e;

#[test]
fn containers_have_dockers_keys() {
    e2e(|cais| {
        let id = cais.ok("run -d --name i1 --hostname ship -e A=1 -m 64m --cpus 0.5 -v /data:/data:ro -p 127.0.0.1:8081:80 --label k=v --init busybox sleep 1000");
        let json: serde_json::Value = serde_json::from_str(&cais.ok("inspect i1")).unwrap();
        let i = &json[0];
        assert_eq!(i["Id"], id);
        assert_eq!(i["Name"], "/i1");
        assert_eq!(i["Path"], "sleep");
        assert_eq!(i["Args"][0], "1000");
        assert_eq!(i["State"]["Status"], "running");
        assert_eq!(i["State"]["Running"], true);
        assert!(i["State"]["Pid"].as_u64().unwrap() > 0);
        assert!(i["State"]["StartedAt"].as_str().unwrap().contains('T'));
        assert_eq!(i["Config"]["Hostname"], "ship");
        assert_eq!(i["Config"]["Image"], "busybox");
        assert!(i["Config"]["Env"].as_array().unwrap().iter().any(|e| e == "A=1"));
        assert_eq!(i["Config"]["Labels"]["k"], "v");
        assert_eq!(i["HostConfig"]["Memory"], 64 << 20);
        assert_eq!(i["HostConfig"]["NanoCpus"], 500_000_000);
        assert_eq!(i["Mounts"][0]["Destination"], "/data");
        assert_eq!(i["Mounts"][0]["RW"], false);
        assert_eq!(i["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"], "8081");
        assert!(i["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].as_str().unwrap().contains('.'));
        assert!(i["Image"].as_str().unwrap().starts_with("sha256:"));
    });
}

#[test]
fn formats_reach_into_the_document() {
    e2e(|cais| {
        cais.ok("create --name i1 -e A=1 busybox");
        assert_eq!(cais.inspect("i1", "{{.State.Status}}|{{.Config.Image}}"), "created|busybox");
        let env = cais.inspect("i1", "{{range .Config.Env}}{{println .}}{{end}}");
        assert!(env.lines().count() == 2 && env.lines().any(|line| line == "A=1"), "{env}");
        let state: serde_json::Value = serde_json::from_str(&cais.inspect("i1", "{{json .State}}")).unwrap();
        assert_eq!(state["Status"], "created");
        cais.fails(1, "inspect --format '{{.No.Such}}' i1").one_clear_error();
    });
}

#[test]
fn images_and_missing_objects() {
    e2e(|cais| {
        let json: serde_json::Value = serde_json::from_str(&cais.ok("inspect busybox")).unwrap();
        assert_eq!(json[0]["RepoTags"][0], "busybox:latest");
        let json: serde_json::Value = serde_json::from_str(&cais.ok("image inspect busybox")).unwrap();
        assert_eq!(json[0]["Os"], "linux");
        assert_eq!(json[0]["RootFS"]["Type"], "layers");
        let finished = cais.cmd("inspect no-such-object").output().code(1);
        assert_eq!(finished.stdout_text(), "[]");
        finished.one_clear_error().says("no-such-object");
    });
}

#[test]
fn the_latest_exit_is_told() {
    e2e(|cais| {
        cais.fails(3, "run --name i1 busybox sh -c 'exit 3'");
        assert_eq!(
            cais.inspect(
                "i1",
                "{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.State.Pid}} {{.State.OOMKilled}}"
            ),
            "exited 3 false 0 false"
        );
        assert!(cais.inspect("i1", "{{.State.FinishedAt}}") > cais.inspect("i1", "{{.State.StartedAt}}"));
    });
}

#[test]
fn the_run_line_of_a_container_makes_it_again() {
    e2e(|cais| {
        cais.ok(
            "run -d --init --hostname ship -e A=1 -e 'B=two words $x' -w /tmp -u quay --label 'k=v w' -m 64m \
             --cpus 0.5 --pids-limit 50 --read-only --tmpfs /t:size=64k,mode=700 -v data:/data -v /run/c/in:/in:ro \
             --mount type=tmpfs,target=/t2 --cap-drop ALL --cap-add NET_RAW --ulimit nofile=100:200 \
             --sysctl net.core.somaxconn=100 -p 127.0.0.1:18081:80 --add-host db:10.0.0.1 --dns 10.0.0.2 \
             --stop-signal INT --stop-timeout 1 --entrypoint sleep --security-opt no-new-privileges --name one \
             busybox 1000",
        );
        let line = cais.ok("inspect --as run one");
        let words = line.strip_prefix("cais ").expect("a line of ours").replace("18081", "18082");
        let again = words.replace("--name one", "--name two");
        assert_ne!(again, words);
        cais.ok(&again);
        let same = |name: &str| {
            let text = cais.cmd("inspect").arg(name).ok();
            let mut documents: serde_json::Value = serde_json::from_str(&text).expect("json");
            let mut document = documents[0].take();
            for key in ["Id", "Name", "Created", "State", "NetworkSettings", "GraphDriver"] {
                document[key] = serde_json::Value::Null;
            }
            let id = cais.inspect(name, "{{.Id}}");
            document.to_string().replace(&id, "ID").replace("18082", "18081")
        };
        assert_eq!(same("one"), same("two"));
        for form in ["compose", "kube"] {
            let text = cais.cmd("inspect --as").arg(form).args("one two").ok();
            let probe = std::process::Command::new("python3").args(["-c", "import yaml"]).output();
            if !probe.is_ok_and(|output| output.status.success()) {
                cais_test::skip("python3-yaml is not installed");
                continue;
            }
            let script = "import sys, yaml; print(len(list(yaml.safe_load_all(sys.stdin))))";
            let parsed = cais_test::Invocation::new("python3", "-c").arg(script).stdin(text.clone()).output();
            assert_eq!(parsed.code(0).stdout_text(), if form == "kube" { "2" } else { "1" }, "{text}");
        }
        assert!(cais.ok("container inspect --as quadlet one").contains("Exec=1000"));
        cais.fails(1, "inspect --as helm one").one_clear_error().says("use run, compose, quadlet or kube");
    });
}
