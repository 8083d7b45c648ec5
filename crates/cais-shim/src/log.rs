//! Lines of the container's log, in docker's format (`json-file`), in that of Kubernetes and podman (`k8s-file`), or for
//! the journal.
//!
//! `{"log":"text\n","stream":"stdout","time":"2026-11-20T10:00:00.123456789Z"}`: a piece of a line has no `\n` in it.
//! `2026-11-20T10:00:00.123456789Z stdout F text`: `P` instead of `F` marks a piece of a line whose newline is still
//! to come. Binary-safe: apart from the newline no byte means anything.

use cais_plan::Setup;

use crate::json;
use crate::rotation::Files;
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

/// Docker splits lines that are longer.
const LINE: usize = 16 << 10;
/// Bytes of a line of JSON beside text and attributes.
const FRAME: usize = 96;
/// What is collected before it is written; holds every line whatever its bytes become.
const COLLECTED: usize = 128 << 10;

/// Memory that [`Log::new`] wants.
#[must_use]
pub fn buffer_bytes(setup: &Setup<'_>) -> usize {
    COLLECTED + setup.log_attrs.0.len() + 2 * LINE
}

/// The beginning of a line whose end is still to come.
#[derive(Default)]
struct Held {
    bytes: &'static mut [u8],
    used: usize,
}

/// Collects lines and writes them in large pieces; a full file makes way for a new one ([`Files`]).
pub struct Log<'a> {
    fd: i32,
    buffer: &'static mut [u8],
    used: usize,
    files: Files<'a>,
    max_bytes: u64,
    journal: &'a [u8],
    json: bool,
    attrs: &'a [u8],
    /// Of stdout and stderr; JSON only, as docker does it. The other formats write what they get.
    held: [Held; 2],
    /// Bytes in the file.
    size: u64,
    /// The last write broke off in the middle of a line.
    torn: bool,
}

impl<'a> Log<'a> {
    /// No descriptor keeps no log. `memory` has [`buffer_bytes`].
    pub fn new(setup: &Setup<'a>, memory: &'static mut [u8]) -> Log<'a> {
        let fd = setup.log_fd;
        let is_file = fd >= 0 && setup.log_journal.0.is_empty();
        let (stdout, rest) = memory.split_at_mut(LINE);
        let (stderr, buffer) = rest.split_at_mut(LINE);
        Log {
            fd,
            buffer,
            used: 0,
            files: Files::new(setup),
            max_bytes: if is_file { setup.log_max_bytes } else { 0 },
            journal: setup.log_journal.0,
            json: setup.log_json,
            attrs: setup.log_attrs.0,
            held: [stdout, stderr].map(|bytes| Held { bytes, used: 0 }),
            size: if is_file { sys::seek_end(fd).unwrap_or(0) as u64 } else { 0 },
            torn: false,
        }
    }

    /// What to poll; -1 for nothing.
    #[must_use]
    pub fn pidfd(&self) -> i32 {
        self.files.pidfd()
    }

    /// Something happened to it.
    pub fn heard(&mut self) {
        self.files.heard();
    }

    /// There will be no more.
    pub fn stop(&mut self) {
        self.files.stop();
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
        if self.json {
            self.append_json(stdout, data, &time);
        } else {
            self.append_plain(stdout, data, &time);
        }
        self.flush();
    }

    /// The stream is over: the beginning of a line that never ended is a line.
    pub fn end(&mut self, stdout: bool) {
        let mut held = core::mem::take(&mut self.held[usize::from(!stdout)]);
        if held.used > 0 {
            let tail = Tail::of(stdout, self.attrs, &format_time(sys::now_ns()));
            self.put_json(&held.bytes[..held.used], false, &tail);
            self.flush();
            held.used = 0;
        }
        self.held[usize::from(!stdout)] = held;
    }

    fn append_plain(&mut self, stdout: bool, data: &[u8], time: &Time) {
        for piece in data.split_inclusive(|b| *b == b'\n') {
            let full = piece.ends_with(b"\n");
            let start = self.room_for(HEAD + piece.len() + 1);
            self.put(time);
            self.put(if stdout { b" stdout " } else { b" stderr " });
            self.put(if full { b"F " } else { b"P " });
            self.put(piece);
            if !full {
                self.put(b"\n");
            }
            self.rotate(start);
        }
    }

    /// Lines of docker's `json-file`: nothing is written of a line before its end, or [`LINE`] bytes of it, are there.
    fn append_json(&mut self, stdout: bool, data: &[u8], time: &Time) {
        let tail = Tail::of(stdout, self.attrs, time);
        let mut held = core::mem::take(&mut self.held[usize::from(!stdout)]);
        for piece in data.split_inclusive(|b| *b == b'\n') {
            let line = piece.strip_suffix(b"\n");
            let mut text = line.unwrap_or(piece);
            if held.used == 0 && line.is_some() && text.len() < LINE {
                self.put_json(text, true, &tail);
                continue;
            }
            loop {
                let (now, later) = text.split_at(text.len().min(LINE - held.used));
                held.bytes[held.used..held.used + now.len()].copy_from_slice(now);
                held.used += now.len();
                text = later;
                if held.used < LINE {
                    break;
                }
                let cut = json::whole_characters(held.bytes);
                self.put_json(&held.bytes[..cut], false, &tail);
                held.bytes.copy_within(cut.., 0);
                held.used = LINE - cut;
            }
            if line.is_some() {
                self.put_json(&held.bytes[..held.used], true, &tail);
                held.used = 0;
            }
        }
        self.held[usize::from(!stdout)] = held;
    }

    fn put_json(&mut self, text: &[u8], full: bool, tail: &Tail<'_>) {
        let start = self.room_for(text.len() * json::WORST + self.attrs.len() + FRAME);
        self.put(b"{\"log\":\"");
        self.used += json::escape(&mut self.buffer[self.used..], text);
        self.put(&tail.stream[if full { 0 } else { 2 }..]);
        self.put(tail.attrs);
        self.put(&tail.time);
        self.rotate(start);
    }

    /// Makes room for a line of so many bytes at most; where it begins.
    fn room_for(&mut self, length: usize) -> usize {
        if self.buffer.len() - self.used < length {
            self.flush();
        }
        self.used
    }

    /// A line that the file cannot take any more goes into a new one.
    fn rotate(&mut self, start: usize) {
        let is_full = self.max_bytes > 0 && self.size + self.used as u64 > self.max_bytes;
        if !is_full || (self.size == 0 && start == 0) {
            return;
        }
        let length = self.used - start;
        self.used = start;
        self.flush();
        if let Some(fd) = self.files.begin() {
            sys::close(self.fd);
            self.fd = fd;
            self.size = 0;
            self.torn = false;
        }
        self.buffer.copy_within(start..start + length, 0);
        self.used = length;
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
        if used == 0 {
            return;
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
}

/// What stands behind the text of a line of JSON; the same for all lines that one read brought.
struct Tail<'a> {
    stream: [u8; 21],
    attrs: &'a [u8],
    time: [u8; 42],
}

impl Tail<'_> {
    fn of<'a>(stdout: bool, attrs: &'a [u8], time: &Time) -> Tail<'a> {
        let mut whole = *b",\"time\":\"0000-00-00T00:00:00.000000000Z\"}\n";
        whole[9..39].copy_from_slice(time);
        let stream = if stdout { b"\\n\",\"stream\":\"stdout\"" } else { b"\\n\",\"stream\":\"stderr\"" };
        Tail { stream: *stream, attrs, time: whole }
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
