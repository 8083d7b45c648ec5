//! What happened: one line for each event, appended by one write(2), the newest in the file `now`.
//!
//! Any number of processes write at once: each holds a shared flock(2) on the file while it appends. Who finds the file
//! full takes the lock exclusively and renames it to the next number, so nothing is ever appended to a numbered file. The
//! oldest numbers go. Readers take no lock; one that follows reads a file to its end after it was renamed, then
//! goes on with the next. Not durable: the last events before a power cut may be missing or cut off.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::Store;
use crate::error::{Result, StoreError};
use crate::files;

/// A file with more than this is full.
const FILE_BYTES: u64 = 2 << 20;
/// Full files that are kept.
const KEPT: usize = 4;
/// Name of the file that is written.
const NOW: &str = "now";
/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 << 10;

impl Store {
    /// Appends an event: one line, with its newline.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append_event(&self, line: &[u8]) -> Result<()> {
        self.append_event_to(line, FILE_BYTES)
    }

    fn append_event_to(&self, line: &[u8], file_bytes: u64) -> Result<()> {
        let path = self.paths().events().join(NOW);
        loop {
            let mut file = self.open_events(&path)?;
            files::lock(&file, &path, FlockOperation::LockShared)?;
            let held = file.metadata().map_err(StoreError::io("inspect", &path))?;
            if inode(&path) != Some(held.ino()) {
                // It was full and is a numbered one by now.
                continue;
            }
            if held.len() >= file_bytes {
                self.number_events(&file, &path)?;
                continue;
            }
            return file.write_all(line).map_err(StoreError::io("write", &path));
        }
    }

    /// Opens the file for appending; a store of an older program has no directory for it yet.
    fn open_events(&self, path: &Path) -> Result<File> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        match options.open(path) {
            Err(error) if files::is_absent(&error) => {
                files::make_directory(&self.paths().events(), 0o700)?;
                options.open(path).map_err(StoreError::io("open", path))
            }
            other => other.map_err(StoreError::io("open", path)),
        }
    }

    /// Makes a numbered file of a full one, unless somebody else has.
    fn number_events(&self, file: &File, path: &Path) -> Result<()> {
        // A shared lock becomes an exclusive one by way of none at all.
        files::lock(file, path, FlockOperation::LockExclusive)?;
        let held = file.metadata().map_err(StoreError::io("inspect", path))?;
        if inode(path) != Some(held.ino()) {
            return Ok(());
        }
        let mut numbers = numbers(&self.paths().events())?;
        let next = numbers.last().map_or(1, |last| last + 1);
        let numbered = self.numbered_events(next);
        std::fs::rename(path, &numbered).map_err(StoreError::io("rename", path))?;
        numbers.push(next);
        let excess = numbers.len().saturating_sub(KEPT);
        for old in &numbers[..excess] {
            files::remove_file(&self.numbered_events(*old))?;
        }
        Ok(())
    }

    fn numbered_events(&self, number: u64) -> PathBuf {
        self.paths().events().join(format!("{number:010}"))
    }

    /// Reads all events that are kept, the oldest first, and then on.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn events(&self) -> Result<EventReader> {
        let directory = self.paths().events();
        files::make_directory(&directory, 0o700)?;
        Ok(EventReader { store: self.clone(), file: None, fresh: true, line: Vec::new(), at: 0 })
    }
}

/// Reads events in their order, across files.
#[derive(Debug)]
pub struct EventReader {
    store: Store,
    /// The file that is being read.
    file: Option<File>,
    /// Nothing was read yet: begin with the oldest.
    fresh: bool,
    line: Vec<u8>,
    /// Where the next line begins in `line`.
    at: usize,
}

