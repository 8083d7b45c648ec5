//! `cais info`.

use cais_test::{e2e, e2e_empty};

#[test]
fn numbers_follow_what_is_there() {
    e2e(|cais| {
        cais.ok("run -d busybox sleep 1000");
        cais.ok("create busybox");
        let json: serde_json::Value = serde_json::from_str(&cais.ok("info --format json")).unwrap();
        assert_eq!(json["Containers"], 2);
        assert_eq!(json["ContainersRunning"], 1);
        assert!(json["Images"].as_u64().unwrap() >= 1);
        assert_eq!(json["NCPU"], std::thread::available_parallelism().unwrap().get());
        assert!(json["KernelVersion"].as_str().unwrap().contains('.'));
        let root = cais.root();
        assert_eq!(json["DockerRootDir"].as_str().unwrap(), root.to_str().unwrap());
    });
}

#[test]
fn it_works_on_an_empty_machine() {
    e2e_empty(|cais| {
        let text = cais.ok("info");
        assert!(text.contains("Kernel") && text.contains("Cgroup"), "{text}");
        assert_eq!(cais.ok("info --format '{{.Containers}}'"), "0");
    });
}
