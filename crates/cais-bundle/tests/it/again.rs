//! The example of this crate as a process of its own that does one thing: to be killed, to have other descriptors, signals
//! or standard streams.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::bundle::World;

/// `None` prints why: a run of this test alone does not build examples.
pub fn program() -> Option<PathBuf> {
    let own = std::env::current_exe().expect("this program");
    let path = own.parent()?.parent()?.join("examples/runtime");
    if path.exists() {
        return Some(path);
    }
    println!("skipped: the example `runtime` is not built");
    None
}

/// A command that does an operation (`create`, `run`, `exec`) with the container `id`; `more` is a JSON object of details.
pub fn again(world: &World, operation: &str, id: &str, more: &Value) -> Command {
    let mut asked = more.clone();
    asked["operation"] = operation.into();
    asked["id"] = id.into();
    asked["root"] = world.directory.path().join("state").to_str().expect("text").into();
    asked["bundle"] = world.bundle().to_str().expect("text").into();
    let mut command = Command::new("/bin/sh");
    // The shell can place descriptors; it is replaced at once.
    command.args(["-c", more["shell"].as_str().unwrap_or("exec \"$@\""), "sh"]);
    command.arg(program().unwrap_or_default()).arg(asked.to_string());
    command
}

/// What a command printed.
pub fn printed(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
