//! Reads a log file of any size with bounded memory: forwards record by record, backwards to find the last lines.
//!
//! A line of docker's format is turned into one of Kubernetes', and then they are the same. Never waits and never fails on damage: a line that is no record is skipped. What the file does not hold yet
//! (the rest of a record that is being written) stays in the reader until the next call.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use super::json;
use super::line::{self, HEAD_MAX_BYTES, Moment, Record};

/// Longest record we accept; the shim's are some 100 KiB. What is longer is damage and skipped.
const LINE_MAX_BYTES: usize = 1 << 20;
/// How much is read at once, forwards and backwards.
const BLOCK_BYTES: usize = 64 << 10;

/// Reads records forwards from a position.
pub(super) struct Reader {
    input: BufReader<File>,
    line: Vec<u8>,
    /// The line in Kubernetes' format when it is one of JSON, and its attributes.
    plain: Vec<u8>,
    attrs: Vec<u8>,
    /// In the middle of a line that is too long.
    skipping: bool,
}

impl Reader {
    /// A reader that begins at byte `start`, which must be the beginning of a line.
    pub(super) fn new(mut file: File, start: u64) -> io::Result<Reader> {
        file.seek(SeekFrom::Start(start))?;
        Ok(Reader {
            input: BufReader::with_capacity(BLOCK_BYTES, file),
            line: Vec::new(),
            plain: Vec::new(),
            attrs: Vec::new(),
            skipping: false,
        })
    }

    /// The next whole record; `None` at the present end of the file. May be called again when the file has grown.
    pub(super) fn next(&mut self) -> io::Result<Option<Record<'_>>> {
        loop {
            if self.line.last() == Some(&b'\n') {
                self.line.clear();
            }
            let room = (LINE_MAX_BYTES - self.line.len()) as u64;
            self.input.by_ref().take(room).read_until(b'\n', &mut self.line)?;
            if self.line.last() != Some(&b'\n') {
                if self.line.len() < LINE_MAX_BYTES {
                    return Ok(None);
                }
                self.line.clear();
                self.skipping = true;
            } else if self.skipping {
                self.skipping = false;
            } else if self.is_record() {
                break;
            }
        }
        // Parsed again because the borrow must not live through the loop.
        let whole = &self.line[..self.line.len() - 1];
        let record = line::parse(if json::is_json(whole) { &self.plain } else { whole });
        Ok(record.map(|record| Record { attrs: &self.attrs, ..record }))
    }

    /// Whether the line in hand is one.
    fn is_record(&mut self) -> bool {
        let line = &self.line[..self.line.len() - 1];
        if !json::is_json(line) {
            self.attrs.clear();
            return line::parse(line).is_some();
        }
        json::to_plain(line, &mut self.plain, &mut self.attrs) && line::parse(&self.plain).is_some()
    }

    /// What lies behind the last newline, if it is the beginning of a record: a line torn by the end of its writer.
    /// Counts as partial, since its newline never came.
    pub(super) fn torn(&self) -> Option<Record<'_>> {
        if self.skipping || self.line.last() == Some(&b'\n') {
            return None;
        }
        let record = line::parse(&self.line)?;
        Some(Record { partial: true, ..record })
    }
}

/// Finds where the last `lines` lines begin, reading backwards; and how many there are.
///
/// A line ends with a full record; unfinished pieces behind the last full record count as one line. Records after
/// `until` are not counted, and nothing before `since` is looked at. A piece of a line that is separated from the rest of it by
/// a whole line of the other stream may be left out.
pub(super) fn tail_start(
    file: &File,
    lines: u64,
    since: Option<&Moment>,
    until: Option<&Moment>,
) -> io::Result<(u64, u64)> {
    let end = file.metadata()?.len();
    if lines == 0 {
        return Ok((end, 0));
    }
    let mut tail = Tail { file, wanted: lines, ends: 0, start: end, end, since, until };
    let mut block = vec![0; BLOCK_BYTES + HEAD_MAX_BYTES];
    let mut block_start = end;
    while block_start > 0 {
        let length = block_start.min(BLOCK_BYTES as u64) as usize;
        block_start -= length as u64;
        let filled = read_at_most(file, &mut block, block_start)?.min(length + HEAD_MAX_BYTES);
        for index in (0..length.min(filled)).rev() {
            if block[index] != b'\n' {
                continue;
            }
            let begins = index + 1;
            if tail.line(&block[begins..filled], block_start + begins as u64)? {
                return Ok((tail.start, tail.ends));
            }
            tail.end = block_start + index as u64;
        }
        if block_start == 0 {
            tail.line(&block[..filled], 0)?;
        }
    }
    Ok((tail.start, tail.ends))
}

