//! The parts of an archive or layout by name and by digest.
//!
//! An archive is read once from front to end: each file goes into a numbered file of the ingest's scratch directory and is
//! digested on the way, so that names in the archive never become names on the host and streams need no seeking. Links
//! within the archive (old docker-archives have them) are followed in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use cais_layer::{Decoder, DigestReader, EntryKind, LayerError, Limits, TarReader};
use cais_oci::{Descriptor, Digest, Hasher};
use cais_store::LayerInput;

use crate::error::chain;
use crate::{Error, ErrorKind, Result};

/// Files in an archive; those of images have a few hundred.
const MEMBERS_MAX: usize = 100_000;
/// Manifests, indexes and configs are read into memory up to this size.
const DOCUMENT_MAX_BYTES: u64 = 8 << 20;
/// Links to links.
const LINKS_MAX: usize = 16;

/// Where the parts are.
pub(super) enum Source {
    /// An OCI layout directory.
    Directory(PathBuf),
    /// The members of an archive.
    Spool(Spool),
}

/// The members of an archive, spooled.
#[derive(Default)]
pub(super) struct Spool {
    members: BTreeMap<Vec<u8>, Member>,
    by_digest: BTreeMap<Digest, Part>,
}

enum Member {
    File(Digest),
    Link(Vec<u8>),
}

/// A file with its content's digest and length.
#[derive(Clone)]
struct Part {
    path: PathBuf,
    size_bytes: u64,
}

impl Source {
    /// Reads an archive, plain or compressed, to its end.
    pub(super) fn spool(input: &mut dyn Read, scratch: &Path) -> Result<Source> {
        let decoder = Decoder::new(input).map_err(no_archive)?;
        let mut reader = TarReader::new(decoder, &Limits::default());
        let mut spool = Spool::default();
        while let Some(entry) = reader.next_entry().map_err(no_archive)? {
            let Some(name) = normalise(&entry.path) else { continue };
            if spool.members.len() >= MEMBERS_MAX {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!("the archive has more than {MEMBERS_MAX} files"),
                ));
            }
            let member = match entry.kind {
                EntryKind::File => {
                    let path = scratch.join(format!("member-{}", spool.members.len()));
                    Member::File(spool.write(&path, entry.size_bytes, &mut reader)?)
                }
                // A hard link is named from the root of the archive, a symlink from its own directory.
                EntryKind::HardLink => match normalise(&entry.link) {
                    Some(target) => Member::Link(target),
                    None => continue,
                },
                EntryKind::Symlink => match resolve(&name, &entry.link) {
                    Some(target) => Member::Link(target),
                    None => continue,
                },
                _ => continue,
            };
            spool.members.insert(name, member);
        }
        reader.finish().map_err(no_archive)?;
        Ok(Source::Spool(spool))
    }

    /// A small document by its name in the archive; `None` when there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match self {
            Source::Directory(directory) => read_document(&directory.join(name)),
            Source::Spool(spool) => match spool.find(name)? {
                None => Ok(None),
                Some((_, part)) => read_document(&part.path),
            },
        }
    }

    /// The descriptor of a member of an archive: digest and length, media type as given.
    pub(super) fn describe(&self, name: &str, media_type: &str) -> Result<Option<Descriptor>> {
        match self {
            Source::Directory(_) => Ok(None),
            Source::Spool(spool) => {
                let found = spool.find(name)?;
                Ok(found.map(|(digest, part)| Descriptor::new(media_type, digest.clone(), part.size_bytes)))
            }
        }
    }

    /// A small document by its digest, verified.
    pub(super) fn document(&self, digest: &Digest) -> Result<Vec<u8>> {
        let bytes = match self {
            Source::Directory(directory) => read_document(&blob_path(directory, digest))?,
            Source::Spool(spool) => match spool.by_digest.get(digest) {
                Some(part) => read_document(&part.path)?,
                None => None,
            },
        };
        let bytes = bytes.ok_or_else(|| lacks(digest))?;
        let mut hasher = digest.hasher();
        hasher.update(&bytes);
        if hasher.finish() != *digest {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("blob {digest} is damaged: it has another digest"),
            ));
        }
        Ok(bytes)
    }

    /// The bytes of a layer.
    pub(super) fn layer(&self, blob: &Descriptor) -> Result<LayerInput<File>> {
        match self {
            Source::Directory(directory) => {
                let path = blob_path(directory, &blob.digest);
                let file = open_regular(&path)?.ok_or_else(|| lacks(&blob.digest))?;
                Ok(LayerInput::Stream(file))
            }
            Source::Spool(spool) => {
                let part = spool.by_digest.get(&blob.digest).ok_or_else(|| lacks(&blob.digest))?;
                Ok(LayerInput::Spooled(part.path.clone(), (blob.digest.clone(), part.size_bytes)))
            }
        }
    }
}

