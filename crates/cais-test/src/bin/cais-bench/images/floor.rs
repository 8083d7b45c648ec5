//! What no engine with the same decompressor can beat: download, digest, decompress, digest, read the tar; no write.
//!
//! One thread per layer, two at a time, the largest first, as a pull has them. A wrong digest ends the benchmark.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cais_layer::{Decoder, DigestReader, Limits, TarReader};
use cais_oci::Hasher;
use rustix::time::{ClockId, clock_gettime};

use super::made::Blob;

const THREADS: usize = 2;

/// Does it once: wall and processor time.
///
/// # Panics
/// When what comes is not what was pushed.
pub fn run(address: &str, repository: &str, layers: &[&Blob]) -> (Duration, Duration) {
    let mut queue = layers.to_vec();
    // Taken from the end.
    queue.sort_by_key(|layer| layer.size_bytes);
    let queue = Mutex::new(queue);
    let (began, cpu) = (Instant::now(), processor_time());
    let work = || {
        while let Some(layer) = { queue.lock().expect("no panic").pop() } {
            read_layer(address, repository, layer).expect("the layer as it was pushed");
        }
    };
    std::thread::scope(|scope| {
        (0..THREADS).for_each(|_| drop(scope.spawn(work)));
    });
    (began.elapsed(), processor_time() - cpu)
}

/// Of this process, its threads included.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn read_layer(address: &str, repository: &str, layer: &Blob) -> io::Result<()> {
    let path = format!("/v2/{repository}/blobs/{}", layer.digest);
    let mut input = DigestReader::new(get(address, &path)?, Hasher::new());
    let decoder = Decoder::new(&mut input).map_err(io::Error::other)?;
    let mut reader = TarReader::new(decoder, &Limits::default());
    while reader.next_entry().map_err(io::Error::other)?.is_some() {
        while reader.next_chunk().map_err(io::Error::other)?.is_some() {}
    }
    let end = reader.finish().map_err(io::Error::other)?;
    assert_eq!(end.digest.to_string(), layer.diff_id);
    assert_eq!(input.finish()?.digest.to_string(), layer.digest);
    Ok(())
}

/// The body of a GET; this registry on the loopback sends lengths and never redirects.
fn get(address: &str, path: &str) -> io::Result<impl Read> {
    let socket = address.parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&socket, Duration::from_secs(5))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut input = BufReader::with_capacity(128 << 10, stream);
    let mut line = String::new();
    input.read_line(&mut line)?;
    if !line.contains(" 200 ") {
        return Err(io::Error::other(format!("{path}: {}", line.trim())));
    }
    let mut length = None;
    loop {
        line.clear();
        input.read_line(&mut line)?;
        let Some((key, value)) = line.trim().split_once(':') else { break };
        if key.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        }
    }
    Ok(input.take(length.ok_or_else(|| io::Error::other("no Content-Length"))?))
}
