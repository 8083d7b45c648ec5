//! Seccomp: a profile in Docker's JSON format, or that of a bundle, becomes a classic BPF program for seccomp(2).
//!
//! [`Profile`] is parsed once, [`compile()`] is pure and gives a [`Program`] whose bytes the shim loads;
//! [`compile_spec`] is both for `linux.seccomp` of a config.json. The compiler is
//! our own: it merges equal neighbours among the system call numbers into ranges and decides by a binary tree, so
//! that loading a filter (the kernel runs it once per number to fill its bitmap of calls that are always allowed)
//! costs tens of microseconds. It uses only those instructions that the kernel's bitmap builder can follow. Verdicts
//! equal libseccomp's for the same rules, which the tests prove over all numbers, architectures and the boundary
//! values of arguments. Two differences are deliberate and chosen by the caller: [`NewerCalls::Enosys`], which is
//! runc's, and [`Target::x32`].
//!
//! Never: this module loads no filter, runs no process and does not read the kernel's version or capabilities itself.
//! Whoever loads a program with a listener has to hand that on before anything waits for an answer.

mod bpf;
mod compile;
mod default;
#[cfg(test)]
mod emulate;
mod oci;
mod profile;
mod syscalls;
#[cfg(test)]
mod tests;
mod tree;

use crate::capability::CapSet;

pub use bpf::{Instruction, Program};
pub use compile::compile;
pub use oci::compile_spec;
pub use profile::{Action, Comparison, Condition, Filter, Profile, Rule};
pub use syscalls::name_of as syscall_name;

/// The bit that marks a system call number of the x32 ABI.
const X32_BIT: u32 = 0x4000_0000;

/// `SECCOMP_FILTER_FLAG_*` of seccomp(2) that a program can have.
pub mod flag {
    /// Every answer but "allow" is logged.
    pub const LOG: u32 = 1 << 1;
    /// No mitigation of speculative store bypass.
    pub const SPEC_ALLOW: u32 = 1 << 2;
    /// The call returns a listener.
    pub const NEW_LISTENER: u32 = 1 << 3;
    /// A call that a listener has received is interrupted by deadly signals only (Linux 5.19).
    pub const WAIT_KILLABLE_RECV: u32 = 1 << 5;
}

/// A system call ABI: what decides which number means which call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Abi {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86, also by `int 0x80` on a 64-bit kernel.
    X86,
    /// 64-bit x86 with 32-bit pointers.
    X32,
    /// 64-bit arm.
    Aarch64,
    /// 32-bit arm (EABI).
    Arm,
}

impl Abi {
    /// The ABI this program was built for; `None` where there is no table of system calls.
    pub const NATIVE: Option<Self> = if cfg!(target_arch = "x86_64") {
        Some(Self::X86_64)
    } else if cfg!(target_arch = "x86") {
        Some(Self::X86)
    } else if cfg!(target_arch = "aarch64") {
        Some(Self::Aarch64)
    } else if cfg!(target_arch = "arm") {
        Some(Self::Arm)
    } else {
        None
    };

    /// `AUDIT_ARCH_*`, as seccomp_data holds it; x32 shares the one of x86_64.
    fn audit_arch(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments are compared as 64 bits wide. Elsewhere the upper half of a value is ignored.
    fn is_wide(self) -> bool {
        matches!(self, Self::X86_64 | Self::Aarch64)
    }

    /// The name that a profile's `arches` filters use.
    fn filter_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::X86 => "x86",
            Self::X32 => "x32",
            Self::Aarch64 => "arm64",
            Self::Arm => "arm",
        }
    }
}

/// What a system call gets that is newer (has a greater number) than every call the profile names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewerCalls {
    /// The profile's default action, as libseccomp and crun have it.
    DefaultAction,
    /// `ENOSYS` when the default action refuses and is not `ENOSYS` already, as runc has it: C libraries then fall
    /// back to an older call instead of reporting "operation not permitted".
    Enosys,
}

/// Where and for whom a profile is compiled.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The native ABI of the machine.
    pub abi: Abi,
    /// The container's bounding set, which `includes` and `excludes` of a profile look at.
    pub caps: CapSet,
    /// The kernel's version, first two numbers.
    pub kernel: (u32, u32),
    /// What calls unknown to the profile get.
    pub newer_calls: NewerCalls,
    /// Whether the kernel carries out x32 calls at all (most do not); `true` where that is not known. If not, and the
    /// profile covers x32, all of them get `ENOSYS` as the kernel would answer, which makes the program a third shorter.
    pub x32: bool,
}

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// Not JSON, or a field of the wrong type.
    #[error("parse seccomp profile: {source}")]
    Json {
        /// Where and why.
        source: serde_json::Error,
    },
    /// A field holds what it cannot hold.
    #[error("parse seccomp profile: {field}: {problem}")]
    Field {
        /// Path of the field, as `syscalls[3].action`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The profile needs a supervisor process, and there is none.
    #[error("seccomp profile: {field}: SCMP_ACT_NOTIFY is not supported")]
    Notify {
        /// Path of the field.
        field: String,
    },
    /// Nothing could be done without a supervisor, not even telling it.
    #[error("seccomp profile: SCMP_ACT_NOTIFY cannot be used as default action")]
    NotifyByDefault,
    /// As before.
    #[error("seccomp profile: SCMP_ACT_NOTIFY cannot be used for the write syscall")]
    NotifyWrite,
    /// Somebody is to be asked, but nobody is named.
    #[error("seccomp profile: SCMP_ACT_NOTIFY needs listenerPath, which is not set")]
    NoListenerPath,
    /// The kernel takes at most 4096 instructions.
    #[error("compile seccomp profile: {count} instructions, the kernel takes 4096 at most")]
    TooLong {
        /// Instructions in the program.
        count: usize,
    },
}
