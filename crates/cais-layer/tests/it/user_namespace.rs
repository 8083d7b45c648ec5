//! Without privilege: the same binary runs one of its tests again within a user namespace that has a single id.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use cais_layer::{LayerError, Options};

use crate::bed::Bed;
use crate::forge::{Forge, Header};

#[test]
fn a_user_namespace_is_enough() {
    let inner = std::env::current_exe().unwrap();
    let unshare = ["--user", "--map-root-user"];
    if !Command::new("unshare").args(unshare).arg("true").status().is_ok_and(|status| status.success()) {
        println!("skipped: user namespaces cannot be made here");
        return;
    }
    let output = Command::new("unshare")
        .args(unshare)
        .arg(inner)
        .args(["--ignored", "--exact", "user_namespace::within_a_user_namespace"])
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "is run within a user namespace by a_user_namespace_is_enough"]
fn within_a_user_namespace() {
    let options = Options { rootless: true, ..Options::default() };
    let mut forge = Forge::new();
    forge.dir("dir", 0o2755).file("dir/.wh..wh..opq", b"").file("dir/.wh.gone", b"").file("dir/file", b"x");
    forge.device(b'3', "null", 1, 3).header(&Header::new(b'6', "fifo"));
    forge.pax(b'x', &[("SCHILY.xattr.trusted.mine", b"1"), ("SCHILY.xattr.user.mine", b"1")]);
    forge.file("attributes", b"");
    let bed = Bed::new();
    assert_eq!(bed.try_unpack(&forge.end(), &options).unwrap().skipped_devices, 1);
    assert!(bed.is_whiteout("dir/gone"));
    assert_eq!(bed.xattr("dir", "user.overlay.opaque").as_deref(), Some(&b"y"[..]));
    assert_eq!(bed.stat("dir").mode(), 0o042_755);
    assert_eq!(bed.xattr("attributes", "user.mine").as_deref(), Some(&b"1"[..]));
    assert_eq!(bed.xattr("attributes", "trusted.mine"), None);

    // Not rootless, devices and trusted attributes are errors, not gaps.
    let error = Bed::new().refuse(&Forge::new().device(b'3', "null", 1, 3).end());
    assert_eq!(error.to_string(), "make the device node \"null\"");

    for flag in [b'0', b'2', b'5', b'6'] {
        let layer = Forge::new().header(Header::new(flag, "app").link("x").owner(1000, 1001)).end();
        let error = Bed::new().try_unpack(&layer, &options).unwrap_err();
        assert!(matches!(error, LayerError::Owner { uid: 1000, gid: 1001, .. }), "{error}");
        assert!(error.to_string().contains("/etc/subuid"), "{error}");
        let squashing = Options { squash_ids: true, ..options.clone() };
        let bed = Bed::new();
        bed.try_unpack(&layer, &squashing).unwrap();
        assert_eq!(bed.stat("app").uid(), 0);
    }
}
