//! Causes told by what the command printed before it failed. What a program prints proves nothing: likely where
//! something else agrees, else a hint.

use super::evidence::{Evidence, HostPath, Look, paths_in};
use super::{Cause, Certainty, Finding, Rule};
use crate::{MountKind, NetworkRequest};

pub(super) const RULES: &[Rule] = &[
    library_missing,
    command_not_found,
    read_only_path,
    address_in_use,
    missing_variable,
    too_many_processes,
    too_many_files,
    disk_full,
    name_resolution,
    connection_refused,
    permission_denied,
    missing_capability,
    missing_file,
    no_input,
];

const LOG: &str = "log";

/// The last line with one of these texts, when the run ended by itself and not well.
fn line<'a>(evidence: &'a Evidence, alternatives: &[&[&str]]) -> Option<&'a str> {
    evidence.failed().filter(|exit| exit.signal == 0 && !exit.oom_killed)?;
    evidence.log_line(alternatives)
}

fn found(cause: Cause, certainty: Certainty, summary: String, line: &str) -> Finding {
    Finding::new(cause, certainty, summary).seen(LOG, line)
}

fn library_missing(evidence: &Evidence) -> Option<Finding> {
    let line = line(
        evidence,
        &[
            &["error while loading shared libraries"],
            &["error loading shared library"],
            &["version `glibc_", "not found"],
            &["version `glibcxx_", "not found"],
            &["error relocating"],
        ],
    )?;
    let version = line.contains("version `");
    let summary = match version {
        true => "a program needs a newer C library than the image has".to_owned(),
        false => "a program needs a shared library that the image does not have".to_owned(),
    };
    let certainty =
        if evidence.ended()?.code == 127 || version { Certainty::Likely } else { Certainty::Hint };
    Some(found(Cause::LibraryMissing, certainty, summary, line).fix(match version {
        true => "use a newer base image, or build on an older one",
        false => "install the package of that library in the image, or copy it beside the program",
    }))
}

fn command_not_found(evidence: &Evidence) -> Option<Finding> {
    let code = evidence.failed()?.code;
    if !matches!(code, 126 | 127) || library_missing(evidence).is_some() {
        return None;
    }
    let line = match code {
        127 => line(evidence, &[&[": not found"], &["command not found"], &["no such file or directory"]])?,
        _ => line(evidence, &[&["permission denied"], &["not executable"], &["exec format error"]])?,
    };
    let (summary, fix) = match code {
        127 => (
            "a script called a program that the image does not have",
            "install it, or correct its name or PATH",
        ),
        _ => ("a script called a file that cannot be executed", "chmod +x the file when the image is built"),
    };
    Some(
        found(Cause::CommandNotFound, Certainty::Likely, summary.into(), line)
            .seen("exit record", format!("code={code}: what shells report for this"))
            .fix(fix),
    )
}

fn read_only_path(evidence: &Evidence) -> Option<Finding> {
    let line = line(evidence, &[&["read-only file system"], &["erofs"]])?;
    let paths = paths_in(line);
    let read_only_mount =
        |path: &&String| evidence.mount_at(path).is_some_and(|mount| mount.request.read_only);
    if let Some(path) = paths.iter().find(read_only_mount) {
        let target = evidence.mount_at(path).map(|mount| mount.request.target.as_str()).unwrap_or_default();
        let summary = format!("it could not write {path}: {target} is mounted read-only");
        return Some(
            found(Cause::ReadOnlyPath, Certainty::Likely, summary, line)
                .seen("record", format!("a read-only mount on {target}"))
                .fix(format!("mount {target} without ro, or let it write elsewhere")),
        );
    }
    if evidence.record.request.read_only {
        let path = paths.iter().find(|path| evidence.mount_at(path).is_none());
        let what = path.map_or("something".to_owned(), |path| path.clone());
        let directory =
            path.and_then(|path| path.rsplit_once('/')).map_or("/tmp", |(directory, _)| directory);
        let directory = if directory.is_empty() { "/tmp" } else { directory };
        let summary = format!("it could not write {what}: its root file system is read-only");
        return Some(
            found(Cause::ReadOnlyPath, Certainty::Likely, summary, line)
                .seen("record", "--read-only")
                .fix(format!("give it a place to write: --tmpfs {directory}, or a volume there")),
        );
    }
    let kernel = paths.iter().find(|path| path.starts_with("/proc/") || path.starts_with("/sys/"));
    let summary = "it could not write to a read-only file system".to_owned();
    let finding = found(Cause::ReadOnlyPath, Certainty::Likely, summary, line);
    Some(match kernel {
        Some(path) if path.starts_with("/proc/sys/") => finding
            .seen("container", format!("{path} is read-only"))
            .fix("set kernel parameters with --sysctl NAME=VALUE"),
        Some(path) => {
            finding.seen("container", format!("{path} is read-only")).fix("only --privileged may write there")
        }
        None => Finding { certainty: Certainty::Hint, ..finding }
            .fix("look which mount it is: cais exec CONTAINER mount"),
    })
}

