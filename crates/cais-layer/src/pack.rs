//! Compresses a layer's tar, on several threads.
//!
//! The input is cut into pieces of one size, so the output is a function of the input alone, whatever the number of threads.
//! gzip (RFC 1952) is one member: each piece is deflated with the end of the one before as its dictionary and ends on a
//! byte (a sync flush). zstd (RFC 8878) is one frame for each piece. No more than a few pieces are in memory.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use flate2::{Compress, Crc, FlushCompress, Status};

use crate::compression::Compression;

const GZIP_PIECE_BYTES: usize = 1 << 20;
const ZSTD_PIECE_BYTES: usize = 4 << 20;
/// As far as deflate looks back.
const GZIP_WINDOW_BYTES: usize = 32 << 10;
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;
/// No name, no time, written on Unix.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];

/// Calls `fill` with a writer whose bytes come out of `output` compressed; gives both back.
///
/// # Errors
/// Those of `fill`, and those of `output` by way of `failed`; what `output` has got then is not whole.
pub fn pack<W: Write, T, E>(
    output: W,
    compression: Compression,
    failed: impl FnOnce(io::Error) -> E,
    fill: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<(T, W), E> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    pack_by(workers, output, compression, failed, fill)
}

fn pack_by<W: Write, T, E>(
    workers: usize,
    output: W,
    compression: Compression,
    failed: impl FnOnce(io::Error) -> E,
    fill: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<(T, W), E> {
    let mut output = output;
    if compression == Compression::None {
        return fill(&mut output).map(|filled| (filled, output));
    }
    let (jobs, queue) = sync_channel(workers);
    let queue = Mutex::new(queue);
    thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| work(&queue));
        }
        let mut packer = Packer::new(output, compression, jobs, workers);
        let filled = fill(&mut packer)?;
        packer.finish().map(|output| (filled, output)).map_err(failed)
    })
}

/// A piece to compress.
struct Job {
    compression: Compression,
    bytes: Vec<u8>,
    before: Vec<u8>,
    is_last: bool,
    reply: Sender<io::Result<Piece>>,
}

struct Piece {
    bytes: Vec<u8>,
    crc: Crc,
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let piece = match job.compression {
            Compression::Gzip => deflate(&job),
            Compression::Zstd => {
                zstd::bulk::compress(&job.bytes, ZSTD_LEVEL).map(|bytes| Piece { bytes, crc: Crc::new() })
            }
            Compression::None => Ok(Piece { bytes: job.bytes.clone(), crc: Crc::new() }),
        };
        // Nobody waits for it when something else has failed.
        let _ = job.reply.send(piece);
    }
}

fn deflate(job: &Job) -> io::Result<Piece> {
    let mut compress = Compress::new(flate2::Compression::new(GZIP_LEVEL), false);
    if !job.before.is_empty() {
        compress.set_dictionary(&job.before).map_err(io::Error::other)?;
    }
    let flush = if job.is_last { FlushCompress::Finish } else { FlushCompress::Sync };
    let mut bytes = Vec::with_capacity(job.bytes.len() / 2 + 1024);
    loop {
        let done = usize::try_from(compress.total_in()).unwrap_or(usize::MAX).min(job.bytes.len());
        let status =
            compress.compress_vec(&job.bytes[done..], &mut bytes, flush).map_err(io::Error::other)?;
        let is_all_in = compress.total_in() == job.bytes.len() as u64;
        if status == Status::StreamEnd || (!job.is_last && is_all_in && bytes.len() < bytes.capacity()) {
            break;
        }
        bytes.reserve(bytes.capacity().max(1024));
    }
    let mut crc = Crc::new();
    crc.update(&job.bytes);
    Ok(Piece { bytes, crc })
}

struct Packer<W: Write> {
    output: W,
    compression: Compression,
    piece_bytes: usize,
    buffer: Vec<u8>,
    before: Vec<u8>,
    jobs: SyncSender<Job>,
    /// Pieces on their way, in their order.
    pending: VecDeque<Receiver<io::Result<Piece>>>,
    pending_max: usize,
    crc: Crc,
    has_begun: bool,
}

impl<W: Write> Packer<W> {
    fn new(output: W, compression: Compression, jobs: SyncSender<Job>, workers: usize) -> Packer<W> {
        let piece_bytes = if compression == Compression::Zstd { ZSTD_PIECE_BYTES } else { GZIP_PIECE_BYTES };
        Packer {
            output,
            compression,
            piece_bytes,
            buffer: Vec::with_capacity(piece_bytes),
            before: Vec::new(),
            jobs,
            pending: VecDeque::new(),
            pending_max: workers + 1,
            crc: Crc::new(),
            has_begun: false,
        }
    }

