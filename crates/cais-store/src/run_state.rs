//! What is known of a container's run: the lock that its shim holds, the facts that the engine wrote, and the exit
//! record that the shim wrote.
//!
//! A container runs as long as somebody holds the OFD lock on `run/containers/<id>/lock`; nothing else is believed, so
//! a run directory that survived a kill or a reboot means nothing. The shim has no allocator and writes the exit record
//! as text, beside and renamed:
//!
//! ```text
//! code=0 signal=0 oom=<kills> started=<unix ns> finished=<unix ns> pid=<pid>   (0: it has never run)
//! error=<text to the end of the line>                            (only when the command could not be started)
//! ```

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cais_sys::lock::{OfdLock, is_held};
use jiff::Timestamp;

use crate::Store;
use crate::error::{Result, StoreError};
use crate::files::{self, Durability, Lock};
use crate::record::{Ending, ExitRecord, OomRecord, RunFacts};

/// The right to let a container stand still; see [`Store::begin_pause`].
#[derive(Debug)]
pub struct Pause {
    lock: Lock,
    path: PathBuf,
}

impl Pause {
    /// The container goes on again.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn end(self) -> Result<()> {
        self.lock.unlink(&self.path)
    }
}

impl Store {
    /// Takes the lock of a new run, making the run directory, and clears what an earlier run left in it.
    ///
    /// The caller passes the file to the shim; whoever shares it holds the lock.
    ///
    /// # Errors
    /// [`StoreError::Running`] when somebody holds it.
    pub fn take_run_lock(&self, id: &str) -> Result<OfdLock> {
        let directory = self.paths().run_container(id);
        let path = self.paths().run_lock(id);
        loop {
            files::make_directory(&directory, 0o700)?;
            let opened = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path);
            let file = match opened {
                // The teardown of the run before took the directory away in between.
                Err(error) if files::is_absent(&error) => continue,
                other => other.map_err(StoreError::io("open", &path))?,
            };
            let lock = OfdLock::try_take(file).map_err(StoreError::io("lock", &path))?;
            let lock = lock.ok_or_else(|| StoreError::Running { id: id.to_owned() })?;
            if is_at(&lock, &path)? {
                files::remove_file(&self.paths().run_facts(id))?;
                files::remove_file(&self.paths().run_ctl(id))?;
                files::remove_file(&self.paths().run_ended(id))?;
                return Ok(lock);
            }
        }
    }

    /// As [`Store::take_run_lock`], with the lock that the monitor of the run before has left us at a descriptor. The facts
    /// of that run stay until there are new ones.
    ///
    /// # Errors
    /// When the descriptor is not that lock.
    pub fn inherit_run_lock(&self, id: &str, number: i32) -> Result<OfdLock> {
        let path = self.paths().run_lock(id);
        let lock = OfdLock::inherited(number).map_err(StoreError::io("lock", &path))?;
        if !is_at(&lock, &path)? {
            return Err(StoreError::Running { id: id.to_owned() });
        }
        files::remove_file(&self.paths().run_ctl(id))?;
        files::remove_file(&self.paths().run_ended(id))?;
        Ok(lock)
    }

    /// Whether somebody holds the lock of this container's run.
    ///
    /// # Errors
    /// When the lock file is unreadable.
    pub fn is_running(&self, id: &str) -> Result<bool> {
        let path = self.paths().run_lock(id);
        match File::open(&path) {
            Ok(file) => is_held(&file).map_err(StoreError::io("probe the lock of", &path)),
            Err(error) if files::is_absent(&error) => Ok(false),
            Err(error) => Err(StoreError::io("open", &path)(error)),
        }
    }

    /// Writes the facts of the present run; the caller knows that the lock is held.
    ///
    /// # Errors
    /// When the run directory is not writable.
    pub fn write_facts(&self, id: &str, facts: &RunFacts) -> Result<()> {
        files::write_json(&self.paths().run_facts(id), facts, Durability::Volatile)
    }

    /// The facts last written; `None` when there are none. Void unless [`Store::is_running`].
    ///
    /// # Errors
    /// When the file is damaged or unreadable.
    pub fn read_facts(&self, id: &str) -> Result<Option<RunFacts>> {
        files::read_json(&self.paths().run_facts(id))
    }

    /// How the last finished run ended; `None` when none has.
    ///
    /// # Errors
    /// When the file is damaged or unreadable.
    pub fn read_exit(&self, id: &str) -> Result<Option<ExitRecord>> {
        let path = self.paths().container_exit(id);
        let Some(bytes) = files::read(&path)? else { return Ok(None) };
        match parse_exit(&bytes) {
            Some(exit) => Ok(Some(exit)),
            None => Err(StoreError::DamagedText {
                path,
                problem: "expected code=… signal=… started=… finished=…",
            }),
        }
    }

    /// Whom the kernel killed for memory; means something beside an exit record that says that it did.
    ///
    /// # Errors
    /// When the file is damaged or unreadable.
    pub fn read_oom(&self, id: &str) -> Result<Option<OomRecord>> {
        files::read_json(&self.paths().container_oom(id))
    }

    /// Writes down whom the kernel killed for memory.
    ///
    /// # Errors
    /// When the container's directory is not writable.
    pub fn write_oom(&self, id: &str, oom: &OomRecord) -> Result<()> {
        files::write_json(&self.paths().container_oom(id), oom, Durability::Volatile)
    }

    /// Writes the exit record of a run whose monitor cannot do it: one that never began, or that lost its monitor.
    ///
    /// # Errors
    /// When the container's directory is not writable.
    pub fn write_exit(&self, id: &str, exit: &ExitRecord) -> Result<()> {
        let ExitRecord { code, signal, .. } = exit;
        let (oom, started, finished) =
            (exit.oom_kills.max(u64::from(exit.oom_killed)), unix_ns(&exit.started), unix_ns(&exit.finished));
        // One line: the text is the engine's own sentence.
        let error = exit.error.replace('\n', " ");
        let text = format!(
            "code={code} signal={signal} oom={oom} started={started} finished={finished}\nerror={error}\n"
        );
        files::write_atomic(&self.paths().container_exit(id), text.as_bytes(), Durability::Volatile)
    }

    /// Of all who learn of the end of a run, one is to report it: true for the first. False when it was taken down.
    #[must_use]
    pub fn claim_end(&self, id: &str) -> bool {
        let path = self.paths().run_ended(id);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).is_ok()
    }

    /// The lock of a run that has ended, for whoever takes it down; `None` when somebody holds it.
    ///
    /// # Errors
    /// When the lock file is unusable.
    pub fn take_ended_lock(&self, id: &str) -> Result<Option<OfdLock>> {
        let path = self.paths().run_lock(id);
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => OfdLock::try_take(file).map_err(StoreError::io("lock", &path)),
            Err(error) if files::is_absent(&error) => Ok(None),
            Err(error) => Err(StoreError::io("open", &path)(error)),
        }
    }

    /// Declares that the caller lets a running container stand still for a moment; others that want to wait for it.
    ///
    /// Should the caller die, [`Store::interrupted_pause`] finds what it left.
    ///
    /// # Errors
    /// When the run directory is gone or not writable.
    pub fn begin_pause(&self, id: &str) -> Result<Pause> {
        let path = self.paths().run_pausing(id);
        Ok(Pause { lock: Lock::take_transient(&path)?, path })
    }

    /// A pause whose maker has died, now the caller's; `None` when there is none.
    ///
    /// # Errors
    /// When the file is unusable.
    pub fn interrupted_pause(&self, id: &str) -> Result<Option<Pause>> {
        let path = self.paths().run_pausing(id);
        if !path.exists() {
            return Ok(None);
        }
        Ok(Lock::try_exclusive(&path)?.map(|lock| Pause { lock, path }))
    }

    /// Notes what was done to end a run.
    ///
    /// # Errors
    /// When the container's directory is not writable.
    pub fn write_ending(&self, id: &str, ending: &Ending) -> Result<()> {
        files::write_json(&self.paths().container_ending(id), ending, Durability::Volatile)
    }

    /// What was done to end the present or last run; `None` when nothing was.
    ///
    /// # Errors
    /// When the file is damaged or unreadable.
    pub fn read_ending(&self, id: &str) -> Result<Option<Ending>> {
        files::read_json(&self.paths().container_ending(id))
    }

    /// Removes the exit record, and what was done to end that run, before a new one; idempotent.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn clear_exit(&self, id: &str) -> Result<()> {
        files::remove_file(&self.paths().container_ending(id))?;
        files::remove_file(&self.paths().container_exit(id))
    }
}

