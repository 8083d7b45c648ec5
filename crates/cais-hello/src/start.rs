//! Entry of the program of the image `hello`. Not a target of cargo: a build script compiles it with rustc as a static
//! program without libc, as the shim is.
//!
//! Reads what the kernel's files say, writes one file into `/`, and prints the page of [`cais_hello::report`].
//! Exit status 0, 1 when the page could not be written.

#![no_std]
#![no_main]
#![allow(unsafe_code)]

use core::arch::global_asm;
use core::ffi::{CStr, c_char};

use cais_hello::report::WRITTEN_FILE;
use cais_hello::{NAMESPACES, Page, Sight, WriteTest, report};
use cais_shim::sys;

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
    "call cais_hello_entry",
    "ud2"
);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, #0", "mov x0, sp", "bl cais_hello_entry", "brk #1");

#[unsafe(no_mangle)]
unsafe extern "C" fn cais_hello_entry(stack: *const *const c_char) -> ! {
    // SAFETY: the kernel's start of the stack, see above.
    let host_namespaces = unsafe { variable(stack, b"CAIS_HELLO_HOST_NS=") };
    let mut buffer = [0; 8192];
    let mut page = Page::new(&mut buffer);
    look(host_namespaces, &mut page);
    sys::exit(i32::from(sys::write_all(1, page.bytes()).is_err()))
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::exit(120)
}

/// Named by the unwinding tables of core; nothing ever unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Value of the environment variable whose name and `=` are given; empty when it is not set.
///
/// # Safety
/// `stack` is what the kernel left on the stack of a new program.
unsafe fn variable(stack: *const *const c_char, prefix: &[u8]) -> &'static [u8] {
    // SAFETY: argc is the first word; argv has argc elements and a NULL; envp follows and ends with NULL.
    unsafe {
        let mut place = stack.add(stack.cast::<usize>().read() + 2);
        while !place.read().is_null() {
            let entry: &'static [u8] = CStr::from_ptr(place.read()).to_bytes();
            if let Some(value) = entry.strip_prefix(prefix) {
                return value;
            }
            place = place.add(1);
        }
    }
    b""
}

/// Looks around and tells.
fn look(host_namespaces: &[u8], page: &mut Page<'_>) {
    let mut links = [[0_u8; 32]; NAMESPACES.len()];
    let mut namespaces = [&b""[..]; NAMESPACES.len()];
    for ((name, link), seen) in NAMESPACES.iter().zip(&mut links).zip(&mut namespaces) {
        let mut path = [0_u8; 32];
        for (place, byte) in path.iter_mut().zip(b"/proc/self/ns/".iter().chain(name.as_bytes())) {
            *place = *byte;
        }
        let length = CStr::from_bytes_until_nul(&path).map_or(0, |path| read_link(path, link));
        *seen = &link[..length];
    }
    let (mut hostname, mut uid_map, mut last) = ([0; 256], [0; 1024], [0; 32]);
    let (mut status, mut mountinfo, mut net_dev) = ([0; 4096], [0; 16384], [0; 4096]);
    let (mut memory, mut pids, mut cpu) = ([0; 64], [0; 64], [0; 64]);
    let sight = Sight {
        pid: u64::from(sys::getpid().unsigned_abs()),
        hostname: read(c"/proc/sys/kernel/hostname", &mut hostname),
        status: read(c"/proc/self/status", &mut status),
        uid_map: read(c"/proc/self/uid_map", &mut uid_map),
        mountinfo: read(c"/proc/self/mountinfo", &mut mountinfo),
        net_dev: read(c"/proc/net/dev", &mut net_dev),
        cap_last_cap: read(c"/proc/sys/kernel/cap_last_cap", &mut last),
        namespaces,
        host_namespaces,
        memory: first_of(
            [c"/sys/fs/cgroup/memory.max", c"/sys/fs/cgroup/memory/memory.limit_in_bytes"],
            &mut memory,
        ),
        pids: first_of([c"/sys/fs/cgroup/pids.max", c"/sys/fs/cgroup/pids/pids.max"], &mut pids),
        cpu: cpu_limit(&mut cpu),
        write_test: write_test(),
    };
    report(&sight, page);
}

/// Reads a file as far as it fits; empty when it cannot be read.
fn read<'b>(path: &CStr, buffer: &'b mut [u8]) -> &'b [u8] {
    let mut length = 0;
    if let Ok(fd) = sys::open(path.to_bytes(), sys::O_RDONLY) {
        while let Ok(count @ 1..) = sys::read(fd, &mut buffer[length..]) {
            length += count;
        }
        sys::close(fd);
    }
    &buffer[..length]
}

/// The first of two files that is readable: cgroup v2's, v1's.
fn first_of<'b>(paths: [&CStr; 2], buffer: &'b mut [u8]) -> &'b [u8] {
    let length = match read(paths[0], buffer).len() {
        0 => read(paths[1], buffer).len(),
        length => length,
    };
    &buffer[..length]
}

/// `cpu.max` of cgroup v2, or v1's quota and period behind each other.
fn cpu_limit(buffer: &mut [u8; 64]) -> &[u8] {
    let mut length = read(c"/sys/fs/cgroup/cpu.max", buffer).len();
    if length == 0 {
        length = read(c"/sys/fs/cgroup/cpu/cpu.cfs_quota_us", buffer).len();
        length += read(c"/sys/fs/cgroup/cpu/cpu.cfs_period_us", &mut buffer[length..]).len();
    }
    &buffer[..length]
}

/// Target of a symbolic link; 0 bytes when it cannot be read.
fn read_link(path: &CStr, buffer: &mut [u8]) -> usize {
    #[cfg(target_arch = "x86_64")]
    const READLINKAT: usize = 267;
    #[cfg(target_arch = "aarch64")]
    const READLINKAT: usize = 78;
    let (path, room) = (path.as_ptr() as usize, buffer.len());
    // SAFETY: readlinkat(2) with a NUL-terminated path and a buffer of `room` bytes that outlive the call.
    let length = unsafe {
        sys::syscall(READLINKAT, sys::AT_FDCWD as usize, path, buffer.as_mut_ptr() as usize, room, 0, 0)
    };
    usize::try_from(length).unwrap_or(0)
}

/// Writes a file into `/`.
fn write_test() -> WriteTest {
    const EROFS: i32 = 30;
    let mut path = [0_u8; 32];
    for (place, byte) in path.iter_mut().zip(b"/".iter().chain(WRITTEN_FILE.as_bytes())) {
        *place = *byte;
    }
    let Ok(path) = CStr::from_bytes_until_nul(&path) else { return WriteTest::Failed(0) };
    let flags = sys::O_WRONLY | sys::O_CREAT | sys::O_TRUNC;
    let written = sys::openat(sys::AT_FDCWD, path.to_bytes(), flags, 0o644).and_then(|fd| {
        let written = sys::write_all(fd, b"hello\n");
        sys::close(fd);
        written
    });
    match written {
        Ok(()) => WriteTest::Written,
        Err(sys::Errno(EROFS)) => WriteTest::ReadOnly,
        Err(sys::Errno(errno)) => WriteTest::Failed(errno),
    }
}
