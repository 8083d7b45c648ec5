//! A container's files as it sees them, without mounting anything: its layers, its writable layer and its mounts, looked
//! through on the host. Reads only; symbolic links are followed within the container.
//!
//! Overlayfs (kernel's Documentation/filesystems/overlayfs.rst): whiteouts are character devices 0:0 or files with the
//! attribute `overlay.whiteout`, opaque directories have the attribute `overlay.opaque`.

use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::evidence::{Look, is_within};
use super::file::{HEAD_BYTES, Program, analyse};
use crate::MountRecord;

const LINKS_MAX: u32 = 40;
/// What only the kernel shows.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Where a container's files lie.
pub(super) struct Tree<'a> {
    /// Topmost first: the writable layer, then the image's.
    pub(super) roots: Vec<PathBuf>,
    /// Of the record.
    pub(super) mounts: &'a [MountRecord],
}

/// What a path leads to.
enum Place {
    Unknown,
    Missing,
    /// Host directories that are merged, topmost first.
    Directory(Vec<PathBuf>),
    File(PathBuf, Metadata),
}

impl Tree<'_> {
    /// What the container would see at an absolute path.
    pub(super) fn look(&self, path: &str) -> Look {
        match self.find(path) {
            Place::Unknown => Look::Unknown,
            Place::Missing => Look::Missing,
            Place::Directory(merged) => match merged.first().and_then(|top| top.metadata().ok()) {
                Some(meta) => Look::Directory { mode: meta.permissions().mode() & 0o7777, uid: meta.uid() },
                // Made by the engine for a mount beneath.
                None if merged.is_empty() => Look::Directory { mode: 0o755, uid: 0 },
                None => Look::Unknown,
            },
            Place::File(host, meta) => Look::File {
                mode: meta.permissions().mode() & 0o7777,
                uid: meta.uid(),
                program: self.program(&host, &meta),
            },
        }
    }

    fn program(&self, host: &Path, meta: &Metadata) -> Program {
        if !meta.is_file() {
            return Program::Other;
        }
        let mut head = Vec::new();
        let file = std::fs::File::open(host);
        let read = file.and_then(|file| file.take(HEAD_BYTES as u64).read_to_end(&mut head));
        match read {
            // What cannot be found out is taken as there: nothing is claimed then.
            Ok(_) => analyse(&head, &mut |path| !matches!(self.find(path), Place::Missing)),
            Err(_) => Program::Other,
        }
    }

    fn find(&self, path: &str) -> Place {
        let mut links = 0;
        let mut rest: Vec<String> = split(path);
        let mut at: Vec<String> = Vec::new();
        let mut stack = vec![self.roots.clone()];
        while let Some(name) = rest.pop() {
            if name == ".." {
                at.pop();
                if stack.len() > 1 {
                    stack.pop();
                }
                continue;
            }
            at.push(name.clone());
            let here = format!("/{}", at.join("/"));
            if KERNEL.iter().any(|kernel| is_within(&here, kernel)) {
                return Place::Unknown;
            }
            let merged = stack.last().cloned().unwrap_or_default();
            match self.step(&merged, &name, &here) {
                Place::Directory(next) => stack.push(next),
                Place::File(host, meta) if meta.is_symlink() => {
                    links += 1;
                    let Ok(target) = std::fs::read_link(&host) else { return Place::Unknown };
                    if links > LINKS_MAX {
                        return Place::Missing;
                    }
                    at.pop();
                    let target = target.to_string_lossy();
                    if target.starts_with('/') {
                        at.clear();
                        stack.truncate(1);
                    }
                    rest.extend(split(&target));
                }
                found @ Place::File(..) if rest.is_empty() => return found,
                Place::File(..) | Place::Missing => return Place::Missing,
                Place::Unknown => return Place::Unknown,
            }
        }
        Place::Directory(stack.pop().unwrap_or_default())
    }

    /// One name in merged directories.
    fn step(&self, merged: &[PathBuf], name: &str, here: &str) -> Place {
        if let Some(mount) = self.mounts.iter().find(|mount| mount.request.target == here) {
            if !mount.request.kind.is_of_host() {
                return Place::Unknown;
            }
            return match std::fs::metadata(&mount.host_path) {
                Ok(meta) if meta.is_dir() => Place::Directory(vec![mount.host_path.clone()]),
                Ok(meta) => Place::File(mount.host_path.clone(), meta),
                Err(_) => Place::Unknown,
            };
        }
        let mut next = Vec::new();
        for directory in merged {
            let path = directory.join(name);
            let meta = match path.symlink_metadata() {
                Ok(meta) => meta,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(_) => return Place::Unknown,
            };
            if is_whiteout(&path, &meta) {
                break;
            }
            if !meta.is_dir() {
                if next.is_empty() {
                    return Place::File(path, meta);
                }
                break;
            }
            let opaque = has_mark(&path, "opaque");
            next.push(path);
            if opaque {
                break;
            }
        }
        let beneath = |mount: &MountRecord| is_within(&mount.request.target, here);
        match next.is_empty() {
            // Mount points are made when they are missing.
            true if self.mounts.iter().any(beneath) => Place::Directory(next),
            true => Place::Missing,
            false => Place::Directory(next),
        }
    }
}

