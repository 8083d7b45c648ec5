//! Layers described in memory and written as tar streams, honest ones and hostile ones.
//!
//! Implements POSIX ustar headers, GNU long names and PAX records (`man 5 tar`), and the whiteouts of the OCI image
//! specification, "Image Layer Filesystem Changeset". The encoder checks nothing: `..`, absolute names, duplicate
//! entries, wrong sizes and broken checksums are written as described, because tests need them.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

const BLOCK_BYTES: usize = 512;
const NAME_BYTES: usize = 100;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file with its content.
    File(Vec<u8>),
    /// A directory.
    Directory,
    /// A symbolic link to the text.
    Symlink(Vec<u8>),
    /// A hard link to an earlier entry of this name.
    HardLink(Vec<u8>),
    /// A character device.
    CharDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// Any type byte, for tests of what is unknown.
    Other(u8),
}

/// One entry of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name as written, without any check.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u64,
    /// Written into the size field instead of the true size.
    pub claimed_size_bytes: Option<u64>,
    /// PAX records before the entry, such as `SCHILY.xattr.user.k`.
    pub pax: Vec<(String, Vec<u8>)>,
    /// The checksum is made wrong.
    pub broken_checksum: bool,
}

impl Entry {
    /// An entry with usual permissions, owned by root, time 0.
    pub fn new(path: impl AsRef<[u8]>, kind: EntryKind) -> Entry {
        let mode = if matches!(kind, EntryKind::Directory) { 0o755 } else { 0o644 };
        Entry {
            path: path.as_ref().to_vec(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: 0,
            claimed_size_bytes: None,
            pax: Vec::new(),
            broken_checksum: false,
        }
    }

    /// Sets the permission bits.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Entry {
        self.mode = mode;
        self
    }

    /// Sets owner and group.
    #[must_use]
    pub fn owner(mut self, uid: u32, gid: u32) -> Entry {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    /// Adds an extended attribute as PAX record.
    #[must_use]
    pub fn xattr(mut self, name: &str, value: &[u8]) -> Entry {
        self.pax.push((format!("SCHILY.xattr.{name}"), value.to_vec()));
        self
    }

    /// Writes another size than the true one.
    #[must_use]
    pub fn claim_size(mut self, size_bytes: u64) -> Entry {
        self.claimed_size_bytes = Some(size_bytes);
        self
    }

    /// Appends the entry's part of a tar stream.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut pax = self.pax.clone();
        let link: &[u8] = match &self.kind {
            EntryKind::Symlink(target) | EntryKind::HardLink(target) => target,
            _ => &[],
        };
        if link.len() > NAME_BYTES {
            pax.push(("linkpath".to_owned(), link.to_vec()));
        }
        if self.path.len() > NAME_BYTES {
            pax.push(("path".to_owned(), self.path.clone()));
        }
        if !pax.is_empty() {
            let records: Vec<u8> = pax.iter().flat_map(|(key, value)| pax_record(key, value)).collect();
            let header = header(
                b"./PaxHeaders/entry",
                b'x',
                records.len() as u64,
                &Entry::new("", EntryKind::Fifo),
                &[],
            );
            out.extend_from_slice(&header);
            push_padded(out, &records);
        }
        let content: &[u8] = match &self.kind {
            EntryKind::File(content) => content,
            _ => &[],
        };
        let type_byte = match &self.kind {
            EntryKind::File(_) => b'0',
            EntryKind::HardLink(_) => b'1',
            EntryKind::Symlink(_) => b'2',
            EntryKind::CharDevice(..) => b'3',
            EntryKind::BlockDevice(..) => b'4',
            EntryKind::Directory => b'5',
            EntryKind::Fifo => b'6',
            EntryKind::Other(byte) => *byte,
        };
        let size_bytes = self.claimed_size_bytes.unwrap_or(content.len() as u64);
        out.extend_from_slice(&header(&self.path, type_byte, size_bytes, self, link));
        push_padded(out, content);
    }
}

fn header(path: &[u8], type_byte: u8, size_bytes: u64, entry: &Entry, link: &[u8]) -> [u8; BLOCK_BYTES] {
    let mut block = [0_u8; BLOCK_BYTES];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &path[..path.len().min(NAME_BYTES)]);
    put(100, format!("{:07o}\0", entry.mode & 0o7777).as_bytes());
    put(108, &number(u64::from(entry.uid), 8));
    put(116, &number(u64::from(entry.gid), 8));
    put(124, &number(size_bytes, 12));
    put(136, &number(entry.mtime, 12));
    put(148, b"        ");
    put(156, &[type_byte]);
    put(157, &link[..link.len().min(NAME_BYTES)]);
    put(257, b"ustar\x0000");
    if let EntryKind::CharDevice(major, minor) | EntryKind::BlockDevice(major, minor) = entry.kind {
        put(329, &number(u64::from(major), 8));
        put(337, &number(u64::from(minor), 8));
    }
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    let sum = if entry.broken_checksum { sum + 1 } else { sum };
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Octal when it fits, GNU base-256 when it does not.
fn number(value: u64, width: usize) -> Vec<u8> {
    let octal = format!("{value:0digits$o}\0", digits = width - 1);
    if octal.len() == width {
        return octal.into_bytes();
    }
    let mut bytes = vec![0_u8; width];
    bytes[width - 8..].copy_from_slice(&value.to_be_bytes());
    bytes[0] |= 0x80;
    bytes
}

fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = key.len() + value.len() + 3;
    let mut length = body + 1;
    while length.to_string().len() + body != length {
        length = length.to_string().len() + body;
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

fn push_padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(BLOCK_BYTES), 0);
}

/// One changeset: entries in the order of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// In the order of the stream.
    pub entries: Vec<Entry>,
}

