//! The user namespace of a run: made or joined before the start, with a network namespace that belongs to it.
//!
//! As root its layers and volumes are shown with mapped owners (id-mapped mounts, mount_setattr(2)), so that what is on
//! disk are the container's own ids, whichever they are outside. An ordinary user may not have that: see
//! [`crate::owners`].

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cais_oci::runtime::idmap_option;
use cais_runtime::capability::{self, CapSet};
use cais_runtime::launch::{Launch, MappedLayers, Namespace, Root, UserNamespace};
use cais_sys::namespace::{owner_of, with_maps};
use cais_sys::process::Placeholder;

use crate::attach::short;
use crate::shim::ShimFds;
use crate::{
    ContainerRecord, Engine, Error, ErrorKind, MountKind, NetworkRequest, OwnersRequest, Result, UserMaps,
    UsernsRequest,
};

const NEWUSER: u64 = 0x1000_0000;
const NEWNET: u64 = 0x4000_0000;

/// What a run has of this kind.
#[derive(Default)]
pub(crate) struct Users {
    /// Its user namespace, when it has one of its own.
    pub(crate) user: Option<OwnedFd>,
    /// A network namespace that belongs to it, still without interfaces.
    pub(crate) network: Option<OwnedFd>,
    /// Namespaces that exist for the maps of one mount: its target.
    mounts: Vec<(String, OwnedFd)>,
}

impl Engine {
    /// Makes or finds what the launch needs; nothing of it outlives its descriptors.
    pub(crate) fn user_namespaces(&self, record: &ContainerRecord) -> Result<Users> {
        let mut users = Users { mounts: self.mount_maps(record)?, ..Users::default() };
        let Some(maps) = &record.user_maps else { return Ok(users) };
        let own_network = matches!(record.network, NetworkRequest::Bridge | NetworkRequest::Pasta);
        let network = if own_network { NEWNET } else { 0 };
        let there = match &record.request.users.userns {
            UsernsRequest::Path(path) => {
                let file = File::open(path).map_err(|error| {
                    let message = format!("open the user namespace {}", path.display());
                    Error::caused(ErrorKind::Invalid, message, error)
                })?;
                Some(OwnedFd::from(file))
            }
            UsernsRequest::Container(id) => Some(self.user_namespace_of(id)?),
            _ => None,
        };
        let holder = match &there {
            Some(user) => Placeholder::start_in(user, network).map_err(refused("join the user namespace"))?,
            None => Placeholder::start(NEWUSER | network).map_err(refused("create a user namespace"))?,
        };
        let directory = format!("/proc/{}", holder.pid());
        if there.is_none() {
            for (file, maps) in [("uid_map", &maps.uids), ("gid_map", &maps.gids)] {
                std::fs::write(format!("{directory}/{file}"), UserMaps::lines(maps))
                    .map_err(refused(&format!("map the ids of the user namespace ({file})")))?;
            }
        }
        let open = |kind: &str| {
            File::open(format!("{directory}/ns/{kind}")).map(OwnedFd::from).map_err(|error| {
                Error::caused(ErrorKind::System, format!("open the {kind} namespace"), error)
            })
        };
        users.user = Some(open("user")?);
        users.network = own_network.then(|| open("net")).transpose()?;
        Ok(users)
    }

    /// The user namespace of a running container.
    fn user_namespace_of(&self, id: &str) -> Result<OwnedFd> {
        let pid = self.running_pid(id)?;
        File::open(format!("/proc/{pid}/ns/user")).map(OwnedFd::from).map_err(|error| {
            let message = format!("open the user namespace of container {}", short(id));
            Error::caused(ErrorKind::System, message, error)
        })
    }

    /// Namespaces for the mounts that name maps of their own.
    fn mount_maps(&self, record: &ContainerRecord) -> Result<Vec<(String, OwnedFd)>> {
        let mut all = Vec::new();
        let none = UserMaps::default();
        let container = record.user_maps.as_ref().unwrap_or(&none);
        for mount in &record.mounts {
            let target = &mount.request.target;
            let invalid = |reason: &str| {
                Error::new(ErrorKind::Invalid, format!("the option idmap of the mount on {target}: {reason}"))
            };
            let option = match &mount.request.owners {
                OwnersRequest::MappedBy(option) => option,
                OwnersRequest::Mapped if record.user_maps.is_none() => {
                    return Err(invalid("without maps it needs a user namespace (--userns, --uidmap)"));
                }
                OwnersRequest::Mapped if !self.maps_owners() => return Err(invalid(ORDINARY)),
                _ => continue,
            };
            if !self.maps_owners() {
                return Err(invalid(ORDINARY));
            }
            let (uids, gids) = idmap_option(option, (&container.uids, &container.gids))
                .filter(|(uids, gids)| !uids.is_empty() && !gids.is_empty())
                .ok_or_else(|| invalid("expected uids=0-1000-10;gids=0-1000-10"))?;
            let namespace = with_maps(&UserMaps::lines(&uids), &UserMaps::lines(&gids))
                .map_err(refused(&format!("map the owners of the mount on {target}")))?;
            all.push((target.clone(), namespace));
        }
        Ok(all)
    }

