//! One line of docker's `json-file` driver: `{"log":"text\n","stream":"stdout","time":"2026-11-20T10:00:00.123456789Z"}`,
//! with `"attrs":{…}` before the time when `--log-opt` asks for some.
//!
//! Taken apart by hand: a log is long, and the order of its keys is fixed. A quote inside a string is always escaped, so that
//! the text of a container cannot look like what stands behind it, nor like the beginning of the next line.

/// What every line begins with.
const BEGIN: &[u8] = b"{\"log\":\"";
/// What stands behind the text.
const STREAM: &[u8] = b"\",\"stream\":\"std";
const ATTRS: &[u8] = b",\"attrs\":";
const TIME: &[u8] = b",\"time\":\"";
/// Bytes of stream and time when they are all that stands behind the text, our shim's nine digits.
pub(super) const FOOT_BYTES: usize = 3 + STREAM.len() + 4 + TIME.len() + 30 + 2;

/// What stands behind the text of a line.
struct Foot<'a> {
    /// Where the text ends, its closing quote.
    text_end: usize,
    stream: &'a [u8],
    attrs: &'a [u8],
    time: &'a [u8],
}

/// Whether a line is one of JSON.
pub(super) fn is_json(line: &[u8]) -> bool {
    line.first() == Some(&b'{')
}

/// Writes a line, without its newline, as one of Kubernetes' format into `plain`, the attributes into `attrs`; false
/// when it is none. Of a line that was cut off by a full disk what stands behind the rest is taken.
pub(super) fn to_plain(line: &[u8], plain: &mut Vec<u8>, attrs: &mut Vec<u8>) -> bool {
    if line.starts_with(BEGIN) && whole_to_plain(line, plain, attrs) {
        return true;
    }
    let begin = line.windows(BEGIN.len()).rposition(|bytes| bytes == BEGIN);
    begin.is_some_and(|at| at > 0 && whole_to_plain(&line[at..], plain, attrs))
}

fn whole_to_plain(line: &[u8], plain: &mut Vec<u8>, attrs: &mut Vec<u8>) -> bool {
    let Some(foot) = foot(line) else { return false };
    attrs.clear();
    attrs.extend_from_slice(foot.attrs);
    plain.clear();
    plain.extend_from_slice(foot.time);
    plain.extend_from_slice(b" std");
    plain.extend_from_slice(foot.stream);
    plain.extend_from_slice(b" F ");
    let tag = plain.len() - 2;
    let text = &line[BEGIN.len()..foot.text_end];
    if unescape(text, plain).is_none() {
        return false;
    }
    if text.ends_with(b"\\n") && plain.last() == Some(&b'\n') {
        plain.pop();
    } else {
        plain[tag] = b'P';
    }
    true
}

/// The time of a line, and whether it is a piece of one, from its last [`FOOT_BYTES`]; `None` when they do not tell.
pub(super) fn from_foot(foot: &[u8]) -> Option<(&str, bool)> {
    let foot = foot.get(foot.len().checked_sub(FOOT_BYTES)?..)?;
    let (newline, rest) = foot.split_at(3);
    let rest = rest.strip_prefix(STREAM)?;
    let rest = rest.strip_prefix(b"out\"").or_else(|| rest.strip_prefix(b"err\""))?;
    let time = rest.strip_prefix(TIME)?.strip_suffix(b"\"}")?;
    if newline.starts_with(b"\\") {
        // Perhaps it is the backslash of the n that is escaped: only the whole line tells.
        return None;
    }
    Some((std::str::from_utf8(time).ok()?, !newline.ends_with(b"\\n")))
}

fn foot(line: &[u8]) -> Option<Foot<'_>> {
    // The text is long, the foot is short: from the end, unless there are attributes.
    let fixed = line.len().checked_sub(FOOT_BYTES - 3).filter(|at| line[*at..].starts_with(STREAM));
    let text_end = fixed.or_else(|| line.windows(STREAM.len()).position(|bytes| bytes == STREAM))?;
    let rest = &line[text_end + STREAM.len()..];
    let (stream, mut rest) = rest.split_at_checked(3)?;
    rest = rest.strip_prefix(b"\"")?;
    let time_at = rest.windows(TIME.len()).rposition(|bytes| bytes == TIME)?;
    let attrs = rest[..time_at].strip_prefix(ATTRS).unwrap_or_default();
    let time = rest[time_at + TIME.len()..].strip_suffix(b"\"}")?;
    (text_end >= BEGIN.len()).then_some(Foot { text_end, stream, attrs, time })
}

