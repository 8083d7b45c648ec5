//! Tests: volumes.

use cais_engine::ErrorKind;

use super::home;

#[test]
fn volumes_are_made_listed_and_removed() {
    let home = home();
    let labels = [("k".to_owned(), "v".to_owned())].into();
    let made = home.engine.volume_create(Some("data"), labels, Default::default()).unwrap();
    assert_eq!((made.name.as_str(), made.driver.as_str(), made.anonymous), ("data", "local", false));
    assert!(made.mountpoint.is_dir() && made.mountpoint.ends_with("volumes/data/_data"));
    let anonymous = home.engine.volume_create(None, Default::default(), Default::default()).unwrap();
    assert!(anonymous.anonymous);
    assert_eq!(home.engine.volumes().unwrap().len(), 2);
    assert_eq!(home.engine.volume("data").unwrap().labels["k"], "v");
    let seen = serde_json::to_value(home.engine.volume("data").unwrap()).unwrap();
    assert_eq!(seen["Mountpoint"], made.mountpoint.to_str().unwrap());
    home.engine.volume_remove("data", false).unwrap();
    assert_eq!(home.engine.volume_remove("data", false).unwrap_err().kind, ErrorKind::NotFound);
    home.engine.volume_remove("data", true).unwrap();
    assert_eq!(home.engine.volume("data").unwrap_err().kind, ErrorKind::NotFound);
    let options = [("type".to_owned(), "nfs".to_owned())].into();
    let error = home.engine.volume_create(Some("n1"), Default::default(), options).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert_eq!(
        home.engine.volume_create(Some("a/b"), Default::default(), Default::default()).unwrap_err().kind,
        ErrorKind::Invalid
    );
}
