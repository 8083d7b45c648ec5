//! Causes why a container does not start: the sentence that the engine wrote down, and what its files say about it.

use super::evidence::{Evidence, Look};
use super::file::{Program, runs};
use super::{Cause, Certainty, Finding, Rule};
use crate::MountKind;

pub(super) const RULES: &[Rule] = &[
    carriage_return,
    interpreter_missing,
    wrong_architecture,
    loader_missing,
    no_interpreter_line,
    is_directory,
    mounted_noexec,
    not_executable,
    command_missing,
    user_missing,
    working_directory,
    port_taken,
    source_missing,
    mount_failed,
    device_missing,
    limit_refused,
    sysctl_refused,
    security_refused,
    network_gone,
];

const STATE_ERROR: &str = "State.Error";

/// A finding about a failed start, with its sentence as evidence.
fn finding(evidence: &Evidence, cause: Cause, certainty: Certainty, summary: String) -> Finding {
    Finding::new(cause, certainty, summary).seen(STATE_ERROR, evidence.start_error().unwrap_or_default())
}

/// The sentence of a command that could not be executed.
fn exec_error(evidence: &Evidence) -> Option<&str> {
    evidence.start_error().filter(|text| text.starts_with("exec "))
}

/// As [`exec_error`], when the kernel did not find something: no other error is about interpreters and loaders.
fn not_found(evidence: &Evidence) -> Option<&str> {
    exec_error(evidence).filter(|text| text.contains("does not exist") || text.contains("no such file"))
}

fn program(evidence: &Evidence) -> Option<(&str, u32, &Program)> {
    match &evidence.command {
        (path, Look::File { mode, program, .. }) => Some((path, *mode, program)),
        _ => None,
    }
}

fn carriage_return(evidence: &Evidence) -> Option<Finding> {
    not_found(evidence)?;
    let (path, _, Program::Script { interpreter, carriage_return: true, .. }) = program(evidence)? else {
        return None;
    };
    let summary =
        format!("{path} has line ends of Windows: the kernel looks for the program \"{interpreter}\\r\"");
    Some(
        finding(evidence, Cause::CarriageReturn, Certainty::Certain, summary)
            .seen(path, format!("its first line is #!{interpreter}\\r"))
            .fix(format!(
                "convert it before the image is built: sed -i 's/\\r$//' {path}; in git: *.sh text eol=lf"
            )),
    )
}

fn interpreter_missing(evidence: &Evidence) -> Option<Finding> {
    not_found(evidence)?;
    let (path, _, Program::Script { interpreter, carriage_return: false, exists: false }) =
        program(evidence)?
    else {
        return None;
    };
    let summary = format!("{path} is a script for {interpreter}, which the container does not have");
    Some(
        finding(evidence, Cause::InterpreterMissing, Certainty::Certain, summary)
            .seen(path, format!("its first line names {interpreter}"))
            .seen("the container's files", format!("{interpreter} does not exist"))
            .fix(format!(
                "install {interpreter} in the image, or let the first line name a shell that is there"
            )),
    )
}

fn loader_missing(evidence: &Evidence) -> Option<Finding> {
    not_found(evidence)?;
    let (path, _, Program::Elf { loader: Some(loader), loader_exists: false, machine }) = program(evidence)?
    else {
        return None;
    };
    if !runs(evidence.machine, machine) {
        return None;
    }
    let library = if loader.contains("musl") { "musl (Alpine)" } else { "glibc (Debian, Fedora, …)" };
    let summary = format!("{path} is there, but the dynamic loader that it names, {loader}, is not");
    Some(
        finding(evidence, Cause::LoaderMissing, Certainty::Certain, summary)
            .seen(path, format!("its ELF header names the interpreter {loader}"))
            .seen("the container's files", format!("{loader} does not exist"))
            .fix(format!("use a base image with {library}, or link the program statically")),
    )
}

fn wrong_architecture(evidence: &Evidence) -> Option<Finding> {
    exec_error(evidence).filter(|text| text.contains("format error"))?;
    let (path, _, Program::Elf { machine, .. }) = program(evidence)? else { return None };
    if runs(evidence.machine, machine) {
        return None;
    }
    let summary = format!("{path} is a program for {machine}, and this machine is {}", evidence.machine);
    let mut finding = finding(evidence, Cause::WrongArchitecture, Certainty::Certain, summary)
        .seen(path, format!("its ELF header says {machine}"));
    if let Some(architecture) = &evidence.image_architecture {
        finding = finding.seen("image", format!("made for {architecture}"));
    }
    Some(finding.fix(format!(
        "use an image for this machine (--platform linux/{}), or install an emulator (qemu-user with binfmt_misc)",
        evidence.machine
    )))
}

