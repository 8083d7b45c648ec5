//! `create`: a container that waits for `start`. Also what `run` and `restore` are told in the same words.

use std::path::PathBuf;

use cais_bundle::CreateRequest;

use super::Door;
use super::failure::{Failure, Outcome};
use super::flags::Words;
use super::globals::Globals;

pub(super) fn main(door: &Door, words: &Words) -> Outcome {
    keep_root(&door.globals)?;
    let pid = door.runtime()?.create(&request(words)?)?;
    door.log.debug(|| format!("process {pid} waits for start"));
    Ok(0)
}

/// Where the container comes from and what it is given.
///
/// # Errors
/// For values that are none.
pub(super) fn request(words: &Words) -> Result<CreateRequest, Failure> {
    Ok(CreateRequest {
        id: words.id()?.to_owned(),
        bundle: words.path("bundle").unwrap_or_else(|| PathBuf::from(".")),
        config: words.path("config"),
        pid_file: words.path("pid-file"),
        console_socket: words.path("console-socket"),
        pidfd_socket: words.path("pidfd-socket"),
        no_pivot: words.switch("no-pivot"),
        no_new_keyring: words.switch("no-new-keyring"),
        preserve_fds: words.number("preserve-fds")?.unwrap_or(0),
        listen_fds: listen_fds(&|name| std::env::var(name).ok(), std::process::id()),
        notify_socket: std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from),
    })
}

/// How many sockets the service manager has left at 3 and above for this very process; sd_listen_fds(3).
fn listen_fds(env: &dyn Fn(&str) -> Option<String>, own_pid: u32) -> u32 {
    let number = |name: &str| env(name).and_then(|text| text.parse::<u32>().ok());
    if number("LISTEN_PID") == Some(own_pid) { number("LISTEN_FDS").unwrap_or(0) } else { 0 }
}

/// Tells the machine's tidying to leave the state alone: below `$XDG_RUNTIME_DIR` that is the sticky bit.
///
/// # Errors
/// When the folder cannot be made.
pub(super) fn keep_root(globals: &Globals) -> Result<(), Failure> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    if !globals.root_is_xdg {
        return Ok(());
    }
    let root = &globals.root;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root);
    let kept = made.and_then(|()| std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o1700)));
    kept.map_err(|error| Failure::io(format!("make {} below $XDG_RUNTIME_DIR", root.display()), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_those_of_this_process_only() {
        let count = |pid: &'static str, fds: &'static str| {
            listen_fds(&|name| Some(if name == "LISTEN_PID" { pid } else { fds }.to_owned()), 77)
        };
        assert_eq!((count("77", "2"), count("78", "2"), count("77", "x")), (2, 0, 0));
        assert_eq!(listen_fds(&|_| None, 77), 0);
    }
}