/// State of the way backwards.
struct Tail<'a> {
    file: &'a File,
    wanted: u64,
    /// Lines met so far, the one in hand included.
    ends: u64,
    /// Where the last record in hand begins.
    start: u64,
    /// Where the line in hand ends.
    end: u64,
    since: Option<&'a Moment>,
    until: Option<&'a Moment>,
}

impl Tail<'_> {
    /// Takes the line at `at`, which begins the given bytes, into account; true when the start is found.
    fn line(&mut self, bytes: &[u8], at: u64) -> io::Result<bool> {
        let length = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
        if !json::is_json(&bytes[..length.min(bytes.len())]) {
            let record = line::parse(head(bytes));
            return Ok(record.is_some_and(|record| self.record(record.time, record.partial, at)));
        }
        let (mut whole, mut plain) = (Vec::new(), Vec::new());
        let foot = match bytes.get(..length) {
            Some(line) => line,
            None => {
                let foot = length.min(json::FOOT_BYTES);
                whole.resize(foot, 0);
                let read = read_at_most(self.file, &mut whole, at + (length - foot) as u64)?;
                &whole[..read]
            }
        };
        if let Some((time, partial)) = json::from_foot(foot) {
            return Ok(self.record(time, partial, at));
        }
        if length > LINE_MAX_BYTES {
            return Ok(false);
        }
        whole.resize(length, 0);
        let read = read_at_most(self.file, &mut whole, at)?;
        let is_record = json::to_plain(&whole[..read], &mut plain, &mut Vec::new());
        let record = if is_record { line::parse(&plain) } else { None };
        Ok(record.is_some_and(|record| self.record(record.time, record.partial, at)))
    }

    fn record(&mut self, time: &str, partial: bool, at: u64) -> bool {
        if self.since.is_some_and(|since| since.is_after(time)) {
            return true;
        }
        if self.until.is_some_and(|until| until.is_before(time)) {
            return false;
        }
        // A full record ends the line before those met so far; a piece with nothing behind it is an unfinished line.
        if !partial || self.ends == 0 {
            if self.ends == self.wanted {
                return true;
            }
            self.ends += 1;
        }
        self.start = at;
        false
    }
}

/// The head of the line that begins a slice.
fn head(bytes: &[u8]) -> &[u8] {
    let bytes = &bytes[..bytes.len().min(HEAD_MAX_BYTES)];
    let end = bytes.iter().position(|byte| *byte == b'\n');
    &bytes[..end.unwrap_or(bytes.len())]
}

