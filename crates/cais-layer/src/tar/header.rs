//! One 512-byte header block: v7, POSIX ustar, GNU and star. See tar(5) of FreeBSD, "Tar Archive Format".

use crate::error::Fault;

use super::sparse::{self, Segment};

pub(super) const BLOCK_BYTES: usize = 512;

/// A header block, not yet known to be one.
pub(super) struct Header(pub(super) [u8; BLOCK_BYTES]);

impl Header {
    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|&byte| byte == 0)
    }

    /// Whether the sum of all bytes, with blanks in place of the sum itself, is what the header says. Old
    /// archivers summed signed bytes.
    pub(super) fn check(&self) -> Result<(), Fault> {
        const SUM: std::ops::Range<usize> = 148..156;
        let mut unsigned = 0i64;
        let mut signed = 0i64;
        for (position, &byte) in self.0.iter().enumerate() {
            let byte = if SUM.contains(&position) { b' ' } else { byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        match number(&self.0[SUM]) {
            Some(sum) if sum == unsigned || sum == signed => Ok(()),
            _ => Err(Fault::Checksum),
        }
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.0[156]
    }

    fn is_ustar(&self) -> bool {
        &self.0[257..265] == b"ustar\x0000"
    }

    fn is_gnu(&self) -> bool {
        &self.0[257..265] == b"ustar  \0"
    }

    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        let prefix = if self.is_ustar() {
            // star keeps its times in the last bytes of what is the prefix elsewhere.
            let is_star = &self.0[508..] == b"tar\0";
            text(&self.0[345..if is_star { 476 } else { 500 }])
        } else {
            b""
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        text(&self.0[157..257]).to_vec()
    }

    /// Permission bits with setuid, setgid and sticky; archivers put the file type above them.
    pub(super) fn mode(&self) -> Result<u32, Fault> {
        match number(&self.0[100..108]) {
            Some(mode) => Ok((mode & 0o7777) as u32),
            None => Err(Fault::Number("mode")),
        }
    }

    pub(super) fn uid(&self) -> Result<u64, Fault> {
        unsigned(&self.0[108..116], "uid")
    }

    pub(super) fn gid(&self) -> Result<u64, Fault> {
        unsigned(&self.0[116..124], "gid")
    }

    /// The bytes that follow in the archive.
    pub(super) fn size(&self) -> Result<u64, Fault> {
        unsigned(&self.0[124..136], "size")
    }

    /// Seconds since 1970.
    pub(super) fn mtime(&self) -> Result<i64, Fault> {
        number(&self.0[136..148]).ok_or(Fault::Number("mtime"))
    }

    /// Major and minor number.
    pub(super) fn device(&self) -> Result<(u32, u32), Fault> {
        if !self.is_ustar() && !self.is_gnu() {
            return Ok((0, 0));
        }
        let part = |field: &[u8]| -> Result<u32, Fault> {
            u32::try_from(unsigned(field, "device")?).map_err(|_| Fault::Number("device"))
        };
        Ok((part(&self.0[329..337])?, part(&self.0[337..345])?))
    }

    /// Of an old GNU sparse file: its size with the holes, the first pieces of its map, and whether a further
    /// block of the map follows.
    pub(super) fn gnu_sparse(&self) -> Result<(u64, Vec<Segment>, bool), Fault> {
        let mut map = Vec::new();
        sparse::read_gnu_block(&self.0[386..482], &mut map)?;
        Ok((unsigned(&self.0[483..495], "real size")?, map, self.0[482] != 0))
    }
}

/// A field's text, up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    let len = field.iter().position(|&byte| byte == 0);
    &field[..len.unwrap_or(field.len())]
}

/// A field's number: octal text, or big-endian two's complement if the first bit is set (GNU). An empty field is 0.
fn number(field: &[u8]) -> Option<i64> {
    if field[0] & 0x80 != 0 {
        // The second bit is the sign, so it spreads over the marker's place.
        let first = (field[0] << 1).cast_signed() >> 1;
        return field[1..]
            .iter()
            .try_fold(i64::from(first), |value, &byte| value.checked_mul(256)?.checked_add(i64::from(byte)));
    }
    let is_padding = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(start) = field.iter().position(|byte| !is_padding(byte)) else {
        return Some(0);
    };
    let digits = &field[start..];
    let len = digits.iter().position(is_padding);
    digits[..len.unwrap_or(digits.len())].iter().try_fold(0i64, |value, &byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

/// A field's number that cannot be negative.
pub(super) fn unsigned(field: &[u8], name: &'static str) -> Result<u64, Fault> {
    number(field).and_then(|value| u64::try_from(value).ok()).ok_or(Fault::Number(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"77777777"), Some(0o77_777_777));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"        "), Some(0));
        assert_eq!(number(b"00x0644\0"), None);
        assert_eq!(number(b"0000688\0"), None);
        assert_eq!(number(b"-000001\0"), None);
        assert_eq!(number(b"\x80\0\0\0\0\0\x01\x02"), Some(0x102));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
        assert_eq!(number(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"), Some(i64::MAX));
        assert_eq!(number(b"\x80\0\0\0\x80\0\0\0\0\0\0\0"), None);
        assert_eq!(number(b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
        assert_eq!(unsigned(&[0xff; 12], "size"), Err(Fault::Number("size")));
    }

    #[test]
    fn a_prefix_counts_in_posix_headers_only() {
        let mut block = [0; BLOCK_BYTES];
        block[..4].copy_from_slice(b"name");
        block[345..348].copy_from_slice(b"dir");
        assert_eq!(Header(block).path(), b"name");
        block[257..265].copy_from_slice(b"ustar  \0");
        assert_eq!(Header(block).path(), b"name");
        block[257..265].copy_from_slice(b"ustar\x0000");
        assert_eq!(Header(block).path(), b"dir/name");
    }

    #[test]
    fn the_sum_may_be_of_signed_bytes() {
        let mut block = [0; BLOCK_BYTES];
        block[0] = 0xe9;
        let blanks = 8 * i64::from(b' ');
        for sum in [blanks + 0xe9, blanks + 0xe9 - 256] {
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            assert_eq!(Header(block).check(), Ok(()));
        }
        block[1] = 1;
        assert_eq!(Header(block).check(), Err(Fault::Checksum));
        assert!(Header([0; BLOCK_BYTES]).is_zero());
    }
}
