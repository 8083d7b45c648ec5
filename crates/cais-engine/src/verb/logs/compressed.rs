//! Full files of a log that were compressed: gzip, with what tells the file from others in the comment of its head.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Seek};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};

/// Compresses what is behind one descriptor into another.
///
/// # Errors
/// When the one cannot be read or the other not be written.
pub fn compress(mut source: &File, target: &File) -> io::Result<()> {
    let identity = Identity::of(&source.metadata()?);
    let mut writer = GzBuilder::new().comment(identity.text()).write(target, Compression::fast());
    io::copy(&mut source, &mut writer)?;
    writer.finish().map(drop)
}

/// Tells a full file from all others, before and after it was compressed; its inode alone may be used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) inode: u64,
    length: u64,
    changed_ns: i64,
}

impl Identity {
    pub(super) fn of(file: &Metadata) -> Identity {
        let changed_ns = file.mtime().wrapping_mul(1_000_000_000).wrapping_add(file.mtime_nsec());
        Identity { inode: file.ino(), length: file.len(), changed_ns }
    }

    fn text(self) -> String {
        format!("{} {} {}", self.inode, self.length, self.changed_ns)
    }

    fn parse(text: &str) -> Option<Identity> {
        let mut words = text.split(' ');
        Some(Identity {
            inode: words.next()?.parse().ok()?,
            length: words.next()?.parse().ok()?,
            changed_ns: words.next()?.parse().ok()?,
        })
    }
}

/// What the file was before it was compressed; all zero when it does not say so.
pub(super) fn identity(mut file: &File) -> io::Result<Identity> {
    file.rewind()?;
    let decoder = GzDecoder::new(io::BufReader::with_capacity(512, file));
    let comment = decoder.header().and_then(|head| head.comment());
    Ok(comment.and_then(|text| Identity::parse(std::str::from_utf8(text).ok()?)).unwrap_or_default())
}

/// The content in a file without a name in a directory. What is damaged is left out.
pub(super) fn plain(mut file: &File, directory: &Path) -> io::Result<File> {
    file.rewind()?;
    let nameless = rustix::fs::OFlags::TMPFILE.bits().cast_signed();
    let mut plain =
        OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(nameless).open(directory)?;
    match io::copy(&mut GzDecoder::new(io::BufReader::new(file)), &mut plain) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            return Err(error);
        }
        _ => {}
    }
    plain.rewind()?;
    Ok(plain)
}
