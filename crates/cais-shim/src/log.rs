//! Lines of the container's log, in the format that Kubernetes and podman use (`k8s-file`).
//!
//! `2026-11-20T10:00:00.123456789Z stdout F text` — `P` instead of `F` marks a piece of a line whose newline is still
//! to come. Binary-safe: apart from the newline no byte means anything.

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

/// Collects lines and writes them in large pieces.
pub struct Log {
    fd: i32,
    buffer: &'static mut [u8],
    used: usize,
}

impl Log {
    /// `fd` < 0 keeps no log. `buffer` must hold more than one line head.
    pub fn new(fd: i32, buffer: &'static mut [u8]) -> Log {
        Log { fd, buffer, used: 0 }
    }

    /// Appends what one read brought; the lines share one time.
    pub fn append(&mut self, stdout: bool, data: &[u8]) {
        if self.fd < 0 {
            return;
        }
        let time = format_time(sys::now_ns());
        for piece in data.split_inclusive(|b| *b == b'\n') {
            let full = piece.ends_with(b"\n");
            if self.buffer.len() - self.used < HEAD + piece.len() + 1 {
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

    fn put(&mut self, bytes: &[u8]) {
        if let Some(place) = self.buffer.get_mut(self.used..self.used + bytes.len()) {
            place.copy_from_slice(bytes);
            self.used += bytes.len();
        }
    }

    /// A log that cannot be written (full disk) must not stop the container: what fails is lost.
    fn flush(&mut self) {
        let _ = sys::write_all(self.fd, &self.buffer[..self.used]);
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(&format_time(0), b"1970-01-01T00:00:00.000000000Z");
        assert_eq!(&format_time(1_795_169_845_123_456_789), b"2026-11-20T10:17:25.123456789Z");
        assert_eq!(&format_time(951_782_400_000_000_000), b"2000-02-29T00:00:00.000000000Z");
        assert_eq!(&format_time(1_709_251_199_999_999_999), b"2024-02-29T23:59:59.999999999Z");
    }
}
