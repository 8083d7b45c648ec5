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

pub mod field;
pub mod passwd;
pub mod setup;
pub mod step;
pub mod wire;

mod words;

#[cfg(feature = "writer")]
mod writer;

pub use field::{Bytes, Decode, PlanError, Reader, Str, Strings};
pub use setup::{Setup, role};
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
