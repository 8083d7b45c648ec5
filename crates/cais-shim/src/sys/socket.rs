//! Unix sockets: packets, and descriptors that go along.

use super::*;

const MSG_DONTWAIT: u32 = 0x40;
const MSG_NOSIGNAL: u32 = 0x4000;
const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;

pub fn accept(fd: i32) -> Result<i32> {
    call!(nr::ACCEPT4, fd, 0, 0, O_CLOEXEC | O_NONBLOCK).map(|fd| fd as i32)
}
/// As [`accept`], for a socket whose reader waits.
pub fn accept_waiting(fd: i32) -> Result<i32> {
    call!(nr::ACCEPT4, fd, 0, 0, O_CLOEXEC).map(|fd| fd as i32)
}
pub fn socket_inet_datagram() -> Result<i32> {
    call!(nr::SOCKET, 2, 2 | O_CLOEXEC, 0).map(|fd| fd as i32)
}
/// A connected pair that carries packets.
pub fn packet_pair() -> Result<(i32, i32)> {
    const AF_UNIX: i32 = 1;
    const SOCK_SEQPACKET: u32 = 5;
    let mut fds = [0_i32; 2];
    call!(nr::SOCKETPAIR, AF_UNIX, SOCK_SEQPACKET | O_CLOEXEC, 0, fds.as_mut_ptr())?;
    Ok((fds[0], fds[1]))
}
/// Receives one packet without waiting.
pub fn recv(fd: i32, buf: &mut [u8]) -> Result<usize> {
    call!(nr::RECVFROM, fd, buf.as_mut_ptr(), buf.len(), MSG_DONTWAIT, 0, 0)
}

/// Looks at the first bytes of the next packet without taking it.
pub fn peek(fd: i32, buf: &mut [u8]) -> Result<usize> {
    const MSG_PEEK: u32 = 2;
    call!(nr::RECVFROM, fd, buf.as_mut_ptr(), buf.len(), MSG_DONTWAIT | MSG_PEEK, 0, 0)
}

/// Length of the next packet, which stays; waits for one. 0 at the end of the stream.
pub fn packet_length(fd: i32) -> Result<usize> {
    const MSG_PEEK: u32 = 2;
    const MSG_TRUNC: u32 = 0x20;
    let mut byte = [0_u8; 1];
    call!(nr::RECVFROM, fd, byte.as_mut_ptr(), byte.len(), MSG_PEEK | MSG_TRUNC, 0, 0)
}

#[repr(C)]
struct MsgHdr {
    name: *const u8,
    name_len: u32,
    iov: *const IoVec,
    iov_len: usize,
    control: *mut u8,
    control_len: usize,
    flags: i32,
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IoVec {
    base: *const u8,
    len: usize,
}
/// Sends one packet of two parts without waiting and without SIGPIPE.
pub fn send_parts(fd: i32, head: &[u8], body: &[u8]) -> Result<usize> {
    let iov =
        [IoVec { base: head.as_ptr(), len: head.len() }, IoVec { base: body.as_ptr(), len: body.len() }];
    let message = MsgHdr {
        name: core::ptr::null(),
        name_len: 0,
        iov: iov.as_ptr(),
        iov_len: 2,
        control: core::ptr::null_mut(),
        control_len: 0,
        flags: 0,
    };
    call!(nr::SENDMSG, fd, &raw const message, MSG_DONTWAIT | MSG_NOSIGNAL)
}
#[repr(C, align(8))]
struct Control {
    len: usize,
    level: i32,
    kind: i32,
    fd: i32,
    pad: i32,
}
/// Sends bytes with a descriptor, SCM_RIGHTS.
pub fn send_fd(socket: i32, bytes: &[u8], fd: i32) -> Result<()> {
    let mut control = Control { len: 20, level: 1, kind: 1, fd, pad: 0 };
    let iov = [IoVec { base: bytes.as_ptr(), len: bytes.len() }];
    let message = MsgHdr {
        name: core::ptr::null(),
        name_len: 0,
        iov: iov.as_ptr(),
        iov_len: 1,
        control: (&raw mut control).cast(),
        control_len: size_of::<Control>(),
        flags: 0,
    };
    call!(nr::SENDMSG, socket, &raw const message, MSG_NOSIGNAL).map(drop)
}
/// Receives what [`send_fd`] sent; `None` at the end of the stream.
pub fn recv_fd(socket: i32) -> Result<Option<i32>> {
    let (got, fd) = recv_with_fd(socket, &mut [0_u8; 16])?;
    Ok(if got == 0 || fd < 0 { None } else { Some(fd) })
}
/// Waits for a packet; its length, and the descriptor that came with it or -1.
pub fn recv_with_fd(socket: i32, buffer: &mut [u8]) -> Result<(usize, i32)> {
    let mut control = Control { len: 0, level: 0, kind: 0, fd: -1, pad: 0 };
    let iov = [IoVec { base: buffer.as_mut_ptr(), len: buffer.len() }];
    let mut message = MsgHdr {
        name: core::ptr::null(),
        name_len: 0,
        iov: iov.as_ptr(),
        iov_len: 1,
        control: (&raw mut control).cast(),
        control_len: size_of::<Control>(),
        flags: 0,
    };
    let got = call!(nr::RECVMSG, socket, &raw mut message, MSG_CMSG_CLOEXEC)?;
    // SAFETY: plain reads of locals that the kernel wrote through the pointers in `message`.
    let (length, fd) = unsafe {
        (
            core::ptr::read_volatile(&raw const message.control_len),
            core::ptr::read_volatile(&raw const control.fd),
        )
    };
    Ok((got, if length < 20 { -1 } else { fd }))
}
