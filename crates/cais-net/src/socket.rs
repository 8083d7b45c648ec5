//! A netlink socket that sends a request and collects everything the kernel says to it (netlink(7)).
//!
//! rtnetlink and nfnetlink work on a request inside `sendmsg`, so all answers are queued when it returns: reading
//! never waits, and a kernel that keeps an acknowledgement to itself gives an error, not a hang. The socket stays in
//! the network namespace in which it was opened, wherever its thread goes. Knows nothing of what messages mean.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cais_sys::netns::{NetlinkOption, enable_netlink_option};
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with, sockopt,
};

use crate::error::{Error, KernelHint};
use crate::uapi::{
    NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSGERR_ATTR_MSG,
};
use crate::wire::{Answer, HEADER_SIZE, Request, answers, attribute, u32_at};

/// The kernel fills dumps up to this size per read, and no more.
const READ_BYTES: usize = 32 * 1024;
/// Requests beyond this need a larger send buffer than the default of 208 KiB.
const SMALL_REQUEST_BYTES: usize = 64 * 1024;
/// Room for some thousand error messages, should each message of a large batch be refused.
const LARGE_RECEIVE_BYTES: usize = 4 * 1024 * 1024;

/// A part of the kernel that speaks netlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// rtnetlink: interfaces, addresses, routes.
    Route,
    /// nfnetlink: nf_tables and connection tracking.
    Netfilter,
}

impl Family {
    fn name(self) -> &'static str {
        match self {
            Self::Route => "rtnetlink",
            Self::Netfilter => "nfnetlink",
        }
    }
}

/// An open netlink socket.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    family: Family,
}

/// A message that the kernel refused.
#[derive(Debug)]
pub(crate) struct Rejection {
    /// Its place in the request.
    pub(crate) index: usize,
    pub(crate) errno: Errno,
    pub(crate) hint: KernelHint,
}

/// How a request ended.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Refused messages, in the order in which the kernel spoke of them.
    pub(crate) rejections: Vec<Rejection>,
    /// A dump met a change and may have missed or repeated something.
    pub(crate) interrupted: bool,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open(family: Family) -> Result<Self, Error> {
        let protocol = match family {
            Family::Route => None,
            Family::Netfilter => Some(netlink::NETFILTER),
        };
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
            .map_err(|source| Error::Socket { family: family.name(), source })?;
        for option in [NetlinkOption::CapAck, NetlinkOption::ExtendedAck, NetlinkOption::StrictCheck] {
            // An older kernel without the option says less, or more than asked for; both are read correctly.
            let _ = enable_netlink_option(&socket, option);
        }
        Ok(Self { socket, family })
    }

    /// Sends `request`, in which the last message that does anything must ask for an acknowledgement or a dump, and gives every answer that is
    /// not an acknowledgement to `on_answer` together with the place of the message that it answers.
    pub(crate) fn exchange(
        &self,
        request: &Request,
        mut on_answer: impl FnMut(usize, Answer<'_>),
    ) -> Result<Outcome, Error> {
        self.send(request)?;
        let mut outcome = Outcome::default();
        let mut buffer = Vec::with_capacity(READ_BYTES);
        let mut lost = false;
        loop {
            buffer.clear();
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            match retry_on_intr(|| recv(&self.socket, spare_capacity(&mut buffer), flags)) {
                Ok((_, length)) if length > READ_BYTES => return Err(self.failed(Errno::MSGSIZE)),
                Ok(_) => {}
                // The queue overflowed; what is in it is still good, and the first errors matter most.
                Err(Errno::NOBUFS) => {
                    lost = true;
                    continue;
                }
                Err(Errno::AGAIN) if !outcome.rejections.is_empty() => return Ok(outcome),
                Err(Errno::AGAIN) if lost => return Err(self.failed(Errno::NOBUFS)),
                Err(Errno::AGAIN) => return Err(Error::NoAnswer { family: self.family.name() }),
                Err(source) => return Err(self.failed(source)),
            }
            if self.sort(&buffer, request, &mut outcome, &mut on_answer)? {
                return Ok(outcome);
            }
        }
    }

    /// Sends `request`; the first refusal becomes an error that says "cannot" and what `operation` gives for the
    /// place of the refused message.
    pub(crate) fn command(
        &self,
        request: &Request,
        operation: impl Fn(usize) -> String,
    ) -> Result<(), Error> {
        match self.exchange(request, |_, _| {})?.rejections.into_iter().next() {
            Some(rejection) => Err(rejection.into_error(operation)),
            None => Ok(()),
        }
    }

    fn send(&self, request: &Request) -> Result<(), Error> {
        let bytes = request.bytes();
        if bytes.len() > SMALL_REQUEST_BYTES {
            sockopt::set_socket_send_buffer_size_force(&self.socket, bytes.len())
                .and_then(|()| sockopt::set_socket_recv_buffer_size_force(&self.socket, LARGE_RECEIVE_BYTES))
                .map_err(|source| self.failed(source))?;
        }
        let kernel = SocketAddrNetlink::new(0, 0);
        retry_on_intr(|| sendto(&self.socket, bytes, SendFlags::empty(), &kernel))
            .map_err(|source| self.failed(source))?;
        Ok(())
    }

    /// Files the messages of one read; true when the awaited message has been answered for.
    fn sort(
        &self,
        bytes: &[u8],
        request: &Request,
        outcome: &mut Outcome,
        on_answer: &mut impl FnMut(usize, Answer<'_>),
    ) -> Result<bool, Error> {
        let mut complete = false;
        for answer in answers(bytes) {
            let Some(index) =
                (answer.sequence as usize).checked_sub(1).filter(|index| *index < request.len())
            else {
                continue;
            };
            outcome.interrupted |= answer.flags & NLM_F_DUMP_INTR != 0;
            match answer.kind {
                NLMSG_ERROR | NLMSG_DONE => {
                    complete |= answer.sequence == request.awaited();
                    let code = u32_at(answer.payload, 0).ok_or_else(|| self.failed(Errno::BADMSG))? as i32;
                    if code != 0 {
                        let errno = Errno::from_raw_os_error(code.saturating_neg());
                        outcome.rejections.push(Rejection { index, errno, hint: hint(&answer) });
                    }
                }
                _ => on_answer(index, answer),
            }
        }
        Ok(complete)
    }

    fn failed(&self, source: Errno) -> Error {
        Error::Exchange { family: self.family.name(), source }
    }
}

impl Rejection {
    /// The error that says "cannot" and what `operation` gives for the place of the message.
    pub(crate) fn into_error(self, operation: impl Fn(usize) -> String) -> Error {
        Error::Refused { operation: operation(self.index), hint: self.hint, source: self.errno }
    }
}

/// The kernel's sentence in an error: behind the code and the refused message, of which `NLM_F_CAPPED` leaves the
/// header only.
fn hint(answer: &Answer<'_>) -> KernelHint {
    if answer.flags & NLM_F_ACK_TLVS == 0 {
        return KernelHint(None);
    }
    let skip = match answer.kind {
        NLMSG_DONE => 4,
        _ if answer.flags & NLM_F_CAPPED != 0 => 4 + HEADER_SIZE,
        _ => {
            4 + u32_at(answer.payload, 4).map_or(HEADER_SIZE, |length| (length as usize).next_multiple_of(4))
        }
    };
    let sentence = attribute(answer.payload.get(skip..).unwrap_or_default(), NLMSGERR_ATTR_MSG);
    KernelHint(
        sentence.map(|text| String::from_utf8_lossy(text.strip_suffix(&[0]).unwrap_or(text)).into_owned()),
    )
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
