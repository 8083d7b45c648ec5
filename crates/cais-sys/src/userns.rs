//! An ordinary user becomes root of its own user namespace, user_namespaces(7).
//!
//! Ranges come from /etc/subuid and /etc/subgid and are written by the setuid helpers `newuidmap` and `newgidmap`; a
//! user without ranges or helpers maps its one id.
#![allow(unsafe_code)]

use std::io;
use std::process::Command;

/// What is mapped in the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Only the user's own id: files of other owners cannot exist here.
    pub single_id: bool,
    /// The user and mount namespaces that were left, as `user=4026531837`.
    pub left: Vec<String>,
}

/// Why the namespace could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum UsernsError {
    /// unshare(2) refused.
    #[error("create a user namespace: {0}")]
    Unshare(io::Error),
    /// Maps could not be written.
    #[error("write {file}: {source}")]
    Map {
        /// Which file.
        file: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The helper process failed.
    #[error("{helper} failed: {reason}")]
    Helper {
        /// Which program.
        helper: &'static str,
        /// What it said.
        reason: String,
    },
}

/// A range of subordinate ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First id on the host.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// The ranges of a user in the text of /etc/subuid or /etc/subgid (subuid(5)): by name or by number.
#[must_use]
pub fn ranges(text: &str, name: Option<&str>, id: u32) -> Vec<Range> {
    let number = id.to_string();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let owner = fields.next()?;
            if owner != number && Some(owner) != name {
                return None;
            }
            let first = fields.next()?.parse().ok()?;
            let count: u32 = fields.next()?.parse().ok()?;
            (count > 0).then_some(Range { first, count })
        })
        .collect()
}

/// The login name of a user id in the text of /etc/passwd.
#[must_use]
pub fn login_name(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then_some(name)
    })
}

/// Moves the process into a new user namespace as its root, and into a mount namespace that this one owns, without
/// which it could mount nothing. Must be called while it has one thread.
///
/// # Errors
/// When the kernel forbids it (sysctl, AppArmor, seccomp) or the maps cannot be written.
pub fn enter() -> Result<Mapping, UsernsError> {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let left = ["user", "mnt"].iter().filter_map(|kind| namespace(kind)).collect();
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let passwd = read("/etc/passwd");
    let name = login_name(&passwd, uid);
    let uids = ranges(&read("/etc/subuid"), name, uid);
    let gids = ranges(&read("/etc/subgid"), name, uid);
    if uids.is_empty() || gids.is_empty() || !helper_exists("newuidmap") || !helper_exists("newgidmap") {
        unshare_user()?;
        map_single(uid, gid)?;
        return Ok(Mapping { single_id: true, left });
    }
    map_ranges(uid, gid, &uids, &gids)?;
    become_root()?;
    Ok(Mapping { single_id: false, left })
}

/// This process's namespace of a kind, as `user=4026531837`.
fn namespace(kind: &str) -> Option<String> {
    let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).ok()?;
    let text = link.to_str()?;
    Some(format!("{kind}={}", text.split_once('[')?.1.trim_end_matches(']')))
}

fn helper_exists(name: &str) -> bool {
    HELPER_DIRECTORIES.iter().any(|dir| std::path::Path::new(dir).join(name).exists())
}

const HELPER_DIRECTORIES: [&str; 3] = ["/usr/bin", "/bin", "/usr/sbin"];

fn unshare_user() -> Result<(), UsernsError> {
    // SAFETY: the process has one thread (the kernel refuses otherwise); no descriptor table is unshared.
    unsafe {
        rustix::thread::unshare_unsafe(
            rustix::thread::UnshareFlags::NEWUSER | rustix::thread::UnshareFlags::NEWNS,
        )
    }
    .map_err(|e| UsernsError::Unshare(e.into()))
}

fn map_single(uid: u32, gid: u32) -> Result<(), UsernsError> {
    write_own("/proc/self/setgroups", "deny")?;
    write_own("/proc/self/uid_map", &format!("0 {uid} 1"))?;
    write_own("/proc/self/gid_map", &format!("0 {gid} 1"))?;
    become_root()
}

