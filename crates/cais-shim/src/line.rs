//! Short texts without an allocator: the exit record.

/// A short text under construction.
pub struct Line {
    bytes: [u8; 160],
    used: usize,
}

impl Line {
    /// Empty.
    #[must_use]
    pub fn new() -> Line {
        Line { bytes: [0; 160], used: 0 }
    }

    /// What it says so far.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.bytes[..self.used]
    }

    /// Appends; what does not fit is left out.
    pub fn put(&mut self, text: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.used..self.used + text.len()) {
            place.copy_from_slice(text);
            self.used += text.len();
        }
    }

    /// Appends a name and a decimal number.
    pub fn field(&mut self, name: &[u8], mut value: u64) {
        self.put(name);
        let mut digits = [0_u8; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.put(&digits[at..]);
    }
}

impl Default for Line {
    fn default() -> Line {
        Line::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let mut line = Line::new();
        line.field(b"code=", 0);
        line.field(b" started=", 1_795_169_845_123_456_789);
        assert_eq!(line.text(), b"code=0 started=1795169845123456789");
    }
}