/// The locked file is still the one at `path`, not one that was removed meanwhile.
fn is_at(lock: &OfdLock, path: &Path) -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let held = lock.file().metadata().map_err(StoreError::io("inspect", path))?;
    match std::fs::metadata(path) {
        Ok(named) => Ok(named.ino() == held.ino() && named.dev() == held.dev()),
        Err(error) if files::is_absent(&error) => Ok(false),
        Err(error) => Err(StoreError::io("inspect", path)(error)),
    }
}

/// Reads the shim's text; `None` when a word is missing or malformed. Unknown words are skipped.
fn parse_exit(bytes: &[u8]) -> Option<ExitRecord> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let words = lines.next()?;
    let word = |key: &str| -> Option<i128> {
        let value =
            words.split_ascii_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))?;
        value.parse().ok()
    };
    Some(ExitRecord {
        code: i32::try_from(word("code")?).ok()?,
        signal: i32::try_from(word("signal")?).ok()?,
        oom_killed: word("oom").unwrap_or_default() != 0,
        oom_kills: u64::try_from(word("oom").unwrap_or_default()).unwrap_or_default(),
        pid: word("pid").and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default(),
        started: rfc3339(word("started")?)?,
        finished: rfc3339(word("finished")?)?,
        error: lines.next().and_then(|line| line.strip_prefix("error=")).unwrap_or_default().to_owned(),
    })
}

