//! The files of a log: a full one makes way, `log` becomes `log.1`, `log.1` becomes `log.2`, the oldest goes.
//!
//! With compression the main program is called for it (`errand::COMPRESS`), one file at a time, the oldest first, and only
//! the monitor gives names: what is compressed while files move on is found again by counting. `log.N` and `log.N.gz`
//! are never both there. At the end of the container a file at work stays as it is; the next run goes on with it.

use cais_plan::{Setup, errand};

use crate::errand::Errand;
use crate::line::Line;
use crate::sys;

/// Name of the file in the container's directory.
const NAME: &[u8] = b"log";
/// Most files that are kept.
const FILES_MAX: u32 = 1000;
/// What is compressed is written here.
const PART: &[u8] = b".gz.part";
const SIGKILL: i32 = 9;

/// The files of one log.
pub struct Files<'a> {
    setup: Setup<'a>,
    directory: i32,
    name: &'a [u8],
    /// Files that are kept, the one that is written included.
    count: u32,
    /// Full files that are not compressed: they have the numbers from 1 on.
    full: u32,
    /// Number of the one that is being compressed, 0 for none.
    at_work: u32,
    errand: Option<Errand>,
}

impl<'a> Files<'a> {
    /// What an earlier run left uncompressed is taken up.
    #[must_use]
    pub fn new(setup: &Setup<'a>) -> Files<'a> {
        let given = setup.log_dir_fd >= 0;
        let mut files = Files {
            setup: *setup,
            directory: if given { setup.log_dir_fd } else { setup.exit_dir_fd },
            name: if given { setup.log_name.0 } else { NAME },
            count: setup.log_files.clamp(1, FILES_MAX),
            full: 0,
            at_work: 0,
            errand: None,
        };
        if setup.log_compress {
            while files.full + 1 < files.count
                && sys::fstatat(files.directory, files.numbered(files.full + 1, b"").text()).is_ok()
            {
                files.full += 1;
            }
        }
        files
    }

    /// Begins a new file, its descriptor; `None` where that is not possible and the old one goes on.
    pub fn begin(&mut self) -> Option<i32> {
        let last = self.count - 1;
        if self.setup.log_compress && last > 0 {
            self.remove(last, b"");
            self.remove(last, b".gz");
        }
        for number in (1..last).rev() {
            self.move_on(number, b"");
            if self.setup.log_compress {
                self.move_on(number, b".gz");
            }
        }
        let current = self.numbered(0, b"");
        let made_way = match last {
            0 => sys::unlinkat(self.directory, current.text()),
            _ => sys::renameat(self.directory, current.text(), self.numbered(1, b"").text()),
        };
        if made_way.is_err() {
            return None;
        }
        self.full = (self.full + 1).min(last);
        self.at_work += u32::from(self.at_work > 0);
        let flags = sys::O_WRONLY | sys::O_CREAT | sys::O_APPEND | sys::O_CLOEXEC;
        let fd = sys::openat(self.directory, current.text(), flags, 0o600).ok();
        self.compress();
        fd
    }

    /// What to poll; -1 for nothing.
    #[must_use]
    pub fn pidfd(&self) -> i32 {
        self.errand.as_ref().map_or(-1, |errand| errand.pidfd)
    }

    /// A file has been compressed, or not.
    pub fn heard(&mut self) {
        let Some(status) = self.errand.as_ref().and_then(Errand::end) else { return };
        self.errand = None;
        let number = core::mem::take(&mut self.at_work);
        let part = self.numbered(0, PART);
        if status != 0 || number >= self.count {
            let _ = sys::unlinkat(self.directory, part.text());
            // What has failed is not tried again before the next full file.
            return if status == 0 {
                self.compress()
            };
        }
        if sys::renameat(self.directory, part.text(), self.numbered(number, b".gz").text()).is_ok() {
            self.remove(number, b"");
        }
        self.full = number - 1;
        self.compress();
    }

    /// The container has ended: nobody waits for a file that is being compressed.
    pub fn stop(&mut self) {
        let Some(errand) = self.errand.take() else { return };
        let _ = sys::pidfd_send_signal(errand.pidfd, SIGKILL);
        errand.wait();
        let _ = sys::unlinkat(self.directory, self.numbered(0, PART).text());
    }

    /// Has the oldest full file compressed, unless one is at work.
    fn compress(&mut self) {
        if !self.setup.log_compress || self.errand.is_some() || self.full == 0 {
            return;
        }
        let flags = sys::O_WRONLY | sys::O_CREAT | sys::O_TRUNC | sys::O_CLOEXEC;
        let source = sys::openat(self.directory, self.numbered(self.full, b"").text(), sys::O_CLOEXEC, 0);
        let target = sys::openat(self.directory, self.numbered(0, PART).text(), flags, 0o600);
        if let (Ok(source), Ok(target)) = (source, target) {
            self.errand = Errand::with_streams(&self.setup, errand::COMPRESS, [source, target]);
            self.at_work = if self.errand.is_some() { self.full } else { 0 };
        }
        for fd in [source, target].into_iter().flatten() {
            sys::close(fd);
        }
    }

    fn move_on(&self, number: u32, end: &[u8]) {
        let _ = sys::renameat(
            self.directory,
            self.numbered(number, end).text(),
            self.numbered(number + 1, end).text(),
        );
    }

    fn remove(&self, number: u32, end: &[u8]) {
        let _ = sys::unlinkat(self.directory, self.numbered(number, end).text());
    }

    fn numbered(&self, number: u32, end: &[u8]) -> Name {
        Name::of(self.name, number, end)
    }
}

/// `log.N.gz`, with the NUL that the kernel wants behind it; without the number when it is 0.
struct Name {
    bytes: [u8; 280],
    used: usize,
}

impl Name {
    fn of(name: &[u8], number: u32, end: &[u8]) -> Name {
        let mut line = Line::new();
        if number > 0 {
            line.field(b".", u64::from(number));
        }
        let mut made = Name { bytes: [0; 280], used: 0 };
        // A name has 255 bytes at most, and one byte stays NUL.
        for part in [name, line.text(), end] {
            if let Some(place) = made.bytes[..279].get_mut(made.used..made.used + part.len()) {
                place.copy_from_slice(part);
                made.used += part.len();
            }
        }
        made
    }

    fn text(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_full_files() {
        assert_eq!(Name::of(b"log", 0, b"").text(), b"log");
        assert_eq!(Name::of(b"log", 1, b"").text(), b"log.1");
        assert_eq!(Name::of(b"x.log", 999, b".gz").bytes[..13], *b"x.log.999.gz\0");
        let long = Name::of(&[b'x'; 255], 999, b".gz.part");
        assert_eq!(long.bytes[long.used], 0);
    }
}
