//! How every file of the store is written: beside its final name, then renamed, so that a reader sees the old file
//! or the new one and never a part.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Result, StoreError};
use crate::paths::TEMPORARY_PREFIX;

/// Records and facts are shorter.
const SMALL_FILE_BYTES: usize = 8 << 10;

/// Whether a file must survive a power cut once the call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Written to the disk before the call returns, together with its directory entry.
    Durable,
    /// The content as [`Durability::Durable`]; the caller syncs the directory, once for several files.
    Content,
    /// Atomic for every reader of this boot; after a power cut it may be missing or empty.
    Volatile,
}

/// Writes `bytes` to `path` by way of a file beside it; an existing file is replaced.
///
/// # Errors
/// When the directory is missing, full or not writable; nothing is left behind then.
pub fn write_atomic(path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    let (file, temporary) = create_beside(path)?;
    let written = write_and_rename(file, &temporary, bytes, path, durability);
    if written.is_err() {
        // The error to report is the first one; a leftover is found by `check`.
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    if durability == Durability::Durable {
        sync_parent(path)?;
    }
    Ok(())
}

fn write_and_rename(
    mut file: File,
    temporary: &Path,
    bytes: &[u8],
    path: &Path,
    durability: Durability,
) -> Result<()> {
    file.write_all(bytes).map_err(StoreError::io("write", path))?;
    if durability != Durability::Volatile {
        file.sync_data().map_err(StoreError::io("sync", path))?;
    }
    std::fs::rename(temporary, path).map_err(StoreError::io("write", path))
}

/// Writes `value` as JSON, see [`write_atomic`].
///
/// # Errors
/// As [`write_atomic`].
pub(crate) fn write_json(path: &Path, value: &impl Serialize, durability: Durability) -> Result<()> {
    let bytes =
        serde_json::to_vec(value).map_err(|source| StoreError::Damaged { path: path.to_owned(), source })?;
    write_atomic(path, &bytes, durability)
}

/// Writes `value` as JSON to a file that nobody reads before it gets its final name.
pub(crate) fn write_draft(path: &Path, value: &impl Serialize) -> Result<()> {
    let bytes =
        serde_json::to_vec(value).map_err(|source| StoreError::Damaged { path: path.to_owned(), source })?;
    std::fs::write(path, bytes).map_err(StoreError::io("write", path))
}

/// Reads a whole file; `None` when it is not there.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut file = match File::open(path) {
        Err(error) if is_absent(&error) => return Ok(None),
        other => other.map_err(StoreError::io("read", path))?,
    };
    // Lists read thousands of small files: no question for the length, and none for an end that a short read tells.
    let mut bytes = vec![0; SMALL_FILE_BYTES];
    let mut filled = 0;
    loop {
        match file.read(&mut bytes[filled..]) {
            Ok(count) if filled + count < bytes.len() => {
                bytes.truncate(filled + count);
                return Ok(Some(bytes));
            }
            Ok(count) => {
                filled += count;
                bytes.resize(2 * bytes.len(), 0);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(StoreError::io("read", path)(error)),
        }
    }
}

/// Reads a JSON file; `None` when it is not there.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match read(path)? {
        None => Ok(None),
        Some(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| StoreError::Damaged { path: path.to_owned(), source }),
    }
}

/// Whether the error says that there is no such file.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A new file in the directory of `path`, under a name that no other process chooses.
pub(crate) fn create_beside(path: &Path) -> Result<(File, PathBuf)> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    loop {
        let temporary = directory.join(format!("{TEMPORARY_PREFIX}{}", random_hex(8)));
        match OpenOptions::new().write(true).read(true).create_new(true).mode(0o600).open(&temporary) {
            Ok(file) => return Ok((file, temporary)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StoreError::io("create", path)(error)),
        }
    }
}

/// Makes the entries of the directory that holds `path` durable.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    sync_directory(path.parent().unwrap_or(Path::new("/")))
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(StoreError::io("sync", directory))
}

/// Makes everything of the file system that holds `path` durable.
pub(crate) fn sync_file_system(path: &Path) -> Result<()> {
    let file = File::open(path).map_err(StoreError::io("open", path))?;
    rustix::fs::syncfs(&file).map_err(StoreError::io("sync the file system of", path))
}

/// Makes a tree durable, file by file; links are not followed, special files have no content.
pub(crate) fn sync_tree(directory: &Path) -> Result<()> {
    for entry in std::fs::read_dir(directory).map_err(StoreError::io("list", directory))? {
        let entry = entry.map_err(StoreError::io("list", directory))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(StoreError::io("inspect", &path))?;
        if kind.is_dir() {
            sync_tree(&path)?;
        } else if kind.is_file() {
            File::open(&path).and_then(|file| file.sync_all()).map_err(StoreError::io("sync", &path))?;
        }
    }
    sync_directory(directory)
}

/// Makes a directory of exactly this mode, whatever the umask; an existing one is left as it is.
pub(crate) fn make_directory(path: &Path, mode: u32) -> Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
            .map_err(StoreError::io("set the mode of", path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(StoreError::io("create directory", path)(error)),
    }
}

