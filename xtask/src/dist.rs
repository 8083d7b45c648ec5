//! `cargo xtask dist`: the one file that users install, `target/dist/cais`.
//!
//! Static and position independent: musl where its target is installed, glibc otherwise. Fails when the file needs
//! anything or is larger than promised.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::elf::Linkage;
use crate::layout::{self, newest_output};
use crate::shell;

/// Promised size of the stripped binary.
const BINARY_LIMIT_BYTES: u64 = 12 << 20;
/// Promised size of the embedded shim.
const SHIM_LIMIT_BYTES: u64 = 100_000;

/// Builds and checks; true when all promises are kept.
pub(crate) fn run() -> Result<bool> {
    let target = target()?;
    println!("building for {target}");
    let release = shell::target().join(&target).join("release");
    let folder = shell::target().join("dist");
    fs::create_dir_all(&folder)?;
    if !build(&target, &release, &folder)? {
        return Ok(false);
    }
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
    let shim = newest_output(&release, "cais-shim").context("no built cais-shim below the target folder")?;
    let size = fs::metadata(&shim)?.len();
    ok &= check(size <= SHIM_LIMIT_BYTES, &format!("shim: {size} bytes, at most {SHIM_LIMIT_BYTES}"));
    println!("{}", binary.display());
    Ok(ok)
}

/// Compiles and links; where that can be done a second time, with the functions of a start beside each other.
fn build(target: &str, release: &Path, folder: &Path) -> Result<bool> {
    let list = folder.join("order.txt");
    let is_ordered = layout::is_possible(target);
    if is_ordered && !list.exists() {
        fs::write(&list, "")?;
    }
    let arguments = if is_ordered { layout::arguments(&list) } else { Vec::new() };
    if !compile(target, &arguments)? {
        return Ok(false);
    }
    // What has been linked with the right list already is not traced again.
    let (program, stamp) = (release.join("cais"), folder.join("order.stamp"));
    if !is_ordered || fs::read_to_string(&stamp).ok() == Some(identity(&program)?) {
        return Ok(true);
    }
    let hello =
        newest_output(release, "cais-hello").context("no built cais-hello below the target folder")?;
    match layout::write_list(&program, &hello, &list) {
        Ok(false) => {}
        Ok(true) => {
            unlink_programs(release)?;
            if !compile(target, &arguments)? {
                return Ok(false);
            }
        }
        Err(error) => {
            println!("note   the linker's own order of functions stays: {error:#}");
            return Ok(true);
        }
    }
    fs::write(&stamp, identity(&program)?)?;
    Ok(true)
}

fn compile(target: &str, arguments: &[String]) -> Result<bool> {
    let mut build =
        shell::cargo(&format!("rustc --release --locked -p cais --bin cais --target {target} --"));
    // `--target` is needed with crt-static: otherwise the flags would reach proc-macros, which must be dynamic.
    shell::succeeds(
        build.args(arguments).env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=pie"),
    )
}

/// Size and time of a file.
fn identity(path: &Path) -> Result<String> {
    let metadata = fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?;
    Ok(format!("{} {:?}", metadata.len(), metadata.modified()?))
}

/// Removes the linked programs, so that cargo links them again: it does not know of the list.
fn unlink_programs(release: &Path) -> Result<()> {
    for entry in fs::read_dir(release.join("deps"))?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("cais-") && !name.contains('.') {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
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