fn no_interpreter_line(evidence: &Evidence) -> Option<Finding> {
    let error = exec_error(evidence)?;
    let (path, _, program) = program(evidence)?;
    let text = match program {
        Program::Text if error.contains("format error") => "a text without #! line",
        Program::Empty if error.contains("format error") => "empty",
        _ => return None,
    };
    let summary = format!("the kernel cannot execute {path}: it is {text}");
    Some(
        finding(evidence, Cause::NoInterpreterLine, Certainty::Certain, summary)
            .seen(path, format!("the file is {text}"))
            .fix("let the file begin with #!/bin/sh, or run it with its shell: sh FILE"),
    )
}

fn is_directory(evidence: &Evidence) -> Option<Finding> {
    exec_error(evidence)?;
    let (path, Look::Directory { .. }) = &evidence.command else { return None };
    let summary = format!("the command {path} is a directory");
    Some(
        finding(evidence, Cause::IsDirectory, Certainty::Certain, summary)
            .seen(path, "a directory")
            .fix("name the program in it; a bind mount of a file that did not exist made a directory of it"),
    )
}

fn mounted_noexec(evidence: &Evidence) -> Option<Finding> {
    let error = exec_error(evidence)?;
    let mount = evidence.mount_at(&evidence.command.0)?;
    let options = &mount.request.options;
    let forbids = mount.request.kind == MountKind::Tmpfs && !options.iter().any(|option| option == "exec");
    if !forbids || !error.contains("permission denied") {
        return None;
    }
    let target = &mount.request.target;
    let summary = format!("{} lies on a tmpfs, where nothing may be executed", evidence.command.0);
    Some(
        finding(evidence, Cause::MountedNoexec, Certainty::Certain, summary)
            .seen("record", format!("tmpfs on {target} without the option exec"))
            .fix(format!("--tmpfs {target}:exec")),
    )
}

fn not_executable(evidence: &Evidence) -> Option<Finding> {
    let error = exec_error(evidence)?;
    let (path, mode, _) = program(evidence)?;
    if !error.contains("permission denied") {
        return None;
    }
    let mut finding = if mode & 0o111 == 0 {
        let summary = format!("{path} is not executable");
        finding(evidence, Cause::NotExecutable, Certainty::Certain, summary)
            .seen(path, format!("mode {mode:04o}: nobody may execute it"))
            .fix(format!(
                "chmod +x {path} when the image is built (COPY --chmod=755), or run it with its shell"
            ))
    } else {
        let user = if evidence.is_root() { "root" } else { evidence.record.user.as_str() };
        let summary = format!("user {user} may not execute {path}");
        finding(evidence, Cause::NotExecutable, Certainty::Likely, summary)
            .seen(path, format!("mode {mode:04o}"))
            .fix("let the user of the container execute the file and enter its directories, or run as another user")
    };
    if let Some(mount) = evidence.mount_at(path) {
        finding = finding.seen("record", format!("the file comes from a mount on {}", mount.request.target));
    }
    Some(finding)
}

fn command_missing(evidence: &Evidence) -> Option<Finding> {
    let error = exec_error(evidence)?;
    let told =
        error.contains("not found") || error.contains("no such file") || error.contains("not a directory");
    let (path, look) = &evidence.command;
    if !told || !matches!(look, Look::Missing | Look::Unknown) {
        return None;
    }
    let word = evidence.record.args.first()?;
    let certainty = if *look == Look::Missing { Certainty::Certain } else { Certainty::Likely };
    let summary = match word.contains('/') {
        true => format!("the container has no {path}"),
        false => format!("the container has no program {word}"),
    };
    let mut finding = finding(evidence, Cause::CommandMissing, certainty, summary);
    if *look == Look::Missing {
        let path = evidence.record.env.iter().rev().find_map(|v| v.strip_prefix("PATH="));
        let place = match (word.contains('/'), path) {
            (false, Some(path)) => format!("no {word} in PATH ({path})"),
            _ => format!("{word} does not exist"),
        };
        finding = finding.seen("the container's files", place);
    }
    if word.contains(' ') {
        return Some(
            finding.fix("the whole line is taken for one name: give the arguments as separate words"),
        );
    }
    if word.starts_with('-') {
        return Some(finding.fix("a flag of cais stands after the image: flags come before it"));
    }
    if let Some(mount) = evidence.mount_at(path) {
        let text = format!("a mount on {} hides what the image has there", mount.request.target);
        return Some(
            finding.seen("record", text).fix("mount elsewhere, or put the program into what is mounted"),
        );
    }
    Some(finding.fix("look at what is there: cais debug CONTAINER; then correct the command or the image"))
}

