//! Networks on a host that is a network namespace of the test's own: nothing here touches the machine's network.

mod attach;
mod bridge;
mod device;
mod fake_host;
mod ports;
mod speed;
mod traffic;
