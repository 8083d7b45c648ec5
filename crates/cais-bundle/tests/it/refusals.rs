//! Bundles and commands that cannot be carried out: one sentence, and nothing left.

use cais_bundle::{CreateRequest, ErrorKind};
use serde_json::json;

use super::bundle::{World, wait_for};

#[test]
fn commands_that_cannot_be_executed() {
    let Some(world) = World::new() else { return };
    std::fs::write(world.inside("etc/plain"), "not a program").expect("write");
    std::fs::write(world.inside("bin/script"), "#!/no/such/shell\n").expect("write");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(world.inside("bin/script"), mode).expect("chmod");
    for (command, text, kind) in [
        ("nope", "exec: \"nope\": executable file not found in $PATH", ErrorKind::CommandNotFound),
        ("/nope", "exec: \"/nope\": stat /nope: no such file or directory", ErrorKind::CommandNotFound),
        ("/etc/plain", "exec: \"/etc/plain\": permission denied", ErrorKind::CommandNotExecutable),
        ("/etc", "exec: \"/etc\": permission denied", ErrorKind::CommandNotExecutable),
    ] {
        let error = world.create("c1", world.spec_of(&[command])).expect_err(command);
        assert_eq!((error.to_string().as_str(), error.kind()), (text, kind));
        world.assert_gone("c1");
    }
    let pid = world.create("c2", world.spec_of(&["/bin/script"])).expect("create");
    let error = world.runtime.start("c2").expect_err("no interpreter");
    assert_eq!(error.to_string(), "exec /bin/script: no such file or directory");
    assert_eq!(error.kind(), ErrorKind::CommandNotFound);
    wait_for(pid);
    world.runtime.delete("c2", false).expect("delete");
    world.assert_gone("c2");
}

#[test]
fn bundles_that_are_none() {
    let Some(world) = World::new() else { return };
    let refusal = |request: &CreateRequest| world.runtime.create(request).expect_err("refused").to_string();
    let request = CreateRequest { bundle: world.directory.path().join("no"), ..world.request("c1") };
    assert!(refusal(&request).ends_with("no: no such file or directory"));
    let missing = refusal(&world.request("c1"));
    assert!(missing.starts_with("JSON specification file ") && missing.ends_with("config.json not found"));
    std::fs::write(world.bundle().join("config.json"), "{").expect("write");
    assert!(refusal(&world.request("c1")).starts_with("parse config.json: "));
    std::fs::write(world.bundle().join("other.json"), world.spec("true").to_string()).expect("write");
    let request = CreateRequest { config: Some("other.json".into()), ..world.request("other") };
    let pid = world.runtime.create(&request).expect("another file");
    world.runtime.delete("other", true).expect("delete");
    wait_for(pid);
    let mut spec = world.spec("true");
    spec["root"]["path"] = "nowhere".into();
    let text = world.refusal("c1", spec);
    assert!(
        text.starts_with("invalid rootfs: stat ") && text.ends_with("no such file or directory"),
        "{text}"
    );
    let mut spec = world.spec("true");
    spec.as_object_mut().expect("object").remove("process");
    assert_eq!(world.refusal("c1", spec), "process property must not be empty");
    let mut spec = world.spec("true");
    spec["linux"]["intelRdt"] = json!({"closID": "x"});
    if !std::path::Path::new("/sys/fs/resctrl/info").exists() {
        assert_eq!(
            world.refusal("c1", spec),
            "intelRdt is specified in config, but Intel RDT is not enabled"
        );
    }
    world.assert_gone("c1");
}

#[test]
fn steps_that_fail_are_named() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec("true");
    spec["mounts"].as_array_mut().expect("list").push(json!(
        {"destination": "/mnt", "type": "bind", "source": "/no/such/source", "options": ["bind"]}
    ));
    let text = world.refusal("c1", spec);
    assert!(text.contains("/no/such/source") && text.ends_with("no such file or directory"), "{text}");
    let mut spec = world.spec("true");
    spec["process"]["cwd"] = "/etc/passwd".into();
    let text = world.refusal("c1", spec);
    assert!(text.contains("/etc/passwd") && text.ends_with("not a directory"), "{text}");
    world.assert_gone("c1");
}
