//! Detach keys: the sequence that leaves a container running (`ctrl-p,ctrl-q`).
//!
//! A begun sequence is held back; when it goes on otherwise, or not at all for a while, what was held is passed on.

use std::time::Duration;

/// How long a begun sequence is held back.
pub const PATIENCE: Duration = Duration::from_millis(250);

/// Docker's sequence.
pub const USUAL: &str = "ctrl-p,ctrl-q";

/// Parses `ctrl-p,ctrl-q`; the empty text switches detaching off.
///
/// # Errors
/// A reason that names the key.
pub fn parse(text: &str) -> Result<Vec<u8>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(|key| code(key).ok_or_else(|| format!("unknown key {key:?}"))).collect()
}

fn code(key: &str) -> Option<u8> {
    if let &[byte @ 0x20..=0x7e] = key.as_bytes() {
        return Some(byte);
    }
    if key == "DEL" {
        return Some(0x7f);
    }
    match key.strip_prefix("ctrl-")?.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        [b'@'] => Some(0),
        [sign @ b'['..=b'_'] => Some(sign - b'@'),
        _ => None,
    }
}

/// Watches input for the sequence.
#[derive(Debug)]
pub struct DetachKeys {
    keys: Vec<u8>,
    held: Vec<u8>,
}

impl DetachKeys {
    /// Watches for this sequence; an empty one never comes.
    pub fn new(keys: Vec<u8>) -> DetachKeys {
        DetachKeys { keys, held: Vec::new() }
    }

    /// Takes input, puts what is to be passed on into `passed`; true when the sequence is complete.
    pub fn feed(&mut self, input: &[u8], passed: &mut Vec<u8>) -> bool {
        if self.keys.is_empty() {
            passed.extend_from_slice(input);
            return false;
        }
        for &byte in input {
            self.held.push(byte);
            while !self.keys.starts_with(&self.held) {
                passed.push(self.held.remove(0));
            }
            if self.held.len() == self.keys.len() {
                self.held.clear();
                return true;
            }
        }
        false
    }

    /// Whether a begun sequence is held back.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Passes on what is held, because nothing followed in time.
    pub fn give_up(&mut self, passed: &mut Vec<u8>) {
        passed.append(&mut self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(keys: &str, chunks: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut watcher = DetachKeys::new(parse(keys).expect("keys"));
        let mut passed = Vec::new();
        let done = chunks.iter().any(|chunk| watcher.feed(chunk, &mut passed));
        (passed, done)
    }

    #[test]
    fn parses_names_of_keys() {
        assert_eq!(parse(USUAL), Ok(vec![16, 17]));
        assert_eq!(
            parse("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_,a,DEL,\""),
            Ok(vec![0, 27, 28, 29, 30, 31, b'a', 127, b'"'])
        );
        assert_eq!(parse(""), Ok(vec![]));
        for text in ["ctrl-", "ctrl-P", "ctrl-1", "ab", ",", "alt-x", "ctrl-ab"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn finds_the_sequence_and_passes_the_rest() {
        assert_eq!(feed(USUAL, &[b"ab", b"\x10", b"\x11tail"]), (b"ab".to_vec(), true));
        assert_eq!(feed(USUAL, &[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
        assert_eq!(feed(USUAL, &[b"\x10x\x11"]), (b"\x10x\x11".to_vec(), false));
        assert_eq!(feed("", &[b"\x10\x11"]), (b"\x10\x11".to_vec(), false));
        assert_eq!(feed("a,a,b", &[b"aaab"]), (b"a".to_vec(), true));
        assert_eq!(feed("a,b,a,c", &[b"ababac"]), (b"ab".to_vec(), true));
    }

    #[test]
    fn gives_up_what_it_holds() {
        let mut watcher = DetachKeys::new(vec![16, 17]);
        let mut passed = Vec::new();
        assert!(!watcher.feed(b"\x10", &mut passed) && watcher.holds() && passed.is_empty());
        watcher.give_up(&mut passed);
        assert_eq!(passed, b"\x10");
        assert!(!watcher.holds());
        assert!(!watcher.feed(b"\x11", &mut passed));
    }
}
