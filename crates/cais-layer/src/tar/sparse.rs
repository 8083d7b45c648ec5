//! Maps of sparse files: GNU's old header blocks and the three PAX formats. See the GNU tar manual,
//! "Storing Sparse Files".

use crate::error::Fault;

use super::header::unsigned;

/// A map may have this many pieces; more cost memory that no real file is worth.
pub(super) const MAX_SEGMENTS: usize = 1 << 18;
const GNU_SEGMENT_BYTES: usize = 24;

/// A piece of a file that is stored in the archive; between pieces there are holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// Adds the pieces of an old GNU header (4) or continuation block (21) to `map`.
pub(super) fn read_gnu_block(fields: &[u8], map: &mut Vec<Segment>) -> Result<(), Fault> {
    for fields in fields.chunks_exact(GNU_SEGMENT_BYTES) {
        // An unused place begins with a NUL.
        if fields[0] == 0 {
            break;
        }
        map.push(Segment {
            offset: unsigned(&fields[..12], "sparse offset")?,
            len: unsigned(&fields[12..], "sparse length")?,
        });
    }
    Ok(())
}

/// Reads the comma-separated map of PAX format 0.1.
pub(super) fn read_list(text: &[u8]) -> Result<Vec<Segment>, Fault> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut numbers = text.split(|&byte| byte == b',').map(decimal);
    let mut map = Vec::new();
    while let Some(offset) = numbers.next() {
        let len = numbers.next().ok_or(Fault::SparseMap)?;
        map.push(Segment { offset: offset.ok_or(Fault::SparseMap)?, len: len.ok_or(Fault::SparseMap)? });
    }
    Ok(map)
}

/// Whole numbers in decimal, as PAX writes them.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    // `parse` alone would take a plus sign.
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

/// Takes apart the map of PAX format 1.0, which precedes the content: decimal numbers, one on each line, the
/// first one being the number of pieces.
#[derive(Default)]
pub(super) struct MapText {
    line: Vec<u8>,
    expected: Option<u64>,
    offset: Option<u64>,
    map: Vec<Segment>,
}

impl MapText {
    /// Takes in one more block. Returns whether the map is complete; what follows in the block is padding.
    pub(super) fn push_block(&mut self, block: &[u8]) -> Result<bool, Fault> {
        const MAX_DIGITS: usize = 20;
        for &byte in block {
            if self.is_complete() {
                break;
            }
            if byte == b'\n' {
                self.push_number()?;
            } else if self.line.len() < MAX_DIGITS {
                self.line.push(byte);
            } else {
                return Err(Fault::SparseMap);
            }
        }
        Ok(self.is_complete())
    }

    fn is_complete(&self) -> bool {
        self.expected == Some(self.map.len() as u64)
    }

    fn push_number(&mut self) -> Result<(), Fault> {
        if self.line.is_empty() {
            return Err(Fault::SparseMap);
        }
        let number = decimal(&self.line).ok_or(Fault::SparseMap)?;
        self.line.clear();
        if self.expected.is_none() {
            self.expected = Some(number);
        } else if let Some(offset) = self.offset.take() {
            self.map.push(Segment { offset, len: number });
        } else {
            self.offset = Some(number);
        }
        Ok(())
    }

    /// The number of pieces announced so far.
    pub(super) fn announced(&self) -> u64 {
        self.expected.unwrap_or(0)
    }

    pub(super) fn into_map(self) -> Vec<Segment> {
        self.map
    }
}

/// Checks that `map` is in order, lies within `size`, and accounts for exactly the `stored` bytes.
pub(super) fn check(map: &[Segment], size: u64, stored: u64) -> Result<(), Fault> {
    let mut end = 0u64;
    let mut sum = 0u64;
    for segment in map {
        if segment.offset < end {
            return Err(Fault::SparseMap);
        }
        end = segment.offset.checked_add(segment.len).filter(|&end| end <= size).ok_or(Fault::SparseMap)?;
        sum += segment.len;
    }
    if sum == stored { Ok(()) } else { Err(Fault::SparseMap) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pieces: &[(u64, u64)]) -> Vec<Segment> {
        let segment = |&(offset, len)| Segment { offset, len };
        pieces.iter().map(segment).collect()
    }

    #[test]
    fn maps_must_be_ordered_within_the_file_and_complete() {
        assert_eq!(check(&map(&[(0, 5), (5, 0), (10, 5)]), 15, 10), Ok(()));
        assert_eq!(check(&[], 1 << 40, 0), Ok(()));
        let bad = Err(Fault::SparseMap);
        assert_eq!(check(&map(&[(0, 5), (4, 5)]), 15, 10), bad);
        assert_eq!(check(&map(&[(0, 5), (10, 6)]), 15, 11), bad);
        assert_eq!(check(&map(&[(0, 5)]), 15, 6), bad);
        assert_eq!(check(&map(&[(u64::MAX, 2)]), u64::MAX, 2), bad);
    }

    #[test]
    fn lists_have_pairs_of_decimals() {
        assert_eq!(read_list(b"0,5,10,20"), Ok(map(&[(0, 5), (10, 20)])));
        assert_eq!(read_list(b""), Ok(vec![]));
        for bad in [&b"0"[..], b"0,5,", b"0,-5", b"+1,2", b"1,99999999999999999999999"] {
            assert_eq!(read_list(bad), Err(Fault::SparseMap));
        }
    }

    #[test]
    fn map_text_may_span_blocks() {
        let mut text = MapText::default();
        assert_eq!(text.push_block(b"2\n0\n1"), Ok(false));
        assert_eq!(text.push_block(b"0\n40\n5\n\0\0garbage"), Ok(true));
        assert_eq!(text.into_map(), map(&[(0, 10), (40, 5)]));
        assert_eq!(MapText::default().push_block(b"0\n"), Ok(true));
        assert_eq!(MapText::default().push_block(b"\n"), Err(Fault::SparseMap));
        assert_eq!(MapText::default().push_block(b"123456789012345678901\n"), Err(Fault::SparseMap));
    }
}
