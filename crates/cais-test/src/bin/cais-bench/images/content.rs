//! Bytes that look like those of real images to a compressor, the same on every machine.
//!
//! Three kinds: text (words by Zipf's law, phrases that come again), programs (few templates with changing operands, tables,
//! zeros) and what is compressed already. Mixed as in [`kind_of`], gzip -6 makes about a third of it, as of a real image
//! of compilers, interpreters and their packages.

/// splitmix64: small, quick, good enough, and nobody's version of it changes.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// About normally distributed, mean 0, deviation 1.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Small numbers are likelier than large ones.
    fn skewed(&mut self, end: usize) -> usize {
        let unit = self.unit();
        (unit * unit * unit * end as f64) as usize
    }
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Source text, documentation, JSON.
    Text,
    /// Machine code and tables.
    Program,
    /// Archives, pictures.
    Packed,
}

/// What a file of that size probably is: small ones are text, large ones programs.
pub fn kind_of(size: usize, random: &mut Random) -> Kind {
    let text_percent = if size < 32 << 10 { 90 } else { 25 };
    match random.below(100) {
        0..4 => Kind::Packed,
        roll if roll < text_percent => Kind::Text,
        _ => Kind::Program,
    }
}

/// Words and templates from which content is made.
#[derive(Debug)]
pub struct Vocabulary {
    words: Vec<Vec<u8>>,
    templates: Vec<Vec<u8>>,
}

impl Vocabulary {
    /// Always the same one.
    pub fn new() -> Vocabulary {
        let mut random = Random::new(0x5eed);
        let word = |random: &mut Random| {
            let length = 2 + random.below(9) as usize;
            let mut word: Vec<u8> = (0..length).map(|_| b'a' + random.skewed(26) as u8).collect();
            word.push(if random.below(9) == 0 { b'\n' } else { b' ' });
            word
        };
        let template = |random: &mut Random| {
            let length = 3 + random.below(5);
            (0..length).map(|_| random.below(256) as u8).collect()
        };
        Vocabulary {
            words: (0..6000).map(|_| word(&mut random)).collect(),
            templates: (0..700).map(|_| template(&mut random)).collect(),
        }
    }

    /// `size` bytes of this kind.
    pub fn write(&self, kind: Kind, size: usize, random: &mut Random) -> Vec<u8> {
        let mut out = Vec::with_capacity(size + 512);
        while out.len() < size {
            match kind {
                Kind::Packed => out.extend_from_slice(&random.next().to_le_bytes()),
                Kind::Text if random.below(100) < 13 => repeat(&mut out, 24, 16 << 10, random),
                Kind::Text => out.extend_from_slice(&self.words[random.skewed(self.words.len())]),
                Kind::Program => self.instruction(&mut out, random),
            }
        }
        out.truncate(size);
        out
    }

    fn instruction(&self, out: &mut Vec<u8>, random: &mut Random) {
        match random.below(1000) {
            0..6 => out.resize(out.len() + 16 + random.below(300) as usize, 0),
            6..150 => repeat(out, 12, 30 << 10, random),
            _ => {
                out.extend_from_slice(&self.templates[random.skewed(self.templates.len())]);
                if random.below(100) < 35 {
                    let last = out.len() - 1;
                    out[last] = random.next() as u8;
                }
            }
        }
    }
}

/// Something that was there before, within `window` bytes, about twice `length` long.
fn repeat(out: &mut Vec<u8>, length: usize, window: usize, random: &mut Random) {
    let length = length + random.below(2 * length as u64) as usize;
    let back = length + random.below(window as u64) as usize;
    if let Some(from) = out.len().checked_sub(back) {
        out.extend_from_within(from..from + length);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn content_is_the_same_again_and_compresses_as_meant() {
        let vocabulary = Vocabulary::new();
        let write = |kind| vocabulary.write(kind, 200_000, &mut Random::new(7));
        for (kind, from, to) in [(Kind::Text, 20, 45), (Kind::Program, 25, 60), (Kind::Packed, 99, 102)] {
            let content = write(kind);
            assert_eq!(content, write(kind));
            assert_eq!(content.len(), 200_000);
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(&content).unwrap();
            let percent = encoder.finish().unwrap().len() * 100 / content.len();
            assert!((from..=to).contains(&percent), "{kind:?}: {percent} %");
        }
    }

    #[test]
    fn normal_is_centred() {
        let mut random = Random::new(1);
        let mean = (0..10_000).map(|_| random.normal()).sum::<f64>() / 10_000.0;
        assert!(mean.abs() < 0.05, "{mean}");
    }
}
