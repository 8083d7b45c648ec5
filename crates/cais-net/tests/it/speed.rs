//! What the operations cost; run with `cargo nextest run -p cais-net --run-ignored only --no-capture speed`.

use std::time::{Duration, Instant};

use cais_net::attach::{Attachment, create_attached_netns, create_netns};
use cais_net::bridge::{BridgeConfig, ensure_bridge};
use cais_net::ports::{PortMapping, Protocol, publish, unpublish};

use crate::bridge::mapping;
use crate::fake_host::{Container, attachment, inside, on_fake_host, reaches_tcp, serve_tcp};

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let micros = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e6;
    println!("{what:40} median {:8.1} µs, best {:8.1}, p95 {:8.1}", micros(50), micros(0), micros(95));
}

fn time<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

#[test]
#[ignore = "a measurement, not a check"]
fn of_each_operation() {
    on_fake_host(|| {
        let bridge = BridgeConfig::default();
        report("ensure_bridge, everything missing", vec![time(|| ensure_bridge(&bridge).expect("ensure")).0]);
        report(
            "ensure_bridge",
            (0..500).map(|_| time(|| ensure_bridge(&bridge).expect("ensure")).0).collect(),
        );
        let (times, free): (Vec<_>, Vec<_>) =
            (0..100).map(|_| time(|| create_netns().expect("netns"))).unzip();
        report("create_netns", times);
        drop(free);
        for reflect in [false, true] {
            let (times, all): (Vec<_>, Vec<_>) = (0..100)
                .map(|number| {
                    let place = Attachment { reflect, ..attachment(&bridge, number) };
                    time(|| create_attached_netns(&bridge, &place).expect("attach"))
                })
                .unzip();
            report(&format!("create_attached_netns, reflect {reflect}"), times);
            drop(all);
        }
        let (mut publishing, mut unpublishing) = (Vec::new(), Vec::new());
        for number in 0..1000 {
            publishing.push(time(|| publish(&[mapping(10_000 + number)]).expect("publish")).0);
        }
        for number in 0..1000 {
            let (time, linger) = time(|| unpublish(&[mapping(10_000 + number)]).expect("unpublish"));
            unpublishing.push(time);
            drop(linger);
        }
        report("publish one TCP port", publishing);
        report("unpublish one TCP port", unpublishing);
        let udp = PortMapping { protocol: Protocol::Udp, ..mapping(53) };
        let mut closing = Vec::new();
        let both = (0..20).map(|_| {
            publish(&[udp]).expect("publish");
            let (taken, linger) = time(|| unpublish(&[udp]).expect("unpublish"));
            closing.push(time(|| drop(linger)).0);
            taken
        });
        report("unpublish one UDP port", both.collect());
        report("closing the socket afterwards", closing);
    });
}

/// While other namespaces are being taken down, which keeps the kernel's lock for all network set-up busy.
#[test]
#[ignore = "a measurement, not a check"]
fn of_the_first_connection() {
    on_fake_host(|| {
        let bridge = BridgeConfig::default();
        ensure_bridge(&bridge).expect("ensure");
        serve_tcp(81, "host");
        let times: Vec<_> = (0..300)
            .map(|number| {
                let container = Container::start(&bridge, number);
                time(|| inside(&container.namespace, || while !reaches_tcp(bridge.gateway, 81) {})).0
            })
            .collect();
        let late = times.iter().filter(|time| **time > Duration::from_millis(200)).count();
        report("first connection after attach", times);
        println!("of 300 first connections {late} had to be tried again");
    });
}
