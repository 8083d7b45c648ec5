//! A root file system with busybox, a plan under construction, and the runtime's end of the conversation.

use std::fs::{self, File};
use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cais_plan::wire::{self, sync};
use cais_plan::{Bytes, PlanWriter, Setup, Step, Str, Strings, join_strings, role};
use cais_runtime::embedded::SHIM;
use rustix::net::{self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::net::{SendFlags, SocketFlags, SocketType};
use tempfile::TempDir;

pub(super) const NEWNS: u64 = 0x2_0000;
pub(super) const NEWPID: u64 = 0x2000_0000;
pub(super) const NEWUTS: u64 = 0x400_0000;
pub(super) const NEWUSER: u64 = 0x1000_0000;
pub(super) const NEWTIME: u64 = 0x80;
pub(super) const MS_REC: u64 = 0x4000;
pub(super) const MS_PRIVATE: u64 = 1 << 18;
pub(super) const MS_SLAVE: u64 = 1 << 19;
/// First number of descriptors that a test adds itself, when nothing is preserved.
pub(super) const EXTRA: i32 = 7;
/// Nothing here takes that long; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

const BUSYBOX: &str = "/usr/bin/busybox";

/// Says why a test cannot run here.
pub(super) fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root");
    }
    if !Path::new(BUSYBOX).exists() {
        return Some("needs a static busybox");
    }
    None
}

macro_rules! need_root {
    () => {
        if let Some(reason) = crate::shim::rig::missing() {
            println!("skipped: {reason}");
            return;
        }
    };
}
pub(super) use need_root;

/// What a test asks for; the plan's steps come in the order of the calls.
pub(super) struct Rig {
    pub(super) directory: TempDir,
    pub(super) steps: PlanWriter,
    pub(super) role: u32,
    pub(super) outer: u32,
    pub(super) clone_flags: u64,
    pub(super) start: bool,
    pub(super) console: Option<OwnedFd>,
    /// What stands at 3 and after it in the command.
    pub(super) preserved: Vec<OwnedFd>,
    /// At [`EXTRA`] plus the number of preserved ones, and after it.
    pub(super) extra: Vec<OwnedFd>,
    pub(super) size: (u32, u32),
    /// A cgroup v2 directory to be born in.
    pub(super) cgroup: Option<OwnedFd>,
}

impl Rig {
    /// In new mount and PID namespaces, by role `FIRST`.
    pub(super) fn new() -> Rig {
        let directory = tempfile::tempdir().expect("directory");
        let root = directory.path().join("root");
        for name in ["bin", "proc", "dev", "etc", "tmp"] {
            fs::create_dir_all(root.join(name)).expect("directory");
        }
        fs::copy(BUSYBOX, root.join("bin/busybox")).expect("copy");
        for name in
            ["sh", "cat", "ls", "id", "echo", "stat", "mkdir", "sleep", "grep", "env", "touch", "true"]
        {
            symlink("busybox", root.join("bin").join(name)).expect("link");
        }
        fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("mode");
        Rig {
            directory,
            steps: PlanWriter::new(),
            role: role::FIRST,
            outer: 0,
            clone_flags: NEWNS | NEWPID,
            start: false,
            console: None,
            preserved: Vec::new(),
            extra: Vec::new(),
            size: (0, 0),
            cgroup: None,
        }
    }

    pub(super) fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    pub(super) fn push(&mut self, step: &Step<'_>) -> &mut Rig {
        self.steps.push("step", step);
        self
    }

    /// The root file system as the container's root, not entered yet.
    pub(super) fn take_root(&mut self) -> &mut Rig {
        let root = self.root();
        let path = Str(root.as_os_str().as_encoded_bytes());
        self.push(&Step::Propagate { flags: MS_SLAVE | MS_REC });
        self.push(&Step::Rootfs { path, parent: MS_PRIVATE, propagation: MS_PRIVATE })
    }

    pub(super) fn mount_proc(&mut self) -> &mut Rig {
        self.push(&filesystem("proc", "/proc", 0, &[]))
    }

    pub(super) fn pivot(&mut self) -> &mut Rig {
        self.push(&Step::Pivot {});
        self.push(&Step::Chdir { path: Str(b"/"), create: false })
    }

    /// The root with /proc, entered.
    pub(super) fn enter(&mut self) -> &mut Rig {
        self.take_root().mount_proc().pivot()
    }

    pub(super) fn point(&mut self, word: u32) -> &mut Rig {
        self.push(&Step::Sync { word })
    }

