//! The program criu(8): which options dump and restore a container, and how it ended.
//!
//! Root only, by its command line. What a mount brings in from outside is external to the images and named by its place
//! in the container; pipes of the standard streams are given again by the restorer. Knows no container of any kind but
//! where a bundle's specification is given.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cais_oci::runtime::{NamespaceType, Spec};

use crate::error::{Error, Result};
use crate::machine::namespace;
use crate::runtime::Runtime;

/// File among the images with the names of the standard streams, as runc has it.
const DESCRIPTORS: &str = "descriptors.json";

/// What a network namespace that is not in the images is called in them.
const NETWORK: &str = "extRootNetNS";

/// A call of criu.
#[derive(Clone, Debug)]
pub struct Criu {
    program: PathBuf,
    action: &'static str,
    arguments: Vec<OsString>,
    log: PathBuf,
}

impl Criu {
    /// `action` is `dump`, `pre-dump` or `restore`; the log is `ACTION.log` in `work`. The directories are absolute.
    #[must_use]
    pub fn new(program: PathBuf, action: &'static str, images: &Path, work: &Path) -> Criu {
        let mut criu =
            Criu { program, action, arguments: vec![action.into()], log: work.join(format!("{action}.log")) };
        criu.option("--images-dir", images).option("--work-dir", work);
        criu.option("--log-file", criu.log.clone());
        criu.flag(true, "-v4");
        criu
    }

    /// As [`Criu::new`], for a runtime.
    ///
    /// # Errors
    /// Where it is not installed, or the caller is not root.
    pub(crate) fn of(runtime: &Runtime, action: &'static str, images: &Path, work: &Path) -> Result<Criu> {
        let program = runtime.config.criu.clone().ok_or(Error::NoCriu)?;
        if runtime.caller.is_rootless() {
            return Err(Error::Request("checkpoint and restore need root"));
        }
        Ok(Criu::new(program, action, images, work))
    }

    /// The program and its arguments, for whoever starts it in another way than [`Criu::run`].
    #[must_use]
    pub fn command_line(&self) -> Vec<OsString> {
        [self.program.clone().into_os_string()].into_iter().chain(self.arguments.iter().cloned()).collect()
    }

    /// Adds a flag where it is wanted.
    pub fn flag(&mut self, wanted: bool, flag: &str) -> &mut Criu {
        if wanted {
            self.arguments.push(flag.into());
        }
        self
    }

    /// Adds an option with a value.
    pub fn option(&mut self, option: &str, value: impl Into<OsString>) -> &mut Criu {
        self.arguments.extend([OsString::from(option), value.into()]);
        self
    }

    /// How groups are treated, `soft` unless somebody says otherwise, as with runc.
    pub fn manage_cgroups(&mut self, mode: Option<&str>) -> &mut Criu {
        self.flag(true, &format!("--manage-cgroups={}", mode.unwrap_or("soft")))
    }

    /// Names a mount whose source is outside, by its place in the container: at the dump, or at the restore with `source`.
    pub fn external_mount(&mut self, place: &str, source: Option<&Path>) -> &mut Criu {
        let mut text = OsString::from(format!("mnt[{place}]:"));
        text.push(source.map_or(place.as_ref(), Path::as_os_str));
        self.option("--external", text)
    }

    /// At the dump: the network namespace with this inode stays outside, and so whoever restores makes another.
    pub fn external_network(&mut self, inode: u64) -> &mut Criu {
        self.option("--external", format!("net[{inode}]:{NETWORK}"))
    }

    /// At the restore: a descriptor of criu is the network namespace.
    pub fn inherit_network(&mut self, fd: i32) -> &mut Criu {
        self.inherit(fd, NETWORK)
    }

    /// At the restore: a descriptor of criu is what the images call `name`, `pipe:[7]` for instance.
    pub fn inherit(&mut self, fd: i32, name: &str) -> &mut Criu {
        self.option("--inherit-fd", format!("fd[{fd}]:{name}"))
    }

    /// Names the mounts of a bundle whose sources are outside: at the dump by their places, at the restore with their sources.
    pub(crate) fn external_mounts(&mut self, spec: &Spec, sources: bool) -> &mut Criu {
        for mount in &spec.mounts {
            let binds = mount.options.iter().any(|option| option == "bind" || option == "rbind");
            if let (true, Some(source)) = (binds, &mount.source) {
                self.external_mount(&mount.destination, sources.then_some(Path::new(source)));
            }
        }
        for path in spec.linux.iter().flat_map(|linux| &linux.masked_paths) {
            self.external_mount(path, sources.then_some(Path::new("/dev/null")));
        }
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it fails; its log has the reason.
    pub fn run(&self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::inherit());
        let status = command.status().map_err(|e| self.failed(crate::error::plain(&e)))?;
        if status.success() { Ok(()) } else { Err(self.failure(&status.to_string())) }
    }

