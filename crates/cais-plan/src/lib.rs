//! The launch plan: pure data that the engine writes and the shim carries out.
//!
//! A plan is one flat, position-independent block of bytes: a header, the shim's own [`Setup`], then the steps that
//! the container's first process performs in order ([`Step`]). Every string is NUL-terminated in place, so the shim
//! hands pointers into the plan to the kernel and never allocates. The plan is frozen (sealed memfd) before the clone.
//!
//! Knows nothing of images, records or requests, and makes no syscall.

#![no_std]

#[cfg(feature = "writer")]
extern crate alloc;

pub mod errand;
pub mod field;
pub mod oom;
pub mod passwd;
pub mod setup;
pub mod step;
pub mod wire;

mod words;

#[cfg(feature = "writer")]
mod writer;

pub use field::{Bytes, Decode, PlanError, Reader, Str, Strings};
pub use setup::{RESTORED, Setup, role};
pub use step::Step;
#[cfg(feature = "writer")]
pub use writer::{PlanWriter, join_strings};

/// First word of every plan: `cais` and the format's number. Engine and shim come from one build, so they must agree.
pub const MAGIC: u64 = 0x6361_6973_0000_0001;

/// A decoded plan: the shim's setup and the child's steps.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// What the monitor needs.
    pub setup: Setup<'a>,
    steps: &'a [u8],
    count: u64,
}

impl<'a> Plan<'a> {
    /// Checks the header and decodes the setup; steps are decoded one by one by [`Plan::steps`].
    ///
    /// # Errors
    /// When the block is truncated or of another build.
    pub fn parse(bytes: &'a [u8]) -> Result<Plan<'a>, PlanError> {
        let mut reader = Reader::new(bytes);
        if reader.u64()? != MAGIC {
            return Err(PlanError::Magic);
        }
        let count = reader.u64()?;
        let setup = Setup::decode(&mut reader)?;
        Ok(Plan { setup, steps: reader.rest(), count })
    }

    /// The steps in order.
    #[must_use]
    pub fn steps(&self) -> Steps<'a> {
        Steps { reader: Reader::new(self.steps), left: self.count }
    }
}

/// Iterator over a plan's steps; ends after the first undecodable one.
pub struct Steps<'a> {
    reader: Reader<'a>,
    left: u64,
}

impl<'a> Iterator for Steps<'a> {
    type Item = Result<Step<'a>, PlanError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let step = Step::decode(&mut self.reader);
        if step.is_err() {
            self.left = 0;
        }
        Some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Word;

    /// xorshift: the same bytes each time, and no dependency of a crate that the shim is made of.
    fn bytes(seed: &mut u64, length: usize) -> alloc::vec::Vec<u8> {
        let mut next = || {
            *seed ^= *seed << 13;
            *seed ^= *seed >> 7;
            *seed ^= *seed << 17;
            *seed
        };
        // Small numbers are those that mean something.
        (0..length).map(|_| if next() % 3 == 0 { (next() % 256) as u8 } else { (next() % 3) as u8 }).collect()
    }

    extern crate alloc;

    #[test]
    fn any_bytes() {
        let mut seed = 0x9e37_79b9_7f4a_7c15;
        for round in 0..20_000 {
            let random = bytes(&mut seed, round % 700);
            let plan = [&MAGIC.to_ne_bytes(), &u64::MAX.to_ne_bytes(), random.as_slice()].concat();
            for bytes in [&random, &plan] {
                if let Ok(plan) = Plan::parse(bytes) {
                    assert!(plan.steps().count() <= bytes.len());
                }
            }
            for line in random.split(|byte| *byte < 2) {
                let _ = (passwd::parse_user(line), passwd::parse_group(line));
            }
            for kind in *b"PYNF?" {
                let word = Word::parse(&[&[kind], random.as_slice()].concat());
                assert!(!matches!(word, Some(Word::Cloned { pid: ..=0 })));
            }
        }
    }
}
