//! How fields lie in a plan: 8-byte words, and strings with a length word, their bytes, a NUL and padding to 8.

/// Why a plan cannot be read; only possible when engine and shim are of different builds or memory is corrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// Ends too early.
    Truncated,
    /// Another format.
    Magic,
    /// Unknown step number.
    Step(u64),
    /// A string lacks its NUL.
    String,
}

/// Cursor over a plan's bytes.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes }
    }

    /// What has not been read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// The next word.
    ///
    /// # Errors
    /// At the end of the plan.
    pub fn u64(&mut self) -> Result<u64, PlanError> {
        let (word, rest) = self.bytes.split_first_chunk::<8>().ok_or(PlanError::Truncated)?;
        self.bytes = rest;
        Ok(u64::from_ne_bytes(*word))
    }

    /// The next run of bytes, without the NUL that follows it.
    ///
    /// # Errors
    /// When it is truncated or its NUL is missing.
    pub fn block(&mut self) -> Result<&'a [u8], PlanError> {
        let length = usize::try_from(self.u64()?).map_err(|_| PlanError::Truncated)?;
        let padded = padded(length).ok_or(PlanError::Truncated)?;
        if self.bytes.len() < padded {
            return Err(PlanError::Truncated);
        }
        if self.bytes[length] != 0 {
            return Err(PlanError::String);
        }
        let block = &self.bytes[..length];
        self.bytes = &self.bytes[padded..];
        Ok(block)
    }
}

/// Length of a block with its NUL, rounded up to whole words.
pub(crate) fn padded(length: usize) -> Option<usize> {
    length.checked_add(8).map(|n| n & !7)
}

/// A field that can be read from a plan.
pub trait Decode<'a>: Sized {
    /// Reads the field.
    ///
    /// # Errors
    /// When the plan ends too early or the field is malformed.
    fn decode(reader: &mut Reader<'a>) -> Result<Self, PlanError>;
}

/// A string for the kernel. Decoded ones are followed by a NUL in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Str<'a>(pub &'a [u8]);

/// Raw bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes<'a>(pub &'a [u8]);

/// A list of strings: each with its NUL, one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strings<'a>(pub &'a [u8]);

impl<'a> Strings<'a> {
    /// The strings in order, without their NULs (which follow them in memory).
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.0;
        let body = bytes.strip_suffix(&[0]).unwrap_or(bytes);
        let empty = bytes.is_empty();
        body.split(|b| *b == 0).filter(move |_| !empty)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl<'a> Decode<'a> for $type {
            fn decode(reader: &mut Reader<'a>) -> Result<Self, PlanError> {
                Ok(reader.u64()? as $type)
            }
        }
    )*};
}
integers!(u64, i64, u32, i32);

impl<'a> Decode<'a> for bool {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, PlanError> {
        Ok(reader.u64()? != 0)
    }
}

impl<'a> Decode<'a> for Str<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, PlanError> {
        Ok(Str(reader.block()?))
    }
}

impl<'a> Decode<'a> for Bytes<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, PlanError> {
        Ok(Bytes(reader.block()?))
    }
}

impl<'a> Decode<'a> for Strings<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, PlanError> {
        Ok(Strings(reader.block()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_iterate() {
        assert_eq!(Strings(b"").iter().count(), 0);
        assert_eq!(Strings(b"\0").iter().collect::<Vec<_>>(), vec![b"".as_slice()]);
        assert_eq!(Strings(b"a\0\0b\0").iter().collect::<Vec<_>>(), vec![b"a".as_slice(), b"", b"b"]);
    }

    extern crate alloc;
    use alloc::{vec, vec::Vec};

    #[test]
    fn truncated_is_an_error() {
        assert_eq!(Reader::new(&[0; 7]).u64(), Err(PlanError::Truncated));
        let mut bytes = vec![0_u8; 16];
        bytes[0] = 8;
        assert_eq!(Reader::new(&bytes).block(), Err(PlanError::Truncated));
        bytes[0] = 1;
        bytes[9] = 1;
        assert_eq!(Reader::new(&bytes).block(), Err(PlanError::String));
    }
}
