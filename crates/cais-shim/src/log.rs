//! Lines of the container's log, in the format that Kubernetes and podman use (`k8s-file`).
//!
//! `2026-11-20T10:00:00.123456789Z stdout F text` — `P` instead of `F` marks a piece of a line whose newline is still
//! to come. Binary-safe: apart from the newline no byte means anything.

use cais_plan::Setup;

use crate::sys;

/// Bytes before the text of a line: time, stream name, tag, spaces.
const HEAD: usize = 30 + 1 + 6 + 3;

/// Longest text for [`Time`]: `2026-11-20T10:00:00.123456789Z`.
pub type Time = [u8; 30];

/// RFC 3339 in UTC with nanoseconds. Days to date by Howard Hinnant's `civil_from_days`.
#[must_use]
pub fn format_time(ns: u64) -> Time {
    let mut out = *b"0000-00-00T00:00:00.000000000Z";
    let seconds = ns / 1_000_000_000;
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let doe = days % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    let second = seconds % 86_400;
    digits(&mut out[0..4], year);
    digits(&mut out[5..7], month);
    digits(&mut out[8..10], doy - (153 * mp + 2) / 5 + 1);
    digits(&mut out[11..13], second / 3600);
    digits(&mut out[14..16], second / 60 % 60);
    digits(&mut out[17..19], second % 60);
    digits(&mut out[20..29], ns % 1_000_000_000);
    out
}

/// Right-aligned decimal digits.
fn digits(out: &mut [u8], mut value: u64) {
    for place in out.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Name of the file that is written, in the container's directory.
const NAME: &[u8] = c"log".to_bytes();
/// Most files that are kept.
const FILES_MAX: u32 = 1000;

/// Collects lines and writes them in large pieces; renames a full file, `log` to `log.1`, `log.1` to `log.2`.
pub struct Log<'a> {
    fd: i32,
    buffer: &'static mut [u8],
    used: usize,
    directory: i32,
    max_bytes: u64,
    files: u32,
    journal: &'a [u8],
    /// Bytes in the file.
    size: u64,
    /// The last write broke off in the middle of a line.
    torn: bool,
}

