//! Extended attributes as an image has them, behind their inode: header, then name and value of each.
//!
//! No kernel looks at them while they are written, so what setxattr(2) refuses is refused here: empty names, sizes, broken
//! access control lists (acl(5)) and file capabilities (capabilities(7)).

use std::io;

use rustix::io::Errno;

use crate::error::{EntryName, LayerError};
use crate::tar::Xattr;

use super::format::Kind;

const HEADER_BYTES: usize = 12;
/// The inode counts them in units of 4 bytes, with 16 bits.
const MAX_BYTES: usize = HEADER_BYTES + 4 * (u16::MAX as usize - 1);
const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// Name prefixes and their numbers; the rest of the name follows.
const PREFIXES: [(&[u8], u8); 3] = [(b"user.", 1), (b"trusted.", 4), (b"security.", 6)];

/// Attributes ready to be put behind an inode, and what they make of its permission bits.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Encoded {
    /// Empty if there are none.
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
}

/// Encodes the attributes of the entry `path`.
pub(super) fn encode(xattrs: &[&Xattr], kind: Kind, mode: u32, path: &[u8]) -> Result<Encoded, LayerError> {
    let mut encoded = Encoded { bytes: Vec::new(), mode };
    for xattr in xattrs {
        match encoded.add(&xattr.name, &xattr.value, kind) {
            // As in a tree of directories: not worth refusing an image.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => {
                return Err(LayerError::Xattr {
                    path: EntryName::new(path),
                    name: EntryName::new(&xattr.name),
                    source: io::Error::from(errno),
                });
            }
        }
    }
    Ok(encoded)
}

impl Encoded {
    /// Adds overlayfs' mark of a directory that hides its namesakes.
    pub(super) fn add_opaque(&mut self, rootless: bool) {
        let (index, name): (u8, &[u8]) =
            if rootless { (1, b"overlay.opaque") } else { (4, b"overlay.opaque") };
        self.put(index, name, b"y");
    }

    fn add(&mut self, name: &[u8], value: &[u8], kind: Kind) -> Result<(), Errno> {
        if name == ACL_ACCESS || name == ACL_DEFAULT {
            let acl = Acl::parse(value)?;
            let Some(acl) = acl else { return Ok(()) };
            if name == ACL_DEFAULT {
                if kind != Kind::Directory {
                    return Err(Errno::ACCESS);
                }
                return self.add_checked(3, b"", value);
            }
            self.mode = self.mode & !0o777 | acl.mode;
            return if acl.is_minimal { Ok(()) } else { self.add_checked(2, b"", value) };
        }
        let known = PREFIXES.iter().find_map(|(prefix, index)| Some((*index, name.strip_prefix(*prefix)?)));
        let (index, rest) = known.ok_or(Errno::OPNOTSUPP)?;
        if rest.is_empty() {
            return Err(Errno::INVAL);
        }
        if name == b"security.capability" && !is_capability(value) {
            return Err(Errno::INVAL);
        }
        self.add_checked(index, rest, value)
    }

    fn add_checked(&mut self, index: u8, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        if name.len() > usize::from(u8::MAX) || value.len() > usize::from(u16::MAX) {
            return Err(Errno::TOOBIG);
        }
        self.put(index, name, value);
        // Room is left for the mark of overlayfs.
        if self.bytes.len() > MAX_BYTES - 32 { Err(Errno::NOSPC) } else { Ok(()) }
    }

