//! Any bytes as a layer's archive: the reader must neither panic, nor hand out more content than it announced.
//!
//! Run by `cargo +nightly fuzz run tar`.

#![no_main]

use cais_layer::{Decoder, LayerError, Limits, TarReader};
use libfuzzer_sys::fuzz_target;

const BLOCK_BYTES: usize = 512;

fuzz_target!(|data: &[u8]| {
    let _ = read(data);
    // Headers with a wrong checksum are refused at once, so let them pass to see what lies behind.
    let mut signed = data.to_vec();
    for block in signed.chunks_exact_mut(BLOCK_BYTES) {
        if block.iter().any(|&byte| byte != 0) {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    let _ = read(&signed);
});

fn read(data: &[u8]) -> Result<(), LayerError> {
    let limits = Limits { max_bytes: 1 << 24, ..Limits::default() };
    let mut reader = TarReader::new(Decoder::new(data)?, &limits);
    while let Some(entry) = reader.next_entry()? {
        let mut end = 0;
        while let Some(chunk) = reader.next_chunk()? {
            assert!(chunk.offset >= end && !chunk.bytes.is_empty());
            end = chunk.offset + chunk.bytes.len() as u64;
            assert!(end <= entry.size_bytes);
        }
    }
    reader.finish().map(drop)
}