impl EventReader {
    /// The directory to watch for changes.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.store.paths().events()
    }

    /// The next event without its newline; `None` when there is none yet.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn next_event(&mut self) -> Result<Option<&[u8]>> {
        loop {
            if let Some(length) = self.line[self.at..].iter().position(|byte| *byte == b'\n') {
                let start = self.at;
                self.at += length + 1;
                return Ok(Some(&self.line[start..start + length]));
            }
            self.line.drain(..self.at);
            self.at = 0;
            if !self.read_on()? {
                return Ok(None);
            }
        }
    }

    /// Reads more, from the next file when this one is at its end; false when there is nothing more.
    fn read_on(&mut self) -> Result<bool> {
        let directory = self.directory();
        let now = directory.join(NOW);
        if let Some(file) = &mut self.file {
            // Asked before it is read to its end: what is numbered does not grow any more.
            let held = file.metadata().map_err(StoreError::io("inspect", &now))?.ino();
            let is_numbered = inode(&now) != Some(held);
            let old = self.line.len();
            self.line.resize(old + PIECE_BYTES, 0);
            let count = read(file, &mut self.line[old..]).map_err(StoreError::io("read", &now))?;
            self.line.truncate(old + count);
            if count > 0 || !is_numbered {
                return Ok(count > 0);
            }
            self.file = self.after(held)?;
        } else {
            self.file = if self.fresh { self.oldest()? } else { open(&now)? };
        }
        self.fresh = false;
        // A line that was cut off by a crash belongs to nothing.
        self.line.clear();
        Ok(self.file.is_some())
    }

    fn oldest(&self) -> Result<Option<File>> {
        for number in numbers(&self.directory())? {
            // It may have gone since.
            if let Some(file) = open(&self.store.numbered_events(number))? {
                return Ok(Some(file));
            }
        }
        open(&self.directory().join(NOW))
    }

    /// The file that follows a numbered one; the oldest when that one is gone.
    fn after(&self, held: u64) -> Result<Option<File>> {
        let numbers = numbers(&self.directory())?;
        let is_held = |number: &u64| inode(&self.store.numbered_events(*number)) == Some(held);
        match numbers.iter().position(is_held) {
            None => self.oldest(),
            Some(place) => match numbers.get(place + 1) {
                Some(next) => open(&self.store.numbered_events(*next)),
                None => open(&self.directory().join(NOW)),
            },
        }
    }
}

fn open(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if files::is_absent(&error) => Ok(None),
        Err(error) => Err(StoreError::io("open", path)(error)),
    }
}

fn read(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|found| found.ino())
}

/// Numbers of the full files, ascending.
fn numbers(directory: &Path) -> Result<Vec<u64>> {
    let mut numbers: Vec<u64> = files::list(directory)?.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(folder: &Path) -> Store {
        Store::open(&folder.join("root"), &folder.join("run")).unwrap()
    }

    fn rest(reader: &mut EventReader) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(line) = reader.next_event().unwrap() {
            found.push(String::from_utf8(line.to_vec()).unwrap());
        }
        found
    }

    #[test]
    fn a_follower_sees_everything_once_across_files() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let mut reader = store.events().unwrap();
        assert!(rest(&mut reader).is_empty());
        let mut seen = Vec::new();
        for n in 0..300 {
            store.append_event_to(format!("event {n}\n").as_bytes(), 100).unwrap();
            if n % 7 == 0 {
                seen.extend(rest(&mut reader));
            }
        }
        seen.extend(rest(&mut reader));
        assert_eq!(seen, (0..300).map(|n| format!("event {n}")).collect::<Vec<_>>());
        assert_eq!(numbers(&store.paths().events()).unwrap().len(), KEPT);
    }

    #[test]
    fn only_the_newest_are_kept_and_they_are_read_from_the_oldest_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        for n in 0..1000 {
            store.append_event_to(format!("{n:09}\n").as_bytes(), 1000).unwrap();
        }
        let seen = rest(&mut store.events().unwrap());
        assert_eq!(seen.first().unwrap(), "000000500");
        assert_eq!(seen.len(), 500);
        assert_eq!(seen.last().unwrap(), "000000999");
    }

    #[test]
    fn writers_in_parallel_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let mut reader = store.events().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let store = &store;
                scope.spawn(move || {
                    for n in 0..200 {
                        store.append_event_to(format!("{writer} {n}\n").as_bytes(), 2000).unwrap();
                    }
                });
            }
        });
        let mut seen = rest(&mut reader);
        assert_eq!(seen.len(), 800);
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 800);
    }
}
