//! A seccomp filter with a listener: seccomp_unotify(2).
//!
//! From the moment that the filter is there, any call of ours may wait for somebody who has not got the listener yet.
//! So a thread that the filter does not hold is started before, and sends the listener; this thread only writes its
//! number into memory. The wait for the go is one read(2), which may be answered by whoever has the listener then.

use core::sync::atomic::{AtomicI32, Ordering};

use cais_plan::wire;

use crate::peer::Peer;
use crate::sys::{self, Result};

/// `SECCOMP_FILTER_FLAG_TSYNC`: would catch the helping thread, and is nothing for a process with one thread.
const TSYNC: u32 = 1;
const STACK_BYTES: usize = 16 * 1024;
/// There will be no listener.
const NONE: i32 = -1;
/// The listener was sent.
const SENT: i32 = -2;

/// What both threads know; as long as the process.
struct Handover {
    socket: AtomicI32,
    /// Number of the listener plus one, 0 = not known yet.
    listener: AtomicI32,
}

/// Loads the filter, sends its listener to the peer and waits for the go; false when the peer is gone.
///
/// # Errors
/// The errno of loading the filter.
pub fn load(peer: Peer, filter: &[u8], flags: u32) -> Result<bool> {
    let memory = sys::map_memory(size_of::<Handover>())?;
    // SAFETY: zeroed memory that is never unmapped, aligned to a page; nobody else has it.
    let handover: &'static Handover = unsafe { &*memory.as_ptr().cast() };
    handover.socket.store(peer.fd, Ordering::SeqCst);
    let stack = sys::map_memory(STACK_BYTES)?;
    // SAFETY: the thread knows nothing but `handover`, which is atomic and stays; it ends by itself, at the latest
    // with our exec or exit.
    let helped = unsafe { sys::thread(stack, send, &raw const *handover as usize).is_ok() };
    match sys::seccomp_filter(filter, flags & !TSYNC) {
        // No thread was to be had (a limit of processes, a deadline scheduler): most filters let us send it.
        Ok(listener) if !helped => {
            sys::send_fd(peer.fd, &[wire::LISTENER], listener as i32)?;
            handover.listener.store(SENT, Ordering::SeqCst);
        }
        Ok(listener) => handover.listener.store(listener as i32 + 1, Ordering::SeqCst),
        Err(errno) => {
            handover.listener.store(NONE, Ordering::SeqCst);
            return Err(errno);
        }
    }
    let mut go = [0_u8; 1];
    match sys::read(peer.fd, &mut go) {
        Ok(1) => Ok(go[0] == wire::GO),
        Ok(_) => Ok(false),
        // The filter forbids reading: there is no go, but our exec would end the other thread.
        Err(_) => {
            while handover.listener.load(Ordering::SeqCst) != SENT {
                core::hint::spin_loop();
            }
            Ok(true)
        }
    }
}

extern "C" fn send(handover: usize) -> ! {
    // SAFETY: what `load` gave to this thread; it stays as long as the process.
    let handover = unsafe { &*(handover as *const Handover) };
    loop {
        match handover.listener.load(Ordering::SeqCst) {
            // Loading takes some microseconds, and nothing else than memory can be waited on.
            0 => sys::sched_yield(),
            NONE => break,
            number => {
                let socket = handover.socket.load(Ordering::SeqCst);
                let _ = sys::send_fd(socket, &[wire::LISTENER], number - 1);
                handover.listener.store(SENT, Ordering::SeqCst);
                break;
            }
        }
    }
    sys::exit_thread()
}
