//! Any bytes as what the shim reads: a plan, and lines of a container's passwd(5) and group(5).
//!
//! Run by `cargo +nightly fuzz run shim`.

#![no_main]

use cais_plan::{Plan, Step, passwd};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    if kind % 2 == 0 {
        lines(data);
        return;
    }
    plan(data);
    // Behind the right first word more is looked at.
    plan(&[&cais_plan::MAGIC.to_ne_bytes(), data].concat());
});

fn plan(bytes: &[u8]) {
    let Ok(plan) = Plan::parse(bytes) else { return };
    for step in plan.steps().flatten() {
        if let Step::Exec { paths, args, env } = step {
            for string in paths.iter().chain(args.iter()).chain(env.iter()) {
                assert!(!string.contains(&0));
            }
            assert_eq!(args.len(), args.iter().count());
        }
    }
}

fn lines(text: &[u8]) {
    for line in text.split(|byte| *byte == b'\n') {
        if let Some(user) = passwd::parse_user(line) {
            assert!(!user.name.is_empty());
        }
        if let Some(group) = passwd::parse_group(line) {
            assert!(!group.has_member(b""));
        }
    }
}
