//! The `linux.seccomp` object of config.json.
//!
//! Implements config-linux.md "Seccomp" of the OCI runtime specification, versions 1.2 and 1.3. Names of system calls
//! stay text: which of them exist is for the compiler of the filter.

use serde::{Deserialize, Serialize};

use super::word::{empty_as_none, is_zero, null_as_default, words};

/// A system call filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Seccomp {
    /// What a call gets that no rule is about; `None` (which the specification does not allow) with no rules
    /// means no filter, as in runc.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub default_action: Option<SeccompAction>,
    /// Errno of the default action where it has one, EPERM when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u64>,
    /// ABIs that the rules are for besides the native one.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<SeccompArch>,
    /// Flags of seccomp(2); absent and empty differ: absent lets the runtime choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<Vec<SeccompFlag>>,
    /// UNIX socket that gets the listener of `SCMP_ACT_NOTIFY`.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub listener_path: Option<String>,
    /// Words for who listens there.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub listener_metadata: Option<String>,
    /// The rules.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub syscalls: Vec<SeccompSyscall>,
}

/// One rule: calls of these names, with arguments that meet all conditions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeccompSyscall {
    /// System calls by name.
    #[serde(default, deserialize_with = "null_as_default")]
    pub names: Vec<String>,
    /// What they get.
    pub action: SeccompAction,
    /// Errno or message of the action where it has one, EPERM when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u64>,
    /// Conditions on arguments.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<SeccompArg>,
}

/// A condition on one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeccompArg {
    /// Which argument, 0 to 5.
    pub index: u64,
    /// The value to compare with, or the mask.
    pub value: u64,
    /// What the masked argument must be.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_zero")]
    pub value_two: u64,
    /// The comparison.
    pub op: SeccompOp,
}

words! {
    /// What a filter answers.
    pub enum SeccompAction ("seccomp action") {
        /// Kill the thread.
        Kill = "SCMP_ACT_KILL",
        /// Kill the process.
        KillProcess = "SCMP_ACT_KILL_PROCESS",
        /// Kill the thread.
        KillThread = "SCMP_ACT_KILL_THREAD",
        /// Send SIGSYS.
        Trap = "SCMP_ACT_TRAP",
        /// Refuse with an errno.
        Errno = "SCMP_ACT_ERRNO",
        /// Ask a tracer.
        Trace = "SCMP_ACT_TRACE",
        /// Carry it out.
        Allow = "SCMP_ACT_ALLOW",
        /// Carry it out and log it.
        Log = "SCMP_ACT_LOG",
        /// Ask a supervisor by the listener.
        Notify = "SCMP_ACT_NOTIFY",
    }
}

words! {
    /// Comparisons, unsigned.
    pub enum SeccompOp ("seccomp operator") {
        /// Not equal.
        Ne = "SCMP_CMP_NE",
        /// Less than.
        Lt = "SCMP_CMP_LT",
        /// At most.
        Le = "SCMP_CMP_LE",
        /// Equal.
        Eq = "SCMP_CMP_EQ",
        /// At least.
        Ge = "SCMP_CMP_GE",
        /// Greater than.
        Gt = "SCMP_CMP_GT",
        /// Equal to `value_two` in the bits of `value`.
        MaskedEq = "SCMP_CMP_MASKED_EQ",
    }
}

words! {
    /// Flags of seccomp(2) that a document may ask for.
    pub enum SeccompFlag ("seccomp flag") {
        /// All threads of the process at once.
        Tsync = "SECCOMP_FILTER_FLAG_TSYNC",
        /// Log every answer but allow.
        Log = "SECCOMP_FILTER_FLAG_LOG",
        /// No mitigation of speculative store bypass.
        SpecAllow = "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        /// A call that a supervisor has received is interrupted by deadly signals only.
        WaitKillableRecv = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    }
}

words! {
    /// System call ABIs by libseccomp's names.
    pub enum SeccompArch ("seccomp architecture") {
        /// 32-bit x86.
        X86 = "SCMP_ARCH_X86",
        /// 64-bit x86.
        X86_64 = "SCMP_ARCH_X86_64",
        /// 64-bit x86 with 32-bit pointers.
        X32 = "SCMP_ARCH_X32",
        /// 32-bit arm.
        Arm = "SCMP_ARCH_ARM",
        /// 64-bit arm.
        Aarch64 = "SCMP_ARCH_AARCH64",
        /// 32-bit MIPS, big endian.
        Mips = "SCMP_ARCH_MIPS",
        /// 64-bit MIPS, big endian.
        Mips64 = "SCMP_ARCH_MIPS64",
        /// 64-bit MIPS with 32-bit pointers, big endian.
        Mips64n32 = "SCMP_ARCH_MIPS64N32",
        /// 32-bit MIPS.
        Mipsel = "SCMP_ARCH_MIPSEL",
        /// 64-bit MIPS.
        Mipsel64 = "SCMP_ARCH_MIPSEL64",
        /// 64-bit MIPS with 32-bit pointers.
        Mipsel64n32 = "SCMP_ARCH_MIPSEL64N32",
        /// 32-bit POWER.
        Ppc = "SCMP_ARCH_PPC",
        /// 64-bit POWER, big endian.
        Ppc64 = "SCMP_ARCH_PPC64",
        /// 64-bit POWER.
        Ppc64le = "SCMP_ARCH_PPC64LE",
        /// 31-bit s390.
        S390 = "SCMP_ARCH_S390",
        /// 64-bit s390.
        S390x = "SCMP_ARCH_S390X",
        /// 32-bit PA-RISC.
        Parisc = "SCMP_ARCH_PARISC",
        /// 64-bit PA-RISC.
        Parisc64 = "SCMP_ARCH_PARISC64",
        /// 64-bit RISC-V.
        Riscv64 = "SCMP_ARCH_RISCV64",
        /// 64-bit LoongArch.
        Loongarch64 = "SCMP_ARCH_LOONGARCH64",
        /// Motorola 68000.
        M68k = "SCMP_ARCH_M68K",
        /// SuperH.
        Sh = "SCMP_ARCH_SH",
        /// SuperH, big endian.
        Sheb = "SCMP_ARCH_SHEB",
    }
}
