//! `cais rename`.

use cais_test::e2e;

#[test]
fn names_change_also_of_running_ones() {
    e2e(|cais| {
        let id = cais.ok("run -d --name old busybox sleep 1000");
        assert_eq!(cais.ok("rename old new"), "");
        assert_eq!(cais.ok("ps --format {{.Names}}"), "new");
        assert_eq!(cais.inspect("new", "{{.Id}} {{.Name}}"), format!("{id} /new"));
        cais.fails(1, "inspect old").says("old");
        // The old name is free again.
        cais.ok("create --name old busybox");
        cais.ok(&format!("rename {} /newer", &id[..6]));
        assert_eq!(cais.ok("exec newer echo up"), "up");
        cais.ok("rm -f newer");
        assert_eq!(cais.ok("ps -a --format {{.Names}}"), "old");
        assert_eq!(cais.ok("system check"), "");
    });
}

#[test]
fn names_that_are_taken_or_none() {
    e2e(|cais| {
        cais.ok("create --name a1 busybox");
        cais.ok("create --name b1 busybox");
        cais.fails(1, "rename a1 b1").one_clear_error().says("already in use");
        cais.fails(1, "rename a1 a1").one_clear_error().says("a1");
        cais.fails(1, "rename a1 -- -x").one_clear_error();
        cais.fails(1, "rename a1 a/b").one_clear_error();
        cais.fails(1, "rename no-such-container c1").one_clear_error().says("no-such-container");
        cais.fails(1, "rename a1").one_clear_error();
        assert_eq!(cais.ok("ps -a --format {{.Names}}"), "b1\na1");
        assert_eq!(cais.ok("system check"), "");
    });
}