    fn put(&mut self, index: u8, name: &[u8], value: &[u8]) {
        if self.bytes.is_empty() {
            self.bytes.resize(HEADER_BYTES, 0);
        }
        self.bytes.extend_from_slice(&[name.len() as u8, index]);
        self.bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// What an access control list says about permission bits.
struct Acl {
    mode: u32,
    /// It says nothing more than the bits.
    is_minimal: bool,
}

impl Acl {
    /// Reads and checks the form that system calls use: a version, then tag, permissions and id of each entry. `None`: it
    /// has no entry.
    fn parse(value: &[u8]) -> Result<Option<Acl>, Errno> {
        const VERSION: [u8; 4] = [2, 0, 0, 0];
        const ENTRY_BYTES: usize = 8;
        // Also: USER_OBJ, GROUP_OBJ, MASK, OTHER.
        const ALL_TAGS: u16 = 0x3f;
        const USER: u16 = 0x02;
        const GROUP: u16 = 0x08;
        if value.is_empty() {
            return Ok(None);
        }
        let entries = value.strip_prefix(&VERSION).ok_or(Errno::OPNOTSUPP)?;
        if entries.len() % ENTRY_BYTES != 0 {
            return Err(Errno::INVAL);
        }
        let mut found = [None; 6];
        let mut last = 0;
        for entry in entries.chunks_exact(ENTRY_BYTES) {
            let tag = u16::from_le_bytes([entry[0], entry[1]]);
            let bits = u16::from_le_bytes([entry[2], entry[3]]);
            let is_named = matches!(tag, USER | GROUP);
            let is_known = tag.count_ones() == 1 && tag & ALL_TAGS != 0;
            if !is_known
                || bits > 7
                || tag < last
                || (tag == last && !is_named)
                || (is_named && entry[4..] == [0xff; 4])
            {
                return Err(Errno::INVAL);
            }
            last = tag;
            found[tag.trailing_zeros() as usize] = Some(u32::from(bits));
        }
        match found {
            _ if entries.is_empty() => Ok(None),
            [Some(user), None, Some(group), None, None, Some(other)] => {
                Ok(Some(Acl { mode: user << 6 | group << 3 | other, is_minimal: true }))
            }
            [Some(user), _, Some(_), _, Some(mask), Some(other)] => {
                Ok(Some(Acl { mode: user << 6 | mask << 3 | other, is_minimal: false }))
            }
            _ => Err(Errno::INVAL),
        }
    }
}

/// Whether these are capabilities that the kernel would take: revision 2, or 3 with the id of a namespace's root.
fn is_capability(value: &[u8]) -> bool {
    match value {
        [_, _, _, revision, ..] => match (revision, value.len()) {
            (2, 20) => true,
            (3, 24) => value[20..] != [0xff; 4],
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0];
        for (tag, bits, id) in entries {
            bytes.extend_from_slice(&tag.to_le_bytes());
            bytes.extend_from_slice(&bits.to_le_bytes());
            bytes.extend_from_slice(&id.to_le_bytes());
        }
        bytes
    }

    fn try_one(name: &[u8], value: &[u8], kind: Kind) -> Result<Encoded, LayerError> {
        let xattr = Xattr { name: name.to_vec(), value: value.to_vec() };
        encode(&[&xattr], kind, 0o4644, b"a")
    }

    #[test]
    fn lists_set_the_bits_and_vanish_if_they_say_no_more() {
        let all = u32::MAX;
        let minimal = acl(&[(1, 7, all), (4, 5, all), (0x20, 1, all)]);
        assert_eq!(
            try_one(ACL_ACCESS, &minimal, Kind::File).unwrap(),
            Encoded { bytes: Vec::new(), mode: 0o4751 }
        );
        let full =
            acl(&[(1, 7, all), (2, 6, 1000), (2, 4, 1001), (4, 5, all), (0x10, 6, all), (0x20, 0, all)]);
        let encoded = try_one(ACL_ACCESS, &full, Kind::File).unwrap();
        assert_eq!(encoded.mode, 0o4760);
        assert_eq!(encoded.bytes.len(), 12 + 4 + full.len());
        assert!(try_one(ACL_DEFAULT, &full, Kind::File).is_err());
        assert_eq!(try_one(ACL_DEFAULT, &full, Kind::Directory).unwrap().mode, 0o4644);
    }

    #[test]
    fn broken_values_are_refused() {
        let all = u32::MAX;
        for broken in [
            acl(&[(1, 7, all)]),
            acl(&[(1, 7, all), (4, 5, all), (0x20, 9, all)]),
            acl(&[(4, 7, all), (1, 5, all), (0x20, 1, all)]),
            acl(&[(1, 7, all), (2, 7, 5), (4, 5, all), (0x20, 1, all)]),
            acl(&[(1, 7, all), (1, 7, all), (4, 5, all), (0x20, 1, all)]),
            acl(&[(1, 7, all), (4, 5, all), (0x20, 1, all)])[..9].to_vec(),
        ] {
            assert!(try_one(ACL_ACCESS, &broken, Kind::File).is_err(), "{broken:?}");
        }
        // Unknown versions are no reason to refuse an image.
        assert!(try_one(ACL_ACCESS, &[1, 0, 0, 0], Kind::File).unwrap().bytes.is_empty());
        for capability in [&b""[..], &[0, 0, 0, 2], &[1; 20], &[0; 24]] {
            assert!(try_one(b"security.capability", capability, Kind::File).is_err());
        }
        assert!(try_one(b"user.", b"x", Kind::File).is_err());
        assert!(try_one(b"user.a", &[0; 65536], Kind::File).is_err());
    }
}