    /// Why it failed: what its log says, and what this machine lacks.
    #[must_use]
    pub fn failure(&self, status: &str) -> Error {
        if let Some(lack) = self.lack() {
            return Error::CriuLacks { action: self.action, lack };
        }
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        // The first error is the cause, those after it are its consequences.
        let said = log.lines().find(|line| line.contains("Error")).unwrap_or_default();
        let said = said.split_once("): ").map_or(said, |(_, words)| words);
        self.failed(format!("{status} {said}").trim_end().to_owned())
    }

    /// What `criu check` misses on this machine; `None` when it is content.
    fn lack(&self) -> Option<String> {
        let output = Command::new(&self.program).arg("check").stdin(Stdio::null()).output().ok()?;
        if output.status.success() {
            return None;
        }
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = text.lines().find(|line| line.contains("Error")).unwrap_or("it fails without a word");
        Some(line.split_once("): ").map_or(line, |(_, words)| words).trim().to_owned())
    }

    fn failed(&self, reason: String) -> Error {
        Error::Criu { action: self.action, reason, log: self.log.clone() }
    }
}

/// A directory of images or logs for criu, which looks for them from other directories than ours.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::system(format!("find {}", path.display()), e))
}

/// The network namespace that was joined stays outside of the images.
pub(crate) fn joins_network(spec: &Spec) -> bool {
    matches!(namespace(spec, NamespaceType::Network), Some(Some(_)))
}

/// Keeps what the standard streams of a process are, beside the images.
///
/// # Errors
/// When it cannot be written.
pub fn keep_descriptors(images: &Path, pid: i32) -> Result<()> {
    let names: Vec<String> = (0..3)
        .map(|number| fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap_or_default())
        .map(|link| link.to_string_lossy().into_owned())
        .collect();
    let path = images.join(DESCRIPTORS);
    let text = serde_json::to_vec(&names).map_err(|source| Error::State { path: path.clone(), source })?;
    fs::write(&path, text).map_err(|e| Error::system(format!("write {}", path.display()), e))
}

/// The standard streams that were pipes, each with its number.
pub fn kept_pipes(images: &Path) -> Vec<(i32, String)> {
    let text = fs::read(images.join(DESCRIPTORS)).unwrap_or_default();
    let names: Vec<String> = serde_json::from_slice(&text).unwrap_or_default();
    (0..).zip(names).filter(|(_, name)| name.starts_with("pipe:")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Config;

    #[test]
    fn options_and_outcomes() {
        let work = tempfile::tempdir().unwrap();
        let config = Config { criu: Some("/bin/false".into()), ..Config::default() };
        let runtime = Runtime::new(config).unwrap();
        if runtime.caller.is_rootless() {
            println!("skipped: needs root");
            return;
        }
        let mut criu = Criu::of(&runtime, "dump", Path::new("/images"), work.path()).unwrap();
        let spec = Spec::parse(
            br#"{"ociVersion": "1.2.0", "mounts": [{"destination": "/data", "source": "/host", "options": ["rbind"]},
            {"destination": "/proc", "type": "proc", "source": "proc"}]}"#,
        )
        .unwrap();
        criu.external_mounts(&spec, false).flag(false, "--shell-job");
        assert!(criu.arguments.contains(&OsString::from("mnt[/data]:/data")));
        assert!(!criu.arguments.iter().any(|word| word == "--shell-job"));
        criu.external_mounts(&spec, true);
        assert!(criu.arguments.contains(&OsString::from("mnt[/data]:/host")));
        let text = criu.run().unwrap_err().to_string();
        assert_eq!(text, "criu dump is not possible here: `criu check` says: it fails without a word");
        let missing = Runtime::new(Config::default()).unwrap();
        assert!(matches!(Criu::of(&missing, "dump", work.path(), work.path()), Err(Error::NoCriu)));
    }

    #[test]
    fn pipes_are_kept() {
        let images = tempfile::tempdir().unwrap();
        assert_eq!(kept_pipes(images.path()), []);
        fs::write(images.path().join(DESCRIPTORS), r#"["/dev/null", "pipe:[7]", ""]"#).unwrap();
        assert_eq!(kept_pipes(images.path()), [(1, "pipe:[7]".to_owned())]);
        keep_descriptors(images.path(), std::process::id() as i32).unwrap();
    }
}
