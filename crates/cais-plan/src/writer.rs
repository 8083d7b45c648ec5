//! The writing side: steps to bytes, with a sentence for each step that the engine prints when it fails.

use alloc::string::String;
use alloc::vec::Vec;

use crate::field::{Bytes, Str, Strings, padded};
use crate::{MAGIC, Setup, Step};

/// Bytes of a plan under construction.
pub type Sink = Vec<u8>;

/// A field that can be written to a plan.
pub trait Encode {
    /// Appends the field.
    fn encode(&self, sink: &mut Sink);
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Encode for $type {
            fn encode(&self, sink: &mut Sink) {
                sink.extend_from_slice(&(*self as u64).to_ne_bytes());
            }
        }
    )*};
}
integers!(u64, i64, u32, i32, bool);

fn block(bytes: &[u8], sink: &mut Sink) {
    (bytes.len() as u64).encode(sink);
    sink.extend_from_slice(bytes);
    let end = padded(bytes.len()).unwrap_or(usize::MAX) - bytes.len();
    sink.extend(core::iter::repeat_n(0, end));
}

impl Encode for Str<'_> {
    fn encode(&self, sink: &mut Sink) {
        debug_assert!(!self.0.contains(&0), "a NUL inside a string of the plan");
        block(self.0, sink);
    }
}

impl Encode for Bytes<'_> {
    fn encode(&self, sink: &mut Sink) {
        block(self.0, sink);
    }
}

impl Encode for Strings<'_> {
    fn encode(&self, sink: &mut Sink) {
        block(self.0, sink);
    }
}

/// Strings with a NUL after each, as [`Strings`] wants them. Strings must not hold a NUL.
pub fn join_strings<I, S>(strings: I) -> Vec<u8>
where
    I: IntoIterator<Item = S>,
    S: AsRef<[u8]>,
{
    let mut bytes = Vec::new();
    for string in strings {
        bytes.extend_from_slice(string.as_ref());
        bytes.push(0);
    }
    bytes
}

/// Collects steps; the sentence of a step says what it does to which object ("mount proc on /proc").
#[derive(Debug, Default)]
pub struct PlanWriter {
    steps: Vec<u8>,
    sentences: Vec<String>,
    failing: Option<usize>,
}

impl PlanWriter {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> PlanWriter {
        PlanWriter::default()
    }

    /// A plan whose step `index` is replaced by one that cannot succeed: for tests of what a failure leaves behind.
    #[must_use]
    pub fn failing_at(index: Option<usize>) -> PlanWriter {
        PlanWriter { failing: index, ..PlanWriter::default() }
    }

    /// Appends a step.
    pub fn push(&mut self, sentence: impl Into<String>, step: &Step<'_>) {
        if self.failing == Some(self.sentences.len()) {
            // No descriptor has this number: EBADF.
            Step::SetNs { fd: -1, flags: 0 }.encode(&mut self.steps);
        } else {
            step.encode(&mut self.steps);
        }
        self.sentences.push(sentence.into());
    }

    /// What step `index` does, for error messages.
    #[must_use]
    pub fn sentence(&self, index: usize) -> Option<&str> {
        self.sentences.get(index).map(String::as_str)
    }

    /// How many steps there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sentences.len()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sentences.is_empty()
    }

    /// The whole plan.
    #[must_use]
    pub fn finish(&self, setup: &Setup<'_>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.steps.len() + 512);
        MAGIC.encode(&mut bytes);
        (self.sentences.len() as u64).encode(&mut bytes);
        setup.encode(&mut bytes);
        bytes.extend_from_slice(&self.steps);
        bytes
    }
}
