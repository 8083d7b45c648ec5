//! The files of a log: `log` is written, `log.1` was full before it, `log.2` before that.
//!
//! The shim renames upwards and opens a new `log`. Files are opened from the newest to the oldest, so that one that is
//! renamed meanwhile is met again and not missed; known by its inode it is not read twice. A reader that stays behind
//! keeps what it has opened: such a file is whole although its name may be gone.

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::reader::tail_start;
use super::{LogOptions, Window};

/// Numbers beyond this are not ours.
const NUMBER_MAX: u32 = 1000;

/// The files that are still to be read.
pub(super) struct Files {
    path: PathBuf,
    /// The oldest first.
    queue: VecDeque<File>,
    /// Inode of the newest that was ever in the queue.
    newest: Option<u64>,
}

impl Files {
    /// All files that hold something of what is asked for, and where in the first of them it begins.
    pub(super) fn open(path: PathBuf, options: &LogOptions, window: &Window) -> io::Result<(Files, u64)> {
        let mut files = Files { path, queue: VecDeque::new(), newest: None };
        files.look()?;
        let mut wanted = match options.tail {
            Some(lines) => lines,
            None => return Ok((files, 0)),
        };
        // Backwards, until there are lines enough.
        for (place, file) in files.queue.iter().enumerate().rev() {
            let (start, found) = tail_start(file, wanted, window.since.as_ref(), window.until.as_ref())?;
            if start > 0 || found >= wanted || place == 0 {
                files.queue.drain(..place);
                return Ok((files, start));
            }
            wanted -= found;
        }
        Ok((files, 0))
    }

    /// The next file to read, the oldest.
    pub(super) fn next(&mut self) -> Option<File> {
        self.queue.pop_front()
    }

    /// No further file is known.
    pub(super) fn is_last(&self) -> bool {
        self.queue.is_empty()
    }

    /// Opens the files that have come since the last look.
    pub(super) fn look(&mut self) -> io::Result<()> {
        if let Ok(found) = std::fs::metadata(&self.path)
            && self.newest == Some(found.ino())
        {
            return Ok(());
        }
        let mut fresh: Vec<(u64, File)> = Vec::new();
        for number in 0..NUMBER_MAX {
            let Some(file) = self.open_number(number)? else {
                // `log` is away for a moment while its successor is made.
                if number == 0 {
                    continue;
                }
                break;
            };
            let inode = file.metadata().map(|found: Metadata| found.ino())?;
            if self.newest == Some(inode) {
                break;
            }
            if fresh.iter().all(|(known, _)| *known != inode) {
                fresh.push((inode, file));
            }
        }
        if let Some((inode, _)) = fresh.first() {
            self.newest = Some(*inode);
        }
        self.queue.extend(fresh.into_iter().rev().map(|(_, file)| file));
        Ok(())
    }

    fn open_number(&self, number: u32) -> io::Result<Option<File>> {
        let mut path = self.path.clone().into_os_string();
        if number > 0 {
            path.push(format!(".{number}"));
        }
        match File::open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn text(files: &mut Files) -> String {
        let mut text = String::new();
        while let Some(mut file) = files.next() {
            file.read_to_string(&mut text).unwrap();
        }
        text
    }

    #[test]
    fn every_file_once_in_order_while_they_are_renamed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let window = Window { since: None, until: None };
        for (name, content) in [("log.2", "a"), ("log.1", "b"), ("log", "c")] {
            std::fs::write(at(name), content).unwrap();
        }
        let (mut files, _) = Files::open(at("log"), &LogOptions::default(), &window).unwrap();
        assert_eq!(text(&mut files), "abc");
        files.look().unwrap();
        assert!(files.is_last());
        for content in ["d", "e"] {
            std::fs::rename(at("log.1"), at("log.2")).unwrap();
            std::fs::rename(at("log"), at("log.1")).unwrap();
            std::fs::write(at("log"), content).unwrap();
        }
        files.look().unwrap();
        assert_eq!(text(&mut files), "de");
    }

    #[test]
    fn the_last_lines_may_lie_in_several_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let window = Window { since: None, until: None };
        let line = |text: &str| format!("2026-11-20T10:00:00.000000000Z stdout F {text}\n");
        std::fs::write(at("log.1"), line("1") + &line("2") + &line("3")).unwrap();
        std::fs::write(at("log"), line("4")).unwrap();
        let length = line("1").len() as u64;
        let tail = |lines| {
            let options = LogOptions { tail: Some(lines), ..LogOptions::default() };
            let (files, start) = Files::open(at("log"), &options, &window).unwrap();
            (files.queue.len(), start / length)
        };
        assert_eq!([tail(0), tail(1), tail(2), tail(4), tail(9)], [(1, 1), (1, 0), (2, 2), (2, 0), (2, 0)]);
    }
}
