//! Labels of security modules for what is executed: AppArmor profiles, SELinux contexts.
//!
//! They take effect at the next execve, so they are written while the process still may, long before it. The kernel takes
//! them in one write to a file of the process's own directory in procfs.

use cais_oci::runtime::Process;
use cais_plan::{Bytes, Step};

use super::draft::{Draft, text};
use super::error::{PlanError, Result};
use super::{Machine, Subject};

/// The profile that means none.
const UNCONFINED: &str = "unconfined";

/// Whether anything is written; fails where the machine has not got what is asked for.
pub fn wanted(process: &Process, machine: &Machine) -> Result<bool> {
    let apparmor = process.apparmor_profile.as_deref();
    if machine.apparmor.is_none() && apparmor.is_some_and(|profile| profile != UNCONFINED) {
        return Err(PlanError::NoApparmor);
    }
    if process.selinux_label.is_some() && !machine.selinux {
        return Err(PlanError::NoSelinux);
    }
    Ok((apparmor.is_some() && machine.apparmor.is_some()) || process.selinux_label.is_some())
}

/// Labels what is executed.
pub fn exec(draft: &mut Draft, process: &Process, machine: &Machine) -> Result<()> {
    if let (Some(profile), Some(file)) = (process.apparmor_profile.as_deref(), machine.apparmor) {
        let sentence = format!("apply the AppArmor profile {profile}");
        write(draft, file, &format!("exec {profile}"), &sentence)?;
    }
    if let Some(label) = process.selinux_label.as_deref() {
        write(draft, "attr/exec", label, &format!("set the SELinux label {label}"))?;
    }
    Ok(())
}

/// Labels the keyring that is made next; execve resets it.
pub fn keyring(draft: &mut Draft, process: &Process) -> Result<()> {
    match process.selinux_label.as_deref() {
        Some(label) => write(draft, "attr/keycreate", label, &format!("label keys {label}")),
        None => Ok(()),
    }
}

fn write(draft: &mut Draft, file: &str, content: &str, sentence: &str) -> Result<()> {
    let file = format!("self/{file}");
    let content = text("a label", content)?;
    let step = Step::WriteProc {
        file: text("a file of procfs", &file)?,
        content: Bytes(content.0),
        optional: false,
    };
    draft.about(Subject::Process, sentence, &step);
    Ok(())
}
