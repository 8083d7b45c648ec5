//! A blob as a stream that survives cuts and never ends well with wrong content.
//!
//! Continues by `Range` after a broken or stalled connection, at the same source or the next one. At the end the
//! stream has exactly the descriptor's size and digest, or its last `read` fails; who stops reading early has
//! verified nothing.

use std::io::{self, Read};
use std::sync::Arc;

use cais_oci::{Descriptor, Digest, Hasher};
use ureq::BodyReader;

use crate::client::all_failed;
use crate::error::{Error, Failure};
use crate::http::{Response, read_failure};
use crate::registries::Source;
use crate::session::{Ask, Session};

/// How often one download may break soon after the last time, so that a server cannot keep us by single bytes.
const POOR_CUTS_MAX: u32 = 50;
/// A cut after fewer new bytes than this is a poor one.
const POOR_PROGRESS: u64 = 1 << 20;

/// The bytes of one blob, verified at the end.
///
/// A failed `read` gives an [`io::Error`] around an [`Error`]; every `read` after it fails too.
pub struct BlobReader {
    session: Arc<Session>,
    /// The current source and those after it.
    sources: std::vec::IntoIter<Source>,
    current: Option<Source>,
    failures: Vec<(Source, Failure)>,
    object: String,
    path: String,
    digest: Digest,
    size: u64,
    offset: u64,
    hasher: Option<Hasher>,
    body: Option<(BodyReader<'static>, String)>,
    /// Tries in a row that brought no byte.
    fruitless: u32,
    poor_cuts: u32,
    /// The offset at the last cut.
    cut_at: u64,
    /// Whether the current source has sent anything.
    has_worked: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Verified,
    Failed,
}

impl BlobReader {
    pub(crate) fn new(
        session: Arc<Session>,
        sources: Vec<Source>,
        object: String,
        descriptor: &Descriptor,
        offset: u64,
        seen: Hasher,
    ) -> BlobReader {
        let mut sources = sources.into_iter();
        BlobReader {
            session,
            current: sources.next(),
            sources,
            failures: Vec::new(),
            object,
            path: format!("blobs/{}", descriptor.digest),
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            offset,
            hasher: Some(seen),
            body: None,
            fruitless: 0,
            poor_cuts: 0,
            cut_at: offset,
            has_worked: false,
            state: State::Reading,
        }
    }

    /// How many bytes of the blob were delivered, those before the first `read` included.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Connects to the first source that answers; `note` hears of those that do not.
    pub(crate) fn open(&mut self, mut note: impl FnMut(&Source, &Failure)) -> Result<(), Error> {
        while self.body.is_none() && self.offset < self.size {
            let Some(source) = self.current.clone() else {
                self.state = State::Failed;
                return Err(all_failed(&self.object, std::mem::take(&mut self.failures)));
            };
            match self.connect(&source) {
                Ok(body) => self.body = Some(body),
                Err(failure) => {
                    note(&source, &failure);
                    self.broken(failure);
                }
            }
        }
        Ok(())
    }

    fn connect(&self, source: &Source) -> Result<(BodyReader<'static>, String), Failure> {
        let response = self.session.ask(source, &Ask { range_from: self.offset, ..Ask::get(&self.path) })?;
        let skip = self.check_start(&response)?;
        let (mut body, host) = response.into_reader();
        // The server does not do ranges: what we have already goes by once more.
        let skipped = io::copy(&mut (&mut body).take(skip), &mut io::sink())
            .map_err(|error| read_failure(&host, error, self.session.idle_timeout_ms))?;
        if skipped < skip {
            return Err(Failure::Cut { host, source: io::ErrorKind::UnexpectedEof.into() });
        }
        Ok((body, host))
    }

