//! `cais export`.

use cais_test::{Invocation, e2e};

#[test]
fn the_whole_root_without_mounts() {
    e2e(|cais| {
        let script = "echo new >/new; ln /new /hard; ln -s new /soft; mkfifo /pipe; chown 5:6 /new; chmod 4711 /new; \
                      rm /etc/hostname-of-image; echo v >/vol/inside; touch $(printf 'n%0200d' 1)";
        cais.cmd("run -d --name c1 -v /vol busybox sh -c").arg(format!("{script}; sleep 1000")).ok();
        cais_test::wait_until("it is written", || cais.cmd("exec c1 test -e /pipe").output().status() == 0);
        let tar = cais.folder().join("c1.tar");
        for line in ["export -o", "container export --output"] {
            cais.cmd(line).arg(&tar).arg("c1").ok();
            let list =
                Invocation::new("tar", "-tvf").arg(&tar).arg("--numeric-owner").env("LC_ALL", "C").ok();
            let has =
                |start: &str, end: &str| list.lines().any(|it| it.starts_with(start) && it.ends_with(end));
            // Of two names the first is the file.
            assert!(has("-rws--x--x 5/6", " hard"), "{list}");
            assert!(has("hrws--x--x 5/6", " new link to hard"), "{list}");
            assert!(
                has("lrwxrwxrwx", " soft -> new") && has("prw", " pipe") && has("drwxrwxrwt", " tmp/"),
                "{list}"
            );
            assert!(has("-rwxr-xr-x", " bin/busybox") && has("drwx", " vol/"), "{list}");
            assert!(!list.contains("hostname-of-image") && !list.contains("inside"), "{list}");
            assert!(list.contains(&format!("n{:0200}", 1)), "{list}");
        }
        cais.ok("stop -t 0 c1");
        let piped = cais.cmd("export c1").piped_into("tar -xO hard").ok();
        assert_eq!(piped, "new");
        let again = cais.cmd("import").arg(&tar).arg("root:1").ok();
        assert!(again.starts_with("sha256:"));
        assert_eq!(cais.ok("run --rm root:1 /bin/cat /soft"), "new");
        cais.ok("create --name fresh busybox");
        assert!(cais.cmd("export fresh").piped_into("tar -t").ok().contains("bin/busybox"));
        cais.fails(1, "export nosuch").one_clear_error().says("nosuch");
        cais.fails(1, "export -o /no/such/folder/x c1").one_clear_error().says("/no/such/folder/x");
    });
}
