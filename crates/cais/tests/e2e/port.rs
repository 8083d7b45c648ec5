//! `cais port`.

use cais_test::e2e;

#[test]
fn published_ports_are_listed() {
    e2e(|cais| {
        cais.ok("run -d --name p1 -p 127.0.0.1:8080:80 -p 9000:9000/udp busybox sleep 1000");
        let list = cais.ok("port p1");
        assert!(list.contains("80/tcp -> 127.0.0.1:8080"), "{list}");
        assert!(list.contains("9000/udp -> 0.0.0.0:9000"), "{list}");
        assert_eq!(cais.ok("port p1 80"), "127.0.0.1:8080");
        assert_eq!(cais.ok("port p1 80/tcp"), "127.0.0.1:8080");
        cais.fails(1, "port p1 81").one_clear_error().says("81");
        cais.fails(1, "port no-such-container").one_clear_error();
        cais.fails(1, "port").one_clear_error();
        assert_eq!(cais.ok("port -l 80"), "127.0.0.1:8080");
        let id = cais.ok("ps -q");
        assert!(cais.ok("port --all").starts_with(&format!("{id}\t80/tcp -> 127.0.0.1:8080")));
        assert_eq!(cais.ok("inspect -l --format {{.Name}}"), "/p1");
    });
}

#[test]
fn a_host_port_is_chosen_when_none_is_given() {
    e2e(|cais| {
        cais.ok("run -d --name p1 -p 80 busybox sleep 1000");
        let port =
            cais.ok("port p1 80").lines().next().unwrap().rsplit(':').next().unwrap().parse::<u16>().unwrap();
        assert!(port >= 1024);
    });
}
