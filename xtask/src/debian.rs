//! What the tests need beside cargo: installed where Debian can, told where it cannot.

use anyhow::Result;

use crate::shell;

/// A program, the package that has it, and what goes untested without it.
const NEEDED: &[(&str, &str, &str)] = &[
    ("gcc", "gcc", "the build of zstd and ring"),
    ("unshare", "util-linux", "every end-to-end test"),
    ("ip", "iproute2", "every end-to-end test"),
    ("ps", "procps", "every end-to-end test"),
    ("busybox", "busybox-static", "every end-to-end test with an image"),
    ("nft", "nftables", "what is left in nftables"),
    ("newuidmap", "uidmap", "rootless containers with ranges of ids"),
    ("pasta", "passt", "the rootless network"),
    ("docker-registry", "docker-registry", "pulls from a real registry"),
    ("skopeo", "skopeo", "whether others accept the test images"),
    ("openssl", "openssl", "TLS"),
    ("curl", "curl", "the test registries"),
    ("zstd", "zstd", "zstd archives"),
    ("gzip", "gzip", "gzip archives"),
    ("mke2fs", "e2fsprogs", "everything in virtual machines: cgroup v2, AppArmor"),
    ("xz", "xz-utils", "kernels whose modules are packed with it"),
    ("secilc", "secilc", "SELinux"),
    ("criu", "criu", "checkpoint and restore"),
    ("zsh", "zsh", "completion in zsh"),
    ("fish", "fish", "completion in fish"),
    ("groff", "groff-base", "whether roff understands the manual pages"),
    #[cfg(target_arch = "x86_64")]
    ("qemu-system-x86_64", "qemu-system-x86", "everything in virtual machines: cgroup v2, AppArmor"),
];

/// Libraries and data, known by a file.
const NEEDED_FILES: &[(&str, &str, &str)] = &[
    ("/usr/include/seccomp.h", "libseccomp-dev", "the seccomp compiler against libseccomp"),
    ("/etc/ssl/certs/ca-certificates.crt", "ca-certificates", "the system's roots of trust"),
];

/// Installs what is missing as root or through sudo; says what could not be had and goes on.
pub(crate) fn install() -> Result<bool> {
    let mut missing = missing();
    if missing.is_empty() {
        return Ok(true);
    }
    let names: Vec<&str> = missing.iter().map(|(package, _)| *package).collect();
    match apt_get() {
        Some(prefix) => {
            println!("installing {}", names.join(" "));
            let install = |names: &str| {
                let line = format!("{prefix} install -y -qq --no-install-recommends {names}");
                let (program, rest) = line.split_once(' ').unwrap_or((&line, ""));
                shell::succeeds(shell::command(program, rest).env("DEBIAN_FRONTEND", "noninteractive"))
            };
            let all = names.join(" ");
            let done = install(&all)? || (update()? && install(&all)?);
            if !done {
                // One that this release has not got must not keep the others away.
                for name in names {
                    install(name)?;
                }
            }
            missing = self::missing();
        }
        None => println!("this is not Debian, or there is neither root nor sudo: packages are not installed"),
    }
    for (package, purpose) in missing {
        println!("missing: {package}; without it is not tested: {purpose}");
    }
    Ok(true)
}

/// Fetches the lists of packages: those of a fresh image are empty or old. False where that cannot be done.
pub(crate) fn update() -> Result<bool> {
    let Some(prefix) = apt_get() else { return Ok(false) };
    let line = format!("{prefix} update -qq");
    let (program, update) = line.split_once(' ').unwrap_or((&line, ""));
    shell::succeeds(&mut shell::command(program, update))
}

fn missing() -> Vec<(&'static str, &'static str)> {
    let programs = NEEDED.iter().filter(|(program, ..)| !shell::has(program));
    let files = NEEDED_FILES.iter().filter(|(file, ..)| !std::path::Path::new(file).exists());
    programs.chain(files).map(|(_, package, purpose)| (*package, *purpose)).collect()
}

/// `apt-get` or `sudo -n apt-get`, where they can be used.
fn apt_get() -> Option<&'static str> {
    if !shell::has("apt-get") {
        return None;
    }
    let id = shell::output(&mut shell::command("id", "-u")).ok()?;
    if id.trim() == "0" {
        return Some("apt-get");
    }
    let sudo = shell::has("sudo") && shell::output(&mut shell::command("sudo", "-n true")).is_ok();
    sudo.then_some("sudo -n apt-get")
}
