//! `cp`: files between the host and a container, and between containers, without an archive in between.
//!
//! Docker's rules for what goes where are a pure function ([`plan`]) of what the two paths are. Both sides are a root
//! and a path in it; a container's root is as the container sees it, and its links never lead out of it. Files are
//! copied by the kernel, hole by hole; modes, times, extended attributes and hard links are kept.
//!
//! Owners: what comes into a container keeps its numbers, as with Docker; what comes out belongs to the caller
//! unless `archive` is given.

mod place;

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cais_layer::{
    Decoder, Ground, LayerError, Limits, Object, Placer, Source, TarReader, TarWriter, WalkOptions,
};
use cais_layer::{archived_bytes, walk};

use crate::overlay::open_path;
use crate::owners::Ids;
use crate::root_view::Purpose;
use crate::{ContainerRecord, Engine, Error, ErrorKind, Result};
use place::{Goal, Origin, Side, Target, plan};

/// How to copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyOptions {
    /// A source that is a symbolic link means what it leads to (`-L`).
    pub follow_link: bool,
    /// Owners are kept on the host, too (`-a`).
    pub archive: bool,
}

/// The two zero blocks that end an archive.
const ARCHIVE_END_BYTES: u64 = 1024;

impl Engine {
    /// Copies from the host into a container, running or not; returns the bytes of what Docker would have sent.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] and [`ErrorKind::Invalid`] by Docker's rules; what was copied before an error stays.
    pub fn copy_in(&self, name: &str, source: &Path, target: &str, options: CopyOptions) -> Result<u64> {
        let record = self.copied_container(name)?;
        let host = host_root()?;
        self.with_root(&record, Purpose::Write, |root, ids| {
            let origin =
                Side::host(host.as_fd()).origin(source.as_os_str().as_bytes(), options.follow_link)?;
            let target = Side::container(root, name).target(target.as_bytes())?;
            copy(&origin, target, &self.copied_options(true), (Ids(None), ids))
        })
    }

    /// Copies from a container to the host; returns the bytes of what Docker would have sent.
    ///
    /// # Errors
    /// As [`Engine::copy_in`].
    pub fn copy_out(&self, name: &str, source: &str, target: &Path, options: CopyOptions) -> Result<u64> {
        let record = self.copied_container(name)?;
        let host = host_root()?;
        let target = Side::host(host.as_fd()).target(target.as_os_str().as_bytes())?;
        self.with_root(&record, Purpose::Read, |root, ids| {
            let origin = Side::container(root, name).origin(source.as_bytes(), options.follow_link)?;
            copy(&origin, target, &self.copied_options(options.archive), (ids, Ids(None)))
        })
    }

    /// Copies from one container to another.
    ///
    /// # Errors
    /// As [`Engine::copy_in`].
    pub fn copy_across(
        &self,
        (from, source): (&str, &str),
        (to, target): (&str, &str),
        options: CopyOptions,
    ) -> Result<u64> {
        let (giver, taker) = (self.copied_container(from)?, self.copied_container(to)?);
        self.with_root(&giver, Purpose::Read, |giving, from_ids| {
            let origin = Side::container(giving, from).origin(source.as_bytes(), options.follow_link)?;
            self.with_root(&taker, Purpose::Write, |taking, to_ids| {
                let target = Side::container(taking, to).target(target.as_bytes())?;
                copy(&origin, target, &self.copied_options(true), (from_ids, to_ids))
            })
        })
    }

    /// Writes what is at a container's path as a tar archive.
    ///
    /// # Errors
    /// As [`Engine::copy_in`], and when the output takes no more.
    pub fn archive_out(
        &self,
        name: &str,
        source: &str,
        out: &mut (dyn Write + Send),
        options: CopyOptions,
    ) -> Result<()> {
        let record = self.copied_container(name)?;
        self.with_root(&record, Purpose::Read, |root, ids| {
            let origin = Side::container(root, name).origin(source.as_bytes(), options.follow_link)?;
            let path = if origin.content_only { b"." } else { &origin.name[..] };
            let mut writer = TarWriter::new(out);
            let options = WalkOptions { cross_mounts: true };
            walk(origin.parent.as_fd(), &origin.at, path, options, &mut |mut object: Object| {
                ids.inside(&mut object.entry);
                writer.append(&object.entry, object.content.as_ref()).map_err(Stop::Output)
            })
            .map_err(Error::from)?;
            writer.finish().map(drop).map_err(|error| Stop::Output(error).into())
        })
    }

    /// Puts what a tar archive holds, plain or compressed, into a directory of a container.
    ///
    /// # Errors
    /// As [`Engine::copy_in`], and when the input is no archive; what was put there before stays.
    pub fn archive_in(&self, name: &str, input: &mut (dyn Read + Send), target: &str) -> Result<()> {
        let record = self.copied_container(name)?;
        self.with_root(&record, Purpose::Write, |root, ids| {
            let side = Side::container(root, name);
            let Ok(Target { goal: Goal::Directory(_), .. }) = side.target(target.as_bytes()) else {
                let message = format!("destination {:?} must be a directory", format!("{name}:{target}"));
                return Err(Error::new(ErrorKind::Invalid, message));
            };
            let ground = Ground::Root(root, target.as_bytes().to_vec());
            place_archive(input, ground, self.copied_options(true), ids)
        })
    }

