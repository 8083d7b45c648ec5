//! The kernel's log: `/dev/kmsg`, one record for each read(2).
//!
//! It is a ring, and an ordinary user may not be allowed to read it: then nothing is found.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

/// Records are shorter.
const RECORD_BYTES: usize = 8 << 10;

/// The last record that `find` makes something of.
pub(crate) fn last<T>(find: impl Fn(&str) -> Option<T>) -> Option<T> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut log = std::fs::OpenOptions::new().read(true).custom_flags(flags).open("/dev/kmsg").ok()?;
    let mut record = vec![0; RECORD_BYTES];
    let mut found = None;
    loop {
        match log.read(&mut record) {
            Ok(0) => return found,
            Ok(length) => found = find(&String::from_utf8_lossy(&record[..length])).or(found),
            // EPIPE: what was to be read next was overwritten; the log goes on behind it.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return found,
        }
    }
}
