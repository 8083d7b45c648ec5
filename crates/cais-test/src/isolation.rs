//! A test by itself: the test's process is started once more inside private mount, network, PID, IPC and UTS
//! namespaces, and everything that it starts dies with them.
//!
//! Only root can do that here; otherwise the test is skipped. Inside: loopback is up, `up0` with 192.0.2.10/24 is
//! the way out (a veth pair that leads nowhere), `/run` is empty, `/etc` is an overlay in memory that a test may write
//! as it likes, with `hosts` and `resolv.conf` known beforehand. Cgroups are the host's: there is no cheap way to have private ones on version 1.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::Invocation;

/// Set inside the namespaces.
pub(crate) const INSIDE: &str = "CAIS_TEST_INSIDE";
/// Names the folder of [`Disk`] inside.
pub(crate) const DISK: &str = "CAIS_TEST_DISK";

/// Address of the machine on its only network inside.
pub const HOST_ADDRESS: &str = "192.0.2.10";

/// The shell stays as PID 1 and reaps what the engine's monitors leave to it.
const SETUP: &str = r#"
set -e
ip link set lo up
ip link add up0 type veth peer name up1
ip address add 192.0.2.10/24 dev up0
ip link set up0 up
ip link set up1 up
ip route add default via 192.0.2.1
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/etc.upper /run/etc.work
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc.upper,workdir=/run/etc.work overlay /etc
rm -f /etc/resolv.conf
printf 'nameserver 192.0.2.53\nsearch example.test\n' >/etc/resolv.conf
printf '127.0.0.1 localhost\n' >/etc/hosts
set +e
"$@"
exit $?
"#;

/// A folder on the disk for the inner process. The outer one takes it away, when no mount holds it any more.
#[derive(Debug)]
pub struct Disk(Option<TempDir>);

impl Disk {
    /// Makes the folder.
    ///
    /// # Panics
    /// When none can be made.
    pub fn create() -> Disk {
        Disk(Some(tempfile::Builder::new().prefix("cais.").tempdir().expect("a temporary folder")))
    }

    /// Where it lies.
    ///
    /// # Panics
    /// Never.
    pub fn path(&self) -> &Path {
        self.0.as_ref().expect("taken away by drop only").path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let path = self.0.take().expect("once").keep();
        // The kernel takes the inner namespaces down in its own time.
        let deadline = Instant::now() + Duration::from_secs(5);
        while std::fs::remove_dir_all(&path).is_err() && path.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The folder that the outer process has made for this one.
pub fn disk() -> Option<PathBuf> {
    std::env::var_os(DISK).map(PathBuf::from)
}

/// `program` inside the namespaces, arguments to be added; needs root.
pub fn enclosed(program: &Path, disk: &Disk) -> Invocation {
    Invocation::new("unshare", "--mount --net --ipc --uts --pid --fork --kill-child --mount-proc")
        .args("--propagation private -- sh -c")
        .arg(SETUP)
        .arg("sh")
        .arg(program)
        .env(INSIDE, "1")
        .env(DISK, disk.path())
}

/// Whether this process is the inner one.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs `body` inside the namespaces; the outer process only starts the inner one and repeats what it says.
///
/// # Panics
/// When the inner run fails, or the test cannot be found by the name of its function.
#[track_caller]
pub fn isolated<F: FnOnce()>(body: F) {
    isolated_as(std::any::type_name::<F>(), body);
}

/// The same for a closure whose own type name is not inside the test function.
#[track_caller]
pub(crate) fn isolated_as(type_name: &str, body: impl FnOnce()) {
    if is_inside() {
        body();
        return;
    }
    if !rustix::process::geteuid().is_root() {
        crate::skip("private namespaces need root");
        return;
    }
    let name = test_name(type_name);
    let exe = std::env::current_exe().expect("own path");
    let disk = Disk::create();
    let finished = enclosed(&exe, &disk)
        .args("--exact --nocapture --test-threads=2")
        .arg(&name)
        .timeout_secs(300)
        .output();
    let text = finished.stdout_text();
    let said = format!("ended with {}\n{text}\n{}", finished.status(), finished.stderr_text());
    assert!(finished.status() == 0, "{name} in its namespaces {said}");
    assert!(text.contains("1 passed"), "no test of the name {name}: {said}");
    for line in text.lines().filter(|line| line.starts_with("skipped:")) {
        println!("{line}");
    }
}

/// The name that the test runner knows, from the type name of the closure in the test function.
pub(crate) fn test_name(type_name: &str) -> String {
    let path = type_name.split("::{{closure}}").next().unwrap_or(type_name);
    path.split_once("::").map_or(path, |(_crate, rest)| rest).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_comes_from_the_closure() {
        assert_eq!(test_name("e2e::run::exit_codes::{{closure}}"), "run::exit_codes");
        assert_eq!(test_name("e2e::run::exit_codes::{{closure}}::{{closure}}"), "run::exit_codes");
    }

    #[test]
    fn inside_is_another_world() {
        isolated(|| {
            let links = Invocation::new("ip", "-o link").ok();
            assert_eq!(links.lines().count(), 3, "lo, up0, up1: {links}");
            let processes = std::fs::read_dir("/proc").unwrap().filter(|entry| {
                entry.as_ref().unwrap().file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit())
            });
            assert!(processes.count() < 5);
        });
    }

    #[test]
    #[should_panic(expected = "ended with 101")]
    fn a_failure_inside_is_a_failure() {
        assert!(rustix::process::geteuid().is_root(), "ended with 101, as root would have seen");
        // The status of a failed test run: a panic would satisfy `should_panic` inside already.
        isolated(|| std::process::exit(101));
    }
}
