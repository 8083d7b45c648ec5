//! Descriptors that travel over UNIX sockets (`SCM_RIGHTS`, unix(7)), and sockets whose path is too long for an address.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, recvmsg,
    sendmsg, socket_with,
};

/// Sends bytes with descriptors, in one message.
pub(crate) fn send_with(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL.into());
    }
    retry_on_intr(|| sendmsg(socket.as_fd(), &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// Receives one message with at most one descriptor; further ones are closed. How many bytes there were.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = retry_on_intr(|| {
        let mut parts = [IoSliceMut::new(&mut *buffer)];
        recvmsg(socket.as_fd(), &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let fd = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .next();
    Ok((received.bytes, fd))
}

/// A path that fits into a socket's address, and what must stay open meanwhile.
fn short_path(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    const LONGEST: usize = 107;
    if path.as_os_str().len() <= LONGEST {
        return Ok((path.to_owned(), None));
    }
    let directory = File::open(path.parent().unwrap_or(Path::new("/")))?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    Ok((short, Some(directory)))
}

/// Connects to the socket at a path of any length.
pub(crate) fn connect_to(path: &Path, kind: SocketType) -> io::Result<OwnedFd> {
    let (short, _directory) = short_path(path)?;
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    let address = SocketAddrUnix::new(short)?;
    retry_on_intr(|| connect(&socket, &address))?;
    Ok(socket)
}

/// Makes a socket at a path of any length; `backlog` 0 = it does not listen.
pub(crate) fn bind_at(path: &Path, kind: SocketType, backlog: i32) -> io::Result<OwnedFd> {
    let (short, _directory) = short_path(path)?;
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrUnix::new(short)?)?;
    if backlog > 0 {
        listen(&socket, backlog)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{accept, socketpair};

    #[test]
    fn descriptors_travel() {
        let (a, b) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        send_with(&a, b"x", &[reader.as_fd(), writer.as_fd()]).unwrap();
        send_with(&a, b"yz", &[]).unwrap();
        let mut buffer = [0; 8];
        let (count, fd) = receive(&b, &mut buffer).unwrap();
        assert_eq!((count, buffer[0]), (1, b'x'));
        drop((reader, writer));
        let mut end = [0; 1];
        assert_eq!(rustix::io::read(fd.unwrap(), &mut end).unwrap(), 0, "the further descriptor was closed");
        let (count, fd) = receive(&b, &mut buffer).unwrap();
        assert_eq!((count, fd.is_none()), (2, true));
        drop(a);
        assert_eq!(receive(&b, &mut buffer).unwrap().0, 0);
    }

    #[test]
    fn paths_of_any_length() {
        let directory = tempfile::tempdir().unwrap();
        let long = directory.path().join("d".repeat(120));
        std::fs::create_dir(&long).unwrap();
        let path = long.join("start.sock");
        let listener = bind_at(&path, SocketType::SEQPACKET, 4).unwrap();
        let client = connect_to(&path, SocketType::SEQPACKET).unwrap();
        send_with(&client, b"G", &[]).unwrap();
        let server = accept(&listener).unwrap();
        let mut buffer = [0; 4];
        assert_eq!(receive(&server, &mut buffer).unwrap().0, 1);
        drop((listener, server));
        let error = connect_to(&path, SocketType::SEQPACKET).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