/// Fills the buffer from `offset` as far as the file goes.
fn read_at_most(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    /// A record at second `second`, with its newline.
    fn record(second: u32, stream: &str, tag: &str, data: &str) -> String {
        format!("2026-11-20T10:00:{second:02}.000000000Z {stream} {tag} {data}\n")
    }

    fn all(reader: &mut Reader) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while let Some(record) = reader.next().unwrap() {
            found.push(record.data.to_vec());
        }
        found
    }

    /// The same records in docker's format.
    fn in_json(plain: &str) -> String {
        let records = plain.lines().filter_map(|line| line::parse(line.as_bytes()));
        records
            .map(|record| {
                let newline = if record.partial { "" } else { "\\n" };
                let (text, stream) = (String::from_utf8_lossy(record.data), record.stream);
                let stream = if stream == crate::view::Stream::Stdout { "stdout" } else { "stderr" };
                format!(
                    "{{\"log\":\"{text}{newline}\",\"stream\":\"{stream}\",\"time\":\"{}\"}}\n",
                    record.time
                )
            })
            .collect()
    }

    fn tail(file: &File, lines: u64) -> Vec<String> {
        let start = tail_start(file, lines, None, None).unwrap().0;
        let mut reader = Reader::new(file.try_clone().unwrap(), start).unwrap();
        let found = all(&mut reader).into_iter();
        found.map(|data| String::from_utf8(data).unwrap()).collect()
    }

    #[test]
    fn reads_on_when_the_file_has_grown_in_the_middle_of_a_record() {
        let whole = record(1, "stdout", "F", "one") + &record(2, "stdout", "F", "two");
        let (now, later) = whole.split_at(whole.len() - 3);
        let mut writer = file(now.as_bytes());
        // An own description, as `try_clone` would share the position with the writer.
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writer));
        let mut reader = Reader::new(File::open(path).unwrap(), 0).unwrap();
        assert_eq!(all(&mut reader), [b"one"]);
        let torn = reader.torn().unwrap();
        assert_eq!((torn.data, torn.partial), (&b"t"[..], true));
        assert!(all(&mut reader).is_empty());
        writer.write_all(later.as_bytes()).unwrap();
        assert_eq!(all(&mut reader), [b"two"]);
        assert_eq!(reader.torn(), None);
    }

    #[test]
    fn damage_and_monstrous_lines_are_skipped() {
        let mut content = Vec::new();
        content.extend_from_slice(b"\0\0\0\0\n");
        content.extend_from_slice(record(1, "stdout", "F", "one").as_bytes());
        content.extend_from_slice(b"2026-11-20T10:00:00.000000000Z stdout P ");
        content.resize(content.len() + 3 * LINE_MAX_BYTES, b'x');
        content.push(b'\n');
        content.extend_from_slice(record(2, "stdout", "F", "two").as_bytes());
        let mut reader = Reader::new(file(&content), 0).unwrap();
        assert_eq!(all(&mut reader), [b"one", b"two"]);
        assert!(reader.line.capacity() <= 2 * LINE_MAX_BYTES);
    }

    #[test]
    fn longest_records_pass() {
        let head = "2026-11-20T10:00:00.000000000Z stdout F ";
        let data = "y".repeat(LINE_MAX_BYTES - head.len() - 1);
        let mut reader = Reader::new(file(format!("{head}{data}\n").as_bytes()), 0).unwrap();
        assert_eq!(all(&mut reader), [data.as_bytes()]);
    }

    #[test]
    fn tail_counts_lines_across_blocks() {
        let lines: Vec<String> = (0..3_000).map(|n| format!("{n} {}", "z".repeat(n % 200))).collect();
        let content: String = lines.iter().map(|data| record(1, "stdout", "F", data)).collect();
        assert!(content.len() > 4 * BLOCK_BYTES);
        let attrs = in_json(&content).replace(",\"time\"", ",\"attrs\":{\"stream\":\"std\"},\"time\"");
        for content in [in_json(&content), attrs, content] {
            let file = file(content.as_bytes());
            for count in [0, 1, 2, 600, 2_999, 3_000, 3_001, 100_000] {
                assert_eq!(
                    tail(&file, count as u64),
                    lines[lines.len().saturating_sub(count)..],
                    "tail {count}"
                );
            }
        }
    }

    #[test]
    fn pieces_make_one_line() {
        let content = record(1, "stdout", "F", "a")
            + &record(1, "stdout", "P", "b1")
            + &record(1, "stdout", "P", "b2")
            + &record(1, "stdout", "F", "b3")
            + &record(1, "stdout", "P", "c1")
            + &record(1, "stdout", "P", "c2");
        for content in [in_json(&content), content] {
            let file = file(content.as_bytes());
            assert_eq!(tail(&file, 1), ["c1", "c2"]);
            assert_eq!(tail(&file, 2), ["b1", "b2", "b3", "c1", "c2"]);
            assert_eq!(tail(&file, 3).len(), 6);
        }
    }

    #[test]
    fn tail_respects_since_and_until() {
        let content: String = (0..10).map(|second| record(second, "stdout", "F", "x")).collect();
        let file = file(content.as_bytes());
        let length = content.len() as u64 / 10;
        let at = |second: u32| Moment::new(format!("2026-11-20T10:00:{second:02}Z").parse().unwrap());
        let start = |lines, since: Option<u32>, until: Option<u32>| {
            let (since, until) = (since.map(at), until.map(at));
            tail_start(&file, lines, since.as_ref(), until.as_ref()).unwrap().0 / length
        };
        assert_eq!(start(3, None, Some(6)), 4);
        assert_eq!(start(3, Some(8), None), 8);
        assert_eq!(start(3, Some(5), Some(6)), 5);
        assert_eq!(start(1, None, None), 9);
    }

    #[test]
    fn a_torn_end_is_a_line() {
        let content = record(1, "stdout", "F", "a") + "2026-11-20T10:00:01.000000000Z stdout F b";
        let file = file(content.as_bytes());
        let start = tail_start(&file, 1, None, None).unwrap().0;
        let mut reader = Reader::new(file, start).unwrap();
        assert!(all(&mut reader).is_empty());
        assert_eq!(reader.torn().unwrap().data, b"b");
    }
}
