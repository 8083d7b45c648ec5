//! A streaming tar reader: v7, ustar, GNU and PAX, with long names, sparse files and extended attributes.
//!
//! Where archivers disagree it reads as Go's archive/tar does, since that is what images were made for: sizes of
//! entries without content are ignored, the archive may end without its end marker, everything behind the marker
//! is digested but not read. Nothing here touches the file system or judges paths.

use std::io::{self, Read};

use cais_oci::Digest;

use crate::error::{EntryName, Fault, LayerError};
use crate::limits::{Limit, Limits};

mod entry;
mod header;
mod pax;
mod sparse;
mod stream;
mod write;

pub use entry::{Entry, EntryKind, Timestamp, Xattr};
use header::{BLOCK_BYTES, Header};
use sparse::{MAX_SEGMENTS, MapText, Segment};
use stream::{MAX_WANTED_BYTES, Stream};
pub use write::{TarWriter, archived_bytes};

const MAX_XATTR_NAME_BYTES: usize = 255;

/// A piece of a file's content.
#[derive(Debug)]
pub struct Chunk<'a> {
    /// Where in the file it belongs; what lies between two pieces, and behind the last one, is a hole.
    pub offset: u64,
    /// The content, at most 256 KiB.
    pub bytes: &'a [u8],
}

/// What the whole stream amounted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEnd {
    /// The digest of all bytes of the stream: a layer's diff_id.
    pub digest: Digest,
    /// How many they were.
    pub tar_bytes: u64,
    /// The sum of all file sizes.
    pub content_bytes: u64,
    /// The entries read.
    pub entries: u64,
}

/// Reads the archive `R`, entry by entry.
///
/// Content is read after [`next_entry`](TarReader::next_entry), by [`next_chunk`](TarReader::next_chunk) or
/// [`content`](TarReader::content); what is not read is skipped.
pub struct TarReader<R> {
    stream: Stream<R>,
    limits: Limits,
    global: pax::Records,
    entries: u64,
    content_bytes: u64,
    at_end: bool,
    content: Stored,
}

/// The content of the current entry as it lies in the archive.
#[derive(Default)]
struct Stored {
    path: Vec<u8>,
    size_bytes: u64,
    map: Vec<Segment>,
    /// The current piece, and how much of it was read.
    index: usize,
    done_bytes: u64,
    /// Lent out by the last call and to be consumed by the next one.
    lent_bytes: usize,
    /// Not read yet, of all pieces.
    left_bytes: u64,
    /// Up to the next block, behind all pieces.
    padding_bytes: u64,
    /// How far [`Content`] has come in the file, holes included.
    position: u64,
}

/// What the headers before an entry's own header said.
#[derive(Default)]
struct Pending {
    records: Option<pax::Records>,
    gnu_path: Option<Vec<u8>>,
    gnu_link: Option<Vec<u8>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.records.is_none() && self.gnu_path.is_none() && self.gnu_link.is_none()
    }
}

impl<R: Read> TarReader<R> {
    /// Reads from `input`, which is not compressed any more (see [`Decoder`](crate::Decoder)). Keeps a buffer of 256 KiB.
    pub fn new(input: R, limits: &Limits) -> TarReader<R> {
        TarReader {
            stream: Stream::new(input, limits.max_bytes),
            limits: limits.clone(),
            global: pax::Records::default(),
            entries: 0,
            content_bytes: 0,
            at_end: false,
            content: Stored::default(),
        }
    }

