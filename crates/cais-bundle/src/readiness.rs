//! A container tells its readiness, sd_notify(3): its `NOTIFY_SOCKET` is a socket of ours in a directory that is mounted
//! into it, and its `READY=1` is passed on to the caller's, with the pid to watch.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cais_oci::runtime::{Mount, Spec};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SocketType;

use crate::descriptor::{bind_at, connect_to, send_with};
use crate::error::{Error, Result};

/// Where the directory appears in the container.
const INSIDE: &str = "/run/notify";

fn directory(state: &Path) -> PathBuf {
    state.join("notify")
}

/// Makes the directory, and the configuration mount it and name the socket.
pub(crate) fn prepare(state: &Path, spec: &mut Spec) -> Result<()> {
    let directory = directory(state);
    let failed = |e| Error::system(format!("create {}", directory.display()), e);
    std::fs::create_dir(&directory).map_err(failed)?;
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).map_err(failed)?;
    let source = directory.to_str().ok_or_else(|| Error::NotText { path: directory.clone() })?;
    spec.mounts.push(Mount {
        destination: INSIDE.to_owned(),
        source: Some(source.to_owned()),
        options: ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec(),
        ..Mount::default()
    });
    if let Some(process) = &mut spec.process {
        process.env.push(format!("NOTIFY_SOCKET={INSIDE}/notify.sock"));
    }
    Ok(())
}

/// Listens, before the command runs.
pub(crate) fn listen(state: &Path) -> Result<OwnedFd> {
    let path = directory(state).join("notify.sock");
    let failed = |e| Error::system(format!("bind {}", path.display()), e);
    let socket = bind_at(&path, SocketType::DGRAM, 0).map_err(failed)?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).map_err(failed)?;
    Ok(socket)
}

/// Waits until the container is ready or has ended, and tells the caller's socket.
pub(crate) fn pass_on(socket: &OwnedFd, to: &Path, pid: i32, pidfd: &OwnedFd) -> Result<()> {
    let failed =
        |e: std::io::Error| Error::system(format!("tell {} that the container is ready", to.display()), e);
    let mut buffer = [0_u8; 4096];
    let ready = loop {
        let mut fds = [PollFd::new(socket, PollFlags::IN), PollFd::new(pidfd, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(failed(e.into())),
        }
        if fds[0].revents().is_empty() {
            if fds[1].revents().is_empty() {
                continue;
            }
            return Ok(());
        }
        let length = rustix::io::read(socket, &mut buffer).map_err(|e| failed(e.into()))?;
        if let Some(line) = ready(&buffer[..length]) {
            break line.to_vec();
        }
    };
    let caller = connect_to(to, SocketType::DGRAM).map_err(failed)?;
    for message in [ready, format!("MAINPID={pid}").into_bytes()] {
        send_with(&caller, &[&message[..], b"\n"].concat(), &[]).map_err(failed)?;
    }
    barrier(&caller).map_err(failed)
}

/// The line of a container's message that tells its readiness.
pub(crate) fn ready(message: &[u8]) -> Option<&[u8]> {
    message.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"READY="))
}

/// Waits until systemd has read everything: it closes the pipe that goes with the message, sd_notify_barrier(3).
fn barrier(caller: &OwnedFd) -> std::io::Result<()> {
    const LIMIT: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };
    let (mut reader, mut writer) = std::io::pipe()?;
    send_with(caller, b"BARRIER=1", &[writer.as_fd()])?;
    writer.flush()?;
    drop(writer);
    match poll(&mut [PollFd::new(&reader, PollFlags::IN)], Some(&LIMIT)) {
        Ok(1..) => reader.read(&mut [0]).map(drop),
        // Not everybody knows the word.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    #[test]
    fn readiness_goes_from_one_socket_to_the_other() {
        let state = tempfile::tempdir().unwrap();
        let mut spec = Spec { process: Some(Default::default()), ..Spec::default() };
        prepare(state.path(), &mut spec).unwrap();
        assert_eq!(spec.mounts[0].destination, "/run/notify");
        assert_eq!(spec.process.unwrap().env, ["NOTIFY_SOCKET=/run/notify/notify.sock"]);
        let socket = listen(state.path()).unwrap();
        let host = state.path().join("host.sock");
        let caller = bind_at(&host, SocketType::DGRAM, 0).unwrap();
        let inside = connect_to(&state.path().join("notify/notify.sock"), SocketType::DGRAM).unwrap();
        send_with(&inside, b"STATUS=busy", &[]).unwrap();
        send_with(&inside, b"STATUS=done\nREADY=1", &[]).unwrap();
        let pidfd = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| pass_on(&socket, &host, 77, &pidfd));
            let mut buffer = [0; 64];
            let mut next = || {
                let (length, fd) = crate::descriptor::receive(&caller, &mut buffer).unwrap();
                (String::from_utf8_lossy(&buffer[..length]).into_owned(), fd)
            };
            assert_eq!(next().0, "READY=1\n");
            assert_eq!(next().0, "MAINPID=77\n");
            let (word, fd) = next();
            assert_eq!((word.as_str(), fd.is_some()), ("BARRIER=1", true));
            drop(fd);
            thread.join().unwrap().unwrap();
        });
    }
}
