//! Device nodes of a container and the rules by which its cgroup lets it open them.
//!
//! Finds nodes and says what they are; makes none (the shim does) and writes no rules (`cgroup` does). Defaults are
//! those of Docker; rules read as in the kernel's admin-guide/cgroup-v1/devices.rst: of all that match the last wins.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{FileType, major, makedev, minor};

/// Names below /dev that are the container's own or no devices at all.
const SKIPPED: [&str; 10] =
    ["pts", "shm", "mqueue", "console", "ptmx", "fd", ".lxc", ".lxd-mounts", ".udev", "hugepages"];
/// A directory tree of devices deeper than this is no device tree.
const MAX_DEPTH: usize = 16;

/// Why a device or a rule cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// `--device` could not be read.
    #[error("read the device {text:?}: {reason}")]
    Request {
        /// As given.
        text: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// `--device-cgroup-rule` could not be read.
    #[error("read the device rule {text:?}: {reason}, as in \"c 10:* rwm\"")]
    Rule {
        /// As given.
        text: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A path could not be looked at.
    #[error("look at the device {}: {source}", path.display())]
    Look {
        /// Host path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The path is something else.
    #[error("{} is not a device", path.display())]
    NotADevice {
        /// Host path.
        path: PathBuf,
    },
    /// A directory has no devices.
    #[error("no devices below {}", path.display())]
    Empty {
        /// Host path.
        path: PathBuf,
    },
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// Both.
    All,
    /// Block devices.
    Block,
    /// Character devices.
    Char,
}

/// One line of a cgroup's device list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Which kind.
    pub kind: DeviceKind,
    /// `None` is any.
    pub major: Option<u32>,
    /// `None` is any.
    pub minor: Option<u32>,
    /// About opening for reading.
    pub read: bool,
    /// About opening for writing.
    pub write: bool,
    /// About mknod(2).
    pub mknod: bool,
    /// Allowed or denied.
    pub allow: bool,
}

impl DeviceRule {
    /// All devices, all access.
    #[must_use]
    pub const fn everything(allow: bool) -> DeviceRule {
        DeviceRule {
            kind: DeviceKind::All,
            major: None,
            minor: None,
            read: true,
            write: true,
            mknod: true,
            allow,
        }
    }

    /// Whether this says the same about every device and access.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == DeviceRule::everything(self.allow)
    }

    const fn char(major: Option<u32>, minor: Option<u32>) -> DeviceRule {
        DeviceRule { kind: DeviceKind::Char, major, minor, read: true, write: true, mknod: true, allow: true }
    }

    const fn make_any(kind: DeviceKind) -> DeviceRule {
        DeviceRule { kind, major: None, minor: None, read: false, write: false, mknod: true, allow: true }
    }
}

/// `c 10:* rwm`, what the files `devices.allow` and `devices.deny` read.
impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::All => 'a',
            DeviceKind::Block => 'b',
            DeviceKind::Char => 'c',
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        let flag = |on: bool, letter: &'static str| if on { letter } else { "" };
        write!(f, "{}{}{}", flag(self.read, "r"), flag(self.write, "w"), flag(self.mknod, "m"))
    }
}

/// Docker's `--device-cgroup-rule`; always an allowing one.
impl FromStr for DeviceRule {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<DeviceRule, DeviceError> {
        let wrong = |reason| DeviceError::Rule { text: text.to_owned(), reason };
        let mut words = text.split(' ');
        let (Some(kind), Some(numbers), Some(access), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong("it has not three words"));
        };
        let kind = match kind {
            "a" => DeviceKind::All,
            "b" => DeviceKind::Block,
            "c" => DeviceKind::Char,
            _ => return Err(wrong("the first word is not a, b or c")),
        };
        let (major, minor) =
            numbers.split_once(':').ok_or_else(|| wrong("the numbers are not MAJOR:MINOR"))?;
        let number = |text: &str| match text {
            "*" => Ok(None),
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map(Some).map_err(|_| wrong("a device number is missing or too large"))
            }
            _ => Err(wrong("a device number is neither digits nor *")),
        };
        let (major, minor) = (number(major)?, number(minor)?);
        let Access { read, write, mknod } =
            Access::parse(access).ok_or_else(|| wrong("the access is not made of r, w and m"))?;
        Ok(DeviceRule { kind, major, minor, read, write, mknod, allow: true })
    }
}

struct Access {
    read: bool,
    write: bool,
    mknod: bool,
}

impl Access {
    /// One to three of the letters r, w, m, none twice.
    fn parse(text: &str) -> Option<Access> {
        let mut access = Access { read: false, write: false, mknod: false };
        for letter in text.chars() {
            let flag = match letter {
                'r' => &mut access.read,
                'w' => &mut access.write,
                'm' => &mut access.mknod,
                _ => return None,
            };
            if std::mem::replace(flag, true) {
                return None;
            }
        }
        (!text.is_empty()).then_some(access)
    }
}

