//! Attacks that worked on container runtimes, played by name: each test says what the CVE was, what the attacker has in
//! hand and what must be seen. Against `cais runtime`, and against `cais run` where the class exists there.
//!
//! A hostile container or image is what attacks; whoever starts containers is trusted. What an attacker wants is
//! stood for by a [`Canary`] outside of the container's root: it must neither be read nor changed. Races are played by an
//! [`Exchange`] during many starts: a failure of a start is fine, a start that goes wrong is not.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use cais_test::process::Finished;
use cais_test::{Cais, Image, Layer};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::bed::Bed;

mod binary;
mod capabilities;
mod console;
mod descriptors;
mod masks;
mod mount_race;
mod procfs;
mod redirect;
mod stubs;

/// Starts that a race is played against.
const STARTS: usize = 40;

/// Something of the host that no container was given.
struct Canary {
    folder: PathBuf,
}

impl Canary {
    const TEXT: &str = "tweet of the canary\n";

    /// A folder with one file, which only its owner may read.
    fn new(beside: &Path) -> Canary {
        let folder = beside.join("canary");
        fs::create_dir(&folder).unwrap();
        let canary = Canary { folder };
        fs::write(canary.file(), Canary::TEXT).unwrap();
        fs::set_permissions(canary.file(), Permissions::from_mode(0o600)).unwrap();
        canary
    }

    fn file(&self) -> PathBuf {
        self.folder.join("secret")
    }

    /// The file's path from whatever directory of the host a process may have got into.
    fn climb(&self) -> String {
        format!("../../../../../../../../../../../..{}", self.file().display())
    }

    /// Nothing was added, removed or changed.
    #[track_caller]
    fn assert_whole(&self) {
        let names: BTreeSet<_> =
            fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, BTreeSet::from(["secret".into()]), "made or removed on the host");
        assert_eq!(fs::read_to_string(self.file()).unwrap(), Canary::TEXT);
        let meta = fs::metadata(self.file()).unwrap();
        assert_eq!(
            (meta.mode() & 0o7777, meta.uid(), meta.gid()),
            (0o600, 0, 0),
            "the host's file was changed"
        );
    }

    /// It was not read either.
    #[track_caller]
    fn assert_unseen(&self, finished: &Finished) {
        let said = format!("{}{}", finished.stdout_text(), finished.stderr_text());
        assert!(!said.contains(Canary::TEXT.trim()), "a file of the host was read: {said}");
        self.assert_whole();
    }
}

/// Two names that change places again and again, as a hostile container does it in a volume that it shares.
struct Exchange {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Exchange {
    fn begin(one: PathBuf, other: PathBuf) -> Exchange {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut count = 0;
            while !stopped.load(Ordering::Relaxed) {
                // A name may be busy: it is a mount point somewhere.
                count += usize::from(renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).is_ok());
            }
            count
        });
        Exchange { stop, thread: Some(thread) }
    }

    /// Expects that there was a race at all.
    #[track_caller]
    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let count = self.thread.take().expect("once").join().unwrap();
        assert!(count > STARTS, "only {count} exchanges");
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Runs a container again and again, with its processes' output looked at each time.
#[track_caller]
fn run_often(bed: &Bed, id: &str, mut look: impl FnMut(&Finished)) {
    for _ in 0..STARTS {
        look(&bed.run(id));
    }
}

/// An image of busybox and more.
fn load_image(cais: &Cais, name: &str, more: impl FnOnce(Image, Layer) -> Image) {
    let base = cais_test::rootfs::busybox_layer().expect("the harness has looked");
    let image = more(Image::new().layer(base), Layer::new());
    let archive = cais.folder().join(format!("{name}.tar"));
    image.build().write_docker_archive(&archive, &[&format!("{name}:latest")]).unwrap();
    cais.cmd("load -q -i").arg(&archive).ok();
}

/// File systems that are mounted below /proc in the view of a process whose mountinfo this is, but for parts of procfs
/// itself, the null device and empty tmpfs that hide something.
fn foreign_in_proc(mountinfo: &str) -> Vec<&str> {
    let foreign = |line: &&str| {
        let point = line.split(' ').nth(4).unwrap_or_default();
        let (_, rest) = line.split_once(" - ").unwrap_or_default();
        let fstype = rest.split(' ').next().unwrap_or_default();
        let root = line.split(' ').nth(3).unwrap_or_default();
        let covers = root.ends_with("/null") || (fstype == "tmpfs" && rest.contains("size=0k"));
        point.starts_with("/proc/") && fstype != "proc" && !covers
    };
    mountinfo.lines().filter(foreign).collect()
}
