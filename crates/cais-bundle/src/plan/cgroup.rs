//! What a mount of type `cgroup` shows: the container's own group, in every layout.
//!
//! v1: a tmpfs with a directory for each hierarchy, bound from the container's group, and links for controllers that share
//! one (`cpu` to `cpu,cpuacct`). v2: the file system itself where a cgroup namespace makes the group its root; else what
//! [`CgroupShape::own_group`] says, or in a user namespace, where it cannot be mounted, the host's.

use std::path::Path;

use cais_plan::{Step, Strings};

use super::draft::{Draft, PASSING_SLOT, list, path, text};
use super::error::Result;
use super::mounts::Entry;
use super::namespaces::Spaces;
use super::numbers::{CLONE_NEWCGROUP, CLONE_NEWUSER, MS_REC, NODEV, NOEXEC, NOSUID};
use super::{CgroupShape, Subject};

/// The steps of one entry.
pub fn mount(
    draft: &mut Draft,
    entry: &Entry<'_>,
    shape: &CgroupShape<'_>,
    spaces: &Spaces<'_>,
) -> Result<()> {
    if !shape.unified {
        return views(draft, entry, shape);
    }
    if spaces.has(CLONE_NEWCGROUP) {
        return cgroup2(draft, entry);
    }
    match shape.own_group {
        Some(group) => bind(draft, entry, group, &entry.target),
        None if spaces.has(CLONE_NEWUSER) => bind(draft, entry, Path::new("/sys/fs/cgroup"), &entry.target),
        None => cgroup2(draft, entry),
    }
}

fn cgroup2(draft: &mut Draft, entry: &Entry<'_>) -> Result<()> {
    let words = list("a mount option", &entry.options.filesystem_words())?;
    filesystem(draft, entry, "cgroup2", entry.options.attributes(), &words)
}

fn filesystem(
    draft: &mut Draft,
    entry: &Entry<'_>,
    fstype: &'static str,
    attributes: u64,
    words: &[u8],
) -> Result<()> {
    let step = Step::Filesystem {
        fstype: text("a file system type", fstype)?,
        source: text("a mount source", if fstype == "tmpfs" { fstype } else { "cgroup" })?,
        target: text("a mount target", &entry.target)?,
        attributes,
        options: Strings(words),
        propagation: entry.options.propagation & !MS_REC,
        userns_fd: -1,
        copy_up: false,
        optional: false,
    };
    draft.about(Subject::Mount(entry.index), format!("mount {fstype} on {}", entry.target), &step);
    Ok(())
}

fn views(draft: &mut Draft, entry: &Entry<'_>, shape: &CgroupShape<'_>) -> Result<()> {
    filesystem(draft, entry, "tmpfs", NOSUID | NODEV | NOEXEC, b"mode=755\0")?;
    for (name, group) in shape.views {
        bind(draft, entry, group, &format!("{}/{name}", entry.target))?;
    }
    for (name, _) in shape.views {
        if !name.contains(',') {
            continue;
        }
        for controller in name.split(',') {
            let link = format!("{}/{controller}", entry.target);
            let step = Step::Symlink { content: text("a link", name)?, path: text("a link", &link)? };
            draft.about(Subject::Mount(entry.index), format!("make the link {link}"), &step);
        }
    }
    Ok(())
}

fn bind(draft: &mut Draft, entry: &Entry<'_>, group: &Path, target: &str) -> Result<()> {
    let source = path("a cgroup", group)?;
    let sentence = format!("open {} to mount it on {target}", group.display());
    let step = Step::OpenTree { source, slot: PASSING_SLOT, recursive: true };
    draft.about(Subject::Mount(entry.index), sentence, &step);
    let change = entry.options.change();
    let tree = entry.options.recursive_change();
    let step = Step::Bind {
        slot: PASSING_SLOT,
        target: text("a mount target", target)?,
        set: change.set,
        clear: change.clear,
        recursive_set: tree.set,
        recursive_clear: tree.clear,
        propagation: entry.options.propagation,
        userns_fd: -1,
        recursive_map: false,
    };
    draft.about(Subject::Mount(entry.index), format!("mount {} on {target}", group.display()), &step);
    Ok(())
}
