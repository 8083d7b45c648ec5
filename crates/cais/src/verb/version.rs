//! `version`: of this program, and of what it speaks.

use std::ffi::OsString;

use cais_engine::verb::VERSION;
use clap::Args;
use serde_json::{Value, json};

use super::info::formatted;
use crate::door::{Door, print_stdout};
use crate::failure::Outcome;
use crate::parse::parse;

#[derive(Debug, Args)]
struct VersionArgs {
    /// json, or a Go template.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: VersionArgs = parse(door.spec, argv)?;
    // There is no server apart from the client; scripts written for docker ask for one.
    let server = door.engine()?.version();
    let client = json!({
        "Version": VERSION,
        "ApiVersion": server["ApiVersion"],
        "Os": server["Os"],
        "Arch": server["Arch"],
        "KernelVersion": server["KernelVersion"],
    });
    let version = json!({"Client": client, "Server": server});
    print_stdout(&formatted(&version, args.format.as_deref(), human)?)?;
    Ok(0)
}

fn human(version: &Value) -> String {
    let field = |name: &str| version["Client"][name].as_str().unwrap_or_default().to_owned();
    format!(
        "cais version:  {}\nAPI version:   {}\nOS/Arch:       {}/{}\nKernel:        {}\n",
        field("Version"),
        field("ApiVersion"),
        field("Os"),
        field("Arch"),
        field("KernelVersion")
    )
}
