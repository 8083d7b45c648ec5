//! One line of a container's log: `2026-11-20T10:00:00.123456789Z stdout F text` and a newline.
//!
//! The format is Kubernetes' CRI logging format (kubernetes/design-proposals, "kubelet-cri-logging"), which podman
//! calls `k8s-file`: time, stream, tags separated by colons, data. The first tag is `F` when the newline belongs to
//! the data and `P` when it only ends the record. Data is any bytes but a newline. Knows nothing of files.
//!
//! A full disk can cut a record off within its head; the next one then stands behind the rest on the same line, and is
//! found there. What is cut off within its data cannot be told from a container that writes such lines itself.

use crate::view::Stream;

/// Longest head of a record, with the rest of one that was cut off before it: twice the time (at most 35 bytes), the
/// stream, a tag and three spaces, with some room.
pub(super) const HEAD_MAX_BYTES: usize = 128;

/// A time as our shim writes it; 0 is any digit.
const TIME: &[u8; 30] = b"0000-00-00T00:00:00.000000000Z";
/// What may stand between time and data in our shim's records.
const TAGS: [&[u8]; 4] = [b" stdout F ", b" stdout P ", b" stderr F ", b" stderr P "];
/// Longest time: nanoseconds and an offset instead of the `Z`.
const TIME_MAX_LEN: usize = TIME.len() + "+00:0".len();
/// Everything up to the second.
const SECONDS_LEN: usize = "0000-00-00T00:00:00".len();

/// A record taken apart; borrows from the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// RFC 3339 with nanoseconds.
    pub(super) time: &'a str,
    /// Where the data was written to.
    pub(super) stream: Stream,
    /// No newline belongs to the data.
    pub(super) partial: bool,
    /// The data without its newline.
    pub(super) data: &'a [u8],
    /// An object of JSON, or empty: what `--log-opt` asks for; docker's format only.
    pub(super) attrs: &'a [u8],
}

/// Takes a line, without its newline, apart; `None` when it is not a record.
///
/// The line may be cut anywhere behind the third space, which is how the heads of long records are read.
pub(super) fn parse(line: &[u8]) -> Option<Record<'_>> {
    parse_whole(line).or_else(|| behind_rest(line))
}

/// The record behind the rest of a head that was cut off.
fn behind_rest(line: &[u8]) -> Option<Record<'_>> {
    let longest = (TIME.len() + TAGS[0].len()).min(line.len());
    let (rest, record) = (1..longest)
        .map(|cut| line.split_at(cut))
        .find_map(|(rest, behind)| Some((rest, parse_whole(behind)?)))?;
    let (time, tag) = rest.split_at(rest.len().min(TIME.len()));
    (has_shape(time, TIME) && TAGS.iter().any(|whole| whole.starts_with(tag))).then_some(record)
}

/// Whether text begins like a shape, in which 0 is any digit.
fn has_shape(text: &[u8], shape: &[u8]) -> bool {
    text.iter().zip(shape).all(|(byte, wanted)| match wanted {
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    })
}

fn parse_whole(line: &[u8]) -> Option<Record<'_>> {
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(words.next()?).ok()?;
    if !(SECONDS_LEN + 1..=TIME_MAX_LEN).contains(&time.len())
        || !has_shape(time.as_bytes(), &TIME[..SECONDS_LEN])
    {
        return None;
    }
    let stream = match words.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let partial = match words.next()?.split(|byte| *byte == b':').next()? {
        b"F" => false,
        b"P" => true,
        _ => return None,
    };
    Some(Record { time, stream, partial, data: words.next()?, attrs: b"" })
}

/// A moment to compare the times of records with.
///
/// Our shim writes every time with nine digits and in UTC, so that comparing text is comparing time; other
/// spellings of RFC 3339 are parsed.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    text: String,
    timestamp: jiff::Timestamp,
}