fn user_missing(evidence: &Evidence) -> Option<Finding> {
    let error = evidence.start_error()?;
    let (cause, file) = if error.contains("no such user in the container") {
        (Cause::UserMissing, "/etc/passwd")
    } else if error.contains("no such group in the container") {
        (Cause::GroupMissing, "/etc/group")
    } else {
        return None;
    };
    let user = &evidence.record.user;
    let summary = format!("{file} of the container does not have what the user \"{user}\" names");
    let from = if evidence.record.request.user.is_some() { "--user" } else { "the image's USER" };
    Some(
        finding(evidence, cause, Certainty::Certain, summary)
            .seen("record", format!("user \"{user}\" by {from}"))
            .fix("add it when the image is built (adduser), or give numbers: --user 1000:1000"),
    )
}

fn working_directory(evidence: &Evidence) -> Option<Finding> {
    let error = evidence.start_error()?;
    if !error.starts_with("change to the working directory") {
        return None;
    }
    let directory = &evidence.record.workdir;
    let summary = format!("the working directory {directory} cannot be used");
    let mut finding = finding(evidence, Cause::WorkingDirectory, Certainty::Certain, summary);
    match evidence.workdir {
        Look::File { .. } => finding = finding.seen(directory.as_str(), "a file, not a directory"),
        Look::Directory { mode, uid } => {
            finding = finding.seen(directory.as_str(), format!("mode {mode:04o}, owner {uid}"));
        }
        _ => {}
    }
    Some(finding.fix("give another one with --workdir, or mend the image's WORKDIR"))
}

fn port_taken(evidence: &Evidence) -> Option<Finding> {
    let error = evidence.start_error()?;
    if !error.contains("port is already in use") {
        return None;
    }
    // publish 0.0.0.0:8080/tcp: the port …
    let port = error.split('/').next().and_then(|text| text.rsplit(':').next()).unwrap_or_default();
    let summary = format!("port {port} of the host was taken");
    let mut finding = finding(evidence, Cause::PortTaken, Certainty::Certain, summary);
    match evidence.holders.iter().find(|holder| holder.port.to_string() == port) {
        Some(holder) => finding = finding.seen("now", format!("{} has port {port}", holder.who)),
        None => finding = finding.seen("now", "nobody that can be seen has it: try again"),
    }
    Some(finding.fix("stop what has it, or publish on another port: -p HOSTPORT:CONTAINERPORT"))
}

fn source_missing(evidence: &Evidence) -> Option<Finding> {
    let error = evidence.start_error()?;
    if !error.to_ascii_lowercase().contains("no such file") {
        return None;
    }
    let mentions = |path: &std::path::Path| error.contains(path.to_string_lossy().as_ref());
    let (target, source) =
        evidence.sources.iter().find(|(_, source)| !source.exists && mentions(&source.path))?;
    let path = source.path.display();
    let summary = format!("{path}, which is to be mounted on {target}, does not exist");
    Some(
        finding(evidence, Cause::MountSourceMissing, Certainty::Certain, summary)
            .seen(path.to_string(), "does not exist on the host")
            .fix(format!("mkdir -p {path}, then start again")),
    )
}

fn mount_failed(evidence: &Evidence) -> Option<Finding> {
    let error = evidence.start_error()?;
    let target = error.strip_prefix("mount on ").or_else(|| error.strip_prefix("mount "))?;
    let mount = evidence.record.mounts.iter().find(|mount| {
        let at = &mount.request.target;
        target.starts_with(&format!("{at}:")) || target.contains(&format!(" on {at}:"))
    })?;
    let at = &mount.request.target;
    if source_missing(evidence).is_some() {
        return None;
    }
    let summary = format!("the mount on {at} cannot be made");
    let mut finding = finding(evidence, Cause::MountFailed, Certainty::Certain, summary)
        .seen("record", format!("{} on {at}", mount.host_path.display()));
    let fix = if error.contains("not a directory") || error.contains("is a directory") {
        finding = finding.seen("mount(2)", "a file goes on a file and a directory on a directory");
        "let source and target be of the same kind; a missing file source was made a directory by -v"
    } else if error.contains("read-only file system") {
        "the mount point does not exist and cannot be made on a read-only file system: make it in the image"
    } else {
        "look at source and target: cais inspect --format '{{json .Mounts}}' CONTAINER"
    };
    Some(finding.fix(fix))
}

