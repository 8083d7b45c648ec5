//! Undoes the compression of a layer, which is told by its first bytes and never by its media type.
//!
//! RFC 1952 (gzip, several members), RFC 8878 (zstd, several and skippable frames). A window above 128 MiB is
//! refused; how much comes out is bounded by the reader of the tar.

use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::GzDecoder;

use crate::error::LayerError;

const INPUT_BUFFER_BYTES: usize = 128 * 1024;
const MAGIC_BYTES: usize = 6;
/// Windows of up to 2^27 bytes, zstd's own default for streams; it bounds the decoder's memory.
const MAX_ZSTD_WINDOW_LOG: u32 = 27;

/// How a layer's tar is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// A bare tar.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Compression {
    /// Tells the compression from the first (up to six) bytes of a stream.
    fn sniff(magic: &[u8]) -> Result<Compression, LayerError> {
        let unsupported = |name| Err(LayerError::UnsupportedCompression { name });
        match magic {
            [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Compression::Zstd),
            // A skippable frame, with which zstd:chunked may begin.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => unsupported("xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41] => unsupported("bzip2"),
            [0x04, 0x22, 0x4d, 0x18, ..] => unsupported("lz4"),
            _ => Ok(Compression::None),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        })
    }
}

/// What came first, then the rest.
type Source<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// A reader of the uncompressed bytes of `R`. It reads `R` to its end; anything but zeros after a gzip stream is
/// an error.
///
/// An error of `R` itself comes through as it is; one of the decompressor becomes
/// [`LayerError::Decompress`] within [`TarReader`](crate::TarReader).
pub struct Decoder<R: Read> {
    compression: Compression,
    state: State<R>,
}

enum State<R: Read> {
    Plain(Source<R>),
    Gzip(Option<Box<GzDecoder<Watched<R>>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Watched<R>>>),
}

impl<R: Read> Decoder<R> {
    /// Reads the first bytes of `input` and decides. An empty input is an empty plain stream.
    pub fn new(mut input: R) -> Result<Decoder<R>, LayerError> {
        let mut magic = Vec::with_capacity(MAGIC_BYTES);
        Read::take(&mut input, MAGIC_BYTES as u64)
            .read_to_end(&mut magic)
            .map_err(|source| LayerError::Read { source })?;
        let compression = Compression::sniff(&magic)?;
        let source = Cursor::new(magic).chain(input);
        let state = match compression {
            Compression::None => State::Plain(source),
            Compression::Gzip => State::Gzip(Some(Box::new(GzDecoder::new(Watched::new(source))))),
            Compression::Zstd => {
                let decoder =
                    zstd_decoder(source).map_err(|source| LayerError::Decompress { compression, source })?;
                State::Zstd(Box::new(decoder))
            }
        };
        Ok(Decoder { compression, state })
    }

    /// What the stream turned out to be.
    pub fn compression(&self) -> Compression {
        self.compression
    }
}

fn zstd_decoder<R: Read>(source: Source<R>) -> io::Result<zstd::stream::read::Decoder<'static, Watched<R>>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(Watched::new(source))?;
    decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (result, input_failed) = match &mut self.state {
            State::Plain(source) => return source.read(buf),
            State::Gzip(decoder) => {
                (read_gzip(decoder, buf), decoder.as_ref().is_some_and(|d| d.get_ref().failed))
            }
            State::Zstd(decoder) => (decoder.read(buf), decoder.get_ref().failed),
        };
        result.map_err(|source| {
            if input_failed || source.kind() == io::ErrorKind::Interrupted {
                source
            } else {
                let compression = self.compression;
                io::Error::other(DecompressError { compression, source })
            }
        })
    }
}

/// Reads on over the boundaries of gzip members. `None` stands for the end of the stream.
fn read_gzip<R: Read>(decoder: &mut Option<Box<GzDecoder<Watched<R>>>>, buf: &mut [u8]) -> io::Result<usize> {
    while let Some(member) = decoder {
        let read = member.read(buf)?;
        if read > 0 || buf.is_empty() {
            return Ok(read);
        }
        if member.get_mut().fill_buf()?.starts_with(&[0]) {
            expect_zeros(member.get_mut())?;
        }
        if member.get_mut().fill_buf()?.is_empty() {
            return Ok(0);
        }
        *decoder = decoder.take().map(|ended| Box::new(GzDecoder::new(ended.into_inner())));
    }
    Ok(0)
}

