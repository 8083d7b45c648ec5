//! The commands of the runtime with their flags and arguments. Data only.

use super::failure::{Failure, Outcome};
use super::flags::{Flag, Words};
use super::{Door, create, criu, events, exec, features, freeze, kill, list, ps, run, spec, start, update};

/// One command.
pub(super) struct Command {
    /// Its name.
    pub(super) name: &'static str,
    /// Another one.
    pub(super) alias: Option<&'static str>,
    /// Arguments, for the help.
    pub(super) usage: &'static str,
    /// What it does.
    pub(super) about: &'static str,
    /// Its flags, in groups.
    pub(super) flags: &'static [&'static [Flag]],
    /// How many arguments it takes, at least and at most.
    pub(super) arguments: (usize, usize),
    /// The first argument ends the flags, because words for another program follow.
    pub(super) first_ends: bool,
    /// It calls criu, which is looked for.
    pub(super) needs_criu: bool,
    /// Does it.
    pub(super) main: fn(&Door, &Words) -> Outcome,
}

impl Command {
    /// As many arguments as it takes, and an id that is not empty.
    ///
    /// # Errors
    /// Otherwise.
    pub(super) fn check_arguments(&self, words: &Words) -> Result<(), Failure> {
        let (least, most) = self.arguments;
        let count = words.arguments.len();
        let wrong = match () {
            () if count < least && words.arguments.is_empty() && most > 0 => {
                "a container id is missing".to_owned()
            }
            () if count < least => format!("at least {least} arguments are needed"),
            () if count > most => format!("unexpected argument {:?}", words.arguments[most]),
            () if words.arguments.first().is_some_and(|id| id.is_empty()) => {
                "container id cannot be empty".to_owned()
            }
            () => return Ok(()),
        };
        Err(Failure::usage(format!("{}: {wrong}; usage: {} {}", self.name, self.name, self.usage)))
    }
}

impl Words {
    /// The container's id.
    ///
    /// # Errors
    /// When it is no text.
    pub(super) fn id(&self) -> Result<&str, Failure> {
        let id = self.arguments.first().map(|id| id.to_str());
        id.flatten().ok_or_else(|| Failure::usage("container id is not valid UTF-8"))
    }
}

/// Where a container comes from and what it is given.
const BUNDLE: &[Flag] =
    &[Flag::valued("bundle", "DIR", "the bundle (default: the working directory)").short('b')];
const LAUNCH: &[Flag] = &[
    Flag::valued("config", "FILE", "read this file of the bundle instead of config.json").short('f'),
    Flag::valued("pidfd-socket", "SOCKET", "send a pidfd of the container's process to this socket"),
    Flag::switch("no-new-keyring", "keep the caller's session keyring"),
    Flag::valued("preserve-fds", "N", "pass N further descriptors to the container"),
];
/// What `restore` knows, too.
const PLACE: &[Flag] = &[
    Flag::valued("console-socket", "SOCKET", "send the terminal's other end to this socket"),
    Flag::valued("pid-file", "FILE", "write the process id to this file"),
    Flag::switch("no-pivot", "use MS_MOVE instead of pivot_root"),
    Flag::switch("no-subreaper", "do not reap orphans of the container"),
];
const DETACH: &[Flag] = &[Flag::switch("detach", "do not wait for the process").short('d')];
const KEEP: &[Flag] = &[Flag::switch("keep", "do not delete the container when it ends")];
const FORMAT: &[Flag] = &[Flag::valued("format", "FORMAT", "table (default) or json").short('f')];
const REGEX: &[Flag] =
    &[Flag::switch("regex", "ID is a regular expression, all containers that it finds").short('r')];

