//! The control group of a container as the other parts need it: made from the configuration, entered, shown inside.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use cais_oci::runtime::{NamespaceType, Resources, Spec};
use cais_runtime::cgroup::Join;
use cais_runtime::cgroup::oci::{Group, GroupRequest, GroupState, Manager, Systemd, Trees, Weights};
use cais_sys::process::Placeholder;
use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result};
use crate::machine::{Caller, namespace, user_namespace};
use crate::plan::CgroupShape;
use crate::process::Identity;
use crate::request::Config;

/// A group, and how it is entered.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// `None` where the container stays in its caller's.
    pub(crate) group: Option<Group>,
    pub(crate) join: Join,
    views: Vec<(String, PathBuf)>,
    unified: bool,
    /// The group of the first process was taken instead.
    pub(crate) tried_elsewhere: bool,
    /// Whom a systemd scope begins with, until our process is in.
    _placeholder: Option<Placeholder>,
}

/// Who makes groups here.
pub(crate) fn manager(config: &Config, caller: Caller) -> Manager {
    if config.cgroup_disabled {
        return Manager::Disabled;
    }
    if !config.systemd_cgroup {
        return Manager::Cgroupfs;
    }
    match &config.user_bus {
        Some(path) if is_rootless(config, caller) => {
            Manager::Systemd(Systemd { user: true, addresses: vec![format!("unix:path={}", path.display())] })
        }
        _ => Manager::Systemd(Systemd::system()),
    }
}

/// Rights to groups may be missing.
pub(crate) fn is_rootless(config: &Config, caller: Caller) -> bool {
    config.rootless.unwrap_or_else(|| caller.is_rootless())
}

impl Entrance {
    /// Makes the group of a new container. `tell` hears before that what is going to be made: a kill in between leaves what
    /// can be found.
    ///
    /// # Errors
    /// Those of [`Group::create`]; nothing stays.
    pub(crate) fn create(
        config: &Config,
        caller: Caller,
        spec: &Spec,
        id: &str,
        tell: impl FnOnce(GroupState) -> Result<()>,
    ) -> Result<Entrance> {
        let manager = manager(config, caller);
        if manager == Manager::Disabled {
            return Ok(Entrance::none());
        }
        let trees = Trees::detect()?;
        let linux = spec.linux.as_ref();
        let default = Resources::default();
        let placeholder = match manager {
            Manager::Systemd(_) => Some(
                Placeholder::start(0)
                    .map_err(|e| Error::system("start a process for the systemd scope", e))?,
            ),
            _ => None,
        };
        let request = GroupRequest {
            cgroups_path: linux.and_then(|linux| linux.cgroups_path.as_deref()),
            id,
            manager: &manager,
            rootless: is_rootless(config, caller),
            resources: linux.and_then(|linux| linux.resources.as_ref()).unwrap_or(&default),
            annotations: &spec.annotations,
            pid: placeholder.as_ref().map(Placeholder::pid),
            owner_uid: if trees.version == 2 { owner(spec) } else { None },
            weights: Weights::default(),
        };
        tell(Group::intent(&trees, &request)?)?;
        let group = Group::create(&trees, &request)?;
        let join = group.open_join().inspect_err(|_| {
            // The failure to enter is the one to tell.
            let _ = group.destroy();
        })?;
        Ok(Entrance {
            views: views(&group),
            unified: group.state().version == 2,
            group: Some(group),
            join,
            tried_elsewhere: false,
            _placeholder: placeholder,
        })
    }

    /// The way into the group of a container that is there, for one more process.
    pub(crate) fn existing(group: Option<Group>, join: Join) -> Entrance {
        let unified = group.as_ref().is_some_and(|group| group.state().version == 2);
        Entrance { group, join, views: Vec::new(), unified, tried_elsewhere: false, _placeholder: None }
    }

    fn none() -> Entrance {
        Entrance::existing(None, Join::default())
    }

