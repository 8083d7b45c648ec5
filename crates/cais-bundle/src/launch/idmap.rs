//! The ids of a new user namespace, user_namespaces(7): written by us where we may, else by newuidmap(1) and newgidmap(1).

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use cais_oci::runtime::{IdMapping, Linux};
use rustix::io::Errno;

use crate::error::{Error, Result, plain};
use crate::machine::Caller;

/// Where the programs are looked for: the library reads no environment.
const DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/usr/local/bin"];

/// Maps the ids of the user namespace that process `pid` was cloned into.
///
/// # Errors
/// When the kernel refuses the maps and no program is installed that may write them.
pub(crate) fn write(pid: i32, linux: &Linux, caller: Caller, own_group_only: bool) -> Result<()> {
    if caller.uid != 0 && own_group_only {
        // The kernel's condition for the map that needs no privileges.
        put(pid, "setgroups", "deny")
            .map_err(|e| Error::system(format!("write /proc/{pid}/setgroups"), e))?;
    }
    map(pid, "uid_map", "newuidmap", &linux.uid_mappings)?;
    map(pid, "gid_map", "newgidmap", &linux.gid_mappings)
}

fn put(pid: i32, file: &str, text: &str) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/{file}"), text)
}

fn map(pid: i32, file: &str, program: &'static str, maps: &[IdMapping]) -> Result<()> {
    if maps.is_empty() {
        return Ok(());
    }
    match put(pid, file, &lines(maps)) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => {
            by_program(pid, program, maps, &error)
        }
        other => other.map_err(|e| Error::system(format!("write /proc/{pid}/{file}"), e)),
    }
}

/// The maps as the kernel reads them.
pub(crate) fn lines(maps: &[IdMapping]) -> String {
    maps.iter().map(|map| format!("{} {} {}\n", map.container_id, map.host_id, map.size)).collect()
}

fn by_program(pid: i32, program: &'static str, maps: &[IdMapping], refused: &io::Error) -> Result<()> {
    let failed = |reason: String| Error::IdTool { program, reason };
    let path = DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.exists())
        .ok_or_else(|| failed(format!("it is not installed, and without it: {}", plain(refused))))?;
    let mut command = Command::new(path);
    command.env_clear().arg(pid.to_string());
    for map in maps {
        command.args([map.container_id, map.host_id, map.size].map(|number| number.to_string()));
    }
    let output = command.output().map_err(|e| failed(plain(&e)))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_lines() {
        let map = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        assert_eq!(lines(&[map(0, 1000, 1), map(1, 100_000, 65536)]), "0 1000 1\n1 100000 65536\n");
        assert_eq!(lines(&[]), "");
    }
}