const EXEC: &[Flag] = &[
    Flag::valued("process", "FILE", "the process, as JSON; other flags that describe it are ignored")
        .short('p'),
    Flag::valued("cwd", "DIR", "working directory in the container"),
    Flag::valued("env", "NAME=VALUE", "add a variable").short('e'),
    Flag::switch("tty", "allocate a terminal").short('t'),
    Flag::valued("user", "UID[:GID]", "user and group").short('u'),
    Flag::valued("additional-gids", "GID", "add a supplementary group").short('g'),
    Flag::valued("cap", "CAP", "add a capability").short('c'),
    Flag::valued("process-label", "LABEL", "SELinux label"),
    Flag::valued("apparmor", "PROFILE", "AppArmor profile"),
    Flag::switch("no-new-privs", "set no_new_privs"),
    Flag::switch("no-new-keyring", "keep the caller's session keyring"),
    Flag::valued("console-socket", "SOCKET", "send the terminal's other end to this socket"),
    Flag::valued("pidfd-socket", "SOCKET", "send a pidfd of the process to this socket"),
    Flag::valued("pid-file", "FILE", "write the process id to this file"),
    Flag::valued("preserve-fds", "N", "pass N further descriptors to the process"),
    Flag::valued("cgroup", "[CONTROLLER:]PATH", "enter this group below the container's"),
    Flag::switch("ignore-paused", "also in a paused container, where the process waits"),
];

const UPDATE: &[Flag] = &[
    Flag::valued("resources", "FILE", "read a JSON document (- is standard input), other flags are ignored")
        .short('r'),
    Flag::valued("memory", "BYTES", "limit of memory; k, m, g; -1 is none"),
    Flag::valued("memory-reservation", "BYTES", "soft limit"),
    Flag::valued("memory-swap", "BYTES", "limit of memory and swap together"),
    Flag::valued("kernel-memory", "BYTES", "ignored"),
    Flag::valued("kernel-memory-tcp", "BYTES", "ignored"),
    Flag::valued("cpu-share", "N", "weight, 2 to 262144"),
    Flag::valued("cpu-quota", "MICROSECONDS", "processor time in a period; -1 is no limit"),
    Flag::valued("cpu-period", "MICROSECONDS", "the period"),
    Flag::valued("cpu-burst", "MICROSECONDS", "time that can be saved up"),
    Flag::valued("cpu-rt-runtime", "MICROSECONDS", "the same for real-time policies"),
    Flag::valued("cpu-rt-period", "MICROSECONDS", "the period for real-time policies"),
    Flag::valued("cpu-idle", "0|1", "run only when nothing else does"),
    Flag::valued("cpuset-cpus", "LIST", "processors"),
    Flag::valued("cpuset-mems", "LIST", "memory nodes"),
    Flag::valued("pids-limit", "N", "number of processes; -1 is no limit"),
    Flag::valued("blkio-weight", "N", "weight for block devices, 10 to 1000"),
    Flag::valued("l3-cache-schema", "SCHEMA", "Intel RDT cache allocation"),
    Flag::valued("mem-bw-schema", "SCHEMA", "Intel RDT memory bandwidth"),
];

/// What `checkpoint` and `restore` both know.
const CRIU: &[Flag] = &[
    Flag::valued("image-path", "DIR", "CRIU's images (default: checkpoint in the working directory)"),
    Flag::valued("work-path", "DIR", "CRIU's work files and logs"),
    Flag::switch("tcp-established", "allow open TCP connections"),
    Flag::switch("ext-unix-sk", "allow external unix sockets"),
    Flag::switch("shell-job", "allow shell jobs"),
    Flag::switch("file-locks", "handle file locks"),
    Flag::switch("lazy-pages", "memory pages by userfaultfd"),
    Flag::switch("auto-dedup", "deduplicate memory images"),
    Flag::valued("manage-cgroups-mode", "MODE", "soft (default), full, strict or ignore"),
    Flag::valued("empty-ns", "NAMESPACE", "make a namespace, do not restore what is in it (network)"),
];
const CHECKPOINT: &[Flag] = &[
    Flag::valued("parent-path", "DIR", "images of an earlier pre-dump, relative to --image-path"),
    Flag::switch("leave-running", "leave the container running"),
    Flag::switch("pre-dump", "memory only, the container goes on"),
    Flag::switch("tcp-skip-in-flight", "skip TCP connections that are being made"),
    Flag::switch("link-remap", "link unlinked files back"),
    Flag::valued("status-fd", "FD", "CRIU writes a zero byte here when it is ready for lazy pages"),
    Flag::valued("page-server", "ADDRESS:PORT", "send memory pages there"),
];
const RESTORE: &[Flag] = &[
    Flag::valued("lsm-profile", "TYPE:NAME", "security profile"),
    Flag::valued("lsm-mount-context", "CONTEXT", "SELinux context of mounts"),
];

