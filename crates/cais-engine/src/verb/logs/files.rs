//! The files of a log: `log` is written, `log.1` was full before it, `log.2` before that.
//!
//! The shim renames upwards and opens a new `log`. Files are opened from the newest to the oldest, so that one that is
//! renamed meanwhile is met again and not missed; known by its inode it is not read twice. A reader that stays behind
//! keeps what it has opened: such a file is whole although its name may be gone. A file may be compressed, `log.1.gz`, and
//! says then which file it was: as long as a reader holds that one, no other file can have its inode.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::compressed::{self, Identity};
use super::reader::tail_start;
use super::{LogOptions, Window};

/// Numbers beyond this are not ours.
const NUMBER_MAX: u32 = 1000;

/// The files that are still to be read.
pub(super) struct Files {
    path: PathBuf,
    /// The oldest first.
    queue: VecDeque<LogFile>,
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
            let file = file.plain(&files.path)?;
            let (start, found) = tail_start(&file, wanted, window.since.as_ref(), window.until.as_ref())?;
            if start > 0 || found >= wanted || place == 0 {
                files.queue.drain(..place);
                return Ok((files, start));
            }
            wanted -= found;
        }
        Ok((files, 0))
    }

    /// The next file to read, the oldest.
    pub(super) fn next(&mut self) -> io::Result<Option<File>> {
        self.queue.pop_front().map(|file| file.plain(&self.path)).transpose()
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
        let mut fresh: Vec<LogFile> = Vec::new();
        for number in 0..NUMBER_MAX {
            let Some(file) = self.open_number(number)? else {
                // `log` is away for a moment while its successor is made.
                if number == 0 {
                    continue;
                }
                break;
            };
            if self.newest == Some(file.identity()?.inode) {
                break;
            }
            // Met again under its next name; a file that is compressed may have had the inode of one that is not.
            let mut is_known = false;
            for known in &fresh {
                is_known |= known.is(&file)?;
            }
            if !is_known {
                fresh.push(file);
            }
        }
        if let Some(newest) = fresh.first() {
            self.newest = Some(newest.identity()?.inode);
        }
        self.queue.extend(fresh.into_iter().rev());
        Ok(())
    }

    fn open_number(&self, number: u32) -> io::Result<Option<LogFile>> {
        let mut path = self.path.clone().into_os_string();
        if number == 0 {
            return Ok(open(path)?.map(LogFile::Plain));
        }
        path.push(format!(".{number}"));
        let mut compressed = path.clone();
        compressed.push(".gz");
        // Renamed from one to the other in between: looked for again.
        for _ in 0..2 {
            if let Some(file) = open(path.clone())? {
                return Ok(Some(LogFile::Plain(file)));
            }
            if let Some(file) = open(compressed.clone())? {
                return Ok(Some(LogFile::Compressed(file)));
            }
        }
        Ok(None)
    }
}

fn open(path: OsString) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file of a log.
enum LogFile {
    Plain(File),
    Compressed(File),
}

impl LogFile {
    /// Which file it is, or was before it was compressed.
    fn identity(&self) -> io::Result<Identity> {
        match self {
            LogFile::Plain(file) => Ok(Identity::of(&file.metadata()?)),
            LogFile::Compressed(file) => compressed::identity(file),
        }
    }

    /// Both are the same file.
    fn is(&self, other: &LogFile) -> io::Result<bool> {
        let (ours, theirs) = (self.identity()?, other.identity()?);
        let both_open = matches!((self, other), (LogFile::Plain(_), LogFile::Plain(_)));
        Ok(if both_open { ours.inode == theirs.inode } else { ours == theirs })
    }

    /// Its lines, in a file that has no name where it is compressed; that lies beside the log at `path`.
    fn plain(&self, path: &Path) -> io::Result<File> {
        match self {
            LogFile::Plain(file) => file.try_clone(),
            LogFile::Compressed(file) => compressed::plain(file, path.parent().unwrap_or(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn text(files: &mut Files) -> String {
        let mut text = String::new();
        while let Some(mut file) = files.next().unwrap() {
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
    fn compressed_files_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let window = Window { since: None, until: None };
        let compress = |name: &str| {
            let target = File::create(at("part")).unwrap();
            compressed::compress(&File::open(at(name)).unwrap(), &target).unwrap();
            std::fs::rename(at("part"), at(&format!("{name}.gz"))).unwrap();
            std::fs::remove_file(at(name)).unwrap();
        };
        let line = |text: &str| format!("2026-11-20T10:00:00.000000000Z stdout F {text}\n");
        for (name, content) in [("log.2", "a"), ("log.1", "b"), ("log", "c")] {
            std::fs::write(at(name), line(content)).unwrap();
        }
        compress("log.2");
        let (mut files, _) = Files::open(at("log"), &LogOptions::default(), &window).unwrap();
        let whole: String = ["a", "b", "c"].map(line).concat();
        let held: Vec<File> = std::iter::from_fn(|| files.next().unwrap()).collect();
        let texts = held.iter().map(|file| std::io::read_to_string(file).unwrap());
        assert_eq!(texts.collect::<String>(), whole);
        // What has been read is compressed while the reader holds the last of it.
        std::fs::rename(at("log.2.gz"), at("log.3.gz")).unwrap();
        std::fs::rename(at("log.1"), at("log.2")).unwrap();
        std::fs::rename(at("log"), at("log.1")).unwrap();
        std::fs::write(at("log"), line("d")).unwrap();
        compress("log.2");
        compress("log.1");
        files.look().unwrap();
        assert_eq!(text(&mut files), line("d"));
        // An inode that is used again: the oldest says that it was the one that is written now.
        let inode = std::fs::metadata(at("log")).unwrap().ino();
        let oldest = File::create(at("log.4.gz")).unwrap();
        let mut oldest = flate2::GzBuilder::new()
            .comment(format!("{inode} 3 4"))
            .write(oldest, flate2::Compression::fast());
        std::io::Write::write_all(&mut oldest, line("0").as_bytes()).unwrap();
        oldest.finish().unwrap();
        let (mut again, _) = Files::open(at("log"), &LogOptions::default(), &window).unwrap();
        assert_eq!(text(&mut again), ["0", "a", "b", "c", "d"].map(line).concat());
        let tail = LogOptions { tail: Some(3), ..LogOptions::default() };
        let (mut files, start) = Files::open(at("log"), &tail, &window).unwrap();
        assert_eq!((start, text(&mut files)), (0, ["b", "c", "d"].map(line).concat()));
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
