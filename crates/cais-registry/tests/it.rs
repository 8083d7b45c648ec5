//! The client against registries of this machine: made-up ones that misbehave, and Debian's real one.

#[path = "it/auth.rs"]
mod auth;
#[path = "it/fake.rs"]
mod fake;
#[path = "it/faults.rs"]
mod faults;
#[path = "it/login.rs"]
mod login;
#[path = "it/pull.rs"]
mod pull;
#[path = "it/push.rs"]
mod push;
#[path = "it/real.rs"]
mod real;
#[path = "it/tls.rs"]
mod tls;