/// A device node that a container gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Path on the host.
    pub source: PathBuf,
    /// Absolute path in the container.
    pub path: PathBuf,
    /// Type and permissions, as `st_mode`.
    pub mode: u32,
    /// Number, as `st_rdev`.
    pub rdev: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// What the cgroup allows: letters of `rwm`.
    pub access: String,
}

impl Device {
    /// The rule that lets the container use it.
    #[must_use]
    pub fn rule(&self) -> DeviceRule {
        let kind = match FileType::from_raw_mode(self.mode) {
            FileType::BlockDevice => DeviceKind::Block,
            _ => DeviceKind::Char,
        };
        let has = |letter| self.access.is_empty() || self.access.contains(letter);
        DeviceRule {
            kind,
            major: Some(major(self.rdev)),
            minor: Some(minor(self.rdev)),
            read: has('r'),
            write: has('w'),
            mknod: has('m'),
            allow: true,
        }
    }

    fn from_metadata(source: PathBuf, path: PathBuf, found: &fs::Metadata, access: &str) -> Option<Device> {
        let mode = found.mode();
        let device =
            matches!(FileType::from_raw_mode(mode), FileType::BlockDevice | FileType::CharacterDevice);
        let (uid, gid) = (found.uid(), found.gid());
        device.then(|| Device { source, path, mode, rdev: found.rdev(), uid, gid, access: access.to_owned() })
    }
}

/// The nodes that every container has: null, zero, full, random, urandom and tty, for everyone to read and write.
#[must_use]
pub fn default_devices() -> Vec<Device> {
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
        .into_iter()
        .map(|(name, major, minor)| {
            let path = Path::new("/dev").join(name);
            Device {
                source: path.clone(),
                path,
                mode: FileType::CharacterDevice.as_raw_mode() | 0o666,
                rdev: makedev(major, minor),
                uid: 0,
                gid: 0,
                access: "rwm".to_owned(),
            }
        })
        .collect()
}

/// All nodes below `dev` (the host's /dev), each at the same place below the container's /dev: for `--privileged`.
///
/// Without the file systems below it, console and ptmx, of which a container has its own, and without links.
///
/// # Errors
/// When `dev` itself cannot be read; what vanishes or may not be read below it is left out.
pub fn host_devices(dev: &Path) -> Result<Vec<Device>, DeviceError> {
    let mut devices = Vec::new();
    collect(dev, Path::new("/dev"), "rwm", &mut devices, MAX_DEPTH)?;
    Ok(devices)
}

/// Adds the devices below `source`, sorted by name, with `path` in place of `source`.
fn collect(
    source: &Path,
    path: &Path,
    access: &str,
    devices: &mut Vec<Device>,
    depth: usize,
) -> Result<(), DeviceError> {
    let failed = |error| DeviceError::Look { path: source.to_owned(), source: error };
    let mut names: Vec<_> =
        fs::read_dir(source).map_err(failed)?.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    names.sort();
    for name in names {
        if SKIPPED.iter().any(|skipped| name == *skipped) {
            continue;
        }
        let (source, path) = (source.join(&name), path.join(&name));
        let Ok(found) = fs::symlink_metadata(&source) else { continue };
        if found.is_dir() && depth > 0 {
            // A directory that may not be read has nothing for the container either.
            let _ = collect(&source, &path, access, devices, depth - 1);
        } else {
            devices.extend(Device::from_metadata(source, path, &found, access));
        }
    }
    Ok(())
}

/// Docker's `--device HOST[:CONTAINER[:rwm]]`, also `HOST:rwm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRequest {
    source: PathBuf,
    path: PathBuf,
    access: String,
}

impl FromStr for DeviceRequest {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<DeviceRequest, DeviceError> {
        let wrong = |reason| DeviceError::Request { text: text.to_owned(), reason };
        let parts: Vec<&str> = text.split(':').collect();
        let (source, path, access) = match parts[..] {
            [source] => (source, source, "rwm"),
            [source, access] if Access::parse(access).is_some() => (source, source, access),
            [source, path] => (source, path, "rwm"),
            [source, path, access] => (source, path, access),
            _ => return Err(wrong("it is not HOST[:CONTAINER[:rwm]]")),
        };
        if Access::parse(access).is_none() {
            return Err(wrong("the access is not made of r, w and m"));
        }
        if !source.starts_with('/') {
            return Err(wrong("the host path is not absolute"));
        }
        let path = if path.is_empty() { source } else { path };
        let path = Path::new(path);
        if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
            return Err(wrong("the path in the container is not absolute or has \"..\""));
        }
        Ok(DeviceRequest { source: source.into(), path: path.to_owned(), access: access.to_owned() })
    }
}

