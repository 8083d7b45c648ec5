//! `cargo xtask bench launch|lifecycle|images|runtime`: builds the binary that ships and measures it beside its peers.
//!
//! The measuring is in the crate cais-test (`cais-bench`), which has the image makers; here it is only started.

use anyhow::{Result, bail};

use crate::{dist, shell};

/// Runs a benchmark; true when it could be run.
pub(crate) fn run(args: &[&str]) -> Result<bool> {
    let Some((&word @ ("launch" | "lifecycle" | "images" | "runtime"), rest)) = args.split_first() else {
        bail!(
            "which benchmark? there are: launch, lifecycle, images and runtime, each [--quick] [--binary FILE]"
        );
    };
    let mut command = shell::cargo("run --release --quiet -p cais-test --features bench --bin cais-bench --");
    command.arg(word);
    if word == "images" && !rest.contains(&"--cache") {
        command.arg("--cache").arg(shell::target().join("bench-images"));
    }
    if !rest.contains(&"--binary") {
        if !dist::run()? {
            return Ok(false);
        }
        command.arg("--binary").arg(shell::target().join("dist/cais"));
    }
    shell::succeeds(command.args(rest))
}
