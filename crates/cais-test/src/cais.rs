//! The harness of the end-to-end tests: the real binary with a store of its own, in namespaces of its own.
//!
//! Dropped, it removes every pod and every container by id, lets the engine repair the rest and takes its folders away; the
//! namespaces end with the test's process and take whatever is left. Nothing outside is touched but cgroups, which
//! the engine removes itself.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::isolation::isolated_as;
use crate::process::{Finished, Invocation, wait_until_within};
use crate::rootfs::busybox;
use crate::world::World;

/// Runs a test inside namespaces of its own with an engine that has the image `busybox`.
///
/// # Panics
/// When the test fails.
#[track_caller]
pub fn e2e<F: FnOnce(&Cais)>(body: F) {
    let name = std::any::type_name::<F>();
    isolated_as(name, || {
        let Some(cais) = Cais::new() else { return };
        let Some(image) = busybox() else {
            crate::skip("busybox-static is not installed");
            return;
        };
        let archive = cais.folder().join("busybox.tar");
        image.build().write_docker_archive(&archive, &["busybox:latest"]).expect("writing an archive");
        cais.cmd("load -q -i").arg(&archive).ok();
        body(&cais);
    });
}

/// Runs a test inside namespaces of its own with an engine that has no image.
///
/// # Panics
/// When the test fails.
#[track_caller]
pub fn e2e_empty<F: FnOnce(&Cais)>(body: F) {
    let name = std::any::type_name::<F>();
    isolated_as(name, || {
        if let Some(cais) = Cais::new() {
            body(&cais);
        }
    });
}

/// Where the folder of a test is seen inside its namespaces. Short: paths of unix sockets have 107 bytes.
const FOLDER: &str = "/run/c";

/// The binary under test and its private state.
#[derive(Debug)]
pub struct Cais {
    binary: PathBuf,
    before: RefCell<Option<World>>,
}

impl Cais {
    /// Finds the binary and makes a private store; `None`, with a word, when there is no binary. Only inside the
    /// namespaces of [`crate::isolation`].
    ///
    /// # Panics
    /// Outside of those namespaces.
    pub fn new() -> Option<Cais> {
        let Some(binary) = binary() else {
            crate::skip("the binary cais has not been built");
            return None;
        };
        let disk =
            crate::isolation::disk().expect("an engine is tested inside the namespaces of isolation only");
        std::fs::create_dir(FOLDER).expect("only one engine in a test");
        Invocation::new("mount", "--bind").arg(disk).arg(FOLDER).ok();
        std::fs::create_dir(Path::new(FOLDER).join("home")).expect("a folder");
        Some(Cais { binary, before: RefCell::new(None) })
    }

    /// A folder of this test, for archives, bind mounts and the like.
    pub fn folder(&self) -> &Path {
        Path::new(FOLDER)
    }

    /// Durable state of the engine.
    pub fn root(&self) -> PathBuf {
        self.folder().join("lib")
    }

    /// Run-time state of the engine.
    pub fn run_root(&self) -> PathBuf {
        self.folder().join("run")
    }

    /// The binary under test.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// `cais LINE` with this store, split as a shell splits words.
    pub fn cmd(&self, line: &str) -> Invocation {
        Invocation::new(&self.binary, "--root")
            .arg(self.root())
            .args("--run-root")
            .arg(self.run_root())
            .args(line)
            .env("HOME", self.folder().join("home"))
            .without_env("XDG_RUNTIME_DIR")
            .without_env("XDG_DATA_HOME")
            .without_env("DOCKER_CONFIG")
            .without_env("REGISTRY_AUTH_FILE")
            .without_env("NO_COLOR")
    }