const fn on_container(
    name: &'static str,
    about: &'static str,
    main: fn(&Door, &Words) -> Outcome,
) -> Command {
    let (alias, flags, arguments) = (None, &[], (1, 1));
    Command { name, alias, usage: "ID", about, flags, arguments, first_ends: false, needs_criu: false, main }
}

/// All commands, in the order of the help.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        flags: &[BUNDLE, LAUNCH, PLACE],
        ..on_container("create", "make a container that waits for start", create::main)
    },
    on_container("start", "let the process of a created container begin", start::main),
    Command {
        flags: &[BUNDLE, LAUNCH, PLACE, DETACH, KEEP],
        ..on_container("run", "create and start a container", run::main)
    },
    on_container("state", "print the state of a container", list::state),
    Command {
        usage: "ID [SIGNAL]",
        arguments: (1, 2),
        first_ends: true,
        flags: &[&[Flag::switch("all", "every process of the container").short('a')], REGEX],
        ..on_container("kill", "send a signal (default: SIGTERM) to a container", kill::kill)
    },
    Command {
        flags: &[
            &[Flag::switch("force", "kill it first, and do not mind when there is none").short('f')],
            REGEX,
        ],
        ..on_container("delete", "take a container's traces away", kill::delete)
    },
    Command {
        usage: "ID COMMAND [ARG...]",
        arguments: (1, usize::MAX),
        first_ends: true,
        flags: &[EXEC, DETACH],
        ..on_container("exec", "run a further process in a container", exec::main)
    },
    Command {
        usage: "ID [PS OPTIONS]",
        arguments: (1, usize::MAX),
        first_ends: true,
        flags: &[FORMAT],
        ..on_container("ps", "list the processes of a container", ps::main)
    },
    Command {
        usage: "",
        arguments: (0, 0),
        flags: &[FORMAT, &[Flag::switch("quiet", "ids only").short('q')]],
        ..on_container("list", "list containers", list::main)
    },
    on_container("pause", "freeze the processes of a container", freeze::pause),
    Command { alias: Some("unpause"), ..on_container("resume", "thaw a paused container", freeze::resume) },
    Command { flags: &[UPDATE], ..on_container("update", "change limits of a container", update::main) },
    Command {
        flags: &[&[
            Flag::switch("stats", "print the figures once and end"),
            Flag::valued("interval", "DURATION", "how often figures are printed (default 5s)"),
        ]],
        ..on_container("events", "print figures and out-of-memory events of a container", events::main)
    },
    Command {
        flags: &[CRIU, CHECKPOINT],
        needs_criu: true,
        ..on_container("checkpoint", "save a running container", criu::checkpoint)
    },
    Command {
        flags: &[CRIU, RESTORE, PLACE, DETACH, BUNDLE],
        needs_criu: true,
        ..on_container("restore", "restore a container from a checkpoint", criu::restore)
    },
    Command {
        usage: "",
        arguments: (0, 0),
        flags: &[
            BUNDLE,
            &[
                Flag::valued("file", "FILE", "write this file instead of config.json").short('f'),
                Flag::switch("rootless", "for a caller that is not root"),
            ],
        ],
        ..on_container("spec", "write a config.json to begin with", spec::main)
    },
    Command {
        usage: "",
        arguments: (0, 0),
        ..on_container("features", "print as JSON what this runtime and this machine can do", features::main)
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_and_no_letter_twice() {
        for command in COMMANDS {
            let all = || command.flags.iter().copied().flatten();
            let mut names: Vec<String> = all().map(|flag| flag.long.to_owned()).collect();
            names.extend(all().filter_map(|flag| flag.short).map(String::from));
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count, "{}", command.name);
            assert!(all().all(|flag| !flag.help.is_empty()), "{}", command.name);
        }
    }

    /// Flags of runc 1.5 and crun 1.27, by hand from their sources.
    #[test]
    fn all_flags_of_runc_and_crun() {
        let expected = [
            (
                "create",
                "bundle b console-socket pidfd-socket pid-file no-pivot no-new-keyring preserve-fds config f no-subreaper",
            ),
            (
                "run",
                "bundle b console-socket pidfd-socket detach d keep pid-file no-subreaper no-pivot no-new-keyring preserve-fds config f",
            ),
            (
                "exec",
                "console-socket pidfd-socket cwd env e tty t user u additional-gids g process p detach d pid-file \
                process-label apparmor no-new-privs cap c preserve-fds cgroup ignore-paused",
            ),
            ("kill", "all a regex r"),
            ("delete", "force f regex r"),
            ("list", "format f quiet q"),
            ("ps", "format f"),
            ("events", "interval stats"),
            ("spec", "bundle b rootless file f"),
            (
                "update",
                "resources r blkio-weight cpu-period cpu-quota cpu-burst cpu-share cpu-rt-period cpu-rt-runtime \
                cpuset-cpus cpuset-mems kernel-memory kernel-memory-tcp memory cpu-idle memory-reservation memory-swap \
                pids-limit l3-cache-schema mem-bw-schema",
            ),
            (
                "checkpoint",
                "image-path work-path parent-path leave-running tcp-established tcp-skip-in-flight link-remap \
                ext-unix-sk shell-job lazy-pages status-fd page-server file-locks pre-dump manage-cgroups-mode empty-ns auto-dedup",
            ),
            (
                "restore",
                "console-socket image-path work-path tcp-established ext-unix-sk shell-job file-locks \
                manage-cgroups-mode bundle b detach d pid-file no-subreaper no-pivot empty-ns auto-dedup lazy-pages \
                lsm-profile lsm-mount-context",
            ),
        ];
        for (name, flags) in expected {
            let command = COMMANDS.iter().find(|command| command.name == name).expect(name);
            let all = || command.flags.iter().copied().flatten();
            for flag in flags.split_whitespace() {
                let known = all()
                    .any(|known| known.long == flag || known.short.is_some_and(|s| s.to_string() == flag));
                assert!(known, "{name} {flag}");
            }
        }
    }

    #[test]
    fn arguments_are_counted() {
        let check = |name: &str, arguments: &[&str]| {
            let command = COMMANDS.iter().find(|command| command.name == name).expect(name);
            let mut words = Words::default();
            words.arguments.extend(arguments.iter().map(Into::into));
            command.check_arguments(&words).err().map(|failure| failure.message)
        };
        assert_eq!(check("create", &["x"]), None);
        assert_eq!(
            check("create", &[]).as_deref(),
            Some("create: a container id is missing; usage: create ID")
        );
        assert_eq!(
            check("state", &["x", "y"]).as_deref(),
            Some("state: unexpected argument \"y\"; usage: state ID")
        );
        assert_eq!(
            check("start", &[""]).as_deref(),
            Some("start: container id cannot be empty; usage: start ID")
        );
        assert_eq!(check("list", &["x"]).as_deref(), Some("list: unexpected argument \"x\"; usage: list "));
        assert_eq!(check("kill", &["x", "TERM"]), None);
        assert_eq!(check("exec", &["x", "ls", "-l"]), None);
    }
}