    /// Checks that the answer begins where we want it to; gives the number of bytes to skip.
    fn check_start(&self, response: &Response) -> Result<u64, Failure> {
        let host = response.host.clone();
        let wrong =
            |found: u64| Failure::Size { host: host.clone(), expected: self.size, found: found.to_string() };
        if response.status != 206 {
            return match response.content_length() {
                Some(length) if length != self.size => Err(wrong(length)),
                _ => Ok(self.offset),
            };
        }
        let text = response.header("content-range").unwrap_or("").to_owned();
        let bad = || Failure::Range {
            host: response.host.clone(),
            offset: self.offset,
            reason: format!("it sent the range {:?}", crate::words::clean(&text)),
        };
        let (range, total) =
            text.trim().strip_prefix("bytes ").and_then(|range| range.split_once('/')).ok_or_else(bad)?;
        let start: u64 =
            range.split('-').next().and_then(|start| start.trim().parse().ok()).ok_or_else(bad)?;
        match total.trim().parse::<u64>() {
            Ok(total) if total != self.size => Err(wrong(total)),
            _ if start != self.offset => Err(bad()),
            _ => Ok(0),
        }
    }

    /// Takes note of a failure: waits for another try with the same source, or goes on to the next one.
    fn broken(&mut self, failure: Failure) {
        self.body = None;
        self.fruitless += 1;
        if self.offset - self.cut_at < POOR_PROGRESS {
            self.poor_cuts += 1;
        }
        self.cut_at = self.offset;
        let pause = self
            .session
            .pause(&failure, self.fruitless, self.has_worked)
            .filter(|_| self.poor_cuts < POOR_CUTS_MAX);
        match pause {
            Some(pause) => std::thread::sleep(pause),
            None => {
                self.failures.extend(self.current.take().map(|source| (source, failure)));
                self.current = self.sources.next();
                self.fruitless = 0;
                self.has_worked = false;
            }
        }
    }

    /// The failure that no other try can mend.
    fn fatal(&mut self, failure: Failure) -> io::Error {
        self.state = State::Failed;
        self.body = None;
        io::Error::other(Error::Fetch { object: self.object.clone(), source: Box::new(failure) })
    }

    /// All bytes are here: looks for surplus ones, and at the digest.
    fn finish(&mut self) -> io::Result<usize> {
        let host = match self.body.take() {
            Some((mut body, host)) => {
                // Reading to the end also gives the connection back for the next blob.
                if matches!(body.read(&mut [0]), Ok(1..)) {
                    return Err(self.surplus(host));
                }
                host
            }
            None => self.current.as_ref().map(|source| source.registry.clone()).unwrap_or_default(),
        };
        let found = self.hasher.take().unwrap_or_default().finish();
        if found != self.digest {
            let expected = self.digest.clone();
            return Err(self.fatal(Failure::Digest { host, expected, found }));
        }
        self.state = State::Verified;
        Ok(0)
    }

    fn surplus(&mut self, host: String) -> io::Error {
        let expected = self.size;
        self.fatal(Failure::Size { host, expected, found: "more".to_owned() })
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.state {
                State::Reading => {}
                State::Verified => return Ok(0),
                State::Failed => return Err(io::Error::other("the download failed before")),
            }
            if self.offset >= self.size {
                return self.finish();
            }
            self.open(|_, _| {}).map_err(io::Error::other)?;
            let Some((body, host)) = &mut self.body else { continue };
            match body.read(buffer) {
                Ok(0) => {
                    let source = io::Error::from(io::ErrorKind::UnexpectedEof);
                    let failure = Failure::Cut { host: host.clone(), source };
                    self.broken(failure);
                }
                Ok(length) => {
                    if length as u64 > self.size - self.offset {
                        let host = host.clone();
                        return Err(self.surplus(host));
                    }
                    if let Some(hasher) = &mut self.hasher {
                        hasher.update(&buffer[..length]);
                    }
                    self.offset += length as u64;
                    self.fruitless = 0;
                    self.has_worked = true;
                    return Ok(length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let failure = read_failure(host, error, self.session.idle_timeout_ms);
                    self.broken(failure);
                }
            }
        }
    }
}

impl std::fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobReader")
            .field("object", &self.object)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}
