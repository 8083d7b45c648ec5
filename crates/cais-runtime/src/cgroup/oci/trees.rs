//! All cgroup file systems of this machine, with what each controls and where this process is in it.
//!
//! `cgroup::Layout` knows the hierarchies that limit; an OCI container goes into all there are, named ones too, as
//! callers look for its processes there. Reads `/proc/self/mountinfo` and `/proc/self/cgroup`, writes nothing.

use std::path::{Component, Path, PathBuf};

use super::error::GroupError;
use crate::cgroup::layout::{Controller, unescape};
use crate::cgroup::{CgroupError, read_text};

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Last part of its mount point: `cpu,cpuacct`, `systemd`, `unified`; empty when v2 is all there is.
    pub name: String,
    /// By the kernel's names, a named hierarchy as `name=systemd`; for v2 what the top of the mount offers.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Where this process is, from the mount point: no slash in front, empty at the top.
    pub own: PathBuf,
    /// Whether it is v2.
    pub unified: bool,
}

impl Tree {
    pub(super) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trees {
    /// v1 ones in the order they were mounted, then v2.
    pub all: Vec<Tree>,
    /// The version whose controllers are used: 1 also beside an idle v2 (hybrid).
    pub version: u8,
}

impl Trees {
    /// Looks at this machine.
    ///
    /// # Errors
    /// [`CgroupError::NotMounted`] when there are none; /proc cannot be read.
    pub fn detect() -> Result<Trees, GroupError> {
        let read = |path: &str| {
            read_text(Path::new(path)).map_err(|source| CgroupError::Read { path: path.into(), source })
        };
        let mut all = parse(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?);
        for tree in all.iter_mut().filter(|tree| tree.unified) {
            // One that cannot be read has none.
            let names = read_text(&tree.mount.join("cgroup.controllers")).unwrap_or_default();
            tree.controllers = names.split_ascii_whitespace().map(str::to_owned).collect();
        }
        Trees::choose(all).ok_or_else(|| CgroupError::NotMounted.into())
    }

    /// As `Layout::detect`: the version with more of the controllers that limit counts. A stray v1 mount beside v2 is
    /// left alone.
    fn choose(mut all: Vec<Tree>) -> Option<Trees> {
        let count = |unified: bool| {
            let has = |controller: &&Controller| {
                let name = controller.name(unified);
                all.iter().any(|tree| tree.unified == unified && tree.has(name))
            };
            Controller::UNIFIED.iter().filter(has).count()
        };
        let v2 = all.iter().any(|tree| tree.unified);
        let v1 =
            all.iter().any(|tree| !tree.unified && tree.controllers.iter().any(|name| !name.contains('=')));
        let version = match (v1, v2) {
            (false, false) => return None,
            (true, true) => 1 + u8::from(count(true) > count(false)),
            _ => 1 + u8::from(v2),
        };
        if version == 2 {
            all.retain(|tree| tree.unified);
            all.iter_mut().for_each(|tree| tree.name.clear());
        }
        Some(Trees { all, version })
    }
}

/// The first mount of each hierarchy.
fn parse(mountinfo: &str, own: &str) -> Vec<Tree> {
    let mut trees: Vec<Tree> = Vec::new();
    for line in mountinfo.lines() {
        // proc_pid_mountinfo(5): id parent major:minor root mountpoint options [tags…] - type source super-options
        let Some((front, back)) = line.split_once(" - ") else { continue };
        let mut front = front.split(' ').skip(3);
        let (Some(root), Some(mount)) = (front.next().map(unescape), front.next().map(unescape)) else {
            continue;
        };
        let mut back = back.split(' ');
        let (unified, mut controllers) = match back.next() {
            Some("cgroup2") => (true, Vec::new()),
            Some("cgroup") => {
                (false, back.nth(1).unwrap_or_default().split(',').map(str::to_owned).collect())
            }
            _ => continue,
        };
        controllers.retain(|option| is_controller(option));
        let same = |tree: &Tree| tree.unified == unified && tree.controllers == controllers;
        if trees.iter().any(same) || (!unified && controllers.is_empty()) {
            continue;
        }
        let name = mount.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let own = own_group(own, if unified { "" } else { &controllers[0] }, &root);
        trees.push(Tree { name, controllers, mount, own, unified });
    }
    // v2 last: its directory is the one to be cloned into.
    trees.sort_by_key(|tree| tree.unified);
    trees
}

/// Among the options of a v1 mount stand its controllers.
fn is_controller(option: &str) -> bool {
    const OTHERS: [&str; 8] =
        ["rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "favordynmods", "none"];
    !OTHERS.contains(&option) && (option.starts_with("name=") || !option.contains('='))
}

/// The group of this process in the hierarchy of a controller (none for v2), seen from a mount of `root`; the top when it
/// lies outside of that.
fn own_group(groups: &str, controller: &str, root: &Path) -> PathBuf {
    let path = groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(path)
    });
    let below = path.and_then(|path| Path::new(path).strip_prefix(root).ok());
    let inside = below.filter(|below| below.components().all(|part| matches!(part, Component::Normal(_))));
    inside.map(Path::to_owned).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 /docker/ab /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/net_cls rw,relatime - cgroup cgroup rw,net_cls,release_agent=/x
35 31 0:32 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
36 31 0:30 / /mnt/again rw,relatime - cgroup cgroup rw,memory
";
    const OWN: &str = "\
9:name=systemd:/../other
4:memory:/docker/ab/in
3:net_cls:/
2:cpu,cpuacct:/user/a
0::/init.scope
";

    #[test]
    fn every_hierarchy_is_found_once_with_our_place_in_it() {
        let trees = parse(HYBRID, OWN);
        let text: Vec<String> = trees
            .iter()
            .map(|t| format!("{} {} {}", t.name, t.controllers.join("+"), t.own.display()))
            .collect();
        let want = [
            "cpu,cpuacct cpu+cpuacct user/a",
            "memory memory in",
            "net_cls net_cls ",
            "systemd name=systemd ",
            "unified  init.scope",
        ];
        assert_eq!(text, want);
        assert!(trees[4].unified);
    }

    #[test]
    fn the_version_with_more_controllers_counts() {
        let tree = |controllers: &[&str], unified| Tree {
            name: "n".to_owned(),
            controllers: controllers.iter().map(|&name| name.to_owned()).collect(),
            mount: "/m".into(),
            own: "".into(),
            unified,
        };
        let version = |trees: &[Tree]| Trees::choose(trees.to_vec()).map(|t| (t.version, t.all.len()));
        assert_eq!(version(&[]), None);
        assert_eq!(version(&[tree(&["name=systemd"], false)]), None);
        assert_eq!(version(&[tree(&["memory"], false)]), Some((1, 1)));
        assert_eq!(version(&[tree(&["memory"], false), tree(&["hugetlb"], true)]), Some((1, 2)));
        assert_eq!(version(&[tree(&["freezer"], false), tree(&["io", "pids"], true)]), Some((2, 1)));
        assert_eq!(version(&[tree(&["name=systemd"], false), tree(&[], true)]), Some((2, 1)));
    }

    #[test]
    fn this_machine_has_trees() {
        match Trees::detect() {
            Ok(trees) => assert!(trees.all.iter().all(|tree| tree.mount.is_dir())),
            Err(GroupError::Cgroup(CgroupError::NotMounted)) => println!("skipped: no cgroups are mounted"),
            Err(error) => panic!("{error}"),
        }
    }
}
