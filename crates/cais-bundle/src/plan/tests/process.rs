//! The process: user, limits, capabilities, labels, the filter, the command.

use serde_json::json;

use super::*;

fn process(change: Value) -> Value {
    json!({"process": change})
}

#[test]
fn limits_stay_within_what_the_machine_allows() {
    let change = process(json!({"rlimits": [
        {"type": "RLIMIT_NOFILE", "hard": 5000, "soft": 4500}, {"type": "RLIMIT_CORE", "hard": 10, "soft": 5},
        {"type": "RLIMIT_RTTIME", "hard": 18_446_744_073_709_551_615_u64, "soft": 1}
    ]}));
    let mut case = Case::new(change);
    case.machine.hard_limits = vec![(7, 4096), (4, 100), (15, u64::MAX)];
    let limits = |case: &Case| -> Vec<String> {
        case.steps().into_iter().filter(|step| step.starts_with("Limit")).collect()
    };
    assert_eq!(
        limits(&case),
        [
            "Limit { resource: 7, soft: 4500, hard: 5000 }",
            "Limit { resource: 4, soft: 5, hard: 10 }",
            "Limit { resource: 15, soft: 1, hard: 18446744073709551615 }",
        ]
    );
    case.machine.may_raise_limits = false;
    assert_eq!(limits(&case)[0], "Limit { resource: 7, soft: 4096, hard: 4096 }");
    assert_eq!(limits(&case)[1..].len(), 2);
    assert_eq!(case.planned().warnings, ["RLIMIT_NOFILE: 5000 is more than this machine allows, 4096 it is"]);
}

#[test]
fn every_limit_has_its_number() {
    use cais_oci::runtime::RlimitType;
    for (kind, number) in RlimitType::ALL.iter().zip([9, 4, 0, 2, 1, 10, 8, 12, 13, 7, 6, 5, 14, 15, 11, 3]) {
        let limit = json!({"rlimits": [{"type": kind.word(), "hard": 1, "soft": 1}]});
        let steps = Case::new(process(limit)).steps();
        assert!(the(&steps, "Limit").contains(&format!("resource: {number},")), "{kind}");
    }
}

#[test]
fn the_oom_score() {
    let case = |score: i64| Case::new(process(json!({"oomScoreAdj": score})));
    the(&case(-500).steps(), "content: '-500', optional: false");
    let mut clamped = case(-500);
    clamped.machine.may_raise_limits = false;
    clamped.machine.oom_score_adj = 200;
    clamped.machine.rootless = true;
    the(&clamped.steps(), "content: '200', optional: true");
    assert_eq!(
        clamped.planned().warnings,
        ["oom_score_adj: -500 is less than this machine allows, 200 it is"]
    );
    assert!(
        !Case::new(json!({})).steps().iter().any(|step| step.starts_with("ProcHandle")),
        "nothing to write"
    );
}

#[test]
fn capabilities() {
    let steps = Case::new(process(json!({"capabilities": null}))).steps();
    the(&steps, "Bounding { keep: 0 }");
    the(&steps, "Capabilities { effective: 0, permitted: 0, inheritable: 0, ambient: 0 }");
    let caps = json!(["CAP_KILL", "CAP_SYS_RESOURCE", "CAP_FUTURE"]);
    let sets =
        json!({"bounding": caps, "effective": caps, "permitted": caps, "inheritable": caps, "ambient": caps});
    let mut case = Case::new(process(json!({"capabilities": sets})));
    case.machine.bounding = CapSet::DEFAULT;
    let planned = case.planned();
    the(&steps_of(&planned), "Capabilities { effective: 32, permitted: 32, inheritable: 32, ambient: 32 }");
    assert_eq!(
        planned.warnings,
        ["ignoring unknown or unavailable capabilities: [CAP_FUTURE CAP_SYS_RESOURCE]"]
    );
}

fn steps_of(planned: &Planned) -> Vec<String> {
    super::steps(planned)
}

#[test]
fn the_filter_is_loaded_last() {
    let with = |no_new_privileges: bool, caps: Value, bounding: CapSet| {
        let mut case =
            Case::new(process(json!({"noNewPrivileges": no_new_privileges, "capabilities": caps})));
        case.seccomp = Some(b"01234567".to_vec());
        case.machine.bounding = bounding;
        let steps = case.steps();
        let last = steps[place(&steps, "SeccompFilter")..].to_vec();
        (steps.iter().filter(|step| step.starts_with("Capabilities")).count(), last.len())
    };
    let admin = json!({"bounding": ["CAP_SYS_ADMIN"], "permitted": ["CAP_SYS_ADMIN"], "effective": ["CAP_SYS_ADMIN"]});
    let permitted = json!({"permitted": ["CAP_SYS_ADMIN"]});
    assert_eq!(with(true, json!({}), CapSet::ALL), (1, 2), "no_new_privs is enough");
    assert_eq!(with(false, json!({}), CapSet::ALL), (2, 3), "a right until then");
    assert_eq!(with(false, admin, CapSet::ALL), (1, 2), "the right stays");
    assert_eq!(with(false, permitted, CapSet::ALL), (2, 3), "permitted alone is not enough");
    assert_eq!(with(false, json!({}), CapSet::DEFAULT), (1, 2), "what is not there cannot be kept");
    let steps = Case::new(process(json!({"noNewPrivileges": false}))).steps();
    assert!(!steps.iter().any(|step| step.contains("NoNewPrivileges") || step.contains("Seccomp")));
}

