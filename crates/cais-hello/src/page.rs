//! Text in a fixed buffer; what does not fit is cut off.

/// Columns of the page.
pub const WIDTH: usize = 80;

/// A page that is being written.
pub struct Page<'a> {
    buffer: &'a mut [u8],
    length: usize,
    /// Columns of the present line in use.
    column: usize,
}

impl<'a> Page<'a> {
    /// An empty page in `buffer`.
    pub fn new(buffer: &'a mut [u8]) -> Page<'a> {
        Page { buffer, length: 0, column: 0 }
    }

    /// What was written.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    /// Appends plain ASCII text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        for byte in text.bytes() {
            self.byte(byte);
        }
        self
    }

    /// Appends foreign bytes; what is not printable ASCII becomes a question mark.
    pub fn foreign(&mut self, bytes: &[u8]) -> &mut Self {
        for byte in bytes {
            self.byte(if byte.is_ascii_graphic() || *byte == b' ' { *byte } else { b'?' });
        }
        self
    }

    /// Appends a number in decimal.
    pub fn number(&mut self, number: u64) -> &mut Self {
        let mut digits = [0_u8; 20];
        let mut first = digits.len();
        let mut rest = number;
        loop {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.foreign(&digits[first..])
    }

    /// Fills the line with blanks up to a column; one blank at least.
    pub fn column(&mut self, column: usize) -> &mut Self {
        self.text(" ");
        self.repeat(b' ', column.saturating_sub(self.column))
    }

    /// Appends a byte several times.
    pub fn repeat(&mut self, byte: u8, count: usize) -> &mut Self {
        for _ in 0..count {
            self.byte(byte);
        }
        self
    }

    /// Ends the line.
    pub fn end(&mut self) -> &mut Self {
        self.byte(b'\n');
        self
    }

    /// Appends a word behind a blank, on a new line indented to `indent` when it does not fit any more.
    pub fn word(&mut self, word: &[u8], indent: usize) -> &mut Self {
        if self.column + 1 + word.len() > WIDTH {
            self.end().repeat(b' ', indent);
        } else if self.column > indent {
            self.text(" ");
        }
        self.foreign(&word[..word.len().min(WIDTH.saturating_sub(self.column))])
    }

    /// Appends the words of a text, each as [`Page::word`] does.
    pub fn words(&mut self, text: &str, indent: usize) -> &mut Self {
        for word in text.split_ascii_whitespace() {
            self.word(word.as_bytes(), indent);
        }
        self
    }

    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.buffer.get_mut(self.length) {
            *place = byte;
            self.length += 1;
            self.column = if byte == b'\n' { 0 } else { self.column + 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_columns_and_foreign_bytes() {
        let mut buffer = [0; 200];
        let mut page = Page::new(&mut buffer);
        page.number(0).text("|").number(u64::MAX).end();
        page.text("ab").column(5).text("c").column(3).text("d").end().foreign(b"x\x1b\xff");
        assert_eq!(page.bytes(), b"0|18446744073709551615\nab   c d\nx??");
    }

    #[test]
    fn words_wrap_at_the_width() {
        let mut buffer = [0; 500];
        let mut page = Page::new(&mut buffer);
        page.text("  caps").column(8).words(&"eight_88 ".repeat(20), 8);
        let text = std::str::from_utf8(page.bytes()).unwrap();
        assert!(text.lines().count() > 2);
        for line in text.lines() {
            assert!(line.len() <= WIDTH && line[8..].starts_with("eight_88"), "{line:?}");
        }
    }

    #[test]
    fn a_full_page_is_cut_off() {
        let mut buffer = [0; 4];
        let mut page = Page::new(&mut buffer);
        page.text("abcdef").number(7);
        assert_eq!(page.bytes(), b"abcd");
    }
}