    /// A shell runs the script.
    pub(super) fn script(&mut self, script: &str) -> &mut Rig {
        let args = join_strings(["sh", "-c", script]);
        let env = join_strings(["PATH=/bin"]);
        self.push(&Step::Exec { paths: Strings(b"/bin/sh\0"), args: Strings(&args), env: Strings(&env) })
    }

    /// Starts it; nothing is said yet.
    pub(super) fn run(self) -> Running {
        self.try_run().expect("start the shim")
    }

    pub(super) fn try_run(self) -> std::io::Result<Running> {
        let preserve = self.preserved.len() as i32;
        let base = 3 + preserve;
        let (ours, theirs) = pair();
        let listener = self.start.then(|| listener(&self.directory.path().join("start.sock")));
        let setup = Setup {
            role: self.role,
            sync_fd: base + 1,
            start_fd: if self.start { base + 2 } else { -1 },
            console_fd: if self.console.is_some() { base + 3 } else { -1 },
            preserve: preserve as u32,
            outer: self.outer,
            clone_flags: self.clone_flags,
            cgroup_fd: if self.cgroup.is_some() { EXTRA + preserve + self.extra.len() as i32 } else { -1 },
            tty: self.console.is_some(),
            rows: self.size.0,
            cols: self.size.1,
            ..Setup::NONE
        };
        let plan = cais_sys::spawn::sealed_memfd(c"plan", &self.steps.finish(&setup), false).expect("plan");
        let shim = cais_sys::spawn::sealed_memfd(c"cais-init", SHIM, true).expect("shim");
        let null = File::open("/dev/null").expect("null");
        let (reader, writer) = std::io::pipe().expect("pipe");
        let mut fds: Vec<(BorrowedFd<'_>, i32)> =
            vec![(null.as_fd(), 0), (writer.as_fd(), 1), (writer.as_fd(), 2)];
        fds.extend((3..).zip(&self.preserved).map(|(number, fd)| (fd.as_fd(), number)));
        fds.push((plan.as_fd(), base));
        fds.push((theirs.as_fd(), base + 1));
        fds.extend(listener.iter().map(|fd| (fd.as_fd(), base + 2)));
        fds.extend(self.console.iter().map(|fd| (fd.as_fd(), base + 3)));
        fds.extend((EXTRA + preserve..).zip(&self.extra).map(|(number, fd)| (fd.as_fd(), number)));
        let last = EXTRA + preserve + self.extra.len() as i32;
        fds.extend(self.cgroup.iter().map(|fd| (fd.as_fd(), last)));
        let number = std::ffi::CString::new(base.to_string()).expect("no NUL");
        let argv = [c"cais-init", &number];
        let mut running = Running { directory: self.directory, pid: 0, sync: ours, output: reader };
        if self.role == role::FIRST {
            let cgroup = self.cgroup.as_ref().map(AsFd::as_fd);
            running.pid = cais_sys::spawn::spawn_into(shim.as_fd(), &argv, &fds, self.clone_flags, cgroup)?.0;
            return Ok(running);
        }
        let shim_pid = cais_sys::spawn::spawn(shim.as_fd(), &argv, &fds)?;
        drop(theirs);
        running.pid = -shim_pid;
        Ok(running)
    }
}

/// The step, with the usual rest.
pub(super) fn filesystem<'a>(
    fstype: &'a str,
    target: &'a str,
    attributes: u64,
    options: &'a [u8],
) -> Step<'a> {
    Step::Filesystem {
        fstype: Str(fstype.as_bytes()),
        source: Str(fstype.as_bytes()),
        target: Str(target.as_bytes()),
        attributes,
        options: Strings(options),
        propagation: 0,
        userns_fd: -1,
        copy_up: false,
        optional: false,
    }
}

/// The step, with the usual rest.
pub(super) fn bind(slot: u32, target: &str) -> Step<'_> {
    Step::Bind {
        slot,
        target: Str(target.as_bytes()),
        set: 0,
        clear: 0,
        recursive_set: 0,
        recursive_clear: 0,
        propagation: 0,
        userns_fd: -1,
        recursive_map: false,
    }
}

/// The step for root, or whoever else has one group.
pub(super) fn ids(uid: u32, gid: u32) -> Step<'static> {
    Step::Ids { uid, gid, groups: Bytes(b""), home: false }
}

fn pair() -> (OwnedFd, OwnedFd) {
    let (ours, theirs) =
        net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .expect("sockets");
    be_patient(&ours);
    (ours, theirs)
}

