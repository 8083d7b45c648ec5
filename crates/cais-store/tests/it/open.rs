//! Tests: open.

use std::os::unix::fs::PermissionsExt;

use cais_store::{Store, StoreError};

use crate::sample::home;

#[test]
fn directories_have_their_modes_and_opening_again_changes_nothing() {
    let home = home();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let root = home.store.paths().root();
    assert_eq!(mode(root), 0o711);
    assert_eq!(mode(&root.join("layers")), 0o711);
    assert_eq!(mode(&root.join("containers")), 0o711);
    assert_eq!(mode(&root.join("images")), 0o700);
    assert_eq!(std::fs::read_to_string(root.join("VERSION")).unwrap(), "1\n");
    let again = crate::sample::open(home.directory.path());
    assert!(again.images().unwrap().is_empty() && again.container_ids().unwrap().is_empty());
    assert_eq!(again.check(false).unwrap(), []);
}

#[test]
fn another_format_is_refused_with_its_name() {
    let home = home();
    let root = home.store.paths().root();
    std::fs::write(root.join("VERSION"), "99 from the future\n").unwrap();
    let error = Store::open(root, home.store.paths().run()).unwrap_err();
    assert!(matches!(error, StoreError::Version { .. }));
    assert!(error.to_string().contains("99 from the future"), "{error}");
}

#[test]
fn a_run_directory_lost_by_reboot_is_made_again() {
    let home = home();
    std::fs::remove_dir_all(home.store.paths().run()).unwrap();
    let store = crate::sample::open(home.directory.path());
    assert!(store.paths().run_containers().is_dir());
}