    /// As the planner takes it.
    pub(crate) fn shape(&self) -> CgroupShape<'_> {
        let own_group = self.views.first().map(|(_, path)| path.as_path());
        CgroupShape {
            tasks: self.join.tasks.len(),
            clone_into: self.join.directory.is_some(),
            moved_by_manager: false,
            views: if self.unified { &[] } else { &self.views },
            unified: self.unified,
            own_group: own_group.filter(|_| self.unified),
        }
    }

    /// Takes the v2 group that a process is in, whichever that is; false when it cannot be entered.
    pub(crate) fn go_where(&mut self, process: Option<Identity>) -> bool {
        self.tried_elsewhere = true;
        self.join.directory = process.and_then(|process| open_group_of(process.pid));
        self.join.directory.is_some()
    }

    /// Does without: the kernel refused the way in.
    pub(crate) fn leave_out(&mut self) {
        self.join = Join::default();
    }
}

/// The v2 group of a process.
fn open_group_of(pid: i32) -> Option<OwnedFd> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(Path::new("/sys/fs/cgroup").join(path), flags, Mode::empty()).ok()
}

/// Names and directories; the planner makes the links.
fn views(group: &Group) -> Vec<(String, PathBuf)> {
    group.views().into_iter().map(|view| (view.name, view.path)).collect()
}

/// To whom the group is given: the user of the process as the host sees it, when the container has a cgroup namespace of
/// its own and may write there (config-linux.md, "Cgroup ownership").
fn owner(spec: &Spec) -> Option<u32> {
    namespace(spec, NamespaceType::Cgroup).filter(Option::is_none)?;
    namespace(spec, NamespaceType::Mount).filter(Option::is_none)?;
    let writable = spec.mounts.iter().any(|mount| {
        mount.kind.as_deref() == Some("cgroup")
            && mount.destination.trim_end_matches('/') == "/sys/fs/cgroup"
            && !mount.options.iter().any(|option| option == "ro")
    });
    let uid = spec.process.as_ref()?.user.uid;
    if !writable {
        return None;
    }
    match user_namespace(spec) {
        None => Some(uid).filter(|uid| *uid != 0),
        Some(Some(_)) => None,
        Some(None) => {
            let maps = &spec.linux.as_ref()?.uid_mappings;
            let map = maps.iter().find(|map| uid >= map.container_id && uid - map.container_id < map.size)?;
            map.host_id.checked_add(uid - map.container_id)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> Spec {
        Spec::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn the_group_is_given_only_to_who_may_write_it() {
        let text = |namespaces: &str, options: &str| {
            format!(
                r#"{{"ociVersion": "1.2.0", "process": {{"user": {{"uid": 5, "gid": 0}}, "args": ["x"], "cwd": "/"}},
                "mounts": [{{"destination": "/sys/fs/cgroup", "type": "cgroup", "options": [{options}]}}],
                "linux": {{"namespaces": [{namespaces}],
                "uidMappings": [{{"containerID": 0, "hostID": 1000, "size": 10}}]}}}}"#
            )
        };
        let own = r#"{"type": "cgroup"}, {"type": "mount"}"#;
        let user = r#"{"type": "cgroup"}, {"type": "mount"}, {"type": "user"}"#;
        assert_eq!(owner(&spec(&text(own, ""))), Some(5));
        assert_eq!(owner(&spec(&text(user, ""))), Some(1005));
        assert_eq!(owner(&spec(&text(own, "\"ro\""))), None);
        assert_eq!(owner(&spec(&text(r#"{"type": "mount"}"#, ""))), None);
    }

    #[test]
    fn managers() {
        let caller = Caller::look().unwrap();
        let config = Config { rootless: Some(true), ..Config::default() };
        assert_eq!(manager(&config, caller), Manager::Cgroupfs);
        let config = Config { systemd_cgroup: true, user_bus: Some("/run/bus".into()), ..config };
        let Manager::Systemd(systemd) = manager(&config, caller) else { panic!("not systemd") };
        assert_eq!((systemd.user, systemd.addresses), (true, vec!["unix:path=/run/bus".to_owned()]));
        let config = Config { cgroup_disabled: true, ..config };
        assert_eq!(manager(&config, caller), Manager::Disabled);
    }
}
