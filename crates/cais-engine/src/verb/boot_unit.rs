//! `boot enable`, `disable`, `status`: the unit of systemd that calls `system boot` when the machine comes up.
//!
//! Files only, as `systemctl enable` makes them: nothing is executed, and they count from the next boot on. An ordinary
//! user's unit runs at boot only when the user lingers (loginctl(1)).

use std::io;
use std::path::{Path, PathBuf};

use crate::{Engine, Error, ErrorKind, Result};

/// Name of the unit.
const UNIT: &str = "cais-boot.service";
/// Units of the machine.
const SYSTEM_UNITS: &str = "/etc/systemd/system";
/// Is there when systemd has booted the machine; sd_booted(3).
const BOOTED: &str = "/run/systemd/system";
/// Holds a file for each user that lingers.
const LINGER: &str = "/var/lib/systemd/linger";

/// What there is of the unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootUnit {
    /// The unit's file.
    pub path: PathBuf,
    /// It is called at boot.
    pub enabled: bool,
    /// What is missing beside it.
    pub hint: Option<String>,
}

impl Engine {
    /// Writes the unit and has it called at boot; an old one is replaced.
    ///
    /// # Errors
    /// Where systemd has not booted the machine, or the files cannot be written.
    pub fn boot_enable(&self) -> Result<BootUnit> {
        if !Path::new(BOOTED).exists() {
            return Err(Error::new(ErrorKind::Unsupported, "this machine was not booted by systemd")
                .hint("have its init call `cais system boot`"));
        }
        let (path, wants) = self.unit_files()?;
        for directory in [path.parent(), wants.parent()].into_iter().flatten() {
            std::fs::create_dir_all(directory).map_err(failed("create", directory))?;
        }
        std::fs::write(&path, self.unit()?).map_err(failed("write", &path))?;
        match std::os::unix::fs::symlink(&path, &wants) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("make", &wants)(error));
            }
            _ => {}
        }
        self.boot_status()
    }

    /// Takes the unit away; idempotent.
    ///
    /// # Errors
    /// When the files cannot be removed.
    pub fn boot_disable(&self) -> Result<BootUnit> {
        let (path, wants) = self.unit_files()?;
        for file in [&wants, &path] {
            match std::fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove", file)(error));
                }
                _ => {}
            }
        }
        self.boot_status()
    }

    /// Whether the unit is there and called at boot.
    ///
    /// # Errors
    /// When the user has no home directory.
    pub fn boot_status(&self) -> Result<BootUnit> {
        let (path, wants) = self.unit_files()?;
        let enabled = path.exists() && std::fs::symlink_metadata(&wants).is_ok();
        let hint = if enabled && self.config.rootless { linger_hint() } else { None };
        Ok(BootUnit { path, enabled, hint })
    }

    /// The unit, and the link by which it is wanted.
    fn unit_files(&self) -> Result<(PathBuf, PathBuf)> {
        if !self.config.rootless {
            let units = Path::new(SYSTEM_UNITS);
            return Ok((units.join(UNIT), units.join("multi-user.target.wants").join(UNIT)));
        }
        let home = self.config.home.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "this user has no home directory for units of systemd")
        })?;
        let units = home.join(".config/systemd/user");
        Ok((units.join(UNIT), units.join("default.target.wants").join(UNIT)))
    }

    fn unit(&self) -> Result<String> {
        let program = std::env::current_exe()
            .map_err(|error| Error::caused(ErrorKind::System, "find this program", error))?;
        let paths = self.store.paths();
        let words: Vec<String> =
            [program.as_path(), "--root".as_ref(), paths.root(), "--run-root".as_ref(), paths.run()]
                .iter()
                .map(|path| quote(&path.to_string_lossy()))
                .collect();
        let (after, target) = match self.config.rootless {
            true => ("basic.target".to_owned(), "default.target"),
            false => ("network-online.target local-fs.target".to_owned(), "multi-user.target"),
        };
        let wants = if self.config.rootless { "" } else { "Wants=network-online.target\n" };
        Ok(format!(
            "# Made by `cais boot enable`; `cais boot disable` takes it away.\n\
             [Unit]\nDescription=Containers that run again after a boot\nAfter={after}\n{wants}\n\
             [Service]\nType=oneshot\nRemainAfterExit=yes\n\
             # The monitors of the containers outlive the command.\nKillMode=process\n\
             ExecStart={} system boot\n\n\
             [Install]\nWantedBy={target}\n",
            words.join(" ")
        ))
    }
}

/// A word of a command line, systemd.service(5).
fn quote(word: &str) -> String {
    let word = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    if word.contains([' ', '\t', '"', '\'', ';']) { format!("\"{word}\"") } else { word }
}

/// What an ordinary user has to do once.
fn linger_hint() -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let uid = rustix::process::getuid().as_raw().to_string();
    let user = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    })?;
    let lingers = Path::new(LINGER).join(&user).exists();
    (!lingers).then(|| {
        format!("it is called at your first login; to have it called at boot: loginctl enable-linger {user}")
    })
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let message = format!("{operation} {}", path.display());
    move |error| {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            _ => ErrorKind::System,
        };
        Error::caused(kind, message, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_command_lines() {
        assert_eq!(quote("/usr/bin/cais"), "/usr/bin/cais");
        assert_eq!(quote("/a b/%n$x\"y"), "\"/a b/%%n$$x\\\"y\"");
    }
}
