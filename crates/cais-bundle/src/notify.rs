//! Who watches over a seccomp filter gets its listener: config-linux.md "The Container Process State".

use std::os::fd::{AsFd, OwnedFd};

use cais_oci::runtime::{ContainerProcessState, State};
use rustix::net::SocketType;

use crate::descriptor::{connect_to, send_with};
use crate::error::{Error, Result};
use crate::state::Listener;

/// Sends the listener of the filter of process `pid` of the container, with its state, to `linux.seccomp.listenerPath`.
///
/// # Errors
/// When nobody listens there.
pub(crate) fn send(to: &Listener, state: State, pid: i32, listener: OwnedFd) -> Result<()> {
    let operation = || format!("failed to connect with seccomp agent at {}", to.path.display());
    let message = ContainerProcessState {
        oci_version: state.oci_version.clone(),
        fds: vec![ContainerProcessState::SECCOMP_FD.to_owned()],
        pid,
        metadata: to.metadata.clone(),
        state,
    };
    let text =
        serde_json::to_vec(&message).map_err(|source| Error::State { path: to.path.clone(), source })?;
    let socket = connect_to(&to.path, SocketType::STREAM).map_err(|e| Error::system(operation(), e))?;
    send_with(&socket, &text, &[listener.as_fd()]).map_err(|e| Error::system(operation(), e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::{bind_at, receive};
    use cais_oci::runtime::Status;

    #[test]
    fn the_watcher_gets_all_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seccomp.sock");
        let to = Listener { path: path.clone(), metadata: Some("words".to_owned()) };
        let state = State {
            oci_version: "1.2.0".to_owned(),
            id: "c1".to_owned(),
            status: Status::Creating,
            pid: Some(5),
            bundle: "/b".to_owned(),
            annotations: Default::default(),
        };
        let listener = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let error = send(&to, state.clone(), 6, listener()).unwrap_err().to_string();
        assert!(error.ends_with("seccomp.sock: no such file or directory"), "{error}");
        let server = bind_at(&path, SocketType::STREAM, 1).unwrap();
        send(&to, state.clone(), 6, listener()).unwrap();
        let connection = rustix::net::accept(&server).unwrap();
        let mut buffer = vec![0; 4096];
        let (length, fd) = receive(&connection, &mut buffer).unwrap();
        assert!(fd.is_some());
        let message: ContainerProcessState = serde_json::from_slice(&buffer[..length]).unwrap();
        assert_eq!((message.pid, message.fds.as_slice()), (6, &["seccompFd".to_owned()][..]));
        assert_eq!((message.metadata.as_deref(), message.state), (Some("words"), state));
    }
}
