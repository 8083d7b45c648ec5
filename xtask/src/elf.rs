//! What an ELF file says of itself: static or not, position independent or not.
//!
//! Implements as much of `man 5 elf` as that takes, for 64-bit little-endian files.

use anyhow::{Result, bail};

const TYPE_SHARED: u16 = 3;
const SEGMENT_DYNAMIC: u32 = 2;
const SEGMENT_INTERPRETER: u32 = 3;
const TAG_NEEDED: u64 = 1;

/// How a program is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Linkage {
    /// It can be loaded anywhere.
    pub(crate) position_independent: bool,
    /// It asks for a dynamic loader.
    pub(crate) interpreter: bool,
    /// Number of shared libraries that it needs.
    pub(crate) needed: usize,
}

impl Linkage {
    /// Reads the headers of a file.
    pub(crate) fn of(file: &[u8]) -> Result<Linkage> {
        if file.get(..6) != Some(b"\x7fELF\x02\x01") {
            bail!("not a 64-bit little-endian ELF file");
        }
        let (table, size, count) = (number(file, 32, 8)?, number(file, 54, 2)?, number(file, 56, 2)?);
        let mut linkage = Linkage {
            position_independent: number(file, 16, 2)? == u64::from(TYPE_SHARED),
            interpreter: false,
            needed: 0,
        };
        for index in 0..count {
            let header = table + index * size;
            let kind = number(file, header, 4)?;
            linkage.interpreter |= kind == u64::from(SEGMENT_INTERPRETER);
            if kind == u64::from(SEGMENT_DYNAMIC) {
                linkage.needed = needed(file, number(file, header + 8, 8)?, number(file, header + 32, 8)?)?;
            }
        }
        Ok(linkage)
    }

    /// Position independent and in need of nothing.
    pub(crate) fn is_static_pie(self) -> bool {
        self.position_independent && !self.interpreter && self.needed == 0
    }
}

fn needed(file: &[u8], offset: u64, size: u64) -> Result<usize> {
    let mut count = 0;
    for entry in (offset..offset + size).step_by(16) {
        match number(file, entry, 8)? {
            0 => break,
            TAG_NEEDED => count += 1,
            _ => {}
        }
    }
    Ok(count)
}

fn number(file: &[u8], at: u64, width: usize) -> Result<u64> {
    let at = usize::try_from(at)?;
    let Some(bytes) = file.get(at..at.saturating_add(width)) else {
        bail!("the file ends before offset {at}")
    };
    Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_dynamic() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let linkage = Linkage::of(&own).unwrap();
        assert!(linkage.interpreter && linkage.needed > 0 && !linkage.is_static_pie());
    }

    #[test]
    fn a_static_pie_is_known() {
        // An ELF header, one program header of an empty dynamic section.
        let mut file = vec![0_u8; 64 + 56 + 16];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[16] = 3;
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        file[64] = 2;
        file[64 + 8] = 120;
        file[64 + 32] = 16;
        assert!(Linkage::of(&file).unwrap().is_static_pie());
        file[120] = 1;
        assert!(!Linkage::of(&file).unwrap().is_static_pie());
        file[120] = 0;
        file[16] = 2;
        assert!(!Linkage::of(&file).unwrap().is_static_pie());
    }

    #[test]
    fn rubbish_is_refused() {
        assert!(Linkage::of(b"#!/bin/sh").is_err());
        assert!(Linkage::of(b"\x7fELF\x02\x01").is_err());
    }
}