/// The names of a path, last first.
fn split(path: &str) -> Vec<String> {
    path.split('/').filter(|name| !name.is_empty() && *name != ".").rev().map(str::to_owned).collect()
}

fn is_whiteout(path: &Path, meta: &Metadata) -> bool {
    let device = meta.file_type().is_char_device() && meta.rdev() == 0;
    device || (meta.is_file() && meta.len() == 0 && has_mark(path, "whiteout"))
}

fn has_mark(path: &Path, mark: &str) -> bool {
    ["trusted", "user"].iter().any(|space| {
        let mut value = [0_u8; 8];
        rustix::fs::lgetxattr(path, format!("{space}.overlay.{mark}"), &mut value)
            .is_ok_and(|length| length > 0)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::MountRequest;

    #[test]
    fn layers_links_and_mounts_are_seen_as_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |path: &str| folder.path().join(path);
        for directory in ["upper/etc", "lower/usr/bin", "lower/etc", "host"] {
            std::fs::create_dir_all(at(directory)).expect("a directory");
        }
        std::fs::write(at("lower/usr/bin/tool"), "#!/bin/none\n").expect("a file");
        std::fs::write(at("lower/etc/old"), "x").expect("a file");
        std::fs::write(at("host/data"), "x").expect("a file");
        symlink("usr/bin", at("lower/bin")).expect("a link");
        symlink("/bin/tool", at("lower/etc/link")).expect("a link");
        symlink("round", at("lower/round")).expect("a link");
        let mounts = [MountRecord {
            request: MountRequest {
                kind: crate::MountKind::Bind,
                target: "/srv/in".into(),
                ..MountRequest::default()
            },
            host_path: at("host"),
            ..MountRecord::default()
        }];
        let tree = Tree { roots: vec![at("upper"), at("lower")], mounts: &mounts };
        let kind = |path: &str| match tree.look(path) {
            Look::Unknown => "unknown",
            Look::Missing => "missing",
            Look::Directory { .. } => "directory",
            Look::File { program: Program::Script { exists: false, .. }, .. } => "script",
            Look::File { .. } => "file",
        };
        for (path, expected) in [
            ("/bin/tool", "script"),
            ("/etc/link", "script"),
            ("/etc/../etc/old", "file"),
            ("/bin/../bin", "directory"),
            ("/usr/bin/none", "missing"),
            ("/usr/bin/tool/x", "missing"),
            ("/round", "missing"),
            ("/etc", "directory"),
            ("/srv/in/data", "file"),
            ("/srv", "directory"),
            ("/proc/1", "unknown"),
            ("/", "directory"),
        ] {
            assert_eq!(kind(path), expected, "{path}");
        }
        if rustix::fs::mknodat(
            rustix::fs::CWD,
            at("upper/etc/old"),
            rustix::fs::FileType::CharacterDevice,
            rustix::fs::Mode::empty(),
            0,
        )
        .is_ok()
        {
            assert_eq!(kind("/etc/old"), "missing", "a whiteout");
        } else {
            println!("skipped: no whiteouts here");
        }
    }
}
