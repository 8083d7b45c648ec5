//! The other end of `--console-socket` and `--pidfd-socket`: receives one descriptor and the bytes that come with it.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread::JoinHandle;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// A socket that somebody listens on, for one message.
#[derive(Debug)]
pub struct Receiver(JoinHandle<(OwnedFd, String)>);

impl Receiver {
    /// Makes the socket and waits in the background.
    pub fn listen(path: &Path) -> Receiver {
        let listener = UnixListener::bind(path).expect("a socket");
        Receiver(std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a connection");
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut bytes = [0; 4096];
            let message =
                recvmsg(&stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
                    .expect("a message");
            let text = String::from_utf8_lossy(&bytes[..message.bytes]).into_owned();
            let mut fds: Vec<OwnedFd> = control
                .drain()
                .filter_map(|ancillary| match ancillary {
                    RecvAncillaryMessage::ScmRights(fds) => Some(fds.collect::<Vec<_>>()),
                    _ => None,
                })
                .flatten()
                .collect();
            assert_eq!(fds.len(), 1, "one descriptor in a message");
            (fds.remove(0), text)
        }))
    }

    /// The descriptor, and the text beside it.
    pub fn received(self) -> (OwnedFd, String) {
        self.0.join().expect("a descriptor came")
    }
}