    /// As an ordinary user: moves this process to where the files of a container have their owners. The engine that comes back is the one
    /// to go on with. The process must have one thread.
    ///
    /// # Errors
    /// When the user namespace cannot be entered.
    pub fn beside(&self, name: &str) -> Result<Engine> {
        if !self.config.rootless || rustix::process::geteuid().is_root() {
            return Ok(self.clone());
        }
        let id = self.store.resolve_container(name)?;
        let failed = |error: std::io::Error| {
            Error::caused(ErrorKind::Unsupported, "rootless containers are not possible here", error)
        };
        let mut config = self.config.clone();
        match self.running_pid(&id) {
            Ok(pid) => {
                let open = |kind: &str| std::fs::File::open(format!("/proc/{pid}/ns/{kind}"));
                let kind = rustix::thread::LinkNameSpaceType::User;
                let user = open("user").map_err(failed)?;
                rustix::thread::move_into_link_name_space(user.as_fd(), Some(kind))
                    .map_err(|error| failed(error.into()))?;
                let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
                config.single_id = map.lines().count() == 1 && map.trim_end().ends_with(" 1");
            }
            Err(_) => return self.with_ids(),
        }
        Ok(Engine { config, ..self.clone() })
    }

    /// As an ordinary user: moves this process into a user namespace of its own, as for a container's start; see
    /// [`Engine::beside`].
    pub(super) fn with_ids(&self) -> Result<Engine> {
        let mut config = self.config.clone();
        if config.rootless && !rustix::process::geteuid().is_root() {
            let mapping = cais_sys::userns::enter().map_err(|error| {
                Error::caused(ErrorKind::Unsupported, "rootless containers are not possible here", error)
            })?;
            config.single_id = mapping.single_id;
        }
        Ok(Engine { config, ..self.clone() })
    }

    fn copied_container(&self, name: &str) -> Result<ContainerRecord> {
        let id = self.store.resolve_container(name)?;
        Ok(self.store.load_container(&id)?)
    }

    fn copied_options(&self, keep_owners: bool) -> cais_layer::Options {
        let options = self.layer_options();
        cais_layer::Options { squash_ids: options.squash_ids || !keep_owners, ..options }
    }
}

fn host_root() -> Result<std::os::fd::OwnedFd> {
    open_path(Path::new("/"))
        .map_err(|error| Error::caused(ErrorKind::System, "open /", std::io::Error::from(error)))
}

/// Copies what `origin` is to where the rules say, from one side's ids to the other's.
fn copy(
    origin: &Origin,
    target: Target,
    options: &cais_layer::Options,
    (from, to): (Ids<'_>, Ids<'_>),
) -> Result<u64> {
    let (directory, path) = plan(origin, target)?;
    let ground = Ground::Directory(directory.as_fd());
    let mut placer = Placer::new(ground, options.clone());
    let mut bytes = ARCHIVE_END_BYTES;
    let walking = WalkOptions { cross_mounts: true };
    walk(origin.parent.as_fd(), &origin.at, &path, walking, &mut |mut object: Object| {
        bytes += archived_bytes(&object.entry);
        from.inside(&mut object.entry);
        if !options.squash_ids {
            to.outside(&mut object.entry).map_err(Stop::Ids)?;
        }
        let source = object.content.as_ref().map_or(Source::Nothing, |file| Source::File(file.as_fd()));
        placer.place(&object.entry, source).map_err(Stop::Layer)
    })
    .map_err(Error::from)?;
    placer.finish().map_err(failed)?;
    Ok(bytes)
}

/// What ends a walk.
enum Stop {
    Layer(LayerError),
    Output(std::io::Error),
    Ids(Error),
}

impl From<LayerError> for Stop {
    fn from(error: LayerError) -> Stop {
        Stop::Layer(error)
    }
}

impl From<Stop> for Error {
    fn from(stop: Stop) -> Error {
        match stop {
            Stop::Layer(error) => failed(error),
            Stop::Ids(error) => error,
            Stop::Output(error) => Error::caused(ErrorKind::System, "write the archive", error),
        }
    }
}

/// An error of reading or placing, with its kind.
pub(super) fn failed(error: LayerError) -> Error {
    use std::io::ErrorKind as Io;
    let kind = match &error {
        LayerError::Io { source, .. } => match source.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::PermissionDenied => ErrorKind::Denied,
            Io::ReadOnlyFilesystem => ErrorKind::Conflict,
            _ => ErrorKind::System,
        },
        LayerError::DiskFull { .. } | LayerError::Read { .. } => ErrorKind::System,
        _ => ErrorKind::Invalid,
    };
    let read_only = kind == ErrorKind::Conflict;
    let error = Error::new(kind, crate::error::chain(&error)).source(error);
    if read_only { error.hint("the container's root, or that volume, is mounted read-only") } else { error }
}

/// Puts what a tar archive holds, plain or compressed, into a tree.
pub(super) fn place_archive(
    input: &mut (dyn Read + Send),
    ground: Ground<'_>,
    options: cais_layer::Options,
    ids: Ids<'_>,
) -> Result<()> {
    let mut decoder = Decoder::new(input).map_err(failed)?;
    let mut reader = TarReader::new(&mut decoder as &mut dyn Read, &Limits::default());
    let mut placer = Placer::new(ground, options);
    while let Some(mut entry) = reader.next_entry().map_err(failed)? {
        ids.outside(&mut entry)?;
        placer.place(&entry, Source::Archive(&mut reader)).map_err(failed)?;
    }
    placer.finish().map(drop).map_err(failed)
}

/// The archive of a whole tree: a root with nothing mounted in it.
pub(super) fn archive_tree(root: BorrowedFd<'_>, ids: Ids<'_>, out: &mut dyn Write) -> Result<()> {
    let mut writer = TarWriter::new(out);
    walk(root, c".", b"", WalkOptions::default(), &mut |mut object: Object| {
        ids.inside(&mut object.entry);
        writer.append(&object.entry, object.content.as_ref()).map_err(Stop::Output)
    })
    .map_err(Error::from)?;
    writer.finish().map(drop).map_err(|error| Stop::Output(error).into())
}