/// gzip files on tapes and in padded archives end in zeros, which gzip(1) ignores.
fn expect_zeros(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffered = input.fill_buf()?;
        if buffered.is_empty() {
            return Ok(());
        }
        if buffered.iter().any(|&byte| byte != 0) {
            let text = "there is something else behind the end of the stream";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let len = buffered.len();
        input.consume(len);
    }
}

/// An error of the decompressor, in the disguise that `Read` demands.
#[derive(Debug, thiserror::Error)]
#[error("decompress {compression}")]
pub(crate) struct DecompressError {
    pub(crate) compression: Compression,
    pub(crate) source: io::Error,
}

/// Remembers whether it was the input that failed, which decompressors do not tell apart.
struct Watched<R: Read> {
    input: BufReader<Source<R>>,
    failed: bool,
}

impl<R: Read> Watched<R> {
    fn new(source: Source<R>) -> Watched<R> {
        Watched { input: BufReader::with_capacity(INPUT_BUFFER_BYTES, source), failed: false }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let result = self.input.read(buf);
        self.failed |= result.is_err();
        result
    }
}

impl<R: Read> BufRead for Watched<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        loop {
            match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = true;
                    return Err(error);
                }
                Ok(_) => break,
            }
        }
        Ok(self.input.buffer())
    }

    fn consume(&mut self, amount: usize) {
        self.input.consume(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Decoder::new(bytes).unwrap().read_to_end(&mut out)?;
        Ok(out)
    }

    fn is_decompress_error(error: io::Error) -> bool {
        error.downcast::<DecompressError>().is_ok()
    }

    #[test]
    fn plain_streams_pass_through_at_any_length() {
        for len in [0, 1, 5, 6, 7, 1000] {
            let bytes = vec![b'x'; len];
            assert_eq!(decode(&bytes).unwrap(), bytes);
        }
    }

    #[test]
    fn gzip_members_are_joined_and_trailing_zeros_ignored() {
        let mut stream = gzip(b"one ");
        stream.extend(gzip(b""));
        stream.extend(gzip(b"two"));
        assert_eq!(decode(&stream).unwrap(), b"one two");
        stream.extend([0; 700]);
        assert_eq!(decode(&stream).unwrap(), b"one two");
        stream.push(1);
        assert!(is_decompress_error(decode(&stream).unwrap_err()));
    }

    #[test]
    fn zstd_frames_are_joined_and_skippable_ones_skipped() {
        let mut stream = vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        stream.extend(zstd::encode_all(&b"one "[..], 1).unwrap());
        stream.extend(zstd::encode_all(&b"two"[..], 1).unwrap());
        stream.extend([0x5a, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9]);
        assert_eq!(decode(&stream).unwrap(), b"one two");
    }

    #[test]
    fn truncated_and_corrupt_streams_are_errors() {
        let text: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        for stream in [gzip(&text), zstd::encode_all(&text[..], 1).unwrap()] {
            for cut in [7, stream.len() / 2, stream.len() - 1] {
                assert!(is_decompress_error(decode(&stream[..cut]).unwrap_err()));
            }
            let mut corrupt = stream.clone();
            let middle = corrupt.len() / 2;
            corrupt[middle] ^= 0xff;
            corrupt[middle + 1] ^= 0xff;
            assert_ne!(decode(&corrupt).ok(), Some(text.clone()));
        }
    }

    #[test]
    fn an_error_of_the_input_is_not_blamed_on_the_decompressor() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        let stream = gzip(&[7; 5000]);
        let mut decoder = Decoder::new(stream[..20].chain(Broken)).unwrap();
        let error = decoder.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_huge_zstd_window_is_refused() {
        // Magic, frame header descriptor without single segment, window descriptor for 2^31 bytes, an empty last block.
        let stream = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 1, 0, 0];
        assert!(is_decompress_error(decode(&stream).unwrap_err()));
    }

    #[test]
    fn other_compressions_are_named() {
        let Err(LayerError::UnsupportedCompression { name }) =
            Decoder::new(&b"\xfd7zXZ\0 and so on"[..]).map(|_| ())
        else {
            panic!("xz must be refused");
        };
        assert_eq!(name, "xz");
    }
}