fn address_in_use(evidence: &Evidence) -> Option<Finding> {
    let line = line(evidence, &[&["address already in use"], &["address in use"], &["eaddrinuse"]])?;
    let host = evidence.record.network == NetworkRequest::Host;
    let summary = "it could not listen: the address was taken".to_owned();
    let finding = found(Cause::AddressInUse, Certainty::Likely, summary, line);
    Some(match (host, &evidence.record.network) {
        (true, _) => finding
            .seen("record", "--network host: ports are the host's")
            .fix("stop what listens there (ss -ltnp), let it listen elsewhere, or use the bridge and -p"),
        (_, NetworkRequest::Container(_)) => finding
            .seen("record", "it shares the network of another container")
            .fix("let one of the containers listen elsewhere"),
        _ => finding.fix("two processes of this container want the same port: look at its start script"),
    })
}

/// The variable that a line complains of.
pub(super) fn variable(line: &str) -> Option<String> {
    let is_name = |word: &str| {
        word.len() > 2
            && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && (word.contains('_') || word.len() > 3)
    };
    let lower = line.to_ascii_lowercase();
    let complaints = [
        "parameter not set",
        "parameter null or not set",
        "unbound variable",
        "keyerror",
        "is not set",
        "must be set",
        "not defined",
        "is required",
        "is missing",
        "you need to specify",
        "missing environment",
        "missing required environment",
        "must specify",
        "is not specified",
    ];
    if !complaints.iter().any(|text| lower.contains(text)) {
        return None;
    }
    let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .map(str::to_owned)
        .find(|word| is_name(word) && word != "ERROR" && word != "FATAL" && word != "WARN")
}

fn missing_variable(evidence: &Evidence) -> Option<Finding> {
    evidence.failed().filter(|exit| exit.signal == 0)?;
    let given = |name: &str| {
        evidence
            .record
            .env
            .iter()
            .any(|v| v.split_once('=').is_some_and(|(key, value)| key == name && !value.is_empty()))
    };
    let (line, name) = evidence
        .log
        .iter()
        .rev()
        .find_map(|line| Some((line, variable(line)?)))
        .filter(|(_, name)| !given(name))?;
    let summary = format!("it wants the environment variable {name}, which is not set");
    Some(
        found(Cause::MissingVariable, Certainty::Likely, summary, line)
            .seen("record", format!("no {name} in its environment"))
            .fix(format!("-e {name}=VALUE, or --env-file")),
    )
}