impl<'a> Log<'a> {
    /// No descriptor keeps no log. `buffer` must hold more than one line head.
    pub fn new(setup: &Setup<'a>, buffer: &'static mut [u8]) -> Log<'a> {
        let fd = setup.log_fd;
        let is_file = fd >= 0 && setup.log_journal.0.is_empty();
        Log {
            fd,
            buffer,
            used: 0,
            directory: setup.exit_dir_fd,
            max_bytes: if is_file { setup.log_max_bytes } else { 0 },
            files: setup.log_files.clamp(1, FILES_MAX),
            journal: setup.log_journal.0,
            size: if is_file { sys::seek_end(fd).unwrap_or(0) as u64 } else { 0 },
            torn: false,
        }
    }

    /// Appends what one read brought; the lines share one time.
    pub fn append(&mut self, stdout: bool, data: &[u8]) {
        if self.fd < 0 {
            return;
        }
        if !self.journal.is_empty() {
            return self.append_to_journal(stdout, data);
        }
        let time = format_time(sys::now_ns());
        for piece in data.split_inclusive(|b| *b == b'\n') {
            let full = piece.ends_with(b"\n");
            let length = HEAD + piece.len() + 1;
            if self.buffer.len() - self.used < length || self.is_full_with(length) {
                self.flush();
            }
            self.put(&time);
            self.put(if stdout { b" stdout " } else { b" stderr " });
            self.put(if full { b"F " } else { b"P " });
            self.put(piece);
            if !full {
                self.put(b"\n");
            }
        }
        self.flush();
    }

    /// The file could not take what is collected and so much more.
    fn is_full_with(&self, length: usize) -> bool {
        let bytes = self.size + (self.used + length) as u64;
        self.max_bytes > 0 && self.used > 0 && bytes > self.max_bytes
    }

    /// One datagram for each line, in the journal's native protocol; a value with its length may hold any bytes.
    fn append_to_journal(&mut self, stdout: bool, data: &[u8]) {
        for piece in data.split_inclusive(|b| *b == b'\n') {
            let line = piece.strip_suffix(b"\n");
            let text = line.unwrap_or(piece);
            self.used = 0;
            self.put(self.journal);
            // What docker says: 6 = information, 3 = error.
            self.put(if stdout { b"PRIORITY=6\n" } else { b"PRIORITY=3\n" });
            if line.is_none() {
                self.put(b"CONTAINER_PARTIAL_MESSAGE=true\n");
            }
            self.put(b"MESSAGE\n");
            self.put(&(text.len() as u64).to_le_bytes());
            self.put(text);
            self.put(b"\n");
            // A journal that is away must not stop the container: what fails is lost.
            let _ = sys::write(self.fd, &self.buffer[..self.used]);
        }
        self.used = 0;
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Some(place) = self.buffer.get_mut(self.used..self.used + bytes.len()) {
            place.copy_from_slice(bytes);
            self.used += bytes.len();
        }
    }

    /// A log that cannot be written (full disk) must not stop the container: what fails is lost, and what comes then
    /// begins a new line.
    fn flush(&mut self) {
        let used = core::mem::take(&mut self.used);
        if self.max_bytes > 0 && self.size > 0 && self.size + used as u64 > self.max_bytes {
            self.begin_file();
        }
        if self.torn {
            self.torn = sys::write(self.fd, b"\n") != Ok(1);
            if self.torn {
                return;
            }
            self.size += 1;
        }
        let mut at = 0;
        while at < used {
            match sys::write(self.fd, &self.buffer[at..used]) {
                Ok(count) if count > 0 => at += count,
                Err(sys::EINTR) => {}
                _ => break,
            }
        }
        self.size += at as u64;
        self.torn = at > 0 && at < used && self.buffer[at - 1] != b'\n';
    }

    /// Begins a new file; where that is not possible the old one goes on.
    fn begin_file(&mut self) {
        let flags = sys::O_WRONLY | sys::O_CREAT | sys::O_APPEND | sys::O_CLOEXEC;
        for number in (1..self.files.saturating_sub(1)).rev() {
            let _ = sys::renameat(self.directory, Name::of(number).text(), Name::of(number + 1).text());
        }
        let made_way = if self.files > 1 {
            sys::renameat(self.directory, NAME, Name::of(1).text())
        } else {
            sys::unlinkat(self.directory, NAME)
        };
        if made_way.is_err() {
            return;
        }
        if let Ok(fd) = sys::openat(self.directory, NAME, flags, 0o600) {
            sys::close(self.fd);
            self.fd = fd;
            self.size = 0;
            self.torn = false;
        }
    }
}

/// `log.N`, with the NUL that the kernel wants behind it.
struct Name {
    bytes: [u8; 16],
    used: usize,
}

impl Name {
    fn of(number: u32) -> Name {
        let mut line = crate::line::Line::new();
        line.field(b"log.", u64::from(number));
        let mut bytes = [0; 16];
        let used = line.text().len().min(15);
        bytes[..used].copy_from_slice(&line.text()[..used]);
        Name { bytes, used }
    }

    fn text(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_full_files() {
        assert_eq!(Name::of(1).text(), b"log.1");
        assert_eq!(Name::of(999).bytes[..8], *b"log.999\0");
    }

    #[test]
    fn times() {
        assert_eq!(&format_time(0), b"1970-01-01T00:00:00.000000000Z");
        assert_eq!(&format_time(1_795_169_845_123_456_789), b"2026-11-20T10:17:25.123456789Z");
        assert_eq!(&format_time(951_782_400_000_000_000), b"2000-02-29T00:00:00.000000000Z");
        assert_eq!(&format_time(1_709_251_199_999_999_999), b"2024-02-29T23:59:59.999999999Z");
    }
}