/// RFC 3339 with nine digits of nanoseconds, UTC; 0 is no time.
fn rfc3339(unix_ns: i128) -> Option<String> {
    if unix_ns == 0 {
        return Some(String::new());
    }
    Timestamp::from_nanosecond(unix_ns).ok().map(|time| format!("{time:.9}"))
}

/// The reverse of [`rfc3339`].
fn unix_ns(time: &str) -> i128 {
    time.parse::<Timestamp>().map_or(0, Timestamp::as_nanosecond)
}

/// The time now, as records have it: RFC 3339 with nanoseconds, UTC.
pub fn now() -> String {
    format!("{:.9}", Timestamp::now())
}

/// A time of the file system as records have it; `None` for one that no calendar knows.
#[must_use]
pub fn timestamp(time: std::time::SystemTime) -> Option<String> {
    Timestamp::try_from(time).ok().map(|time| format!("{time:.9}"))
}

/// Id of the present boot; empty where the kernel does not tell.
pub(crate) fn boot_id() -> String {
    let text = std::fs::read_to_string(Path::new("/proc/sys/kernel/random/boot_id")).unwrap_or_default();
    text.trim().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_records() {
        let exit =
            parse_exit(b"code=137 signal=9 oom=1 started=1700000000000000001 finished=1700000001500000000\n")
                .unwrap();
        assert_eq!((exit.code, exit.signal, exit.oom_killed), (137, 9, true));
        assert_eq!(exit.started, "2023-11-14T22:13:20.000000001Z");
        assert_eq!(exit.finished, "2023-11-14T22:13:21.500000000Z");
        assert_eq!(exit.error, "");
        let failed =
            parse_exit(b"code=127 signal=0 oom=0 started=1 finished=2 later=3\nerror=no such = file\n")
                .unwrap();
        assert_eq!(failed.error, "no such = file");
        let unborn = parse_exit(b"code=127 signal=0 oom=0 started=0 finished=0\nerror=x\n").unwrap();
        assert_eq!((unborn.started.as_str(), unborn.finished.as_str()), ("", ""));
        for time in ["", "2023-11-14T22:13:20.000000001Z"] {
            assert_eq!(rfc3339(unix_ns(time)).unwrap(), time);
        }
        for bad in [
            "",
            "code=0",
            "code=x signal=0 started=1 finished=2",
            "code=99999999999 signal=0 started=1 finished=2",
        ] {
            assert_eq!(parse_exit(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
