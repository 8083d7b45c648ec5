//! The kernel of a guest: Debian's package, unpacked by `cargo xtask test` in `vm/kernel` of the target folder.
//!
//! `CAIS_TEST_KERNEL` names another folder with `boot/vmlinuz-RELEASE` and `lib/modules/RELEASE`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::Invocation;

/// An unpacked kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    folder: PathBuf,
    release: String,
}

impl Kernel {
    /// Looks where it may be; the reason when there is none.
    pub(super) fn find() -> Result<Kernel, String> {
        let folder = match std::env::var_os("CAIS_TEST_KERNEL") {
            Some(folder) => Some(PathBuf::from(folder)),
            None => in_target(),
        };
        let folder = folder.ok_or("no kernel for virtual machines: `cargo xtask test` fetches one")?;
        let release = release(&folder).ok_or_else(|| format!("no kernel in {}", folder.display()))?;
        Ok(Kernel { folder, release })
    }

    /// What `uname -r` will say.
    pub(super) fn release(&self) -> &str {
        &self.release
    }

    /// The compressed image.
    pub(super) fn image(&self) -> PathBuf {
        self.folder.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// The folder of its modules.
    pub(super) fn modules(&self) -> PathBuf {
        self.folder.join("lib/modules").join(&self.release)
    }

    /// The modules of these names with all they need, uncompressed, in the order of loading; built-in ones are left out.
    ///
    /// # Panics
    /// When one is neither built in nor there.
    pub(super) fn loadable(&self, names: &[&str]) -> Vec<(String, Vec<u8>)> {
        let read = |name: &str| fs::read_to_string(self.modules().join(name)).expect("a list of modules");
        let (dependencies, builtin) = (read("modules.dep"), read("modules.builtin"));
        let paths = in_order(&dependencies, &builtin, names);
        let paths = paths.unwrap_or_else(|name| panic!("Linux {} has no module {name}", self.release));
        let load = |path: &String| (stem(path).to_owned(), self.unpacked(path));
        paths.iter().map(load).collect()
    }

    fn unpacked(&self, path: &str) -> Vec<u8> {
        let bytes = fs::read(self.modules().join(path)).expect("a module");
        match path.rsplit('.').next() {
            Some("xz") => Invocation::new("xz", "-dc").stdin(bytes).output().code(0).stdout,
            Some("zst") => zstd::decode_all(&bytes[..]).expect("a module in zstd"),
            _ => bytes,
        }
    }
}

/// `vm/kernel` in one of the folders above the test program.
fn in_target() -> Option<PathBuf> {
    let exe = std::env::current_exe().ok()?;
    exe.ancestors().skip(1).take(5).map(|folder| folder.join("vm/kernel")).find(|folder| folder.is_dir())
}

fn release(folder: &Path) -> Option<String> {
    let entries = fs::read_dir(folder.join("boot")).ok()?.flatten();
    let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.find_map(|name| name.strip_prefix("vmlinuz-").map(str::to_owned))
}

/// `kernel/fs/9p/9p.ko.xz` is the module `9p`.
fn stem(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file)
}

/// Paths out of modules.dep(5), each after those it needs; the name of a module that is nowhere as the error.
fn in_order(dependencies: &str, builtin: &str, names: &[&str]) -> Result<Vec<String>, String> {
    let mut order = Vec::new();
    for name in names {
        let line = dependencies.lines().find_map(|line| {
            let (path, needs) = line.split_once(':')?;
            (stem(path) == *name).then_some((path, needs))
        });
        match line {
            Some((path, needs)) => {
                let needs: Vec<&str> = needs.split_whitespace().map(stem).collect();
                for path in in_order(dependencies, builtin, &needs)?.into_iter().chain([path.to_owned()]) {
                    if !order.contains(&path) {
                        order.push(path);
                    }
                }
            }
            None if builtin.lines().any(|path| stem(path) == *name) => {}
            None => return Err((*name).to_owned()),
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_after_what_they_need() {
        let dependencies = "k/a.ko: k/b.ko.xz k/c.ko\nk/b.ko.xz: k/c.ko\nk/c.ko:\nk/d.ko: k/c.ko\n";
        let order = |names: &[&str]| in_order(dependencies, "k/e.ko\n", names);
        assert_eq!(order(&["a", "d", "e"]).unwrap(), ["k/c.ko", "k/b.ko.xz", "k/a.ko", "k/d.ko"]);
        assert_eq!(order(&["a", "x"]).unwrap_err(), "x");
    }
}