/// The bytes that the inside of a JSON string stands for; `None` when it is none.
fn unescape(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | b'"')) {
        if rest[at] == b'"' {
            return None;
        }
        out.extend_from_slice(&rest[..at]);
        let (escape, behind) = rest[at + 1..].split_first()?;
        rest = behind;
        let byte = match escape {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            b'"' | b'\\' | b'/' => *escape,
            b'u' => {
                let (unit, behind) = code_unit(rest)?;
                rest = behind;
                let mut units = vec![unit];
                if (0xd800..0xdc00).contains(&unit)
                    && let Some((low, behind)) = rest.strip_prefix(b"\\u").and_then(code_unit)
                {
                    units.push(low);
                    rest = behind;
                }
                let mut utf8 = [0; 4];
                for character in char::decode_utf16(units) {
                    let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
                    out.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
                }
                continue;
            }
            _ => return None,
        };
        out.push(byte);
    }
    out.extend_from_slice(rest);
    Some(())
}

/// Four hexadecimal digits and what stands behind them.
fn code_unit(text: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, behind) = text.split_at_checked(4)?;
    let digits = std::str::from_utf8(digits).ok()?;
    Some((u16::from_str_radix(digits, 16).ok()?, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str = r#","stream":"stderr","time":"2026-11-20T10:00:00.123456789Z"}"#;

    fn plain(line: &str) -> Option<String> {
        let (mut plain, mut attrs) = (Vec::new(), Vec::new());
        to_plain(line.as_bytes(), &mut plain, &mut attrs)
            .then(|| format!("{}{}", String::from_utf8(plain).unwrap(), String::from_utf8(attrs).unwrap()))
    }

    #[test]
    fn lines_become_plain_ones() {
        let head = "2026-11-20T10:00:00.123456789Z stderr";
        let line = |text: &str| format!(r#"{{"log":"{text}"{TAIL}"#);
        assert_eq!(plain(&line(r"a b\n")).unwrap(), format!("{head} F a b"));
        assert_eq!(plain(&line("")).unwrap(), format!("{head} P "));
        assert_eq!(plain(&line(r"\n")).unwrap(), format!("{head} F "));
        assert_eq!(plain(&line(r"a\\n")).unwrap(), format!("{head} P a\\n"));
        let text = r#"\"\u0009\t\u003c\ufffd\u2028\ud83e\udd80ü\/\n"#;
        assert_eq!(plain(&line(text)).unwrap(), format!("{head} F \"\t\t<\u{fffd}\u{2028}🦀ü/"));
        // Docker leaves zeros at the end of a time away.
        let short = r#"{"log":"x\n","stream":"stdout","time":"2026-11-20T10:00:00.1Z"}"#;
        assert_eq!(plain(short).unwrap(), "2026-11-20T10:00:00.1Z stdout F x");
        let attrs = r#"{"log":"x\n","stream":"stdout","attrs":{"stream":"std,\"time\":\""},"time":"T"}"#;
        assert_eq!(plain(attrs).unwrap(), r#"T stdout F x{"stream":"std,\"time\":\""}"#);
    }

    #[test]
    fn what_a_full_disk_cut_off_is_left_out() {
        let line = format!(r#"{{"log":"b\n"{TAIL}"#);
        for cut in [r#"{"log":"aaa"#, r#"{"log":"aaa\"#, r#"{"log":"a\n","stream":"std"#, "{", r#"x {"lo"#] {
            assert_eq!(plain(&format!("{cut}{line}")), plain(&line), "{cut}");
            assert_eq!(plain(cut), None, "{cut}");
        }
        assert_eq!(plain("{}"), None);
        assert_eq!(plain(&format!(r#"{{"log":"\x"{TAIL}"#)), None);
    }

    #[test]
    fn feet() {
        let line = format!(r#"{{"log":"b\n"{TAIL}"#);
        assert_eq!(from_foot(line.as_bytes()), Some(("2026-11-20T10:00:00.123456789Z", false)));
        assert_eq!(from_foot(line.replace("\\n", "").as_bytes()).map(|foot| foot.1), Some(true));
        assert_eq!(from_foot(line.replace("123456789", "1").as_bytes()), None);
        assert_eq!(from_foot(line.replace('b', "\\\\").as_bytes()), None);
        assert_eq!(from_foot(b""), None);
    }
}