fn too_many_processes(evidence: &Evidence) -> Option<Finding> {
    let line = line(
        evidence,
        &[
            &["can't fork"],
            &["cannot fork"],
            &["fork", "resource temporarily unavailable"],
            &["unable to create", "thread"],
            &["pthread_create failed"],
        ],
    )?;
    let resources = &evidence.record.request.resources;
    let limit = resources.pids_limit.filter(|limit| *limit > 0);
    let nproc = evidence.record.request.ulimits.iter().find(|limit| limit.name == "nproc" && limit.soft >= 0);
    let summary = "it could not start another process or thread".to_owned();
    Some(match (limit, nproc) {
        (Some(limit), _) => found(Cause::TooManyProcesses, Certainty::Likely, summary, line)
            .seen("record", format!("--pids-limit {limit}"))
            .fix(format!("raise it: --pids-limit {}", limit.saturating_mul(2))),
        (_, Some(ulimit)) => found(Cause::TooManyProcesses, Certainty::Likely, summary, line)
            .seen("record", format!("--ulimit nproc={}", ulimit.soft))
            .fix("raise it: it counts all processes of the user on the host"),
        _ => found(Cause::TooManyProcesses, Certainty::Hint, summary, line)
            .fix("look at the limits of the host: systemctl show -p TasksMax, ulimit -u"),
    })
}

fn too_many_files(evidence: &Evidence) -> Option<Finding> {
    let line = line(evidence, &[&["too many open files"], &["no file descriptors available"], &["emfile"]])?;
    let limit = evidence.record.request.ulimits.iter().find(|limit| limit.name == "nofile");
    let summary = "it had too many files open".to_owned();
    let finding = found(Cause::TooManyFiles, Certainty::Likely, summary, line);
    Some(
        match limit {
            Some(limit) => finding.seen("record", format!("--ulimit nofile={}:{}", limit.soft, limit.hard)),
            None => finding,
        }
        .fix("raise it: --ulimit nofile=65536:65536"),
    )
}

fn disk_full(evidence: &Evidence) -> Option<Finding> {
    let line = line(evidence, &[&["no space left on device"], &["enospc"], &["disk quota exceeded"]])?;
    let tmpfs = paths_in(line).into_iter().find_map(|path| {
        let mount = evidence.mount_at(&path)?;
        (mount.request.kind == MountKind::Tmpfs).then(|| mount.request.clone())
    });
    let shm = line.contains("/dev/shm");
    Some(match tmpfs {
        Some(mount) => {
            let summary = format!("the tmpfs on {} was full", mount.target);
            let size = mount
                .tmpfs_size_bytes
                .map_or("half of the memory".to_owned(), |size| format!("{size} bytes"));
            found(Cause::DiskFull, Certainty::Likely, summary, line)
                .seen("record", format!("tmpfs on {}, size {size}", mount.target))
                .fix(format!("--tmpfs {}:size=BYTES, or a volume there", mount.target))
        }
        None if shm => found(Cause::DiskFull, Certainty::Likely, "its shared memory was full".into(), line)
            .fix("--shm-size 1g"),
        None => found(Cause::DiskFull, Certainty::Likely, "a file system was full".into(), line)
            .fix("df -h on the host, then cais system df and a prune; or a volume on a larger disk"),
    })
}

fn name_resolution(evidence: &Evidence) -> Option<Finding> {
    let line = line(
        evidence,
        &[
            &["bad address"],
            &["name or service not known"],
            &["temporary failure in name resolution"],
            &["could not resolve host"],
            &["no such host"],
            &["enotfound"],
            &["unable to resolve"],
            &["nodename nor servname"],
            &["unknown host"],
        ],
    )?;
    let summary = "it could not find the address of a host name".to_owned();
    Some(match &evidence.record.network {
        NetworkRequest::None => found(Cause::NameResolution, Certainty::Likely, summary, line)
            .seen("record", "--network none: it has no network")
            .fix("give it a network, or a fixed address: --add-host NAME:ADDRESS"),
        _ => found(Cause::NameResolution, Certainty::Likely, summary, line).fix(
            "see that the name is right and the name server answers (--dns), or --add-host NAME:ADDRESS",
        ),
    })
}