impl Spool {
    /// Writes the content of the current entry; the same content twice is kept once.
    fn write<R: Read>(&mut self, path: &Path, size_bytes: u64, reader: &mut TarReader<R>) -> Result<Digest> {
        check_space(path, size_bytes)?;
        let failed = |error: io::Error| match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<LayerError>())
        {
            Some(inner) => Error::new(ErrorKind::Invalid, format!("read the archive: {}", chain(inner))),
            None => {
                Error::caused(ErrorKind::System, format!("spool the archive to {}", path.display()), error)
            }
        };
        let file = File::create_new(path).map_err(failed)?;
        let content = DigestReader::with_copy(reader.content(), Hasher::new(), file);
        let digested = content.finish().map_err(failed)?;
        if self.by_digest.contains_key(&digested.digest) {
            std::fs::remove_file(path).map_err(failed)?;
        } else {
            let part = Part { path: path.to_owned(), size_bytes: digested.bytes };
            self.by_digest.insert(digested.digest.clone(), part);
        }
        Ok(digested.digest)
    }

    /// A member by name, links followed; `None` when there is none.
    fn find(&self, name: &str) -> Result<Option<(&Digest, &Part)>> {
        let mut name = normalise(name.as_bytes()).unwrap_or_default();
        for _ in 0..LINKS_MAX {
            match self.members.get(&name) {
                None => return Ok(None),
                Some(Member::File(digest)) => return Ok(self.by_digest.get_key_value(digest)),
                Some(Member::Link(target)) => name.clone_from(target),
            }
        }
        let message =
            format!("the archive's member {:?} leads through too many links", String::from_utf8_lossy(&name));
        Err(Error::new(ErrorKind::Invalid, message))
    }
}

/// A path within the archive without `.` and doubled slashes; `None` when it is empty or leaves the archive.
fn normalise(path: &[u8]) -> Option<Vec<u8>> {
    join(&[], path)
}

/// The target of a symlink at `name`.
fn resolve(name: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if target.starts_with(b"/") {
        return None;
    }
    let directory = name.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |slash| &name[..slash]);
    join(directory, target)
}

fn join(directory: &[u8], path: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> =
        directory.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join(&b'/'))
}

fn blob_path(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join("blobs").join(digest.algorithm()).join(digest.hex())
}

/// Opens a regular file; `None` when there is none. Never waits for the other end of a pipe.
fn open_regular(path: &Path) -> Result<Option<File>> {
    use rustix::fs::{Mode, OFlags};
    let failed =
        |error: io::Error| Error::caused(ErrorKind::Invalid, format!("open {}", path.display()), error);
    let file =
        match rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(Error::new(ErrorKind::Invalid, format!("{} is no regular file", path.display())));
    }
    Ok(Some(file))
}

fn read_document(path: &Path) -> Result<Option<Vec<u8>>> {
    let Some(file) = open_regular(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(DOCUMENT_MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::caused(ErrorKind::System, format!("read {}", path.display()), error))?;
    if bytes.len() as u64 > DOCUMENT_MAX_BYTES {
        let message = format!("a manifest or config of the input is larger than {DOCUMENT_MAX_BYTES} bytes");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(Some(bytes))
}

/// Refuses what cannot fit, before it fills the disk; archives can declare much more than they hold.
fn check_space(path: &Path, size_bytes: u64) -> Result<()> {
    let Some(directory) = path.parent() else { return Ok(()) };
    let free_bytes =
        rustix::fs::statvfs(directory).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    if size_bytes <= free_bytes {
        return Ok(());
    }
    let message = format!(
        "no space left: a file of the archive has {size_bytes} bytes, only {free_bytes} are free in the store"
    );
    Err(Error::new(ErrorKind::System, message))
}

fn lacks(digest: &Digest) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!("the input lacks blob {digest}, or holds something else under its name"),
    )
}

fn no_archive(error: LayerError) -> Error {
    let message = match &error {
        LayerError::Malformed { offset: 0, .. } => {
            "the input is no tar archive, plain or compressed by gzip or zstd".into()
        }
        error => format!("read the archive: {}", chain(error)),
    };
    Error::new(ErrorKind::Invalid, message).source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_within_the_archive() {
        let text = |path: Option<Vec<u8>>| path.map(|path| String::from_utf8(path).unwrap());
        assert_eq!(text(normalise(b"./a//b/")).as_deref(), Some("a/b"));
        assert_eq!(text(normalise(b"/a/../b")).as_deref(), Some("b"));
        assert_eq!(text(normalise(b"../a")), None);
        assert_eq!(text(normalise(b"./")), None);
        assert_eq!(text(resolve(b"x/layer.tar", b"../y/layer.tar")).as_deref(), Some("y/layer.tar"));
        assert_eq!(text(resolve(b"x/layer.tar", b"../../y")), None);
        assert_eq!(text(resolve(b"x", b"/etc/passwd")), None);
    }
}