impl DeviceRequest {
    /// The device, links followed; of a directory all devices below it.
    ///
    /// # Errors
    /// When the host path is missing, is something else, or is a directory without devices.
    pub fn resolve(&self) -> Result<Vec<Device>, DeviceError> {
        let failed = |source| DeviceError::Look { path: self.source.clone(), source };
        let source = fs::canonicalize(&self.source).map_err(failed)?;
        let found = fs::symlink_metadata(&source).map_err(failed)?;
        if !found.is_dir() {
            return match Device::from_metadata(source, self.path.clone(), &found, &self.access) {
                Some(device) => Ok(vec![device]),
                None => Err(DeviceError::NotADevice { path: self.source.clone() }),
            };
        }
        let mut devices = Vec::new();
        collect(&source, &self.path, &self.access, &mut devices, MAX_DEPTH)?;
        if devices.is_empty() {
            return Err(DeviceError::Empty { path: self.source.clone() });
        }
        Ok(devices)
    }
}

/// Docker's rules: nothing but making nodes, the standard devices and terminals.
#[must_use]
pub fn default_rules() -> Vec<DeviceRule> {
    let standard = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)];
    let mut rules = vec![
        DeviceRule::everything(false),
        DeviceRule::make_any(DeviceKind::Char),
        DeviceRule::make_any(DeviceKind::Block),
    ];
    rules.extend(standard.map(|(major, minor)| DeviceRule::char(Some(major), Some(minor))));
    rules.push(DeviceRule::char(Some(136), None));
    rules
}

/// The rules of a container: everything for a privileged one, else the default ones, then its devices', then `extra`.
#[must_use]
pub fn rules_for(devices: &[Device], extra: &[DeviceRule], privileged: bool) -> Vec<DeviceRule> {
    if privileged {
        return vec![DeviceRule::everything(true)];
    }
    let mut rules = default_rules();
    for rule in devices.iter().map(Device::rule).chain(extra.iter().cloned()) {
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<DeviceRequest, DeviceError> {
        text.parse()
    }

    #[test]
    fn rules_are_written_as_they_are_read() {
        for text in ["c 10:* rwm", "b *:* m", "a *:* rw", "c 4294967295:0 w"] {
            let rule: DeviceRule = text.parse().unwrap();
            assert_eq!(rule.to_string(), text);
            assert!(rule.allow);
        }
        for text in [
            "",
            "c",
            "c 10 rwm",
            "d 10:* rwm",
            "c 10:* x",
            "c 10:* ",
            "c -1:* r",
            "c 10:* rr",
            "c 1:1 r w",
            "c :1 r",
        ] {
            assert!(text.parse::<DeviceRule>().is_err(), "{text}");
        }
    }

    #[test]
    fn requests_in_all_their_forms() {
        let cases = [
            ("/dev/kvm", ("/dev/kvm", "/dev/kvm", "rwm")),
            ("/dev/kvm:/dev/x", ("/dev/kvm", "/dev/x", "rwm")),
            ("/dev/kvm:r", ("/dev/kvm", "/dev/kvm", "r")),
            ("/dev/kvm:/dev/x:mw", ("/dev/kvm", "/dev/x", "mw")),
        ];
        for (text, (source, path, access)) in cases {
            let want = DeviceRequest { source: source.into(), path: path.into(), access: access.into() };
            assert_eq!(request(text).unwrap(), want);
        }
        for text in [
            "",
            "kvm",
            "/dev/kvm:x",
            "/dev/kvm:rw:rw",
            "/dev/kvm:/x:rw:y",
            "/dev/kvm:/dev/x:",
            "/dev/a:/dev/../b",
        ] {
            assert!(request(text).is_err(), "{text}");
        }
    }

    #[test]
    fn devices_are_found_on_the_host() {
        let null = request("/dev/null:/dev/nothing:r").unwrap().resolve().unwrap();
        assert_eq!(null[0].rule().to_string(), "c 1:3 r");
        assert_eq!((null.len(), null[0].path.as_path()), (1, Path::new("/dev/nothing")));
        let all = host_devices(Path::new("/dev")).unwrap();
        assert!(all.iter().any(|d| d.path == Path::new("/dev/null") && d.rdev == makedev(1, 3)));
        assert!(!all.iter().any(|d| d.path.starts_with("/dev/pts") || d.path == Path::new("/dev/console")));
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        assert_eq!(
            request(&format!("{}:/dev/z", link.display())).unwrap().resolve().unwrap()[0].rdev,
            makedev(1, 5)
        );
        let resolve = |path: &Path| request(&path.display().to_string()).unwrap().resolve();
        assert!(matches!(resolve(directory.path()), Err(DeviceError::Empty { .. })));
        assert!(matches!(resolve(&directory.path().join("none")), Err(DeviceError::Look { .. })));
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(resolve(&file), Err(DeviceError::NotADevice { .. })));
    }

    #[test]
    fn no_rule_comes_twice() {
        let extra: DeviceRule = "c 10:229 rwm".parse().unwrap();
        let rules = rules_for(&default_devices(), std::slice::from_ref(&extra), false);
        assert_eq!(rules.iter().filter(|rule| rule.to_string() == "c 1:3 rwm").count(), 1);
        assert_eq!(rules.last(), Some(&extra));
        assert_eq!(rules_for(&[], &[extra], true), [DeviceRule::everything(true)]);
    }
}