#[test]
fn labels_need_their_module() {
    let apparmor = |profile: &str| Case::new(process(json!({"apparmorProfile": profile})));
    assert_eq!(apparmor("x").error(), PlanError::NoApparmor);
    assert!(!apparmor("unconfined").steps().iter().any(|step| step.contains("self/attr")));
    let mut old = apparmor("x");
    old.machine.apparmor = Some("attr/exec");
    the(&old.steps(), r#"WriteProc { file: "self/attr/exec", content: 'exec x', optional: false }"#);
    let selinux = Case::new(process(json!({"selinuxLabel": "a:b"})));
    assert_eq!(selinux.error(), PlanError::NoSelinux);
}

#[test]
fn groups_where_they_cannot_be_set() {
    let mut case = Case::new(process(json!({"user": {"uid": 1, "gid": 1, "additionalGids": [2]}})));
    case.machine.may_set_groups = false;
    let planned = case.planned();
    the(&super::steps(&planned), "SwitchUser { groups: false }");
    assert_eq!(planned.warnings.len(), 1);
    assert!(planned.warnings[0].starts_with("additionalGids are ignored"));
}

#[test]
fn home_is_looked_up_when_it_is_missing() {
    let home = |env: Value| Case::new(process(json!({"env": env}))).steps();
    the(&home(json!(["HOME="])), "home: true");
    let steps = home(json!(["HOME=/root"]));
    assert!(!steps.iter().any(|step| step.contains("home: true")));
}

#[test]
fn sizes_of_terminals() {
    let size = |change: Value| Case::new(process(change)).planned().console_size;
    let large = json!({"height": 70_000, "width": 2});
    assert_eq!(size(json!({"terminal": true, "consoleSize": large})), (65_535, 2));
    assert_eq!(size(json!({"terminal": false, "consoleSize": large})), (0, 0));
    assert_eq!(size(json!({"terminal": true})), (0, 0));
    let steps = Case::new(process(json!({"terminal": true}))).steps();
    assert!(!steps.iter().any(|step| step == "NewSession"));
    let terminal = place(&steps, "Stdio { console: true }");
    assert!(place(&steps, "Device") < terminal && terminal < place(&steps, "Pivot"));
}

#[test]
fn hooks() {
    let hook = json!([{"path": "/h"}]);
    let words = |hooks: Value| -> Vec<String> {
        let steps = Case::new(json!({"hooks": hooks})).steps();
        steps.into_iter().filter(|step| step.starts_with("Hook") || step == "Sync { word: 2 }").collect()
    };
    let run = r#"Hook { path: "/h", args: [/h], env: [], timeout_ms: 0, filter: '', filter_flags: 0, listener: false }"#;
    let late = r#"Hook { path: "/h", args: [/h], env: [PATH=/usr/bin:/bin TERM=xterm HOME], timeout_ms: 0, filter: '', filter_flags: 0, listener: false }"#;
    let wait = "Sync { word: 2 }";
    assert_eq!(words(json!({"prestart": hook})), [wait]);
    assert_eq!(words(json!({"createRuntime": hook})), [wait]);
    assert_eq!(words(json!({"createContainer": hook})), [wait, run]);
    assert_eq!(words(json!({"startContainer": hook})), [late]);
    assert_eq!(words(json!({"poststart": hook, "poststop": hook})), [""; 0]);
    let long = json!({"startContainer": [{"path": "/h", "timeout": i64::MAX}]});
    assert!(words(long)[0].contains(&format!("timeout_ms: {},", u64::MAX)));
}

#[test]
fn paths_are_hidden_once() {
    let change = json!({"linux": {"maskedPaths": ["/proc/acpi", "/proc//acpi/", "/proc/kcore"]}});
    let steps = Case::new(change).steps();
    assert_eq!(steps.iter().filter(|step| step.starts_with("Mask")).count(), 2);
}

#[test]
fn a_container_needs_a_process() {
    let mut case = Case::new(json!({}));
    case.spec.process = None;
    assert_eq!(case.error(), PlanError::NoProcess);
}

#[test]
fn the_keyring_can_be_kept() {
    let mut case = Case::new(json!({}));
    case.no_new_keyring = true;
    assert!(!case.steps().iter().any(|step| step.starts_with("Keyring")));
}

#[test]
fn strings_with_a_nul() {
    let mut case = Case::new(json!({}));
    case.found = vec![Found { symlink: Some(PathBuf::from("a\0b")), procfs: false }];
    case.spec.mounts[0].kind = Some("bind".to_owned());
    case.spec.mounts[0].destination = "/x".to_owned();
    case.spec.mounts[0].options = vec!["copy-symlink".to_owned()];
    assert_eq!(case.error(), PlanError::Nul { what: "a link" });
}