    /// Runs `cais LINE`, expects status 0 and returns standard output.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        self.cmd(line).ok()
    }

    /// Runs `cais LINE` and expects this exit status.
    ///
    /// # Panics
    /// When it is another one.
    #[track_caller]
    pub fn fails(&self, code: i32, line: &str) -> Finished {
        self.cmd(line).output().code(code)
    }

    /// `inspect --format TEMPLATE OBJECT`.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn inspect(&self, object: &str, template: &str) -> String {
        self.cmd("inspect --format").arg(template).arg(object).ok()
    }

    /// Waits until a container has this state.
    ///
    /// # Panics
    /// When it does not get there.
    #[track_caller]
    pub fn wait_for_state(&self, container: &str, state: &str) {
        crate::wait_until(&format!("{container} is {state}"), || {
            let finished = self.cmd("inspect --format {{.State.Status}}").arg(container).output();
            finished.status() == 0 && finished.stdout_text() == state
        });
    }

    /// Waits until the log of a container holds this text.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn wait_for_log(&self, container: &str, text: &str) {
        crate::wait_until(&format!("{container} logs {text:?}"), || {
            let finished = self.cmd("logs").arg(container).output();
            String::from_utf8_lossy(&finished.stdout).contains(text)
        });
    }

    /// Remembers the world as it is, for [`Cais::assert_nothing_left`]. A container was run and removed before, so
    /// that what the engine keeps for all containers (bridge, nftables table, compiled filters) is there.
    ///
    /// # Panics
    /// When the container cannot be run.
    #[track_caller]
    pub fn mark(&self) {
        self.ok("run --rm busybox true");
        *self.before.borrow_mut() = Some(self.settled(None).1);
    }

    /// Expects that nothing is left of what was made since [`Cais::mark`].
    ///
    /// # Panics
    /// When something is left.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let before = self.before.borrow().clone().expect("mark() comes before assert_nothing_left()");
        let (left, _) = self.settled(Some(&before));
        assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
    }

    /// The kernel takes namespaces and links down in the background: looks until there is nothing or time is up.
    fn settled(&self, before: Option<&World>) -> (Vec<String>, World) {
        let (root, run_root) = (self.root(), self.run_root());
        let look = || World::look(&[&root, &run_root]);
        let mut world = look();
        let mut left = before.map(|before| world.since(before)).unwrap_or_default();
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while std::time::Instant::now() < deadline {
            let next = look();
            let still = match before {
                // What counts as left was there at every look.
                Some(before) => next.since(before).into_iter().filter(|thing| left.contains(thing)).collect(),
                None if next == world => return (left, next),
                None => Vec::new(),
            };
            (left, world) = (still, next);
            if before.is_some() && left.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        (left, world)
    }

    /// Waits until something answers on a TCP address of this network namespace, and returns the stream.
    ///
    /// # Panics
    /// When the address is none or nobody answers.
    #[track_caller]
    pub fn connect(&self, address: &str) -> std::net::TcpStream {
        let address: std::net::SocketAddr = address.parse().expect("an address with a port");
        let mut stream = None;
        wait_until_within(Duration::from_secs(20), &format!("{address} answers"), || {
            stream = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok();
            stream.is_some()
        });
        stream.expect("connected")
    }
}

impl Drop for Cais {
    fn drop(&mut self) {
        // Best effort: the test's verdict has been spoken, the namespaces take the rest.
        // What holds the namespaces of a pod goes with it only.
        drop(self.cmd("pod rm -f -a").command().output());
        let list = self.cmd("ps -aq --no-trunc").timeout_secs(30).command().output();
        let ids = list.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        if !ids.trim().is_empty() {
            drop(self.cmd("rm -f -v").args(&ids.replace('\n', " ")).command().output());
        }
        drop(self.cmd("system check --repair").command().output());
    }
}

/// `CAIS_TEST_BINARY`, or `cais` beside the folder of the test program.
fn binary() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("CAIS_TEST_BINARY") {
        return Some(PathBuf::from(path));
    }
    let exe = std::env::current_exe().ok()?;
    let binary = exe.parent()?.parent()?.join("cais");
    binary.is_file().then_some(binary)
}
