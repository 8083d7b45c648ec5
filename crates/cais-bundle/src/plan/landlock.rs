//! Landlock for the process, an extension by annotations of the configuration; landlock(7).
//!
//! | annotation | value |
//! |---|---|
//! | `org.cais.landlock.read` | paths whose files and directories may be read |
//! | `org.cais.landlock.execute` | paths whose files may be executed, and read |
//! | `org.cais.landlock.write` | paths beneath which everything is allowed but to execute |
//! | `org.cais.landlock.bind` | TCP ports that may be bound |
//! | `org.cais.landlock.connect` | TCP ports that may be connected to |
//!
//! Paths are absolute, in the container, separated by colons; one with `-` in front may be missing. Ports are numbers
//! separated by commas. As soon as one of the first three is there, all access to files that none of them allows is
//! denied, as far as the kernel knows it; so a command needs at least its own file and its libraries in `execute`. An
//! empty value allows nothing. The same for ports: `bind` and `connect` are handled apart. An exec is bound by the
//! same annotations.

use std::collections::BTreeMap;

use cais_plan::Step;

use super::draft::{Draft, text};
use super::error::{PlanError, Result};
use super::{Machine, Subject};

const PREFIX: &str = "org.cais.landlock.";

const EXECUTE: u64 = 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const BIND_TCP: u64 = 1;
const CONNECT_TCP: u64 = 1 << 1;

/// Every `LANDLOCK_ACCESS_FS_*` of a version.
fn all_files(abi: u32) -> u64 {
    let bits = match abi {
        0 | 1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    (1 << bits) - 1
}

/// Restricts the process as the annotations say.
pub fn restrict(draft: &mut Draft, annotations: &BTreeMap<String, String>, machine: &Machine) -> Result<()> {
    let get = |name: &str| annotations.get(&format!("{PREFIX}{name}")).map(String::as_str);
    let abi = machine.landlock_abi;
    let all = all_files(abi);
    let paths = [
        ("read", READ_FILE | READ_DIR),
        ("execute", EXECUTE | READ_FILE | READ_DIR),
        ("write", all & !EXECUTE),
    ];
    let ports = [("bind", BIND_TCP), ("connect", CONNECT_TCP)];
    let files = if paths.iter().any(|(name, _)| get(name).is_some()) { all } else { 0 };
    let network =
        ports.iter().filter(|(name, _)| get(name).is_some()).fold(0, |all, (_, access)| all | access);
    if files == 0 && network == 0 {
        return Ok(());
    }
    for (name, needed) in [("read", 1), ("execute", 1), ("write", 1), ("bind", 4), ("connect", 4)] {
        if get(name).is_some() && abi < needed {
            return Err(PlanError::Landlock { annotation: format!("{PREFIX}{name}"), abi, needed });
        }
    }
    draft.about(Subject::Process, "begin a Landlock ruleset", &Step::Landlock { files, network, scoped: 0 });
    for (name, access) in paths {
        for path in get(name).unwrap_or_default().split(':').filter(|path| !path.is_empty()) {
            allow_path(draft, name, path, access)?;
        }
    }
    for (name, access) in ports {
        for port in get(name).unwrap_or_default().split(',').map(str::trim).filter(|port| !port.is_empty()) {
            let number: u16 = port.parse().map_err(|_| wrong(name, port, "a port"))?;
            let sentence = format!("allow to {name} to the TCP port {number}");
            draft.about(Subject::Process, sentence, &Step::LandlockPort { port: u64::from(number), access });
        }
    }
    draft.about(Subject::Process, "enforce the Landlock ruleset", &Step::LandlockEnforce {});
    Ok(())
}

fn allow_path(draft: &mut Draft, name: &str, path: &str, access: u64) -> Result<()> {
    let (optional, bare) = match path.strip_prefix('-') {
        Some(bare) => (true, bare),
        None => (false, path),
    };
    if !bare.starts_with('/') {
        return Err(wrong(name, path, "an absolute path"));
    }
    let step = Step::LandlockPath { path: text("a Landlock path", bare)?, access, optional };
    draft.about(Subject::Process, format!("allow to {name} {bare}"), &step);
    Ok(())
}

fn wrong(name: &str, value: &str, what: &'static str) -> PlanError {
    PlanError::Annotation { annotation: format!("{PREFIX}{name}"), value: value.to_owned(), what }
}
