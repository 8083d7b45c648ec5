//! Text as docker's `json-file` driver escapes it (moby, daemon/logger/jsonfilelog/jsonlog): what JSON demands, `<`, `>` and
//! `&` for pages, the two line separators of Unicode for JavaScript, and U+FFFD for each byte that is no UTF-8.

/// Bytes that one byte of text can become.
pub const WORST: usize = 6;

const HEX: &[u8; 16] = b"0123456789abcdef";
/// Bytes that are looked at together.
const WORD: usize = 8;
const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Writes text as the inside of a JSON string; how many bytes. `out` must hold [`WORST`] times the text.
pub fn escape(out: &mut [u8], text: &[u8]) -> usize {
    let mut used = 0;
    let mut at = 0;
    while at < text.len() {
        if let Some(word) = text[at..].first_chunk::<WORD>()
            && is_plain(u64::from_ne_bytes(*word))
        {
            out[used..used + WORD].copy_from_slice(word);
            used += WORD;
            at += WORD;
            continue;
        }
        // The rest of the word byte by byte, or a character that reaches beyond it.
        let end = (at + WORD).min(text.len());
        while at < end {
            let byte = text[at];
            let (written, taken) = if byte < 0x80 {
                (ascii(&mut out[used..], byte), 1)
            } else {
                wide(&mut out[used..], &text[at..])
            };
            used += written;
            at += taken;
        }
    }
    used
}

/// No byte of these is written otherwise than it is.
fn is_plain(word: u64) -> bool {
    let zero = |word: u64| word.wrapping_sub(LOW) & !word & HIGH;
    let equals = |word: u64, byte: u8| zero(word ^ (LOW * u64::from(byte)));
    let control = word.wrapping_sub(LOW * 0x20) & !word & HIGH;
    // Pairs that differ in one bit: < and >, " and &.
    let pairs = equals(word | (LOW * 0x02), b'>') | equals(word | (LOW * 0x04), b'&');
    (word & HIGH) | control | pairs | equals(word, b'\\') == 0
}

fn ascii(out: &mut [u8], byte: u8) -> usize {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        0..0x20 | b'<' | b'>' | b'&' => {
            out[..4].copy_from_slice(b"\\u00");
            out[4] = HEX[usize::from(byte >> 4)];
            out[5] = HEX[usize::from(byte & 15)];
            return 6;
        }
        _ => {
            out[0] = byte;
            return 1;
        }
    };
    out[0] = b'\\';
    out[1] = short;
    2
}

/// A character of several bytes: bytes written and taken.
fn wide(out: &mut [u8], text: &[u8]) -> (usize, usize) {
    let length = character(text[0]);
    match text.get(..length) {
        Some(b"\xe2\x80\xa8") => out[..6].copy_from_slice(b"\\u2028"),
        Some(b"\xe2\x80\xa9") => out[..6].copy_from_slice(b"\\u2029"),
        Some(bytes) if core::str::from_utf8(bytes).is_ok() => {
            for (place, byte) in out.iter_mut().zip(bytes) {
                *place = *byte;
            }
            return (length, length);
        }
        _ => {
            out[..6].copy_from_slice(b"\\ufffd");
            return (6, 1);
        }
    }
    (6, length)
}

/// Bytes of the character that begins so.
fn character(first: u8) -> usize {
    match first {
        0xf0.. => 4,
        0xe0.. => 3,
        _ => 2,
    }
}

/// How much of the text can be taken without tearing its last character, if it is UTF-8.
#[must_use]
pub fn whole_characters(text: &[u8]) -> usize {
    for back in 1..=text.len().min(3) {
        let byte = text[text.len() - back];
        if byte >= 0xc0 {
            return if character(byte) > back { text.len() - back } else { text.len() };
        }
        if byte < 0x80 {
            break;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::String;
    use std::vec;

    use super::*;

    fn escaped(text: &[u8]) -> String {
        let mut out = vec![0; text.len() * WORST];
        let used = escape(&mut out, text);
        String::from_utf8(out[..used].to_vec()).unwrap()
    }

    #[test]
    fn as_docker_writes_it() {
        assert_eq!(escaped(b""), "");
        assert_eq!(
            escaped(b"a \"b\" \\c\t\r\n\x00\x1f\x7f"),
            "a \\\"b\\\" \\\\c\\u0009\\r\\n\\u0000\\u001f\x7f"
        );
        assert_eq!(escaped(b"<a href='x'>&"), "\\u003ca href='x'\\u003e\\u0026");
        assert_eq!(escaped("grüße 日本 🦀 \u{2028}\u{2029}".as_bytes()), "grüße 日本 🦀 \\u2028\\u2029");
        assert_eq!(
            escaped(b"\xff\xc3(\xe2\x80x\xed\xa0\x80"),
            "\\ufffd\\ufffd(\\ufffd\\ufffdx\\ufffd\\ufffd\\ufffd"
        );
        assert_eq!(escaped(b"end\xe2\x80"), "end\\ufffd\\ufffd");
    }

    #[test]
    fn every_byte_in_every_place() {
        for byte in 0..=255_u8 {
            for place in 0..20 {
                let mut text = [b'.'; 20];
                text[place] = byte;
                let mut single = [0; WORST];
                let used = escape(&mut single, &[byte]);
                let single = std::str::from_utf8(&single[..used]).unwrap();
                let dots = |count| ".".repeat(count);
                assert_eq!(escaped(&text), dots(place) + single + &dots(19 - place), "{byte} at {place}");
            }
        }
    }

    #[test]
    fn characters_are_not_torn() {
        for (text, whole) in [
            (&b"abc"[..], 3),
            ("aü".as_bytes(), 3),
            (b"a\xc3", 1),
            (b"a\xf0\x9f\xa6", 1),
            (b"\x80\x80\x80\x80", 4),
            (b"", 0),
        ] {
            assert_eq!(whole_characters(text), whole, "{}", text.escape_ascii());
        }
    }
}