fn write_own(file: &'static str, text: &str) -> Result<(), UsernsError> {
    std::fs::write(file, text).map_err(|source| UsernsError::Map { file, source })
}

/// A child waits until we are in the new namespace, then runs the helpers on us from the old one.
fn map_ranges(uid: u32, gid: u32, uids: &[Range], gids: &[Range]) -> Result<(), UsernsError> {
    let failed = |source| UsernsError::Helper { helper: "newuidmap", reason: format!("{source}") };
    let (ready_read, ready_write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| failed(io::Error::from(e)))?;
    let (answer_read, answer_write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| failed(io::Error::from(e)))?;
    let target = rustix::process::getpid().as_raw_nonzero().get().to_string();
    #[expect(clippy::disallowed_methods, reason = "called while the process has one thread")]
    // SAFETY: one thread, so the child may do what it likes with its copy of memory; it ends by _exit.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(failed(io::Error::last_os_error()));
    }
    if child == 0 {
        drop((ready_write, answer_read));
        let mut byte = [0_u8; 1];
        let go = matches!(rustix::io::read(&ready_read, &mut byte), Ok(1));
        let result = if go {
            run_helper("newuidmap", &target, uid, uids)
                .and_then(|()| run_helper("newgidmap", &target, gid, gids))
        } else {
            Ok(())
        };
        if let Err(text) = &result {
            let _ = rustix::io::write(&answer_write, text.as_bytes());
        }
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(i32::from(result.is_err())) };
    }
    drop((ready_read, answer_write));
    unshare_user()?;
    let _ = rustix::io::write(&ready_write, b"g");
    let mut answer = Vec::new();
    let mut buffer = [0_u8; 512];
    while let Ok(n @ 1..) = rustix::io::read(&answer_read, &mut buffer) {
        answer.extend_from_slice(&buffer[..n]);
    }
    crate::spawn::reap(child);
    if answer.is_empty() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&answer).trim().to_owned();
    Err(UsernsError::Helper {
        helper: if reason.contains("gid") { "newgidmap" } else { "newuidmap" },
        reason,
    })
}

fn run_helper(helper: &str, target: &str, own: u32, ranges: &[Range]) -> Result<(), String> {
    let directory = HELPER_DIRECTORIES
        .iter()
        .find(|dir| std::path::Path::new(dir).join(helper).exists())
        .ok_or_else(|| format!("{helper} is not installed"))?;
    let mut command = Command::new(format!("{directory}/{helper}"));
    command.args([target, "0", &own.to_string(), "1"]);
    let mut inside = 1_u64;
    for range in ranges {
        command.args([inside.to_string(), range.first.to_string(), range.count.to_string()]);
        inside += u64::from(range.count);
    }
    let output = command.output().map_err(|e| format!("{helper}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{helper}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// In the namespace all our ids read as unmapped until we take root's.
fn become_root() -> Result<(), UsernsError> {
    use rustix::process::{Gid, Uid};
    let (root, group) = (Uid::ROOT, Gid::ROOT);
    let failed = |e: rustix::io::Errno| UsernsError::Map { file: "/proc/self/uid_map", source: e.into() };
    rustix::thread::set_thread_res_gid(group, group, group).map_err(failed)?;
    rustix::thread::set_thread_res_uid(root, root, root).map_err(failed)?;
    // The change of ids closed our /proc entries to others; pasta opens a namespace through them.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ranges() {
        let text = "root:1:2\nanna:100000:65536\n1000:300000:10\nanna:x:1\nbert:5:5\nanna:7:0\n";
        assert_eq!(
            ranges(text, Some("anna"), 1000),
            vec![Range { first: 100_000, count: 65_536 }, Range { first: 300_000, count: 10 }]
        );
        assert_eq!(ranges(text, None, 77), vec![]);
    }

    #[test]
    fn names() {
        let text = "root:x:0:0::/:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n";
        assert_eq!(login_name(text, 1000), Some("anna"));
        assert_eq!(login_name(text, 1), None);
    }
}