fn connection_refused(evidence: &Evidence) -> Option<Finding> {
    let line = line(
        evidence,
        &[
            &["connection refused"],
            &["econnrefused"],
            &["network is unreachable"],
            &["no route to host"],
            &["enetunreach"],
        ],
    )?;
    let lower = line.to_ascii_lowercase();
    let local = ["127.0.0.1", "localhost", "::1"].iter().any(|text| lower.contains(text));
    let summary = "it could not connect to where it wanted".to_owned();
    Some(if evidence.record.network == NetworkRequest::None {
        found(Cause::ConnectionRefused, Certainty::Likely, summary, line)
            .seen("record", "--network none: it has no network")
            .fix("give it a network")
    } else if local {
        found(Cause::ConnectionRefused, Certainty::Likely, summary, line)
            .seen("container", "localhost is the container itself, not the host nor another container")
            .fix(
                "use the other container's address, or the host's with --add-host host.internal:host-gateway",
            )
    } else {
        found(Cause::ConnectionRefused, Certainty::Hint, summary, line)
            .fix("see that the other side runs, listens on all addresses, and is started first")
    })
}

fn owner(source: &HostPath) -> String {
    format!("owner {}:{}, mode {:04o}", source.uid, source.gid, source.mode)
}

fn permission_denied(evidence: &Evidence) -> Option<Finding> {
    let line = line(evidence, &[&["permission denied"], &["eacces"]])?;
    if command_not_found(evidence).is_some() {
        return None;
    }
    let paths = paths_in(line);
    let mounted = paths.iter().find_map(|path| {
        let mount = evidence.mount_at(path)?;
        Some((path, mount, evidence.sources.get(&mount.request.target)?))
    });
    if let Some((path, mount, source)) = mounted {
        let target = &mount.request.target;
        let summary =
            format!("it may not use {path}, which comes from {} on the host", source.path.display());
        let user = if evidence.record.user.is_empty() { "root" } else { &evidence.record.user };
        let finding = found(Cause::PermissionDenied, Certainty::Likely, summary, line)
            .seen(source.path.display().to_string(), owner(source))
            .seen("record", format!("it runs as {user}; mounted on {target}"));
        return Some(match evidence.rootless {
            true => finding.fix(
                "rootless: only root of the container is you; run it as root, or chown the directory to the container's ids",
            ),
            false => finding.fix("chown the directory on the host to the container's user, or --user with its owner; with SELinux give it a label that containers may use"),
        });
    }
    let known = paths.iter().find_map(|path| match evidence.named.get(path)? {
        Look::File { mode, uid, .. } | Look::Directory { mode, uid } => Some((path, *mode, *uid)),
        _ => None,
    });
    let summary = "it may not use a file".to_owned();
    Some(match (known, evidence.is_root()) {
        (Some((path, mode, uid)), false) => {
            let summary = format!("user {} may not use {path}", evidence.record.user);
            found(Cause::PermissionDenied, Certainty::Likely, summary, line)
                .seen(path.as_str(), format!("mode {mode:04o}, owner {uid}"))
                .fix(format!("chown {path} to the user when the image is built, or run as its owner"))
        }
        (_, false) => found(Cause::PermissionDenied, Certainty::Likely, summary, line)
            .seen("record", format!("it runs as {}", evidence.record.user))
            .fix("let the user of the container own what it uses, or run it as another"),
        _ => found(Cause::PermissionDenied, Certainty::Hint, summary, line)
            .fix("root without a capability, or AppArmor or SELinux: look in the host's log for a denial (dmesg, ausearch)"),
    })
}

/// Words of a complaint, the capability that allows it, and what it is.
const CAPABILITIES: [(&[&str], &str); 11] = [
    (&["chown", "changing ownership"], "CHOWN"),
    (&["mount", "umount", "sethostname", "hostname", "unshare", "swapon"], "SYS_ADMIN"),
    (&["bind", "listen"], "NET_BIND_SERVICE"),
    (&["ping", "raw socket", "socket: operation"], "NET_RAW"),
    (&["iptables", "rtnetlink", "ioctl siocs", "ip link", "ip: ", "ifconfig", "nft"], "NET_ADMIN"),
    (&["ptrace", "strace", "gdb"], "SYS_PTRACE"),
    (&["settime", "set time", "set date", "adjtime", "clock"], "SYS_TIME"),
    (&["setuid", "setgid", "setgroups", "su:"], "SETUID,SETGID"),
    (&["mknod"], "MKNOD"),
    (&["setpriority", "renice", "nice"], "SYS_NICE"),
    (&["mlock"], "IPC_LOCK"),
];

