//! What the virtual machines of the tests boot, below the target folder: Debian's kernel and the compiler of AppArmor's
//! profiles, fetched as packages and unpacked, never installed.
//!
//! `vm/kernel` has `boot/vmlinuz-RELEASE` and `lib/modules/RELEASE` but for modules of hardware;
//! `vm/apparmor` has the package's files. What is there stays as it is; remove the folder to get newer ones.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::{debian, shell};

/// The meta package that depends on the newest kernel.
const KERNEL: &str = "linux-image-amd64";

/// Modules of hardware that no virtual machine has: two thirds of the package.
const UNNEEDED: &[&str] = &[
    "sound",
    "drivers/gpu",
    "drivers/hid",
    "drivers/iio",
    "drivers/infiniband",
    "drivers/media",
    "drivers/net/ethernet",
    "drivers/net/wireless",
    "drivers/scsi",
    "drivers/staging",
    "drivers/usb",
];

/// Fetches what is missing; says what could not be had and goes on.
pub(crate) fn fetch() {
    if !cfg!(target_arch = "x86_64") || !shell::has("apt-get") || !shell::has("dpkg-deb") {
        println!("missing: a kernel for virtual machines; without it is not tested: cgroup v2, AppArmor");
        return;
    }
    let folder = shell::target().join("vm");
    for (name, meta, purpose) in [
        ("kernel", KERNEL, "cgroup v2, AppArmor, limits of ordinary users"),
        ("apparmor", "apparmor", "profiles of AppArmor"),
    ] {
        let place = folder.join(name);
        if place.exists() {
            continue;
        }
        let get = || package(meta).and_then(|package| unpack(&package, &place));
        let done = get().or_else(|error| match debian::update() {
            Ok(true) => get(),
            _ => Err(error),
        });
        if let Err(error) = done {
            println!("missing: {name} for virtual machines ({error:#}); without it is not tested: {purpose}");
        }
    }
}

/// The package itself; of a kernel, that which the meta package depends on.
fn package(meta: &str) -> Result<String> {
    if meta != KERNEL {
        return Ok(meta.to_owned());
    }
    let text = shell::output(&mut shell::command("apt-cache", &format!("depends {KERNEL}")))?;
    let name = text.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    Ok(format!("linux-image-{}", name.with_context(|| format!("{KERNEL} names no kernel"))?))
}

/// Fetches a package and unpacks it in a new folder, which appears when all of it is there.
fn unpack(package: &str, place: &Path) -> Result<()> {
    println!("fetching {package}");
    let scratch = place.with_extension("new");
    // Left by a run that was killed.
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch).with_context(|| format!("creating {}", scratch.display()))?;
    // The user that apt downloads as may not enter this folder.
    let line = format!("-qq -o APT::Sandbox::User=root download {package}");
    shell::output(shell::command("apt-get", &line).current_dir(&scratch))?;
    let archive = only_entry(&scratch)?;
    let mut script = String::from("dpkg-deb --fsys-tarfile \"$0\" | tar -x --exclude='./usr/share'");
    for part in UNNEEDED {
        script.push_str(&format!(" --exclude='*/kernel/{part}'"));
    }
    let mut tar = shell::command("bash", "-o pipefail -c");
    shell::output(tar.arg(script).arg(&archive).current_dir(&scratch))?;
    fs::remove_file(scratch.join(&archive)).with_context(|| format!("removing {archive}"))?;
    if package.starts_with("linux-image-") {
        index(&scratch)?;
    }
    fs::rename(&scratch, place).with_context(|| format!("renaming to {}", place.display()))
}

/// Makes `modules.dep` and its like; Debian does it when a kernel is installed.
fn index(folder: &Path) -> Result<()> {
    let modern = folder.join("usr/lib");
    if modern.is_dir() {
        fs::rename(&modern, folder.join("lib")).context("moving the modules")?;
    }
    let release = only_entry(&folder.join("lib/modules"))?;
    let mut depmod = shell::command("busybox", "depmod -b");
    shell::output(depmod.arg(folder).arg(&release))?;
    Ok(())
}

/// The name of the only entry of a folder.
fn only_entry(folder: &Path) -> Result<String> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    match names.as_slice() {
        [one] => Ok(one.clone()),
        _ => anyhow::bail!("{} has {} entries instead of one", folder.display(), names.len()),
    }
}
