//! Docker's default profile, as data.
//!
//! Facts follow moby's `default.json` of mid-2026: what is allowed to everybody, what a capability unlocks, and the
//! few rules that look at arguments. Calls it does not name get `EPERM`.

use std::borrow::Cow;

use super::profile::{Action, Comparison, Condition, Filter, Profile, Rule};
use super::{Abi, flag};
use crate::capability::Capability;

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;

/// Allowed whoever asks.
const ALLOWED: &str = "
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime
    clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
    clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create
    epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2
    execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir
    fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork
    fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex
    futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64
    getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid
    getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit
    get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday getuid getuid32
    getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy
    io_getevents io_pgetevents io_pgetevents_time64 ioprio_get ioprio_set io_setup io_submit ipc kill
    landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen
    listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise
    map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2
    mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64
    mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall
    munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open
    pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv
    preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink
    readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat
    rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask
    rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
    sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min
    sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64
    send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32
    setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid
    setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address
    setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4
    sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink
    symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun
    timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64
    timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat
    uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev
";

/// Allowed only on some native architectures: their names, the calls.
const BY_ARCH: [(&str, &str); 5] = [
    ("ppc64le", "sync_file_range2 swapcontext"),
    ("arm arm64", "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"),
    ("amd64 x32", "arch_prctl"),
    ("amd64 x32 x86", "modify_ldt"),
    ("riscv64", "riscv_flush_icache"),
];

/// Allowed with a capability in the bounding set.
const BY_CAPABILITY: [(Capability, &str); 14] = [
    (Capability::DAC_READ_SEARCH, "open_by_handle_at"),
    (
        Capability::SYS_ADMIN,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
        lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl
        quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    (Capability::SYS_BOOT, "reboot"),
    (Capability::SYS_CHROOT, "chroot"),
    (Capability::SYS_MODULE, "delete_module init_module finit_module"),
    (Capability::SYS_PACCT, "acct"),
    (Capability::SYS_PTRACE, "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    (Capability::SYS_RAWIO, "iopl ioperm"),
    (Capability::SYS_TIME, "settimeofday stime clock_settime clock_settime64"),
    (Capability::SYS_TTY_CONFIG, "vhangup"),
    (Capability::SYS_NICE, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    (Capability::SYSLOG, "syslog"),
    (Capability::BPF, "bpf"),
    (Capability::PERFMON, "perf_event_open"),
];

/// Flags of clone(2) that make a namespace: mount, cgroup, UTS, IPC, user, PID and network.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;
const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;
/// Harmless values of personality(2): Linux, Linux32, UNAME26 with either, and the query.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

fn words(text: &'static str) -> Vec<Cow<'static, str>> {
    text.split_whitespace().map(Cow::Borrowed).collect()
}

fn allow(names: &'static str) -> Rule {
    Rule {
        names: words(names),
        action: Action::Allow,
        conditions: Vec::new(),
        includes: Filter::default(),
        excludes: Filter::default(),
    }
}

fn allow_if(name: &'static str, op: Comparison, value: u64) -> Rule {
    Rule { conditions: vec![Condition { index: 0, value, value_two: 0, op }], ..allow(name) }
}

impl Profile {
    /// Docker's default profile.
    pub fn docker_default() -> Self {
        let mut rules = vec![allow(ALLOWED)];
        rules.push(Rule {
            includes: Filter { min_kernel: Some((4, 8)), ..Filter::default() },
            ..allow("process_vm_readv process_vm_writev ptrace")
        });
        // Every address family but AF_ALG and AF_VSOCK.
        rules.push(allow_if("socket", Comparison::Lt, AF_ALG));
        rules.push(allow_if("socket", Comparison::Eq, AF_ALG + 1));
        rules.push(allow_if("socket", Comparison::Gt, AF_VSOCK));
        rules.extend(PERSONALITIES.map(|value| allow_if("personality", Comparison::Eq, value)));
        rules.extend(BY_ARCH.map(|(arches, names)| Rule {
            includes: Filter { arches: words(arches), ..Filter::default() },
            ..allow(names)
        }));
        rules.extend(BY_CAPABILITY.map(|(cap, names)| Rule {
            includes: Filter { caps: vec![cap], ..Filter::default() },
            ..allow(names)
        }));
        let unless_admin = Filter { caps: vec![Capability::SYS_ADMIN], ..Filter::default() };
        rules.push(Rule {
            excludes: unless_admin.clone(),
            ..allow_if("clone", Comparison::MaskedEq, CLONE_NAMESPACES)
        });
        // A filter cannot see the flags of clone3; C libraries fall back to clone.
        rules.push(Rule { action: Action::Errno(ENOSYS), excludes: unless_admin, ..allow("clone3") });
        Self {
            default_action: Action::Errno(EPERM),
            architectures: Vec::new(),
            arch_map: vec![(Abi::X86_64, vec![Abi::X86, Abi::X32]), (Abi::Aarch64, vec![Abi::Arm])],
            flags: flag::SPEC_ALLOW,
            rules,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_but_those_of_other_machines() {
        let foreign = ["riscv_hwprobe", "riscv_flush_icache", "swapcontext", "sync_file_range2"];
        for name in Profile::docker_default().rules.iter().flat_map(|rule| &rule.names) {
            let known = crate::seccomp::syscalls::find(name).is_some();
            assert_eq!(known, !foreign.contains(&name.as_ref()), "{name}");
        }
    }
}