fn device_missing(evidence: &Evidence) -> Option<Finding> {
    let error = evidence.start_error()?;
    if !error.starts_with("devices: ") && !error.starts_with("make the device ") {
        return None;
    }
    Some(
        finding(evidence, Cause::DeviceMissing, Certainty::Certain, "a device cannot be given to it".into())
            .seen("record", format!("devices: {}", evidence.record.request.devices.join(", ")))
            .fix("look whether the device is there on the host (ls -l /dev), and load its module"),
    )
}

fn limit_refused(evidence: &Evidence) -> Option<Finding> {
    let error = evidence.start_error()?;
    let begins = [
        "memory limit ",
        "the swap limit",
        "a swap limit",
        "ulimit ",
        "invalid ulimit",
        "set resource limit",
    ];
    let by_text =
        begins.iter().any(|text| error.starts_with(text)) || error.contains(" CPUs are more than there are");
    let by_group = error.starts_with("create the cgroup of container");
    if !by_text && !by_group {
        return None;
    }
    let certainty = if by_text { Certainty::Certain } else { Certainty::Likely };
    let summary = "a limit that was asked for cannot be set on this machine".to_owned();
    Some(
        finding(evidence, Cause::LimitRefused, certainty, summary)
            .fix("correct the limit that the error names"),
    )
}

fn sysctl_refused(evidence: &Evidence) -> Option<Finding> {
    let error = evidence.start_error()?;
    if !error.contains("sysctl ") {
        return None;
    }
    let summary = "a kernel parameter cannot be set".to_owned();
    Some(
        finding(evidence, Cause::SysctlRefused, Certainty::Certain, summary)
            .fix("give only parameters of the container's own namespaces, and values that the kernel takes"),
    )
}

fn security_refused(evidence: &Evidence) -> Option<Finding> {
    let error = evidence.start_error()?;
    let (summary, fix) = if error.starts_with("apply the AppArmor profile") {
        (
            "its AppArmor profile cannot be applied",
            "load the profile (apparmor_parser -r FILE), or leave it out",
        )
    } else if error.starts_with("set the SELinux label") {
        ("its SELinux label is refused", "use a label that the policy knows, or --security-opt label=disable")
    } else if error.starts_with("seccomp: ") || error.starts_with("install the seccomp filter") {
        ("its seccomp profile cannot be used", "mend the profile that --security-opt seccomp= names")
    } else if error.starts_with("capabilities: ") {
        ("a capability cannot be given", "correct --cap-add and --cap-drop")
    } else {
        return None;
    };
    Some(finding(evidence, Cause::SecurityRefused, Certainty::Certain, summary.into()).fix(fix))
}

fn network_gone(evidence: &Evidence) -> Option<Finding> {
    let error = evidence.start_error()?;
    let record = &evidence.record;
    let is_meant = |id: &&&str| error.contains(crate::attach::short(id)) && error.contains("not running");
    let others = record.shares_with();
    let other = *others.iter().find(is_meant)?;
    let short = crate::attach::short(other);
    let (what, flag, cause) = match &record.network {
        crate::NetworkRequest::Container(id) if id == other => ("the network", "network", Cause::NetworkGone),
        _ if record.namespaces.pid.container() == Some(other) => {
            ("the processes", "pid", Cause::NamespaceGone)
        }
        _ if record.namespaces.ipc.container() == Some(other) => ("the IPC", "ipc", Cause::NamespaceGone),
        _ => ("the names", "uts", Cause::NamespaceGone),
    };
    let summary = format!("it shares {what} of container {short}, which did not run");
    Some(
        finding(evidence, cause, Certainty::Certain, summary)
            .seen("record", format!("--{flag} container:{short}"))
            .fix(format!("cais start {short}, then this one")),
    )
}

/// A start that failed for a reason that no rule knows.
pub(super) fn failed(evidence: &Evidence) -> Option<Finding> {
    let error = evidence.start_error()?;
    if RULES.iter().any(|rule| rule(evidence).is_some()) {
        return None;
    }
    let step = error.split(": ").next().unwrap_or(error);
    let summary = format!("the start failed at: {step}");
    let mut finding = finding(evidence, Cause::StartFailed, Certainty::Certain, summary);
    if evidence.rootless && (error.contains("not permitted") || error.contains("denied")) {
        finding = finding.seen("cais info", "rootless: the kernel refuses some things to ordinary users");
    }
    Some(finding.fix("start it once more with cais --debug start CONTAINER, which tells all causes"))
}
