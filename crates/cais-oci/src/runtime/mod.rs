//! The nouns of the OCI runtime specification: config.json, process.json, the state, the features.
//!
//! The types hold what version 1.2 of the specification has and what 1.3 adds, and serve for reading and writing.
//! `null` is read as absent everywhere, and so is the empty string where Go's programs write it for "not
//! set"; enumerations refuse words that are none of theirs; fields nobody knows are ignored. What is absent is left
//! out on writing. Field names are those of the document in snake case, but `type` is `kind`, `final` is `final_`.
//!
//! Reading checks form only. [`Spec::validate`] and [`Process::validate`] check what the specification demands of the
//! values; neither looks at the machine: no file is opened, no kernel asked, no capability or system call named.

mod config;
mod error;
mod features;
mod idmap;
mod linux;
mod locate;
mod process;
mod resources;
mod seccomp;
mod state;
#[cfg(test)]
mod tests;
mod validate;
mod word;

pub use config::{Hook, Hooks, Mount, Root, Spec};
pub use error::SpecError;
pub use features::{
    CgroupFeatures, Enabled, Features, IntelRdtFeatures, LinuxFeatures, MemoryPolicyFeatures,
    MountExtensions, SeccompFeatures,
};
pub use idmap::idmap_option;
pub use linux::{
    Clock, Device, DeviceType, IdMapping, IntelRdt, Linux, MemoryPolicy, MemoryPolicyFlag, MemoryPolicyMode,
    Namespace, NamespaceType, NetDevice, Personality, PersonalityDomain, RootfsPropagation, TimeOffset,
};
pub use process::{
    Capabilities, ConsoleSize, ExecCpuAffinity, IoPriority, IoPriorityClass, Process, Rlimit, RlimitType,
    Scheduler, SchedulerFlag, SchedulerPolicy, User,
};
pub use resources::{
    BlockIo, Cpu, DeviceRule, DeviceRuleType, HugepageLimit, InterfacePriority, Memory, Network, Pids, Rdma,
    Resources, ThrottleDevice, WeightDevice,
};
pub use seccomp::{Seccomp, SeccompAction, SeccompArch, SeccompArg, SeccompFlag, SeccompOp, SeccompSyscall};
pub use state::{ContainerProcessState, State, Status};
pub use validate::sysctl_path;
