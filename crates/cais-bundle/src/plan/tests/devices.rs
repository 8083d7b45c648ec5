//! Device files: made or bound, whose path wins, and when there are none.

use serde_json::json;

use super::*;

#[test]
fn devices_of_the_configuration() {
    let change = json!({"linux": {"devices": [
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 1, "gid": 2},
        {"path": "/dev/sda", "type": "b", "major": 8, "minor": 0, "fileMode": 25008},
        {"path": "/run/pipe", "type": "p"},
        {"path": "/dev/u", "type": "u", "major": 1, "minor": 300},
        {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2}
    ]}});
    assert_eq!(
        added(change),
        [
            r#"Device { path: "/dev/fuse", mode: 8630, device: 2789, uid: 1, gid: 2 }"#,
            r#"Device { path: "/dev/sda", mode: 25008, device: 2048, uid: 0, gid: 0 }"#,
            r#"Device { path: "/run/pipe", mode: 4534, device: 0, uid: 0, gid: 0 }"#,
            r#"Device { path: "/dev/u", mode: 8630, device: 1048876, uid: 0, gid: 0 }"#,
        ]
    );
}

#[test]
fn a_default_device_gives_way() {
    let change = json!({"linux": {"devices": [
        {"path": "/dev//null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600}
    ]}});
    let steps = Case::new(change).steps();
    assert_eq!(
        the(&steps, "\"/dev/null\""),
        r#"Device { path: "/dev/null", mode: 8576, device: 259, uid: 0, gid: 0 }"#
    );
}

#[test]
fn where_nothing_can_be_made_devices_are_bound() {
    let change = json!({"linux": {"devices": [
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229},
        {"path": "/dev/other", "type": "c", "major": 10, "minor": 230},
        {"path": "/run/pipe", "type": "p"}
    ]}});
    for machine in [
        inner_root(),
        Machine { bounding: CapSet::DEFAULT.without(cais_runtime::capability::Capability::MKNOD), ..root() },
    ] {
        let mut case = Case::on(change.clone(), machine);
        case.device_sources = vec![(1, PathBuf::from("/dev/char/10:230"))];
        let steps = case.steps();
        let at = place(&steps, r#"OpenTree { source: "/dev/fuse", slot: 511, recursive: false }"#);
        assert_eq!(steps[at + 1], r#"BindNode { slot: 511, path: "/dev/fuse" }"#);
        let at = place(&steps, r#"OpenTree { source: "/dev/char/10:230", "#);
        assert_eq!(steps[at + 1], r#"BindNode { slot: 511, path: "/dev/other" }"#);
        the(&steps, r#"Device { path: "/run/pipe""#);
        assert_eq!(steps.iter().filter(|step| step.starts_with("BindNode")).count(), 8);
    }
}

#[test]
fn a_dev_that_is_bound_stays_as_it_is() {
    let change = mount(json!({"destination": "/dev/", "source": "/dev", "options": ["rbind"]}));
    let steps = Case::new(change).steps();
    for word in ["Device", "Symlink", "ReopenNull"] {
        assert!(!steps.iter().any(|step| step.starts_with(word)), "{word}");
    }
}

#[test]
fn devices_that_cannot_be() {
    let device = |path: &str, major: i64| {
        let json = json!({"path": path, "type": "c", "major": major, "minor": 1});
        let mut case = Case::new(json!({}));
        let linux = case.spec.linux.as_mut().expect("linux");
        linux.devices.push(serde_json::from_value(json).expect("a device"));
        case.error()
    };
    assert_eq!(device("/", 1), PlanError::DevicePath("/".to_owned()));
    assert_eq!(device("/dev/", 1), PlanError::DevicePath("/dev/".to_owned()));
    assert!(matches!(device("/dev/x", 5000), PlanError::DeviceNumber { major: 5000, .. }));
    assert!(matches!(device("/dev/x", -1), PlanError::DeviceNumber { major: -1, .. }));
}
