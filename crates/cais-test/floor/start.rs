//! The floor of the benchmark: the requests to the kernel that the default bundle of the runtime specification means,
//! and nothing else. Nothing is parsed, checked, recorded or recovered.
//!
//! Arguments: root directory, file with a seccomp filter or `-`, how many control group directories, these, then the
//! command. Exit status: the command's; 120 and more when a step failed, told by its number only. Not a target of cargo:
//! the build script compiles it as the shim is compiled, so that both start equally fast.

#![no_std]
#![no_main]
#![allow(unsafe_code)]

use core::arch::global_asm;
use core::ffi::{CStr, c_char};

use cais_plan::Strings;
use cais_shim::{creds, mask, mounts, sys};

#[path = "../../cais-shim/src/memory.rs"]
mod memory;

// The kernel puts argc, argv, NULL, envp, NULL on the stack; the first argument is where.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call cais_floor_entry",
    "ud2"
);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, #0", "mov x0, sp", "bl cais_floor_entry", "brk #1");

/// MNT, UTS, IPC, PID, NET: those of the default bundle.
const NAMESPACES: u64 = 0x0002_0000 | 0x0400_0000 | 0x0800_0000 | 0x2000_0000 | 0x4000_0000;
const NOSUID: u64 = 2;
const PLAIN: u64 = 2 | 4 | 8;
const RDONLY: u64 = 1;
/// AUDIT_WRITE, KILL, NET_BIND_SERVICE.
const CAPABILITIES: u64 = 1 << 29 | 1 << 5 | 1 << 10;

const MASKED: [&CStr; 10] = [
    c"/proc/acpi",
    c"/proc/asound",
    c"/proc/kcore",
    c"/proc/keys",
    c"/proc/latency_stats",
    c"/proc/timer_list",
    c"/proc/timer_stats",
    c"/proc/sched_debug",
    c"/sys/firmware",
    c"/proc/scsi",
];
const READ_ONLY: [&CStr; 5] =
    [c"/proc/bus", c"/proc/fs", c"/proc/irq", c"/proc/sys", c"/proc/sysrq-trigger"];
const NODES: [(&CStr, u64); 6] = [
    (c"dev/null", 0x103),
    (c"dev/zero", 0x105),
    (c"dev/full", 0x107),
    (c"dev/random", 0x108),
    (c"dev/urandom", 0x109),
    (c"dev/tty", 0x500),
];
const LINKS: [(&CStr, &CStr); 6] = [
    (c"/proc/self/fd", c"dev/fd"),
    (c"/proc/self/fd/0", c"dev/stdin"),
    (c"/proc/self/fd/1", c"dev/stdout"),
    (c"/proc/self/fd/2", c"dev/stderr"),
    (c"pts/ptmx", c"dev/ptmx"),
    (c"/proc/kcore", c"dev/core"),
];
/// What every container may use, for a `devices.allow`.
const ALLOWED: [&[u8]; 13] = [
    b"c *:* m",
    b"b *:* m",
    b"c 1:3 rwm",
    b"c 1:5 rwm",
    b"c 1:7 rwm",
    b"c 1:8 rwm",
    b"c 1:9 rwm",
    b"c 5:0 rwm",
    b"c 5:1 rwm",
    b"c 5:2 rwm",
    b"c 136:* rwm",
    b"c 10:200 rwm",
    b"c 1:11 rwm",
];

/// Words of the command line: a NULL-terminated array.
struct Words(*const *const c_char);

impl Words {
    fn at(&self, index: usize) -> &'static [u8] {
        // SAFETY: the kernel's argv, which lives as long as the program; callers count the words they ask for.
        unsafe { CStr::from_ptr(*self.0.add(index)) }.to_bytes()
    }
}

