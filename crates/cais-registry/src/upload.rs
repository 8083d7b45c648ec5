//! Push: blobs and manifests into one repository of one registry (distribution specification 1.1, section "Push").
//!
//! A blob goes there only when the registry has it neither in the repository nor in another one that it can be mounted
//! from. It goes in one request; after a cut it continues where the registry says it stands, and where a body is too large
//! for something in between, it goes in chunks. What an upload leaves at the registry when it is given up is cancelled.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use cais_oci::{Descriptor, Digest, Reference, media_type};
use ureq::http::{Method, Uri};

use crate::client::Client;
use crate::error::{Error, Failure};
use crate::http::{Content, Outgoing, Response};
use crate::registries::Source;
use crate::session::{Ask, Purpose, Session, Target};
use crate::words::clean;

/// Chunks for servers in between that refuse larger bodies.
const CHUNK_BYTES: u64 = 16 << 20;
/// A registry that wants larger chunks than this in one request wants too much.
const CHUNK_MAX_BYTES: u64 = 1 << 30;
/// A cut after fewer new bytes than this counts as an attempt that brought nothing.
const POOR_PROGRESS_BYTES: u64 = 1 << 20;

/// A repository that is written to.
///
/// Calls block, and may come from many threads at once.
#[derive(Debug, Clone)]
pub struct Destination {
    session: Arc<Session>,
    source: Source,
    name: String,
    also_read: Vec<String>,
}

/// How a blob came to be at the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// The repository had it.
    Present,
    /// The registry had it in this other repository.
    Mounted(String),
    /// It was sent.
    Sent,
}

impl Client {
    /// Where `reference` is pushed to. Blobs may be mounted from the repositories `also_read` of the same registry.
    ///
    /// # Errors
    /// [`Error::Blocked`]; nothing is asked yet.
    pub fn destination(&self, reference: &Reference, also_read: &[String]) -> Result<Destination, Error> {
        Ok(Destination {
            session: self.session.clone(),
            source: self.registries.destination(reference)?,
            name: reference.name(),
            also_read: also_read.to_vec(),
        })
    }
}

/// An upload that the registry has begun.
struct Begun {
    address: Uri,
    /// The smallest chunk that the registry takes, but for the last one.
    chunk_min_bytes: u64,
}

/// How the content of a blob goes out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Whole,
    Chunks,
}

