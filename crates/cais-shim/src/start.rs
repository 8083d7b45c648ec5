//! Entry of the shim's program. Not a target of cargo: the build script of cais-runtime compiles it with rustc as a
//! static program without libc.

#![no_std]
#![no_main]
#![allow(unsafe_code)]

use core::arch::global_asm;

mod memory;

// The kernel puts argc, argv, NULL, envp, NULL on the stack; the first argument of the entry is where. The stack
// pointer is 16-byte aligned, as the ABI of calls wants it before the return address.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call cais_shim_entry",
    "ud2"
);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, #0", "mov x0, sp", "bl cais_shim_entry", "brk #1");

#[unsafe(no_mangle)]
unsafe extern "C" fn cais_shim_entry(stack: *const usize) -> ! {
    // SAFETY: the entry of the program, called once, with the kernel's stack.
    let status = unsafe { cais_shim::main(stack) };
    cais_shim::sys::exit(status)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    cais_shim::sys::exit(120)
}

/// Named by the unwinding tables of core; nothing ever unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