/// Removes a file; a missing one is no error.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if !is_absent(&error) => Err(StoreError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Names in a directory, without temporary files and in no order; a missing directory is empty.
pub(crate) fn list(directory: &Path) -> Result<Vec<String>> {
    Ok(list_all(directory)?.into_iter().filter(|name| !name.starts_with('.')).collect())
}

/// Names in a directory; those that are not UTF-8 are not ours and left out.
pub(crate) fn list_all(directory: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", directory)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StoreError::io("list", directory))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// `bytes` random bytes as lower-case hex.
pub fn random_hex(bytes: usize) -> String {
    let mut buffer = vec![0u8; bytes];
    let mut filled = 0;
    while filled < bytes {
        // getrandom(2) with these flags fails only when interrupted before the first bytes of the boot.
        filled += rustix::rand::getrandom(&mut buffer[filled..], rustix::rand::GetRandomFlags::empty())
            .unwrap_or_default();
    }
    let mut text = String::with_capacity(2 * bytes);
    for byte in buffer {
        text.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
        text.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
    }
    text
}

/// A held flock(2); given up when dropped or when the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

/// How a [`Lock`] is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Shared,
    Exclusive,
}

impl Lock {
    /// Waits for the lock on the file at `path`, which is made when missing.
    pub(crate) fn take(path: &Path, mode: Mode) -> Result<Lock> {
        let file = open_lock(path)?;
        let operation = match mode {
            Mode::Shared => FlockOperation::LockShared,
            Mode::Exclusive => FlockOperation::LockExclusive,
        };
        lock(&file, path, operation)?;
        Ok(Lock { file })
    }

    /// Takes the lock exclusively; `None` when anybody holds it in any way.
    pub(crate) fn try_exclusive(path: &Path) -> Result<Option<Lock>> {
        let file = open_lock(path)?;
        Ok(try_lock_exclusive(&file, path)?.then_some(Lock { file }))
    }

    /// Waits for an exclusive lock on a file that its holders remove, see [`Lock::unlink`].
    pub(crate) fn take_transient(path: &Path) -> Result<Lock> {
        use std::os::unix::fs::MetadataExt;
        loop {
            let lock = Lock::take(path, Mode::Exclusive)?;
            let held = lock.file.metadata().map_err(StoreError::io("inspect", path))?;
            match std::fs::metadata(path) {
                Ok(named) if named.ino() == held.ino() && named.dev() == held.dev() => return Ok(lock),
                Ok(_) => {}
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(StoreError::io("inspect", path)(error)),
            }
        }
    }

    /// Removes the file of a transient lock, then gives the lock up.
    pub(crate) fn unlink(self, path: &Path) -> Result<()> {
        remove_file(path)
    }
}

/// Locks an open file or directory, waiting; the lock lives as long as the descriptor.
pub(crate) fn lock(file: &File, path: &Path, operation: FlockOperation) -> Result<()> {
    retry(|| flock(file, operation)).map_err(StoreError::io("lock", path))
}

/// Locks an open file or directory if nobody holds it in any way; `false` otherwise.
pub(crate) fn try_lock_exclusive(file: &File, path: &Path) -> Result<bool> {
    match retry(|| flock(file, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(StoreError::io("lock", path)(error)),
    }
}

fn open_lock(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(StoreError::io("open", path))
}

fn retry(mut call: impl FnMut() -> rustix::io::Result<()>) -> rustix::io::Result<()> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_failure_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        for durability in [Durability::Durable, Durability::Volatile] {
            write_atomic(&path, format!("{durability:?}").as_bytes(), durability).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{durability:?}"));
        }
        let onto_directory = directory.path().join("d");
        std::fs::create_dir(&onto_directory).unwrap();
        assert!(write_atomic(&onto_directory, b"x", Durability::Volatile).is_err());
        let mut names = list_all(directory.path()).unwrap();
        names.sort();
        assert_eq!(names, ["d", "f"]);
        assert!(read(&directory.path().join("no")).unwrap().is_none());
        assert!(read(&onto_directory).is_err());
    }

    #[test]
    fn files_of_any_length_are_read_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        for length in [0, 1, SMALL_FILE_BYTES - 1, SMALL_FILE_BYTES, SMALL_FILE_BYTES + 1, 100_000] {
            let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(read(&path).unwrap().unwrap(), bytes, "{length}");
        }
    }

    #[test]
    fn a_transient_lock_is_never_held_on_a_removed_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("l");
        let counter = std::sync::Mutex::new(0u32);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let lock = Lock::take_transient(&path).unwrap();
                        *counter.try_lock().expect("two holders at once") += 1;
                        lock.unlink(&path).unwrap();
                    }
                });
            }
        });
        assert_eq!(*counter.lock().unwrap(), 400);
        assert!(!path.exists());
    }

    #[test]
    fn exclusive_is_refused_while_shared() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("l");
        let shared = Lock::take(&path, Mode::Shared).unwrap();
        let second = Lock::take(&path, Mode::Shared).unwrap();
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop((shared, second));
        assert!(Lock::try_exclusive(&path).unwrap().is_some());
    }
}