impl Destination {
    /// Whether the repository has a blob.
    ///
    /// # Errors
    /// [`Error::Push`].
    pub fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        self.exists(&format!("blobs/{digest}"), &[])
            .map_err(|failure| self.failed(&format!("blob {digest}"), failure))
    }

    /// Whether the repository has a manifest.
    ///
    /// # Errors
    /// [`Error::Push`].
    pub fn has_manifest(&self, digest: &Digest) -> Result<bool, Error> {
        let path = format!("manifests/{digest}");
        self.exists(&path, &media_type::MANIFESTS)
            .map_err(|failure| self.failed(&format!("manifest {digest}"), failure))
    }

    /// Brings a blob to the repository, if it is not there; `mount` are repositories of the registry that may have it,
    /// out of those that the destination was made with.
    ///
    /// `open` opens the content at a byte; `sent` hears how many bytes the registry was sent, which falls when some of
    /// them were lost.
    ///
    /// # Errors
    /// [`Error::Push`], also when the content cannot be read or has not the digest.
    pub fn put_blob(
        &self,
        blob: &Descriptor,
        mount: &[String],
        open: &dyn Fn(u64) -> io::Result<Box<dyn Read>>,
        sent: &dyn Fn(u64),
    ) -> Result<Placed, Error> {
        let failed = |failure| self.failed(&format!("blob {}", blob.digest), failure);
        if self.exists(&format!("blobs/{}", blob.digest), &[]).map_err(failed)? {
            return Ok(Placed::Present);
        }
        for repository in mount {
            let begun = self.session.with_retries(|| self.begin(Some((blob, repository)))).map_err(failed)?;
            match begun {
                None => return Ok(Placed::Mounted(repository.clone())),
                // It has begun an upload instead, which can be used if this was the last one to mount from.
                Some(begun) if Some(repository) == mount.last() => {
                    return self.transfer(blob, Some(begun), open, sent).map_err(failed);
                }
                Some(begun) => self.cancel(&begun.address),
            }
        }
        self.transfer(blob, None, open, sent).map_err(failed)
    }

    /// Puts a manifest or an index there, under a tag, or under its digest if `tag` is `None`.
    ///
    /// # Errors
    /// [`Error::Push`], also when the registry has taken it under another digest.
    pub fn put_manifest(&self, tag: Option<&str>, bytes: &[u8], media_type: &str) -> Result<Digest, Error> {
        let digest = Digest::sha256(bytes);
        let path = format!("manifests/{}", tag.map_or_else(|| digest.to_string(), str::to_owned));
        let ask = Ask {
            content: Content::Document { bytes, media_type },
            small: true,
            ..self.request(Method::PUT, Target::Path(&path), &[200, 201, 202])
        };
        let put = self.session.with_retries(|| {
            let response = self.session.ask(&self.source, &ask)?;
            self.check_digest(&response, &digest)
        });
        let object = tag.map_or_else(|| format!("manifest {digest}"), |tag| format!("tag {tag}"));
        put.map_err(|failure| self.failed(&object, failure))?;
        Ok(digest)
    }

    fn failed(&self, object: &str, failure: Failure) -> Error {
        Error::Push { object: format!("{object} to {}", self.name), source: Box::new(failure) }
    }

    fn request<'a>(&'a self, method: Method, target: Target<'a>, success: &'a [u16]) -> Ask<'a> {
        let purpose = Purpose::Push { also_read: &self.also_read };
        Ask { method, target, purpose, success, ..Ask::get("") }
    }

    fn exists(&self, path: &str, accept: &[&str]) -> Result<bool, Failure> {
        let ask = Ask { accept, small: true, ..self.request(Method::HEAD, Target::Path(path), &[200]) };
        match self.session.with_retries(|| self.session.ask(&self.source, &ask)) {
            Ok(_) => Ok(true),
            Err(Failure::NotFound { .. }) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Begins an upload; `None` when the blob was mounted from the other repository instead.
    fn begin(&self, mount: Option<(&Descriptor, &String)>) -> Result<Option<Begun>, Failure> {
        let path = match mount {
            Some((blob, from)) => {
                let digest = blob.digest.to_string();
                format!(
                    "blobs/uploads/?{}",
                    crate::http::query(&[("mount", digest.as_str()), ("from", from.as_str())])
                )
            }
            None => "blobs/uploads/".to_owned(),
        };
        let success: &[u16] = if mount.is_some() { &[201, 202] } else { &[202] };
        let ask = Ask { small: true, ..self.request(Method::POST, Target::Path(&path), success) };
        let response = self.session.ask(&self.source, &ask)?;
        if response.status == 201 {
            return Ok(None);
        }
        let chunk_min_bytes =
            response.header("oci-chunk-min-length").and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Ok(Some(Begun { address: self.next_address(&response)?, chunk_min_bytes }))
    }

    fn next_address(&self, response: &Response) -> Result<Uri, Failure> {
        let location = response.header("location").ok_or_else(|| Failure::Upload {
            host: response.host.clone(),
            reason: "it did not say where to go on".to_owned(),
        })?;
        self.session.follow(&self.source, &response.url, location)
    }

    /// Sends a blob, with as many attempts as bring it forward.
    fn transfer(
        &self,
        blob: &Descriptor,
        mut begun: Option<Begun>,
        open: &dyn Fn(u64) -> io::Result<Box<dyn Read>>,
        sent: &dyn Fn(u64),
    ) -> Result<Placed, Failure> {
        let (mut attempts, mut offset, mut manner) = (0, 0, Manner::Whole);
        loop {
            let upload = match begun.take() {
                Some(begun) => begun,
                None => {
                    offset = 0;
                    match self.session.with_retries(|| self.begin(None))? {
                        Some(begun) => begun,
                        None => return Ok(Placed::Present),
                    }
                }
            };
            let mut sending =
                Sending { destination: self, blob, open, sent, address: upload.address, offset };
            let failure = match sending.run(manner, upload.chunk_min_bytes) {
                Ok(()) => return Ok(Placed::Sent),
                Err(failure) => failure,
            };
            let address = sending.address;
            let has_lost = matches!(failure, Failure::NotFound { .. } | Failure::Status { status: 416, .. });
            let is_too_large = matches!(failure, Failure::Status { status: 413, .. });
            attempts += 1;
            // What a registry has lost, or found too large, may be begun anew.
            let again =
                (has_lost && attempts < self.session.attempts) || (is_too_large && manner == Manner::Whole);
            let pause = match self.session.pause(&failure, attempts, true) {
                _ if again => Duration::ZERO,
                Some(pause) => pause,
                None => {
                    self.cancel(&address);
                    return Err(failure);
                }
            };
            std::thread::sleep(pause);
            if again {
                self.cancel(&address);
                manner = if is_too_large { Manner::Chunks } else { manner };
                continue;
            }
            // The end of the answer may have been lost, not that of the blob.
            if self.exists(&format!("blobs/{}", blob.digest), &[])? {
                return Ok(Placed::Present);
            }
            match self.standing(&address).filter(|(_, reached)| (1..=blob.size).contains(reached)) {
                Some((address, reached)) => {
                    if reached >= offset + POOR_PROGRESS_BYTES {
                        attempts = 0;
                    }
                    offset = reached;
                    begun = Some(Begun { address, chunk_min_bytes: upload.chunk_min_bytes });
                }
                // Nothing of it has stayed: smaller pieces may.
                None => {
                    self.cancel(&address);
                    manner = Manner::Chunks;
                }
            }
        }
    }

    /// Where an upload goes on and how many bytes have arrived; `None` when the registry does not know it any more.
    fn standing(&self, address: &Uri) -> Option<(Uri, u64)> {
        let ask =
            Ask { small: true, ..self.request(Method::GET, Target::Address(address), &[200, 202, 204]) };
        let response = self.session.ask(&self.source, &ask).ok()?;
        let next = self.next_address(&response).unwrap_or_else(|_| address.clone());
        Some((next, arrived(&response)?))
    }

    /// Lets the registry forget an upload; what it says to that is of no use any more.
    fn cancel(&self, address: &Uri) {
        let ask = Ask { small: true, ..self.request(Method::DELETE, Target::Address(address), &[204]) };
        let _ = self.session.ask(&self.source, &ask);
    }

    fn check_digest(&self, response: &Response, expected: &Digest) -> Result<(), Failure> {
        let stated = response.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        match stated {
            // Another algorithm is another name for the same.
            Some(found) if found.algorithm() == expected.algorithm() && found != *expected => {
                Err(Failure::Digest { host: response.host.clone(), expected: expected.clone(), found })
            }
            _ => Ok(()),
        }
    }
}

/// One attempt to send what is missing of a blob.
struct Sending<'a> {
    destination: &'a Destination,
    blob: &'a Descriptor,
    open: &'a dyn Fn(u64) -> io::Result<Box<dyn Read>>,
    sent: &'a dyn Fn(u64),
    address: Uri,
    offset: u64,
}

