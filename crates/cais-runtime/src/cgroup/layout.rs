//! How a machine mounts its control groups, read from `/proc/self/mountinfo` and `/proc/self/cgroup`.

use std::path::{Path, PathBuf};

use super::{CgroupError, read_text};

/// What a hierarchy controls, as far as this engine uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// CPU time.
    Cpu,
    /// CPU statistics (v1; part of `cpu` in v2).
    Cpuacct,
    /// Which CPUs and memory nodes.
    Cpuset,
    /// Memory.
    Memory,
    /// Number of tasks.
    Pids,
    /// Block I/O.
    Io,
    /// Devices (v1; a program in v2).
    Devices,
    /// Stopping (v1; part of every group in v2).
    Freezer,
}

impl Controller {
    /// Those of v1.
    const ALL: [Controller; 8] = [
        Controller::Cpu,
        Controller::Cpuacct,
        Controller::Cpuset,
        Controller::Memory,
        Controller::Pids,
        Controller::Io,
        Controller::Devices,
        Controller::Freezer,
    ];

    /// Those of v2, which have to be switched on for groups below.
    pub(super) const UNIFIED: [Controller; 5] =
        [Controller::Memory, Controller::Pids, Controller::Cpu, Controller::Io, Controller::Cpuset];

    /// The kernel's name, in v2 (`unified`) or in v1.
    #[must_use]
    pub fn name(self, unified: bool) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Cpuacct => "cpuacct",
            Controller::Cpuset => "cpuset",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
            Controller::Io if unified => "io",
            Controller::Io => "blkio",
            Controller::Devices => "devices",
            Controller::Freezer => "freezer",
        }
    }
}

/// A v1 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Last part of its mount point, as `cpu,cpuacct`.
    pub name: String,
    /// What it controls, of what this engine uses: at least one.
    pub controllers: Vec<Controller>,
    /// Where it is mounted.
    pub mount: PathBuf,
}

/// How control groups are mounted. Where both versions are, the one with more of the controllers that limit counts: a
/// v2 hierarchy beside v1 often has one nobody asks for, as `hugetlb`, and a v2 machine a stray v1 mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// v1 only.
    V1 {
        /// In the order they were mounted.
        hierarchies: Vec<Hierarchy>,
    },
    /// v1, and a v2 hierarchy beside it with fewer controllers, which goes unused.
    Hybrid {
        /// In the order they were mounted.
        hierarchies: Vec<Hierarchy>,
        /// Where v2 is mounted.
        unified: PathBuf,
    },
    /// v2.
    V2 {
        /// Where it is mounted.
        mount: PathBuf,
        /// The group of this process, an absolute path within the mount.
        own: PathBuf,
    },
}

impl Layout {
    /// Looks at this machine.
    ///
    /// # Errors
    /// [`CgroupError::NotMounted`] when there are no cgroups; /proc cannot be read.
    pub fn detect() -> Result<Layout, CgroupError> {
        let read = |path: &str| {
            read_text(Path::new(path)).map_err(|source| CgroupError::Read { path: path.into(), source })
        };
        let mounts = parse_mounts(&read("/proc/self/mountinfo")?);
        match mounts {
            (hierarchies, None) if !hierarchies.is_empty() => Ok(Layout::V1 { hierarchies }),
            (hierarchies, Some(unified)) if !unified_counts(&hierarchies, &unified) => {
                Ok(Layout::Hybrid { hierarchies, unified })
            }
            (_, Some(mount)) => Ok(Layout::V2 { mount, own: parse_own(&read("/proc/self/cgroup")?) }),
            (_, None) => Err(CgroupError::NotMounted),
        }
    }

    /// 1 or 2: the version whose controllers are used.
    #[must_use]
    pub fn version(&self) -> u8 {
        match self {
            Layout::V1 { .. } | Layout::Hybrid { .. } => 1,
            Layout::V2 { .. } => 2,
        }
    }

    /// The v1 hierarchies; none for v2.
    #[must_use]
    pub fn hierarchies(&self) -> &[Hierarchy] {
        match self {
            Layout::V1 { hierarchies } | Layout::Hybrid { hierarchies, .. } => hierarchies,
            Layout::V2 { .. } => &[],
        }
    }
}

/// Whether v2 has more of the controllers that limit than v1.
fn unified_counts(hierarchies: &[Hierarchy], unified: &Path) -> bool {
    if hierarchies.is_empty() {
        return true;
    }
    // One that cannot be read has none.
    let names = read_text(&unified.join("cgroup.controllers")).unwrap_or_default();
    let has =
        |controller: &Controller| names.split_ascii_whitespace().any(|name| name == controller.name(true));
    let v1 = |controller: &Controller| hierarchies.iter().any(|h| h.controllers.contains(controller));
    let count = |test: &dyn Fn(&Controller) -> bool| Controller::UNIFIED.iter().filter(|c| test(c)).count();
    count(&has) > count(&v1)
}