    /// Adds what the launch has of this kind.
    pub(crate) fn with_users<'a>(
        &self,
        launch: &mut Launch,
        record: &ContainerRecord,
        users: &'a Users,
        network: Option<BorrowedFd<'_>>,
        fds: &mut ShimFds<'a>,
    ) {
        let own = users.mounts.iter().map(|(target, fd)| (target.clone(), fds.add(fd.as_fd())));
        launch.mapped_binds.extend(own.collect::<Vec<_>>());
        let (Some(user), Some(maps)) = (&users.user, &record.user_maps) else { return };
        let fd = fds.add(user.as_fd());
        let mut layers = None;
        let paths = self.store.paths();
        if self.maps_owners() {
            if matches!(launch.root, Root::Overlay { .. }) {
                let (uid, gid) = maps.root();
                layers = Some(MappedLayers {
                    directories: vec![paths.layers(), paths.container(&record.id)],
                    mounter: Engine::owner_outside(record, uid, gid).unwrap_or_default(),
                    capabilities: capability::current_permitted().map_or(0, CapSet::bits),
                });
            }
            let names = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
            let asked = |target: &str| record.mounts.iter().any(|mount| mount.request.target == target);
            let ours = names.into_iter().filter(|target| !asked(target)).map(str::to_owned);
            let binds = record.mounts.iter().filter(|mount| match &mount.request.owners {
                OwnersRequest::Mapped => true,
                OwnersRequest::MappedBy(_) => false,
                _ => mount.request.kind == MountKind::Volume,
            });
            let binds = binds.map(|mount| mount.request.target.clone());
            launch.mapped_binds.extend(ours.chain(binds).map(|target| (target, fd)));
        } else if let Root::Overlay { lowers, .. } = &mut launch.root {
            *lowers = vec![paths.container_shifted(&record.id)];
        }
        launch.foreign_network = match launch.namespaces.network {
            Namespace::Own => false,
            Namespace::Host => true,
            Namespace::Join(_) => !network.is_some_and(|network| is_owner(user.as_fd(), network)),
        };
        launch.tty_group = UserMaps::outside(&maps.gids, 5).is_some();
        launch.users = Some(UserNamespace {
            fd,
            root: maps.root(),
            groups: launch.process.set_groups,
            layers,
            foreign_pid: launch.namespaces.pid == Namespace::Host,
        });
    }
}

const ORDINARY: &str = "the kernel maps owners for root only; the option U changes them";

/// The maps of a user namespace by its descriptor, as the kernel shows them to us.
pub(crate) fn maps_of(user: BorrowedFd<'_>, path: &Path) -> Result<Option<UserMaps>> {
    if same_file(user, File::open("/proc/self/ns/user").as_ref().ok().map(AsFd::as_fd)) {
        return Ok(None);
    }
    let operation = format!("join the user namespace {}", path.display());
    let holder = Placeholder::start_in(user, 0).map_err(refused(&operation))?;
    let read = |file: &str| {
        let text = std::fs::read_to_string(format!("/proc/{}/{file}", holder.pid()));
        text.map(|text| UserMaps::parse(&text)).map_err(refused(&operation))
    };
    Ok(Some(UserMaps { uids: read("uid_map")?, gids: read("gid_map")? }))
}

fn is_owner(user: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> bool {
    owner_of(namespace).is_ok_and(|owner| same_file(user, Some(owner.as_fd())))
}

fn same_file(one: BorrowedFd<'_>, other: Option<BorrowedFd<'_>>) -> bool {
    let identity = |fd: BorrowedFd<'_>| {
        let file = File::from(fd.try_clone_to_owned().ok()?);
        file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
    };
    let found = identity(one);
    found.is_some() && found == other.and_then(identity)
}

/// The kernel's answer as one error with what may be the reason.
fn refused(operation: &str) -> impl Fn(std::io::Error) -> Error {
    let operation = operation.to_owned();
    move |error| {
        const EPERM: i32 = 1;
        const EINVAL: i32 = 22;
        const ENOSPC: i32 = 28;
        let (kind, hint) = match error.raw_os_error() {
            Some(ENOSPC) => (
                ErrorKind::Unsupported,
                "this machine allows no more of them: see /proc/sys/user/max_user_namespaces",
            ),
            Some(EPERM) => (ErrorKind::Denied, "the ids, or user namespaces as such, are not allowed here"),
            Some(EINVAL) => (ErrorKind::Invalid, "the kernel takes none of this kind, or not these ids"),
            _ => return Error::caused(ErrorKind::System, &operation, error),
        };
        Error::caused(kind, &operation, error).hint(hint)
    }
}