    /// Steps to the next entry; `None` at the end of the archive. After an error it must not be called again.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, LayerError> {
        self.skip_content()?;
        let mut pending = Pending::default();
        loop {
            let offset = self.stream.offset();
            let Some(header) = self.next_header(&pending)? else {
                return Ok(None);
            };
            let fault = |fault| LayerError::Malformed { offset, fault };
            let size = header.size().map_err(fault)?;
            match header.type_flag() {
                b'x' | b'X' => {
                    let payload = self.read_payload(size)?;
                    let mut records = pax::Records::default();
                    records.read(&payload).map_err(fault)?;
                    pending.records = Some(records);
                }
                b'g' => {
                    let payload = self.read_payload(size)?;
                    self.global.read(&payload).map_err(fault)?;
                    self.check_global()?;
                }
                b'L' => pending.gnu_path = Some(self.read_long_name(size)?),
                b'K' => pending.gnu_link = Some(self.read_long_name(size)?),
                _ => return self.read_entry(&header, pending, offset).map(Some),
            }
        }
    }

    /// The next piece of the current entry's content; `None` at its end.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk<'_>>, LayerError> {
        let Some((offset, left)) = self.settle() else {
            return Ok(None);
        };
        let available = self.fill_content(left.min(MAX_WANTED_BYTES as u64) as usize)?;
        let len = left.min(available as u64) as usize;
        self.content.lent_bytes = len;
        let bytes = self.stream.peek(len);
        Ok(Some(Chunk { offset, bytes }))
    }

    /// The current entry's content as a stream of its size, holes read as zeros. Read either this way or by chunks.
    pub fn content(&mut self) -> Content<'_, R> {
        Content { reader: self }
    }

    /// Reads the stream to its end, whatever comes there, and returns its digest and sums.
    pub fn finish(self) -> Result<StreamEnd, LayerError> {
        let (digest, tar_bytes) = self.stream.finish()?;
        Ok(StreamEnd { digest, tar_bytes, content_bytes: self.content_bytes, entries: self.entries })
    }

    /// The next header block; `None` at the end of the archive.
    fn next_header(&mut self, pending: &Pending) -> Result<Option<Header>, LayerError> {
        if self.at_end {
            return Ok(None);
        }
        let offset = self.stream.offset();
        let fault = |fault| LayerError::Malformed { offset, fault };
        let Some(header) = self.read_block()? else {
            if !pending.is_empty() {
                return Err(LayerError::Truncated { path: None });
            }
            self.at_end = true;
            return Ok(None);
        };
        if header.is_zero() {
            if self.read_block()?.is_some_and(|second| !second.is_zero()) {
                return Err(fault(Fault::LoneZeroBlock));
            }
            self.at_end = true;
            return Ok(None);
        }
        header.check().map_err(fault)?;
        Ok(Some(header))
    }

    /// The next block; `None` if the stream ends here, an error if it ends within the block.
    fn read_block(&mut self) -> Result<Option<Header>, LayerError> {
        match self.stream.fill(BLOCK_BYTES)? {
            0 => Ok(None),
            1..BLOCK_BYTES => Err(LayerError::Truncated { path: None }),
            _ => {
                let mut block = [0; BLOCK_BYTES];
                block.copy_from_slice(self.stream.peek(BLOCK_BYTES));
                self.stream.consume(BLOCK_BYTES);
                Ok(Some(Header(block)))
            }
        }
    }

    /// The payload of an extended header.
    fn read_payload(&mut self, size: u64) -> Result<Vec<u8>, LayerError> {
        self.within(Limit::HeaderBytes, size, self.limits.max_header_bytes, &[])?;
        let mut payload = Vec::new();
        while (payload.len() as u64) < size {
            let left = size - payload.len() as u64;
            let available = self.stream.fill(1)? as u64;
            if available == 0 {
                return Err(LayerError::Truncated { path: None });
            }
            let len = left.min(available) as usize;
            payload.extend_from_slice(self.stream.peek(len));
            self.stream.consume(len);
        }
        if !self.stream.skip(padding(size))? {
            return Err(LayerError::Truncated { path: None });
        }
        Ok(payload)
    }

    fn read_long_name(&mut self, size: u64) -> Result<Vec<u8>, LayerError> {
        let mut name = self.read_payload(size)?;
        if let Some(len) = name.iter().position(|&byte| byte == 0) {
            name.truncate(len);
        }
        Ok(name)
    }

    /// Attributes of global headers add up, so their sum is bounded like one header.
    fn check_global(&self) -> Result<(), LayerError> {
        let bytes = |xattr: &Xattr| (xattr.name.len() + xattr.value.len()) as u64;
        let sum = self.global.xattrs.iter().map(bytes).sum();
        self.within(Limit::HeaderBytes, sum, self.limits.max_header_bytes, &[])
    }

    /// Makes an entry of its own header and of what came before.
    fn read_entry(&mut self, header: &Header, pending: Pending, offset: u64) -> Result<Entry, LayerError> {
        let fault = |fault| LayerError::Malformed { offset, fault };
        let mut records = pending.records.unwrap_or_default().or(&self.global);
        let mut path = records.path.take().unwrap_or_else(|| header.path());
        if let Some(gnu_path) = pending.gnu_path {
            path = gnu_path;
        }
        let kind = EntryKind::from_flag(header.type_flag(), &path)?;
        let mut link = Vec::new();
        if matches!(kind, EntryKind::HardLink | EntryKind::Symlink) {
            link = records.link.take().unwrap_or_else(|| header.link());
            link = pending.gnu_link.unwrap_or(link);
        }
        let mut stored_bytes = 0;
        if kind == EntryKind::File {
            stored_bytes = match records.size {
                Some(size) => size,
                None => header.size().map_err(fault)?,
            };
        }
        let mut entry = Entry {
            kind,
            path,
            link,
            size_bytes: stored_bytes,
            mode: header.mode().map_err(fault)?,
            uid: records.uid.map_or_else(|| header.uid(), Ok).map_err(fault)?,
            gid: records.gid.map_or_else(|| header.gid(), Ok).map_err(fault)?,
            mtime: records.mtime.map_or_else(|| header.mtime().map(Timestamp::from), Ok).map_err(fault)?,
            device: (0, 0),
            xattrs: records.xattrs,
        };
        if matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
            entry.device = header.device().map_err(fault)?;
        }
        let mut map = None;
        if header.type_flag() == b'S' {
            map = Some(self.read_gnu_map(header, &mut entry, offset)?);
        } else if kind == EntryKind::File {
            map = self.read_pax_map(records.sparse, &mut entry, &mut stored_bytes, offset)?;
        }
        if let Some(map) = &map {
            sparse::check(map, entry.size_bytes, stored_bytes).map_err(fault)?;
        }
        self.check_entry(&entry, stored_bytes, offset)?;
        self.open_content(&entry, stored_bytes, map);
        Ok(entry)
    }

    /// The map of an old GNU sparse file, most of it in blocks of its own.
    fn read_gnu_map(
        &mut self,
        header: &Header,
        entry: &mut Entry,
        offset: u64,
    ) -> Result<Vec<Segment>, LayerError> {
        const FIELDS_BYTES: usize = 504;
        let fault = |fault| LayerError::Malformed { offset, fault };
        let (size, mut map, mut more) = header.gnu_sparse().map_err(fault)?;
        while more {
            let Some(block) = self.read_block()? else {
                return Err(LayerError::Truncated { path: None });
            };
            sparse::read_gnu_block(&block.0[..FIELDS_BYTES], &mut map).map_err(fault)?;
            more = block.0[FIELDS_BYTES] != 0;
            let len = map.len() as u64;
            self.within(Limit::SparsePieces, len, MAX_SEGMENTS as u64, &entry.path)?;
        }
        entry.size_bytes = size;
        Ok(map)
    }

    /// The map of a PAX sparse file, if it is one. Sets the real name and size; a map that precedes the content
    /// (format 1.0) is taken off `stored_bytes`.
    fn read_pax_map(
        &mut self,
        sparse: pax::Sparse,
        entry: &mut Entry,
        stored_bytes: &mut u64,
        offset: u64,
    ) -> Result<Option<Vec<Segment>>, LayerError> {
        let fault = |fault| LayerError::Malformed { offset, fault };
        let map_precedes = match sparse.version {
            (Some(1), Some(0)) => true,
            (Some(0), Some(0 | 1)) => false,
            (None, None) if sparse.map.is_some() || sparse.announced.is_some() => false,
            (None, None) => return Ok(None),
            _ => return Err(fault(Fault::SparseVersion)),
        };
        if let Some(name) = sparse.name {
            entry.path = name;
        }
        entry.size_bytes = sparse.real_size.ok_or(fault(Fault::SparseMap))?;
        if !map_precedes {
            let map = sparse.map.unwrap_or_default();
            self.within(Limit::SparsePieces, map.len() as u64, MAX_SEGMENTS as u64, &entry.path)?;
            return Ok(Some(map));
        }
        let mut text = MapText::default();
        let mut text_bytes = 0;
        loop {
            let Some(block) = self.read_block()? else {
                return Err(LayerError::Truncated { path: Some(EntryName::new(&entry.path)) });
            };
            text_bytes += BLOCK_BYTES as u64;
            let complete = text.push_block(&block.0).map_err(fault)?;
            self.within(Limit::SparsePieces, text.announced(), MAX_SEGMENTS as u64, &entry.path)?;
            self.within(Limit::HeaderBytes, text_bytes, self.limits.max_header_bytes, &entry.path)?;
            if complete {
                break;
            }
        }
        *stored_bytes = stored_bytes.checked_sub(text_bytes).ok_or(fault(Fault::SparseMap))?;
        Ok(Some(text.into_map()))
    }

    fn check_entry(&mut self, entry: &Entry, stored_bytes: u64, offset: u64) -> Result<(), LayerError> {
        let fault = |fault| Err(LayerError::Malformed { offset, fault });
        let is_link = matches!(entry.kind, EntryKind::HardLink | EntryKind::Symlink);
        if entry.path.is_empty() || (is_link && entry.link.is_empty()) {
            return fault(Fault::EmptyPath);
        }
        let path = &entry.path;
        for name in [path, &entry.link] {
            self.within(Limit::PathBytes, name.len() as u64, self.limits.max_path_bytes, path)?;
        }
        for xattr in &entry.xattrs {
            let value_bytes = xattr.value.len() as u64;
            self.within(Limit::XattrBytes, value_bytes, self.limits.max_xattr_bytes, path)?;
            let name_bytes = xattr.name.len() as u64;
            self.within(Limit::XattrBytes, name_bytes, MAX_XATTR_NAME_BYTES as u64, path)?;
        }
        self.entries += 1;
        self.within(Limit::Entries, self.entries, self.limits.max_entries, path)?;
        let size_bytes = entry.size_bytes;
        self.within(Limit::FileBytes, size_bytes, self.limits.max_file_bytes, path)?;
        // What would be too much need not be read first.
        let end = self.stream.offset().saturating_add(stored_bytes);
        self.within(Limit::Bytes, end, self.limits.max_bytes, path)?;
        self.content_bytes = self.content_bytes.saturating_add(size_bytes);
        Ok(())
    }

    fn within(&self, limit: Limit, value: u64, maximum: u64, path: &[u8]) -> Result<(), LayerError> {
        if value <= maximum {
            return Ok(());
        }
        Err(LayerError::Limit { limit, maximum, path: (!path.is_empty()).then(|| EntryName::new(path)) })
    }

    fn open_content(&mut self, entry: &Entry, stored_bytes: u64, map: Option<Vec<Segment>>) {
        let whole = || vec![Segment { offset: 0, len: stored_bytes }];
        self.content = Stored {
            path: entry.path.clone(),
            size_bytes: entry.size_bytes,
            map: map.unwrap_or_else(whole),
            left_bytes: stored_bytes,
            padding_bytes: padding(stored_bytes),
            ..Stored::default()
        };
    }

    /// Consumes what was lent. Returns where the next stored byte belongs in the file and how many follow it
    /// there; `None` at the end of the content.
    fn settle(&mut self) -> Option<(u64, u64)> {
        let content = &mut self.content;
        self.stream.consume(content.lent_bytes);
        content.done_bytes += content.lent_bytes as u64;
        content.left_bytes -= content.lent_bytes as u64;
        content.lent_bytes = 0;
        while let Some(segment) = content.map.get(content.index) {
            if content.done_bytes < segment.len {
                let offset = segment.offset + content.done_bytes;
                return Some((offset, segment.len - content.done_bytes));
            }
            content.index += 1;
            content.done_bytes = 0;
        }
        None
    }

    fn fill_content(&mut self, wanted: usize) -> Result<usize, LayerError> {
        match self.stream.fill(wanted)? {
            0 => Err(self.truncated_content()),
            available => Ok(available),
        }
    }

    fn truncated_content(&self) -> LayerError {
        LayerError::Truncated { path: Some(EntryName::new(&self.content.path)) }
    }

    fn skip_content(&mut self) -> Result<(), LayerError> {
        self.settle();
        let left = self.content.left_bytes.saturating_add(self.content.padding_bytes);
        if !self.stream.skip(left)? {
            return Err(self.truncated_content());
        }
        self.content = Stored::default();
        Ok(())
    }
}

/// How far it is to the next block.
fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK_BYTES as u64
}

/// The content of one entry, see [`TarReader::content`].
pub struct Content<'a, R> {
    reader: &'a mut TarReader<R>,
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let reader = &mut *self.reader;
        let (offset, left) = reader.settle().unwrap_or((reader.content.size_bytes, 0));
        let hole = offset.saturating_sub(reader.content.position);
        let room = buf.len() as u64;
        let len = if hole > 0 {
            let len = hole.min(room) as usize;
            buf[..len].fill(0);
            len
        } else if left > 0 && room > 0 {
            let available = reader.fill_content(1).map_err(io::Error::other)?;
            let len = left.min(room).min(available as u64) as usize;
            buf[..len].copy_from_slice(reader.stream.peek(len));
            reader.content.lent_bytes = len;
            len
        } else {
            0
        };
        reader.content.position += len as u64;
        Ok(len)
    }
}
