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
