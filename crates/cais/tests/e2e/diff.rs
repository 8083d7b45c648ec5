//! `cais diff`.

use cais_test::{Image, Layer, e2e};

#[test]
fn added_changed_and_deleted_files_in_order() {
    e2e(|cais| {
        let script = "echo x >/new; rm /etc/hostname-of-image; chmod 700 /root; mkdir -p /a/b; echo y >/a/b/c; \
                      rm -r /home; mkdir /home; touch /home/x; cat /etc/passwd >/dev/null; echo z >>/etc/group";
        cais.cmd("run --name c1 -v /vol -v data:/etc/deep busybox sh -c").arg(script).ok();
        let expected = "A /a\nA /a/b\nA /a/b/c\nC /etc\nC /etc/group\nD /etc/hostname-of-image\nC /home\nD /home/quay\n\
                        A /home/x\nA /new\nC /root";
        assert_eq!(cais.ok("diff c1"), expected);
        assert_eq!(cais.ok("container diff c1"), expected);
        let json: serde_json::Value = serde_json::from_str(&cais.ok("diff --format json c1")).unwrap();
        assert_eq!(json["deleted"], serde_json::json!(["/etc/hostname-of-image", "/home/quay"]));
        cais.fails(1, "diff nosuch").one_clear_error().says("nosuch");
    });
}

#[test]
fn nothing_is_changed_by_a_start_or_by_mounts() {
    e2e(|cais| {
        cais.ok("create --name new busybox");
        assert_eq!(cais.ok("diff new"), "");
        cais.ok("run -d --name up -v /vol -v /etc/sub --tmpfs /t busybox sleep 1000");
        assert_eq!(cais.ok("diff up"), "");
        cais.ok("exec up sh -c 'echo 1 >/vol/x; echo 1 >/t/x; : >>/etc/passwd'");
        assert_eq!(cais.ok("diff up"), "", "opened for writing is not written");
        cais.ok("exec up touch /x");
        assert_eq!(cais.ok("diff up"), "A /x", "while it runs");
    });
}

#[test]
fn through_several_layers() {
    e2e(|cais| {
        let Some(layer) = cais_test::rootfs::busybox_layer() else { return };
        let image = Image::new().layer(layer).layer(Layer::new().file("one", "1").whiteout("root"));
        let archive = cais.folder().join("l.tar");
        image.build().write_docker_archive(&archive, &["two:1"]).unwrap();
        cais.cmd("load -q -i").arg(&archive).ok();
        cais.ok("run --name c1 two:1 sh -c 'rm /one; mkdir /root; rm -rf /home; echo >/home'");
        assert_eq!(cais.ok("diff c1"), "C /home\nD /one\nA /root");
    });
}