impl Sending<'_> {
    fn run(&mut self, manner: Manner, chunk_min_bytes: u64) -> Result<(), Failure> {
        if self.offset == 0 && manner == Manner::Whole {
            return self.close(self.blob.size);
        }
        let chunk = match manner {
            Manner::Whole => self.blob.size,
            Manner::Chunks if chunk_min_bytes > CHUNK_MAX_BYTES => {
                return Err(Failure::Upload {
                    host: self.destination.source.registry.clone(),
                    reason: format!("it wants chunks of at least {chunk_min_bytes} bytes"),
                });
            }
            Manner::Chunks => CHUNK_BYTES.max(chunk_min_bytes),
        };
        while self.offset < self.blob.size {
            self.patch(chunk.min(self.blob.size - self.offset))?;
        }
        self.close(0)
    }

    /// Sends the next `length` bytes.
    fn patch(&mut self, length: u64) -> Result<(), Failure> {
        let range = Some((self.offset, self.offset + length - 1));
        let response = self.put(Method::PATCH, &self.address, length, range, &[202, 204])?;
        self.address = self.destination.next_address(&response)?;
        match arrived(&response) {
            Some(reached) if reached != self.offset + length => Err(Failure::Upload {
                host: response.host.clone(),
                reason: format!("it has {reached} bytes of the {} that it took", self.offset + length),
            }),
            _ => {
                self.offset += length;
                Ok(())
            }
        }
    }

    /// Ends the upload, with the last `length` bytes.
    fn close(&self, length: u64) -> Result<(), Failure> {
        let separator = if self.address.query().is_some() { '&' } else { '?' };
        let digest = self.blob.digest.to_string();
        let text = format!("{}{separator}{}", self.address, crate::http::query(&[("digest", &digest)]));
        let address: Uri = text.parse().map_err(|_| Failure::Upload {
            host: self.destination.source.registry.clone(),
            reason: format!("{:?} is no address to go on at", clean(&text)),
        })?;
        let response = self.put(Method::PUT, &address, length, None, &[201, 202, 204])?;
        self.destination.check_digest(&response, &self.blob.digest)
    }

    fn put(
        &self,
        method: Method,
        address: &Uri,
        length: u64,
        range: Option<(u64, u64)>,
        success: &[u16],
    ) -> Result<Response, Failure> {
        let open = || {
            let reader = (self.open)(self.offset)?;
            (self.sent)(self.offset);
            let counted = Counted { reader, done: self.offset, left: length, sent: self.sent };
            Ok(Box::new(counted) as Box<dyn Read + '_>)
        };
        let outgoing = Outgoing { open: &open, length, range };
        let content = if length == 0 { Content::Nothing } else { Content::Stream(&outgoing) };
        let destination = self.destination;
        let ask = Ask { content, ..destination.request(method, Target::Address(address), success) };
        destination.session.ask(&destination.source, &ask)
    }
}

/// Content on its way, which must not end before `left` bytes are gone.
struct Counted<'a> {
    reader: Box<dyn Read>,
    done: u64,
    left: u64,
    sent: &'a dyn Fn(u64),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if count == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than it was"));
        }
        self.left = self.left.saturating_sub(count as u64);
        self.done += count as u64;
        (self.sent)(self.done);
        Ok(count)
    }
}

/// `Range: 0-LAST` as a number of bytes. Some registries say `0-0` of nothing; one byte alone is not worth a difference.
fn arrived(response: &Response) -> Option<u64> {
    let (_, last) = response.header("range")?.trim().rsplit_once('-')?;
    let last: u64 = last.parse().ok()?;
    Some(if last == 0 { 0 } else { last + 1 })
}
