//! `info`: what this machine offers and what is stored.

use std::ffi::OsString;
use std::fmt::Write;

use clap::Args;
use serde_json::Value;

use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;
use crate::size;
use crate::template::Template;

#[derive(Debug, Args)]
struct InfoArgs {
    /// json, or a Go template.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: InfoArgs = parse(door.spec, argv)?;
    let info = door.engine()?.info()?;
    print_stdout(&formatted(&info, args.format.as_deref(), human)?)?;
    Ok(0)
}

/// A document as `--format` wants it, or in plain words.
pub(super) fn formatted(
    document: &Value,
    format: Option<&str>,
    human: fn(&Value) -> String,
) -> Result<String, Failure> {
    let text = match format {
        None | Some("") => return Ok(human(document)),
        Some("json") => "{{json .}}",
        Some(text) => text,
    };
    let fail = |error| Failure::usage(format!("--format: {error}"));
    Ok(Template::parse(text).and_then(|template| template.render(document)).map_err(fail)? + "\n")
}

/// Titles and keys, in docker's order and indentation.
const LINES: [(&str, &str); 21] = [
    ("Containers", "Containers"),
    (" Running", "ContainersRunning"),
    (" Paused", "ContainersPaused"),
    (" Stopped", "ContainersStopped"),
    ("Images", "Images"),
    ("Version", "ServerVersion"),
    ("Storage Driver", "Driver"),
    ("Logging Driver", "LoggingDriver"),
    ("Cgroup Driver", "CgroupDriver"),
    ("Cgroup Version", "CgroupVersion"),
    ("Security Options", "SecurityOptions"),
    ("Rootless", "Rootless"),
    ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"),
    ("OSType", "OSType"),
    ("Architecture", "Architecture"),
    ("CPUs", "NCPU"),
    ("Total Memory", "MemTotal"),
    ("Name", "Name"),
    ("Root Dir", "DockerRootDir"),
    ("Run Dir", "RunDir"),
];

fn human(info: &Value) -> String {
    let mut text = String::new();
    for (title, key) in LINES {
        let value = match &info[key] {
            Value::Null => continue,
            Value::String(value) => value.clone(),
            Value::Array(items) => items
                .iter()
                .filter_map(Value::as_str)
                .map(|item| item.trim_start_matches("name="))
                .collect::<Vec<_>>()
                .join(", "),
            number if key == "MemTotal" => size::human(number.as_u64().unwrap_or(0)),
            other => other.to_string(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{title}: {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_and_templates() {
        let info = json!({"Containers": 2, "MemTotal": 16_000_000_000_u64, "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"], "KernelVersion": "6.18"});
        assert_eq!(
            human(&info),
            "Containers: 2\nSecurity Options: seccomp,profile=builtin, rootless\nKernel Version: 6.18\nTotal Memory: 16GB\n"
        );
        assert_eq!(formatted(&info, Some("{{.Containers}}"), human).ok().as_deref(), Some("2\n"));
        assert!(
            formatted(&info, Some("json"), human).is_ok_and(|text| text.starts_with("{\"Containers\":2"))
        );
        assert!(formatted(&info, Some("{{.Nope}}"), human).is_err());
    }
}
