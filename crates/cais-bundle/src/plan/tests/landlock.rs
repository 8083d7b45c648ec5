//! Landlock by annotations.

use serde_json::json;

use super::*;

fn case(annotations: Value, abi: u32) -> Case {
    let mut case = Case::new(json!({"annotations": annotations}));
    case.machine.landlock_abi = abi;
    case
}

fn rules(case: &Case) -> Vec<String> {
    case.steps().into_iter().filter(|step| step.starts_with("Landlock")).collect()
}

#[test]
fn paths_and_ports() {
    let annotations = json!({
        "org.cais.landlock.read": "/etc:-/opt/x",
        "org.cais.landlock.execute": "/usr",
        "org.cais.landlock.write": "/tmp",
        "org.cais.landlock.bind": "80, 443",
        "org.cais.landlock.connect": ""
    });
    assert_eq!(
        rules(&case(annotations, 6)),
        [
            "Landlock { files: 65535, network: 3, scoped: 0 }",
            r#"LandlockPath { path: "/etc", access: 12, optional: false }"#,
            r#"LandlockPath { path: "/opt/x", access: 12, optional: true }"#,
            r#"LandlockPath { path: "/usr", access: 13, optional: false }"#,
            r#"LandlockPath { path: "/tmp", access: 65534, optional: false }"#,
            "LandlockPort { port: 80, access: 1 }",
            "LandlockPort { port: 443, access: 1 }",
            "LandlockEnforce",
        ]
    );
    assert_eq!(rules(&case(json!({"org.cais.landlock.other": "x"}), 6)), [""; 0]);
    let old = rules(&case(json!({"org.cais.landlock.write": "/"}), 1));
    assert_eq!(old[0], "Landlock { files: 8191, network: 0, scoped: 0 }");
}

#[test]
fn what_the_kernel_lacks_and_what_is_no_list() {
    for (annotations, abi, want) in [
        (json!({"org.cais.landlock.read": "/"}), 0, "the kernel has Landlock version 0, 1 is needed"),
        (json!({"org.cais.landlock.bind": "1"}), 3, "the kernel has Landlock version 3, 4 is needed"),
        (json!({"org.cais.landlock.read": "etc"}), 6, "\"etc\" is not an absolute path"),
        (json!({"org.cais.landlock.bind": "70000"}), 6, "\"70000\" is not a port"),
    ] {
        let text = case(annotations, abi).error().to_string();
        assert!(text.contains(want), "{text}");
    }
}
