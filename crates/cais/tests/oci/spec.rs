//! `spec` and `features`: what needs no container.

use std::fs;

use cais_test::isolation::isolated;
use serde_json::Value;

use crate::bed::Bed;

#[test]
fn a_configuration_to_begin_with_runs() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let bundle = bed.folder().join("bundle");
        fs::create_dir(&bundle).unwrap();
        bed.cmd("spec").folder(&bundle).ok();
        bed.cmd("spec -b").arg(&bundle).output().code(1).says("exists");
        let path = bundle.join("config.json");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\n\t\"ociVersion\": \"1."), "{text}");
        let mut config: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(config["process"]["terminal"], true);
        assert_eq!(config["root"]["readonly"], true);
        assert_eq!(config["process"]["args"], serde_json::json!(["sh"]));
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = serde_json::json!(["echo", "it runs"]);
        config["linux"]["cgroupsPath"] =
            bed.group("", "c1").strip_prefix("/sys/fs/cgroup").unwrap().to_str().into();
        config["linux"]["cgroupsPath"] =
            format!("/{}", config["linux"]["cgroupsPath"].as_str().unwrap()).into();
        config["root"]["path"] = bed.folder().join("rootfs").to_str().into();
        fs::write(&path, config.to_string()).unwrap();
        bed.cmd("run -b").arg(&bundle).arg("c1").output().code(0).prints("it runs");
    });
}

#[test]
fn a_configuration_for_others_than_root() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let bundle = bed.folder().join("bundle");
        fs::create_dir(&bundle).unwrap();
        bed.cmd("spec --rootless --bundle").arg(&bundle).ok();
        let config: Value = serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap();
        let namespaces = config["linux"]["namespaces"].as_array().unwrap();
        let has = |kind: &str| namespaces.iter().any(|namespace| namespace["type"] == kind);
        assert!(has("user") && !has("network"), "{namespaces:?}");
        assert_eq!(config["linux"]["uidMappings"][0]["containerID"], 0);
        bed.refuses("spec --bundle /no/such/folder", "o such file or directory");
    });
}

#[test]
fn features_are_one_document() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let features: Value = serde_json::from_str(&bed.ok("features")).unwrap();
        let list =
            |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).unwrap_or_default() };
        assert!(list(&features["hooks"]).contains(&"createRuntime".to_owned()), "{features}");
        assert!(list(&features["mountOptions"]).contains(&"rbind".to_owned()));
        assert!(list(&features["linux"]["namespaces"]).contains(&"user".to_owned()));
        assert_eq!(features["linux"]["seccomp"]["enabled"], true);
        bed.refuses("features x", "features");
    });
}
