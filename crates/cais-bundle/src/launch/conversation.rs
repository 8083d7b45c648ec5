//! The talk with the container's first process, until it is the command: [`cais_plan::wire`].
//!
//! The runtime's end of the socket that the process was started with, and the starter's connection to it later. Every
//! point is answered by a go or by silence: closing the socket makes the process end itself.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use cais_plan::wire::{self, sync};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::descriptor::{receive, send_with};
use crate::error::{Error, Result};

/// Longer texts for hooks go as a memory file.
const INLINE_BYTES: usize = 16 * 1024;

/// One end of the talk.
#[derive(Debug)]
pub(crate) struct Conversation {
    socket: OwnedFd,
}

/// What the other end says.
#[derive(Debug)]
pub(crate) enum Word {
    /// The first process is there: its pid as we see it, and its pidfd.
    Cloned(i32, OwnedFd),
    /// The namespaces are there. Wants a go.
    Setup,
    /// Time for hooks. Wants a go.
    Hooks,
    /// Ready. Wants a go.
    Ready,
    /// The listener of the seccomp filter. Wants a go.
    Listener(OwnedFd),
    /// A step failed; the process has ended.
    Failed(Failed),
    /// Nothing more: it became the command, or died.
    End,
}

/// A failed step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) index: u32,
    pub(crate) errno: i32,
    pub(crate) detail: u32,
    /// What a hook wrote, its end.
    pub(crate) said: String,
}

/// Bytes of the longest word: a failure with what a hook wrote.
const WORD_BYTES: usize = 4096;

impl Conversation {
    /// Ours, and the one for the other end.
    pub(crate) fn pair() -> io::Result<(Conversation, OwnedFd)> {
        let (socket, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Conversation { socket }, other))
    }

    /// Over a connected socket.
    pub(crate) fn over(socket: OwnedFd) -> Conversation {
        Conversation { socket }
    }

    /// Waits for the next word.
    ///
    /// # Errors
    /// [`Error::Message`] for what is none; a connection that was refused by closing is [`Errno::CONNRESET`].
    pub(crate) fn next(&self) -> Result<Word> {
        let mut buffer = [0_u8; WORD_BYTES];
        let (length, fd) =
            receive(&self.socket, &mut buffer).map_err(|e| Error::system("hear the first process", e))?;
        if length == 0 {
            return Ok(Word::End);
        }
        let understood = match (wire::Word::parse(&buffer[..length]), fd) {
            (Some(wire::Word::Cloned { pid }), Some(pidfd)) => Some(Word::Cloned(pid, pidfd)),
            (Some(wire::Word::Listener), Some(listener)) => Some(Word::Listener(listener)),
            (Some(wire::Word::Point { word: sync::SETUP }), _) => Some(Word::Setup),
            (Some(wire::Word::Point { word: sync::HOOKS }), _) => Some(Word::Hooks),
            (Some(wire::Word::Point { word: sync::READY }), _) => Some(Word::Ready),
            (Some(wire::Word::Failed { index, errno, detail }), _) => {
                let said = String::from_utf8_lossy(&buffer[13..length]).trim_end().to_owned();
                Some(Word::Failed(Failed { index, errno, detail, said }))
            }
            _ => None,
        };
        understood.ok_or(Error::Message)
    }

    /// Lets it go on, with a text for the hooks that it runs.
    ///
    /// # Errors
    /// When it has ended meanwhile.
    pub(crate) fn go(&self, text: &[u8]) -> Result<()> {
        let failed = |e: io::Error| Error::system("answer the first process", e);
        if text.len() <= INLINE_BYTES {
            let mut packet = Vec::with_capacity(text.len() + 1);
            packet.push(wire::GO);
            packet.extend_from_slice(text);
            return send_with(&self.socket, &packet, &[]).map_err(failed);
        }
        let file = cais_sys::spawn::sealed_memfd(c"cais-state", text, false).map_err(Error::Text)?;
        send_with(&self.socket, &[wire::GO], &[file.as_fd()]).map_err(failed)
    }
}

/// Whether a starter came too late: another one was heard and the listener is closed.
pub(crate) fn is_refusal(error: &Error) -> bool {
    let Error::System { source, .. } = error else { return false };
    matches!(Errno::from_io_error(source), Some(Errno::CONNRESET | Errno::CONNREFUSED | Errno::PIPE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: u8, words: &[u32]) -> Vec<u8> {
        std::iter::once(kind).chain(words.iter().flat_map(|word| word.to_ne_bytes())).collect()
    }

    #[test]
    fn words_are_understood() {
        let (ours, theirs) = Conversation::pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        send_with(&theirs, &packet(wire::CLONED, &[77]), &[file.as_fd()]).unwrap();
        assert!(matches!(ours.next().unwrap(), Word::Cloned(77, _)));
        for (word, fits) in [
            (sync::SETUP, (|w| matches!(w, Word::Setup)) as fn(&Word) -> bool),
            (sync::HOOKS, |w| matches!(w, Word::Hooks)),
            (sync::READY, |w| matches!(w, Word::Ready)),
        ] {
            send_with(&theirs, &packet(wire::POINT, &[word]), &[]).unwrap();
            assert!(fits(&ours.next().unwrap()), "{word}");
        }
        send_with(&theirs, &packet(wire::FAILED, &[5, 2, 8]), &[]).unwrap();
        let Word::Failed(failed) = ours.next().unwrap() else { panic!("not failed") };
        assert_eq!(failed, Failed { index: 5, errno: 2, detail: 8, said: String::new() });
        let mut wordy = packet(wire::FAILED, &[5, 2, 8]);
        wordy.extend_from_slice(&[&b"no such thing"[..], &[b'\n'; 2000]].concat());
        send_with(&theirs, &wordy, &[]).unwrap();
        let Word::Failed(failed) = ours.next().unwrap() else { panic!("not failed") };
        assert_eq!(failed.said, "no such thing");
        for bad in [
            packet(wire::CLONED, &[7]),
            packet(wire::POINT, &[]),
            packet(wire::POINT, &[99]),
            vec![wire::FAILED, 1],
            vec![b'?'],
        ] {
            send_with(&theirs, &bad, &[]).unwrap();
            assert!(matches!(ours.next(), Err(Error::Message)), "{bad:?}");
        }
        drop(theirs);
        assert!(matches!(ours.next().unwrap(), Word::End));
        assert!(is_refusal(&ours.go(b"").unwrap_err()));
    }

    #[test]
    fn long_texts_go_as_files() {
        let (ours, theirs) = Conversation::pair().unwrap();
        let mut buffer = vec![0; wire::PACKET_BYTES];
        ours.go(b"{}").unwrap();
        let (length, fd) = receive(&theirs, &mut buffer).unwrap();
        assert_eq!((&buffer[..length], fd.is_none()), (&b"G{}"[..], true));
        let long = vec![b'x'; 400_000];
        ours.go(&long).unwrap();
        let (length, fd) = receive(&theirs, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"G");
        let mut text = Vec::new();
        let mut file = std::fs::File::from(fd.unwrap());
        std::io::Seek::rewind(&mut file).unwrap();
        std::io::Read::read_to_end(&mut file, &mut text).unwrap();
        assert_eq!(text, long);
    }
}
