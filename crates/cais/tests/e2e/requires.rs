//! `--requires` and `rm --depend`: containers that are started before others. What is expected is podman's.

use cais_test::e2e;

#[test]
fn what_is_required_starts_first_and_stays() {
    e2e(|cais| {
        cais.mark();
        cais.ok("create --name db busybox sleep 1000");
        cais.ok("create --name cache --requires db busybox sleep 1000");
        cais.ok("create --name web --requires cache,db busybox sleep 1000");
        cais.ok("start web");
        let started = |name: &str| cais.inspect(name, "{{.State.StartedAt}}");
        assert!(started("db") < started("cache") && started("cache") < started("web"));
        cais.fails(1, "rm -f db").one_clear_error().says("cache, web");
        cais.ok("stop -t 0 db");
        cais.ok("restart -t 0 web");
        assert_eq!(cais.inspect("db", "{{.State.Status}}"), "running");
        cais.fails(1, "create --requires nobody busybox true").one_clear_error().says("nobody");
        let line = cais.ok("inspect --as run web");
        assert!(line.contains("--requires cache --requires db"), "{line}");
        cais.ok("rm -f --depend db");
        assert_eq!(cais.ok("ps -aq"), "");
        cais.assert_nothing_left();
    });
}

#[test]
fn a_requirement_that_does_not_start_is_told() {
    e2e(|cais| {
        cais.ok("create --name bad busybox no-such-command");
        cais.fails(127, "run --name web --requires bad busybox true")
            .one_clear_error()
            .says("no-such-command");
        cais.ok("rm web");
        cais.ok("rm bad");
    });
}

#[test]
fn who_shares_namespaces_goes_with_their_owner_if_asked() {
    e2e(|cais| {
        cais.ok("run -d --name owner busybox sleep 1000");
        cais.ok("run -d --name guest --network container:owner busybox sleep 1000");
        cais.ok("rm -f --depend owner");
        assert_eq!(cais.ok("ps -aq"), "");
    });
}