impl Moment {
    /// The moment of a timestamp.
    pub(super) fn new(timestamp: jiff::Timestamp) -> Moment {
        Moment { text: format!("{timestamp:.9}"), timestamp }
    }

    /// Whether a record's time lies after the moment; false for a time that nobody can read.
    pub(super) fn is_before(&self, time: &str) -> bool {
        self.compare(time) == Some(std::cmp::Ordering::Less)
    }

    /// Whether a record's time lies before the moment; false for a time that nobody can read.
    pub(super) fn is_after(&self, time: &str) -> bool {
        self.compare(time) == Some(std::cmp::Ordering::Greater)
    }

    fn compare(&self, time: &str) -> Option<std::cmp::Ordering> {
        if time.len() == self.text.len() && time.ends_with('Z') {
            return Some(self.text.as_str().cmp(time));
        }
        let time: jiff::Timestamp = time.parse().ok()?;
        Some(self.timestamp.cmp(&time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_taken_apart() {
        let record = parse(b"2026-11-20T10:00:00.123456789Z stdout F two words  ").unwrap();
        assert_eq!(record.time, "2026-11-20T10:00:00.123456789Z");
        assert_eq!(record.stream, Stream::Stdout);
        assert!(!record.partial);
        assert_eq!(record.data, b"two words  ");
        let record = parse(b"2026-11-20T10:00:00.123456789+02:00 stderr P:x \x00\xff\r").unwrap();
        assert_eq!((record.stream, record.partial, record.data), (Stream::Stderr, true, &b"\x00\xff\r"[..]));
        assert_eq!(parse(b"2026-11-20T10:00:00.123456789Z stdout F ").unwrap().data, b"");
    }

    #[test]
    fn other_lines_are_no_records() {
        for line in [
            &b""[..],
            b"2026-11-20T10:00:00.123456789Z",
            b"2026-11-20T10:00:00.123456789Z stdout",
            b"2026-11-20T10:00:00.123456789Z stdout F",
            b"2026-11-20T10:00:00.123456789Z stdin F x",
            b"2026-11-20T10:00:00.123456789Z stdout X x",
            b"26-11-20 stdout F x",
            b"\xff\xfe2026-11-20T10:00:00.123456789Z stdout F x",
            b"some text of more than twenty bytes stdout F x",
        ] {
            assert_eq!(parse(line), None, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_record_is_found_behind_a_head_that_was_cut_off() {
        let whole = b"2026-11-20T10:00:00.123456789Z stderr P text";
        let head = &whole[..whole.len() - b" text".len()];
        for cut in 1..head.len() {
            let line = [&whole[..cut], b"2026-11-20T10:00:01.000000000Z stdout F next"].concat();
            let record = parse(&line).unwrap_or_else(|| panic!("cut at {cut}"));
            assert_eq!((record.time, record.data), ("2026-11-20T10:00:01.000000000Z", &b"next"[..]));
            assert!(parse(&line[..line.len() - 4]).is_some(), "the heads alone");
        }
        // Within the data it is the container's own business.
        let line = [&whole[..], b"2026-11-20T10:00:01.000000000Z stdout F next"].concat();
        assert_eq!(parse(&line).unwrap().data, &line[head.len() + 1..]);
    }

    #[test]
    fn moments_compare_by_text_and_by_time() {
        let moment = Moment::new("2026-11-20T10:00:00.5Z".parse().unwrap());
        assert!(moment.is_after("2026-11-20T10:00:00.499999999Z"));
        assert!(!moment.is_after("2026-11-20T10:00:00.500000000Z"));
        assert!(!moment.is_before("2026-11-20T10:00:00.500000000Z"));
        assert!(moment.is_before("2026-11-20T10:00:00.500000001Z"));
        assert!(moment.is_before("2026-11-20T10:00:01Z"));
        assert!(moment.is_after("2026-11-20T11:00:00.5+02:00"));
        assert!(!moment.is_after("never") && !moment.is_before("never"));
    }
}