fn missing_capability(evidence: &Evidence) -> Option<Finding> {
    let line = line(
        evidence,
        &[&["operation not permitted"], &["eperm"], &["are you root"], &["you must be root"]],
    )?;
    let lower = line.to_ascii_lowercase();
    let capability = CAPABILITIES.iter().find(|(words, _)| words.iter().any(|word| lower.contains(word)));
    let request = &evidence.record.request;
    let dropped = |name: &str| {
        let same = |cap: &String| cap.trim_start_matches("CAP_") == name || cap == "ALL";
        name.split(',').any(|_| request.cap_drop.iter().any(same)) && !request.cap_add.iter().any(same)
    };
    let summary = "the kernel did not permit what it tried".to_owned();
    Some(match capability {
        Some((_, name)) => {
            let is_dropped = name.split(',').any(dropped);
            let extra = matches!(*name, "SYS_ADMIN" | "NET_ADMIN" | "SYS_PTRACE" | "SYS_TIME" | "SYS_NICE" | "IPC_LOCK");
            let missing = is_dropped || (extra && !request.privileged && !request.cap_add.iter().any(|c| c.ends_with(name)));
            let certainty = if missing { Certainty::Likely } else { Certainty::Hint };
            let summary = format!("the kernel did not permit what it tried; that takes the capability {name}");
            let text = if is_dropped { "it was dropped (--cap-drop)" } else if missing { "containers do not have it unless it is added" } else { "it should have it: the seccomp filter or a security module may deny the call" };
            found(Cause::MissingCapability, certainty, summary, line)
                .seen("record", text)
                .fix(format!("--cap-add {name}, if it really needs that"))
        }
        None => found(Cause::MissingCapability, Certainty::Hint, summary, line)
            .fix("a missing capability (--cap-add), the seccomp filter (--security-opt seccomp=unconfined to try), or AppArmor"),
    })
}

fn missing_file(evidence: &Evidence) -> Option<Finding> {
    let line = line(
        evidence,
        &[
            &["no such file or directory"],
            &["enoent"],
            &["cannot find module"],
            &["filenotfound"],
            &["file not found"],
            &["does not exist"],
        ],
    )?;
    if command_not_found(evidence).is_some() || library_missing(evidence).is_some() {
        return None;
    }
    let path = paths_in(line).into_iter().find(|path| evidence.named.get(path) == Some(&Look::Missing));
    Some(match path {
        Some(path) => {
            let finding = found(
                Cause::MissingFile,
                Certainty::Likely,
                format!("it needs {path}, which is not there"),
                line,
            )
            .seen("the container's files", format!("{path} does not exist"));
            match evidence.mount_at(&path) {
                Some(mount) => finding.fix(format!(
                    "{} is mounted there: put the file into it, or mount elsewhere",
                    mount.host_path.display()
                )),
                None => finding.fix(
                    "mount it (-v), or put it into the image; see that the paths in its settings are right",
                ),
            }
        }
        None => found(Cause::MissingFile, Certainty::Hint, "it missed a file".into(), line)
            .fix("see which one its message means, and whether its working directory is right"),
    })
}

/// A shell that was started without anybody to talk to.
fn no_input(evidence: &Evidence) -> Option<Finding> {
    let exit = evidence.ended().filter(|exit| exit.code == 0)?;
    let record = &evidence.record;
    let [word] = record.args.as_slice() else { return None };
    let shell = ["sh", "bash", "ash", "dash", "zsh", "fish", "python", "python3", "node", "irb"];
    let name = word.rsplit('/').next().unwrap_or_default();
    let lonely = !record.request.interactive && !record.request.tty;
    if !lonely || !shell.contains(&name) || !evidence.log.is_empty() {
        return None;
    }
    Some(
        Finding::new(
            Cause::NoInput,
            Certainty::Likely,
            format!("{name} had nothing to read and ended at once"),
        )
        .seen("exit record", format!("code={}", exit.code))
        .seen("record", "neither -i nor -t")
        .fix("cais run -it for a shell; or give the image a command that stays: cais run IMAGE COMMAND"),
    )
}
