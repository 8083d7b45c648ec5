//! The last part of every plan: limits, user, privileges in the only order that works, then the command.

use cais_plan::{Bytes, PlanWriter, Step, Str, Strings};

use super::{PlanError, Result, list, text};
use crate::launch::Process;

/// The last part, common to `run` and `exec`: limits, user, privileges in the only order that works, then the command.
pub(super) fn process(steps: &mut PlanWriter, process: &Process) -> Result<()> {
    limits(steps, process);
    if let Some(persona) = process.personality {
        // Before the filter, which may not allow it.
        steps.push(format!("set the personality {persona:#x}"), &Step::Personality { persona });
    }
    let groups = list("a group", &process.groups)?;
    let user = text("the user", &process.user)?;
    let name = if process.user.is_empty() { "root" } else { &process.user };
    steps.push(format!("find user {name}"), &Step::User { user, groups: Strings(&groups), home: true });
    let directory = text("the working directory", &process.workdir)?;
    let sentence = format!("change to the working directory {}", process.workdir);
    steps.push(sentence, &Step::Chdir { path: directory, create: true });
    if let Some(profile) = &process.apparmor {
        let label = format!("exec {profile}");
        let label = text("the AppArmor profile", &label)?;
        let step = Step::ExecLabel { file: Str(b"exec"), label };
        steps.push(format!("apply the AppArmor profile {profile}"), &step);
    }
    if let Some(label) = &process.selinux {
        let step = Step::ExecLabel { file: Str(b"exec"), label: text("the SELinux label", label)? };
        steps.push(format!("set the SELinux label {label}"), &step);
    }
    let caps = &process.capabilities;
    steps.push("drop capabilities from the bounding set", &Step::Bounding { keep: caps.bounding.bits() });
    // Without no_new_privs a filter needs CAP_SYS_ADMIN, which is about to go; with it, as late as possible.
    let filter = process.seccomp.as_ref().map(|program| (program.to_bytes(), program.flags));
    let install = filter.as_ref().map(|(bytes, flags)| Step::SeccompFilter {
        filter: Bytes(bytes),
        flags: *flags,
        listener: false,
    });
    if let Some(install) = install.as_ref().filter(|_| !process.no_new_privileges) {
        steps.push("install the seccomp filter", install);
    }
    steps.push(format!("become user {name}"), &Step::SwitchUser { groups: process.set_groups });
    let step = Step::Capabilities {
        effective: caps.effective.bits(),
        permitted: caps.permitted.bits(),
        inheritable: caps.inheritable.bits(),
        ambient: caps.ambient.bits(),
    };
    steps.push("set the capabilities", &step);
    if process.no_new_privileges {
        steps.push("set no_new_privs", &Step::NoNewPrivileges {});
        if let Some(install) = &install {
            steps.push("install the seccomp filter", install);
        }
    }
    steps.push("tie the container to its monitor", &Step::DeathSignal {});
    if let Some(mode) = process.umask {
        steps.push(format!("set the umask {mode:04o}"), &Step::Umask { mode });
    }
    if process.stays {
        steps.push("stay", &Step::Stay {});
        return Ok(());
    }
    if process.init {
        steps.push("start the init", &Step::Init {});
    }
    let program = process.args.first().ok_or(PlanError::NoCommand)?;
    let paths = list("the command", &candidates(program, &process.env))?;
    let args = list("an argument", &process.args)?;
    let env = list("an environment variable", &process.env)?;
    let step = Step::Exec { paths: Strings(&paths), args: Strings(&args), env: Strings(&env) };
    steps.push(format!("execute {program}"), &step);
    Ok(())
}

/// Resource limits; setting one to what it is needs no rights.
pub(super) fn limits(steps: &mut PlanWriter, process: &Process) {
    for limit in &process.limits {
        let (resource, soft, hard) = (limit.resource, limit.soft, limit.hard);
        steps.push(format!("set resource limit {resource}"), &Step::Limit { resource, soft, hard });
    }
}

/// Docker's PATH for images that set none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where a command is looked for: itself when it has a slash, else each directory of PATH.
pub(super) fn candidates(program: &str, env: &[String]) -> Vec<String> {
    if program.contains('/') || program.is_empty() {
        return vec![program.to_owned()];
    }
    let path = env.iter().rev().find_map(|v| v.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    path.split(':')
        .map(|directory| if directory.is_empty() { "." } else { directory })
        .map(|directory| format!("{}/{program}", directory.trim_end_matches('/')))
        .collect()
}