/// The v1 hierarchies with controllers that count, and where v2 is mounted.
fn parse_mounts(mountinfo: &str) -> (Vec<Hierarchy>, Option<PathBuf>) {
    let mut hierarchies: Vec<Hierarchy> = Vec::new();
    let mut unified = None;
    for line in mountinfo.lines() {
        // proc_pid_mountinfo(5): id parent major:minor root mountpoint options [tags…] - type source super-options
        let Some((front, back)) = line.split_once(" - ") else { continue };
        let Some(mount) = front.split(' ').nth(4).map(unescape) else { continue };
        let mut back = back.split(' ');
        match back.next() {
            Some("cgroup2") if unified.is_none() => unified = Some(mount),
            Some("cgroup") => {
                let options = back.nth(1).unwrap_or_default();
                let known =
                    |option| Controller::ALL.into_iter().find(|controller| controller.name(false) == option);
                let controllers: Vec<Controller> = options.split(',').filter_map(known).collect();
                // The same hierarchy may be mounted a second time.
                let seen = hierarchies.iter().any(|h| h.controllers.iter().any(|c| controllers.contains(c)));
                if !controllers.is_empty() && !seen {
                    let name =
                        mount.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                    hierarchies.push(Hierarchy { name, controllers, mount });
                }
            }
            _ => {}
        }
    }
    (hierarchies, unified)
}

/// The v2 group in `/proc/self/cgroup`; the root when there is none or it lies outside of our cgroup namespace.
fn parse_own(groups: &str) -> PathBuf {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"));
    own.filter(|path| !path.starts_with("/..")).unwrap_or("/").into()
}

/// A path of mountinfo, where blanks and backslashes are written as three octal digits.
pub(super) fn unescape(text: &str) -> PathBuf {
    let mut path = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        path.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if byte.is_ascii() => {
                path.push(byte.into());
                rest = &after[3..];
            }
            _ => {
                path.push('\\');
                rest = after;
            }
        }
    }
    path.push_str(rest);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v1(mount: &str, controllers: &[Controller]) -> Hierarchy {
        let name = mount.rsplit('/').next().unwrap().to_owned();
        Hierarchy { name, controllers: controllers.to_vec(), mount: mount.into() }
    }

    #[test]
    fn hierarchies_that_count_are_found_once() {
        let mountinfo = "\
31 23 0:28 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/net_cls rw,relatime - cgroup cgroup rw,net_cls
35 31 0:32 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
36 31 0:30 / /mnt/again rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/my\\040unified rw - cgroup2 cgroup2 rw
";
        let want = [
            v1("/sys/fs/cgroup/cpu,cpuacct", &[Controller::Cpu, Controller::Cpuacct]),
            v1("/sys/fs/cgroup/memory", &[Controller::Memory]),
        ];
        let (hierarchies, unified) = parse_mounts(mountinfo);
        assert_eq!(hierarchies, want);
        assert_eq!(unified, Some("/sys/fs/my unified".into()));
    }

    #[test]
    fn the_version_with_more_controllers_counts() {
        let unified = tempfile::tempdir().unwrap();
        let names = |names: &str| std::fs::write(unified.path().join("cgroup.controllers"), names).unwrap();
        let (freezer, memory) = ([v1("/f", &[Controller::Freezer])], [v1("/m", &[Controller::Memory])]);
        assert!(!unified_counts(&memory, unified.path()));
        assert!(unified_counts(&[], unified.path()));
        names("hugetlb rdma misc\n");
        assert!(!unified_counts(&memory, unified.path()));
        assert!(!unified_counts(&freezer, unified.path()));
        names("cpuset cpu io memory hugetlb pids\n");
        assert!(unified_counts(&freezer, unified.path()));
        names("io\n");
        assert!(!unified_counts(&memory, unified.path()));
    }

    #[test]
    fn own_group_and_escapes() {
        assert_eq!(
            parse_own("1:name=systemd:/x\n0::/user.slice/a.scope\n"),
            Path::new("/user.slice/a.scope")
        );
        assert_eq!(parse_own("4:memory:/\n"), Path::new("/"));
        assert_eq!(parse_own("0::/../other\n"), Path::new("/"));
        for (text, path) in [("/a\\134b", "/a\\b"), ("/a\\", "/a\\"), ("/a\\9é", "/a\\9é")] {
            assert_eq!(unescape(text), Path::new(path));
        }
    }

    #[test]
    fn this_machine_has_a_layout() {
        match Layout::detect() {
            Ok(Layout::V2 { mount, .. }) => assert!(mount.join("cgroup.procs").exists()),
            Ok(v1) => assert!(v1.hierarchies().iter().all(|h| h.mount.is_dir())),
            Err(CgroupError::NotMounted) => println!("skipped: no cgroups are mounted"),
            Err(error) => panic!("{error}"),
        }
    }
}