fn or_leave<T>(result: sys::Result<T>, step: i32) -> T {
    match result {
        Ok(value) => value,
        Err(_) => sys::exit(120 + step),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cais_floor_entry(stack: *const *const c_char) -> ! {
    // SAFETY: argc, then argv: the kernel's start of the stack.
    let words = Words(unsafe { stack.add(1) });
    let filter: &[u8] = match words.at(2) {
        b"-" => &[],
        path => sys::map_whole(or_leave(sys::open(path, sys::O_RDONLY | sys::O_CLOEXEC), 1)).unwrap_or(&[]),
    };
    let groups = words.at(3).iter().fold(0_usize, |n, digit| n * 10 + usize::from(digit - b'0'));
    let mut tasks = [-1_i32; 16];
    for (index, place) in tasks.iter_mut().enumerate().take(groups) {
        *place = make_group(words.at(4 + index));
    }
    // SAFETY: one thread; parent and child go separate ways.
    let (pid, _) = or_leave(unsafe { sys::clone3(NAMESPACES, -1) }, 2);
    if pid == 0 {
        // SAFETY: within argv, whose end is NULL.
        let command = unsafe { words.0.add(4 + groups) };
        contain(words.at(1), filter, &tasks[..groups], command);
    }
    let status = or_leave(sys::wait(pid, true), 3).map_or(119, |(_, status)| status);
    for (index, fd) in tasks[..groups].iter().enumerate() {
        sys::close(*fd);
        remove_directory(words.at(4 + index));
    }
    sys::exit(if status & 0x7f == 0 { status >> 8 & 0xff } else { 128 + (status & 0x7f) })
}

/// Makes a group and opens its `tasks`; one of the devices controller also gets the rules.
fn make_group(path: &[u8]) -> i32 {
    or_leave(sys::mkdirat(sys::AT_FDCWD, path, 0o755), 4);
    let group = or_leave(sys::open(path, sys::O_PATH | sys::O_DIRECTORY | sys::O_CLOEXEC), 5);
    for file in [c"cpuset.cpus", c"cpuset.mems"] {
        // A group of cpuset takes nobody before both are filled; others do not have the files.
        if let Ok(fd) = sys::openat(group, file.to_bytes(), sys::O_WRONLY | sys::O_CLOEXEC, 0) {
            or_leave(sys::write(fd, if file == c"cpuset.cpus" { b"0-1" } else { b"0" }), 6);
            sys::close(fd);
        }
    }
    if let Ok(deny) = sys::openat(group, c"devices.deny".to_bytes(), sys::O_WRONLY | sys::O_CLOEXEC, 0) {
        or_leave(sys::write(deny, b"a"), 6);
        sys::close(deny);
        let allow = or_leave(
            sys::openat(group, c"devices.allow".to_bytes(), sys::O_WRONLY | sys::O_CLOEXEC, 0),
            6,
        );
        for rule in ALLOWED {
            or_leave(sys::write(allow, rule), 6);
        }
        sys::close(allow);
    }
    let tasks = or_leave(sys::openat(group, c"tasks".to_bytes(), sys::O_WRONLY | sys::O_CLOEXEC, 0), 7);
    sys::close(group);
    tasks
}

fn remove_directory(path: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    const UNLINKAT: usize = 263;
    #[cfg(target_arch = "aarch64")]
    const UNLINKAT: usize = 35;
    const REMOVEDIR: usize = 0x200;
    // SAFETY: a path that ends with NUL, as every word of the command line does.
    let _ = unsafe {
        sys::syscall(UNLINKAT, sys::AT_FDCWD as usize, path.as_ptr() as usize, REMOVEDIR, 0, 0, 0)
    };
}

fn mount(root: i32, fstype: &CStr, target: &CStr, attributes: u64, options: &[u8]) {
    let (name, options) = (fstype.to_bytes(), Strings(options));
    let tree = or_leave(mounts::new_filesystem(name, name, options, attributes), 8);
    let at = or_leave(mounts::open_or_make(root, target.to_bytes(), true, 0o755), 9);
    or_leave(sys::move_mount_to(tree, at), 10);
    sys::close(tree);
    sys::close(at);
}

/// The child: becomes the command inside the root.
fn contain(rootfs: &[u8], filter: &[u8], tasks: &[i32], command: *const *const c_char) -> ! {
    for fd in tasks {
        or_leave(sys::write(*fd, b"0"), 11);
    }
    let none = c"".to_bytes();
    const SLAVE: usize = 1 << 19;
    or_leave(sys::mount(none, c"/".to_bytes(), none, sys::MS_REC | SLAVE, none), 12);
    let tree = or_leave(sys::open_tree(sys::AT_FDCWD, rootfs, true), 13);
    let root = or_leave(mounts::attach_root(tree, rootfs), 14);
    mount(root, c"proc", c"/proc", 0, b"");
    mount(root, c"tmpfs", c"/dev", NOSUID, b"mode=755\0size=65536k\0");
    mount(root, c"devpts", c"/dev/pts", NOSUID | 8, b"newinstance\0ptmxmode=0666\0mode=0620\0gid=5\0");
    mount(root, c"tmpfs", c"/dev/shm", PLAIN, b"mode=1777\0size=65536k\0");
    mount(root, c"mqueue", c"/dev/mqueue", PLAIN, b"");
    mount(root, c"sysfs", c"/sys", PLAIN | RDONLY, b"");
    for (path, device) in NODES {
        or_leave(sys::mknodat(root, path.to_bytes(), 0o020_666, device), 15);
    }
    for (content, path) in LINKS {
        or_leave(sys::symlinkat(content.to_bytes(), root, path.to_bytes()), 16);
    }
    or_leave(sys::sethostname(b"floor"), 17);
    let mut cover = mask::Cover::default();
    for path in MASKED {
        or_leave(mask::mask(root, path.to_bytes(), &mut cover), 18);
    }
    for path in READ_ONLY {
        or_leave(mask::read_only(root, path.to_bytes()), 18);
    }
    or_leave(sys::mount_setattr(root, false, RDONLY, 0), 18);
    let dot = c".".to_bytes();
    or_leave(sys::fchdir(root), 19);
    or_leave(sys::pivot_root(dot, dot), 19);
    or_leave(sys::umount(dot, sys::MNT_DETACH), 19);
    or_leave(sys::chdir(c"/".to_bytes()), 19);
    or_leave(sys::setsid(), 20);
    or_leave(sys::prlimit(7, 1024, 1024), 20);
    or_leave(creds::bound(CAPABILITIES), 20);
    or_leave(creds::set_capabilities(CAPABILITIES, CAPABILITIES, CAPABILITIES, 0), 21);
    or_leave(sys::prctl(sys::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 21);
    if !filter.is_empty() {
        or_leave(sys::seccomp_filter(filter, 0), 22);
    }
    sys::close_range(3, u32::MAX);
    let environment = [c"PATH=/bin".as_ptr(), core::ptr::null()];
    // SAFETY: the first word of the command, which the caller counted.
    let program = unsafe { CStr::from_ptr(*command) }.to_bytes();
    sys::execve(program, command.cast(), environment.as_ptr().cast());
    sys::exit(143)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::exit(118)
}

/// Named by the unwinding tables of core; nothing ever unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