impl Layer {
    /// A layer without entries.
    pub fn new() -> Layer {
        Layer::default()
    }

    /// Adds any entry.
    #[must_use]
    pub fn entry(mut self, entry: Entry) -> Layer {
        self.entries.push(entry);
        self
    }

    /// Adds a regular file, mode 0644.
    #[must_use]
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Layer {
        self.entry(Entry::new(path, EntryKind::File(content.as_ref().to_vec())))
    }

    /// Adds an executable file, mode 0755.
    #[must_use]
    pub fn program(self, path: &str, content: impl AsRef<[u8]>) -> Layer {
        self.entry(Entry::new(path, EntryKind::File(content.as_ref().to_vec())).mode(0o755))
    }

    /// Adds a directory, mode 0755.
    #[must_use]
    pub fn dir(self, path: &str) -> Layer {
        self.entry(Entry::new(path, EntryKind::Directory))
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Layer {
        self.entry(Entry::new(path, EntryKind::Symlink(target.into())).mode(0o777))
    }

    /// Adds a hard link to an earlier entry.
    #[must_use]
    pub fn hard_link(self, path: &str, target: &str) -> Layer {
        self.entry(Entry::new(path, EntryKind::HardLink(target.into())))
    }

    /// Removes what lower layers have at `path`.
    #[must_use]
    pub fn whiteout(self, path: &str) -> Layer {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let slash = if folder.is_empty() { "" } else { "/" };
        self.file(&format!("{folder}{slash}.wh.{name}"), "")
    }

    /// Hides what lower layers have inside the directory `path`.
    #[must_use]
    pub fn opaque(self, path: &str) -> Layer {
        self.dir(path).file(&format!("{path}/.wh..wh..opq"), "")
    }

    /// Adds a whole directory tree from the host, sorted by name; owners are root.
    ///
    /// # Errors
    /// When the tree cannot be read.
    pub fn tree(mut self, root: &Path) -> io::Result<Layer> {
        self.add_tree(root, "")?;
        Ok(self)
    }

    fn add_tree(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        let mut children: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
        children.sort_by_key(fs::DirEntry::file_name);
        for child in children {
            let path = format!("{prefix}{}", child.file_name().to_string_lossy());
            let meta = child.path().symlink_metadata()?;
            let kind = meta.file_type();
            let entry = if kind.is_dir() {
                EntryKind::Directory
            } else if kind.is_symlink() {
                EntryKind::Symlink(fs::read_link(child.path())?.into_os_string().into_encoded_bytes())
            } else if kind.is_fifo() {
                EntryKind::Fifo
            } else if kind.is_file() {
                EntryKind::File(fs::read(child.path())?)
            } else {
                continue;
            };
            let mut entry = Entry::new(&path, entry).mode(meta.permissions().mode() & 0o7777);
            entry.mtime = u64::try_from(meta.mtime()).unwrap_or(0);
            self.entries.push(entry);
            if kind.is_dir() {
                self.add_tree(&child.path(), &format!("{path}/"))?;
            }
        }
        Ok(())
    }

    /// The tar stream, two zero blocks at its end.
    pub fn tar(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in &self.entries {
            entry.encode(&mut out);
        }
        out.resize(out.len() + 2 * BLOCK_BYTES, 0);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn listed_by_tar(layer: &Layer) -> String {
        let mut tar = Command::new("tar")
            .args(["-tvf", "-", "--numeric-owner", "-P"])
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(&layer.tar()).unwrap();
        let output = tar.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn gnu_tar_reads_what_is_written() {
        let long = format!("{}/leaf", "d".repeat(180));
        let layer = Layer::new()
            .dir("a")
            .program("a/run", "#!/bin/sh\n")
            .symlink("a/link", "run")
            .hard_link("a/hard", "a/run")
            .file(&long, "x")
            .entry(Entry::new("a/null", EntryKind::CharDevice(1, 3)))
            .entry(Entry::new("owned", EntryKind::File(b"12345".to_vec())).owner(1000, 2_000_000_000));
        let list = listed_by_tar(&layer);
        let lines: Vec<&str> = list.lines().collect();
        assert!(lines[0].starts_with("drwxr-xr-x 0/0"), "{list}");
        assert!(lines[1].starts_with("-rwxr-xr-x 0/0") && lines[1].ends_with("a/run"), "{list}");
        assert!(lines[2].ends_with("a/link -> run"), "{list}");
        assert!(lines[3].ends_with("a/hard link to a/run"), "{list}");
        assert!(lines[4].ends_with(&long), "{list}");
        assert!(lines[5].contains("1,3"), "{list}");
        assert!(lines[6].contains("1000/2000000000"), "{list}");
    }

    #[test]
    fn hostile_names_are_written_as_they_are() {
        let list = listed_by_tar(&Layer::new().file("../../evil", "x").file("/etc/evil", "y"));
        assert!(list.contains(" ../../evil\n") && list.contains(" /etc/evil\n"), "{list}");
    }

    #[test]
    fn whiteouts_have_their_names() {
        let layer = Layer::new().whiteout("etc/passwd").whiteout("top").opaque("var");
        let names: Vec<_> =
            layer.entries.iter().map(|e| String::from_utf8_lossy(&e.path).into_owned()).collect();
        assert_eq!(names, ["etc/.wh.passwd", ".wh.top", "var", "var/.wh..wh..opq"]);
    }

    #[test]
    fn pax_length_counts_itself() {
        assert_eq!(pax_record("k", b"v"), b"6 k=v\n");
        let record = pax_record("path", &[b'a'; 200]);
        let text = String::from_utf8(record.clone()).unwrap();
        assert_eq!(text.split(' ').next().unwrap().parse::<usize>().unwrap(), record.len());
    }
}
