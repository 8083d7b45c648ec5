//! Cache and memory bandwidth by the resctrl file system: config-linux.md "IntelRdt". Only where it is mounted.
//!
//! A class of service is a directory; the first process is written into its `tasks`, and its children follow. Removed is
//! only what was made: never a class that the configuration names, which others may use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cais_oci::runtime::IntelRdt;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::request::IntelRdtUpdate;

/// Where the file system is mounted.
const ROOT: &str = "/sys/fs/resctrl";

/// What a container has of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resctrl {
    /// Its class.
    class: PathBuf,
    /// Directories that were made for it, from the outside in.
    made: Vec<PathBuf>,
}

impl Resctrl {
    /// Makes the class and writes its limits; what was made is removed again on failure.
    pub(crate) fn create(wanted: &IntelRdt, id: &str) -> Result<Resctrl> {
        Resctrl::create_below(Path::new(ROOT), wanted, id)
    }

    fn create_below(root: &Path, wanted: &IntelRdt, id: &str) -> Result<Resctrl> {
        if !root.join("info").exists() {
            return Err(Error::NoResctrl);
        }
        let mut class =
            Resctrl { class: root.join(wanted.clos_id.as_deref().unwrap_or(id)), made: Vec::new() };
        let text =
            schemata(wanted.l3_cache_schema.as_deref(), wanted.mem_bw_schema.as_deref(), &wanted.schemata);
        let done = class.fill(wanted, id, &text);
        if let Err(error) = done {
            // The first failure is the one to tell.
            let _ = class.remove();
            return Err(error);
        }
        Ok(class)
    }

    fn fill(&mut self, wanted: &IntelRdt, id: &str, text: &str) -> Result<()> {
        if wanted.clos_id.is_some() && text.is_empty() {
            fs::metadata(&self.class).map_err(|e| {
                let operation = format!(
                    "find the class {} (it must be there when no schema is given)",
                    self.class.display()
                );
                Error::system(operation, e)
            })?;
        }
        let made = make(&self.class)?;
        if made && wanted.clos_id.is_none() {
            self.made.push(self.class.clone());
        }
        if !text.is_empty() {
            self.write_schemata(text)?;
        }
        if wanted.enable_monitoring {
            let group = self.class.join("mon_groups").join(id);
            if make(&group)? {
                self.made.push(group);
            }
        }
        Ok(())
    }

    /// Puts a process into the class; its children follow.
    pub(crate) fn enter(&self, pid: i32) -> Result<()> {
        let monitor = self.made.iter().find(|path| path.parent().is_some_and(|p| p.ends_with("mon_groups")));
        for directory in std::iter::once(&self.class).chain(monitor) {
            let path = directory.join("tasks");
            fs::write(&path, pid.to_string())
                .map_err(|e| Error::system(format!("write {}", path.display()), e))?;
        }
        Ok(())
    }

    /// Writes new limits.
    pub(crate) fn update(&self, update: &IntelRdtUpdate) -> Result<()> {
        let text = schemata(update.l3_cache_schema.as_deref(), update.mem_bw_schema.as_deref(), &[]);
        if text.is_empty() { Ok(()) } else { self.write_schemata(&text) }
    }

    fn write_schemata(&self, text: &str) -> Result<()> {
        let path = self.class.join("schemata");
        fs::write(&path, text).map_err(|e| {
            let info = self.class.parent().map(|root| root.join("info/last_cmd_status"));
            let said = info.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
            Error::system(format!("write {} ({})", path.display(), said.trim()), e)
        })
    }

    /// Removes what was made; idempotent.
    pub(crate) fn remove(&self) -> Result<()> {
        let mut result = Ok(());
        for path in self.made.iter().rev() {
            match fs::remove_dir(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    result = result.and(Err(Error::system(format!("remove {}", path.display()), e)));
                }
                _ => {}
            }
        }
        result
    }
}

/// Whether it is new.
fn make(path: &Path) -> Result<bool> {
    match fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(Error::system(format!("create {}", path.display()), e)),
    }
}

fn schemata(l3: Option<&str>, bandwidth: Option<&str>, lines: &[String]) -> String {
    let all = l3.into_iter().chain(bandwidth).chain(lines.iter().map(String::as_str));
    all.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("info")).unwrap();
        root
    }

    #[test]
    fn a_class_of_its_own_comes_and_goes() {
        let root = mounted();
        let wanted = IntelRdt {
            l3_cache_schema: Some("L3:0=f".to_owned()),
            mem_bw_schema: Some("MB:0=50".to_owned()),
            ..IntelRdt::default()
        };
        let class = Resctrl::create_below(root.path(), &wanted, "c1").unwrap();
        class.enter(42).unwrap();
        let read = |file: &str| fs::read_to_string(root.path().join("c1").join(file)).unwrap();
        assert_eq!((read("schemata").as_str(), read("tasks").as_str()), ("L3:0=f\nMB:0=50\n", "42"));
        // A directory of the real file system goes with its files.
        for file in ["schemata", "tasks"] {
            fs::remove_file(root.path().join("c1").join(file)).unwrap();
        }
        class.remove().unwrap();
        class.remove().unwrap();
        assert!(!root.path().join("c1").exists());
    }

    #[test]
    fn a_named_class_is_not_ours() {
        let root = mounted();
        let wanted = IntelRdt { clos_id: Some("shared".to_owned()), ..IntelRdt::default() };
        let error = Resctrl::create_below(root.path(), &wanted, "c1").unwrap_err().to_string();
        assert!(error.contains("must be there"), "{error}");
        fs::create_dir(root.path().join("shared")).unwrap();
        let class = Resctrl::create_below(root.path(), &wanted, "c1").unwrap();
        class.remove().unwrap();
        assert!(root.path().join("shared").exists());
    }

    #[test]
    fn without_the_file_system() {
        let root = tempfile::tempdir().unwrap();
        let error = Resctrl::create_below(root.path(), &IntelRdt::default(), "c1").unwrap_err();
        assert_eq!(error.to_string(), "intelRdt is specified in config, but Intel RDT is not enabled");
    }
}