    /// Hands the buffer to the workers.
    fn cut(&mut self, is_last: bool) -> io::Result<()> {
        let bytes = std::mem::replace(&mut self.buffer, Vec::with_capacity(self.piece_bytes));
        let before = match self.compression {
            Compression::Gzip => {
                let end = bytes[bytes.len().saturating_sub(GZIP_WINDOW_BYTES)..].to_vec();
                std::mem::replace(&mut self.before, end)
            }
            _ => Vec::new(),
        };
        let (reply, answer) = channel();
        let job = Job { compression: self.compression, bytes, before, is_last, reply };
        self.jobs.send(job).map_err(|_| io::Error::other("the compressor has ended"))?;
        self.pending.push_back(answer);
        while self.pending.len() > self.pending_max {
            self.take()?;
        }
        Ok(())
    }

    /// Writes the oldest piece.
    fn take(&mut self) -> io::Result<()> {
        let Some(answer) = self.pending.pop_front() else { return Ok(()) };
        let piece = answer.recv().map_err(|_| io::Error::other("the compressor has ended"))??;
        if !self.has_begun && self.compression == Compression::Gzip {
            self.output.write_all(&GZIP_HEADER)?;
        }
        self.has_begun = true;
        self.crc.combine(&piece.crc);
        self.output.write_all(&piece.bytes)
    }

    fn finish(mut self) -> io::Result<W> {
        self.cut(true)?;
        while !self.pending.is_empty() {
            self.take()?;
        }
        if self.compression == Compression::Gzip {
            self.output.write_all(&self.crc.sum().to_le_bytes())?;
            self.output.write_all(&self.crc.amount().to_le_bytes())?;
        }
        Ok(self.output)
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == self.piece_bytes {
            self.cut(false)?;
        }
        let taken = bytes.len().min(self.piece_bytes - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::identity;
    use std::io::Read;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::Decoder;

    fn text(bytes: usize) -> Vec<u8> {
        let mut state = 7_u32;
        let mut text = Vec::with_capacity(bytes + 64);
        while text.len() < bytes {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text.extend_from_slice(format!("line {} of a text\n", state >> 20).as_bytes());
        }
        text.truncate(bytes);
        text
    }

    fn packed(bytes: &[u8], compression: Compression, workers: usize) -> Vec<u8> {
        let fill = |out: &mut dyn Write| bytes.chunks(100_003).try_for_each(|chunk| out.write_all(chunk));
        pack_by(workers, Vec::new(), compression, identity::<io::Error>, fill).unwrap().1
    }

    #[test]
    fn there_and_back_by_any_number_of_threads() {
        for bytes in [0, 1, GZIP_PIECE_BYTES, GZIP_PIECE_BYTES + 1, 5 * GZIP_PIECE_BYTES - 7, 9 << 20] {
            let text = text(bytes);
            for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
                let one = packed(&text, compression, 1);
                assert_eq!(one, packed(&text, compression, 3), "{compression} of {bytes} bytes");
                let mut decoder = Decoder::new(&one[..]).unwrap();
                assert_eq!(decoder.compression(), compression);
                let mut back = Vec::new();
                decoder.read_to_end(&mut back).unwrap();
                assert!(back == text, "{compression} of {bytes} bytes");
            }
        }
    }

    #[test]
    fn what_cannot_be_compressed_stays_about_as_large() {
        let mut state = 1_u64;
        let noise: Vec<u8> = (0..3 << 20)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        for compression in [Compression::Gzip, Compression::Zstd] {
            let bytes = packed(&noise, compression, 2);
            assert!(bytes.len() < noise.len() + noise.len() / 1000 + 100, "{compression}: {}", bytes.len());
        }
    }

    #[test]
    fn pieces_see_what_was_before_them() {
        let text = text(8 << 20);
        let mut whole = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL));
        whole.write_all(&text).unwrap();
        let whole = whole.finish().unwrap().len();
        let pieces = packed(&text, Compression::Gzip, 2).len();
        assert!(pieces < whole + whole / 200, "{pieces} bytes in pieces, {whole} in one");
    }

    #[test]
    fn gzip_reads_it() {
        let text = text(3_000_001);
        let mut gzip =
            Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = gzip.stdin.take().unwrap();
        let bytes = packed(&text, Compression::Gzip, 2);
        let writer = thread::spawn(move || input.write_all(&bytes));
        let output = gzip.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success() && output.stdout == text);
    }

    #[test]
    fn a_full_disk_ends_it() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let text = text(20 << 20);
        for room in [0, 5, 100_000] {
            let fill = |out: &mut dyn Write| out.write_all(&text);
            let result = pack(Full(room), Compression::Gzip, identity::<io::Error>, fill);
            assert_eq!(result.map(|_| ()).unwrap_err().kind(), io::ErrorKind::StorageFull);
        }
        let failed: Result<((), _), io::Error> =
            pack(Vec::new(), Compression::Zstd, identity, |_| Err(io::ErrorKind::NotFound.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