fn be_patient(socket: &OwnedFd) {
    net::sockopt::set_socket_timeout(socket, net::sockopt::Timeout::Recv, Some(PATIENCE)).expect("timeout");
}

fn listener(path: &Path) -> OwnedFd {
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .expect("socket");
    net::bind(&socket, &net::SocketAddrUnix::new(path).expect("address")).expect("bind");
    net::listen(&socket, 8).expect("listen");
    socket
}

/// One word of the shim.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) kind: u8,
    pub(super) body: Vec<u8>,
    pub(super) fd: Option<OwnedFd>,
}

impl Packet {
    pub(super) fn number(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.body[at * 4..at * 4 + 4].try_into().expect("a word"))
    }

    /// Index, errno, detail of a failure, and what a hook said.
    pub(super) fn failure(&self) -> (u32, i32, u32, String) {
        assert_eq!(self.kind, wire::FAILED, "{self:?}");
        let said = String::from_utf8_lossy(&self.body[12..]).into_owned();
        (self.number(0), self.number(1) as i32, self.number(2), said)
    }
}

/// Receives one packet; `None` at the end of the stream.
pub(super) fn receive(socket: &OwnedFd) -> Option<Packet> {
    let mut bytes = [0_u8; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let got = net::recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC).expect("receive");
    let fd = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    if got.bytes == 0 {
        return None;
    }
    Some(Packet { kind: bytes[0], body: bytes[1..got.bytes].to_vec(), fd })
}

/// Sends the go with a text.
pub(super) fn go(socket: &OwnedFd, text: &str) {
    let packet = [&[wire::GO], text.as_bytes()].concat();
    net::send(socket, &packet, SendFlags::NOSIGNAL).expect("send");
}

/// A first process, or the shim on its way to make one.
pub(super) struct Running {
    pub(super) directory: TempDir,
    pub(super) pid: i32,
    pub(super) sync: OwnedFd,
    output: std::io::PipeReader,
}

impl Running {
    pub(super) fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// Role `PARENT`: waits for the word of the clone, and for the shim.
    pub(super) fn adopt(&mut self) {
        let packet = receive(&self.sync).expect("a word");
        assert_eq!(packet.kind, wire::CLONED, "{packet:?}");
        assert!(packet.fd.is_some(), "a pidfd goes along");
        let shim = -self.pid;
        self.pid = packet.number(0) as i32;
        cais_sys::spawn::reap(shim);
    }

    pub(super) fn expect_point(&self, word: u32) {
        let packet = receive(&self.sync).expect("a point");
        if packet.kind == wire::FAILED {
            panic!("failed: {:?}", packet.failure());
        }
        assert_eq!((packet.kind, packet.number(0)), (wire::POINT, word));
    }

    /// The created container, given its go.
    pub(super) fn expect_ready(&self, state: &str) {
        self.expect_point(sync::READY);
        go(&self.sync, state);
    }

    /// The stream ends without a word: the command is executed.
    pub(super) fn expect_executed(&self) {
        if let Some(packet) = receive(&self.sync) {
            if packet.kind == wire::FAILED {
                panic!("failed: {:?}", packet.failure());
            }
            panic!("{packet:?}");
        }
    }

    pub(super) fn expect_failure(&self) -> (u32, i32, u32, String) {
        receive(&self.sync).expect("a failure").failure()
    }

    /// A connection as `start` makes it.
    pub(super) fn connect(&self) -> OwnedFd {
        let socket = net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .expect("socket");
        be_patient(&socket);
        let address = net::SocketAddrUnix::new(self.directory.path().join("start.sock")).expect("address");
        net::connect(&socket, &address).expect("connect");
        socket
    }

    /// What it said until its end, and its exit status as a shell has it.
    pub(super) fn end(self) -> (String, i32) {
        let mut text = String::new();
        let mut output = self.output;
        output.read_to_string(&mut text).expect("output");
        (text, wait(self.pid))
    }

    /// Waits for its end, and leaves its directory as long as this is kept.
    pub(super) fn end_without_root(self) -> TempDir {
        wait(self.pid);
        self.directory
    }

    /// Its output after it was executed without any conversation.
    pub(super) fn output(self) -> String {
        self.expect_executed();
        let (text, status) = self.end();
        assert_eq!(status, 0, "{text}");
        text
    }
}

/// Exit status as a shell has it.
fn wait(pid: i32) -> i32 {
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    let (_, status) = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())
        .expect("wait")
        .expect("end");
    status.exit_status().or_else(|| status.terminating_signal().map(|s| 128 + s)).expect("an end")
}
