//! `cargo xtask dist`: the one file that users install, `target/dist/cais`.
//!
//! Static and position independent: musl where its target is installed, glibc otherwise. Fails when the file needs
//! anything or is larger than promised.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::elf::Linkage;
use crate::shell;

/// Promised size of the stripped binary.
const BINARY_LIMIT_BYTES: u64 = 12 << 20;
/// Promised size of the embedded shim.
const SHIM_LIMIT_BYTES: u64 = 100_000;

/// Builds and checks; true when all promises are kept.
pub(crate) fn run() -> Result<bool> {
    let target = target()?;
    println!("building for {target}");
    let mut build = shell::cargo(&format!("build --release --locked -p cais --target {target}"));
    // `--target` is needed with crt-static: otherwise the flags would reach proc-macros, which must be dynamic.
    if !shell::succeeds(build.env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=pie"))? {
        return Ok(false);
    }
    let release = shell::target().join(&target).join("release");
    let folder = shell::target().join("dist");
    fs::create_dir_all(&folder)?;
    let binary = folder.join("cais");
    // A running binary cannot be written to, but replaced.
    let fresh = folder.join("cais.new");
    fs::copy(release.join("cais"), &fresh).context("copying the binary")?;
    if shell::has("strip") {
        shell::succeeds(shell::command("strip", "--strip-all").arg(&fresh))?;
    }
    fs::rename(&fresh, &binary)?;
    let file = fs::read(&binary)?;
    let linkage = Linkage::of(&file).context("reading the binary")?;
    let mut ok = check(linkage.is_static_pie(), &format!("static and position independent ({linkage:?})"));
    let size = file.len() as u64;
    ok &= check(size <= BINARY_LIMIT_BYTES, &format!("{size} bytes, at most {BINARY_LIMIT_BYTES}"));
    let shim = newest_shim(&release).context("no built cais-shim was found below the target folder")?;
    let size = fs::metadata(&shim)?.len();
    ok &= check(size <= SHIM_LIMIT_BYTES, &format!("shim: {size} bytes, at most {SHIM_LIMIT_BYTES}"));
    println!("{}", binary.display());
    Ok(ok)
}

fn check(ok: bool, text: &str) -> bool {
    println!("{} {text}", if ok { "ok    " } else { "FAILED" });
    ok
}

/// musl when it is installed, else the machine's own.
fn target() -> Result<String> {
    let host = shell::output(&mut shell::command("rustc", "--print host-tuple"))?.trim().to_owned();
    let musl = host.replace("-gnu", "-musl");
    let root = shell::output(&mut shell::command("rustc", "--print sysroot"))?;
    let installed = Path::new(root.trim()).join("lib/rustlib").join(&musl).join("lib").is_dir();
    Ok(if installed { musl } else { host })
}

/// The shim that a build script has left in its `out` folder.
fn newest_shim(release: &Path) -> Option<PathBuf> {
    let builds = fs::read_dir(release.join("build")).ok()?.flatten();
    let shims = builds.map(|build| build.path().join("out/cais-shim")).filter(|path| path.is_file());
    shims.max_by_key(|path| {
        fs::metadata(path).and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
    })
}
