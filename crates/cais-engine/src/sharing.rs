//! Namespaces that one container shares with another: whose they are is decided at `create`, and they are opened for the
//! launch as long as the other container runs.
//!
//! Of a chain (this container shares what that one shares with a third) only its end is kept, as the namespaces are the
//! third's. A container that is joined is meant by its id.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use cais_runtime::launch::{Namespace, Namespaces};
use cais_sys::mountns::copy_of_mount;
use rustix::io::Errno;

use crate::attach::short;
use crate::shim::ShimFds;
use crate::{
    ContainerRecord, Engine, Error, ErrorKind, IpcRequest, NamespaceRequest, NamespaceSource, NetworkRequest,
    Result,
};

/// What a launch takes from containers that run, held until the shim has it.
#[derive(Default)]
pub(crate) struct Joined {
    /// The first process of each container, as a pidfd.
    processes: BTreeMap<String, OwnedFd>,
    /// /dev/shm of the container whose IPC is shared.
    shm: Option<OwnedFd>,
}

/// The same as numbers of the shim.
#[derive(Default)]
pub(crate) struct JoinedFds {
    processes: BTreeMap<String, i32>,
    /// /dev/shm to be mounted.
    pub(crate) shm: Option<i32>,
}

impl Joined {
    /// Gives the descriptors to the shim.
    pub(crate) fn add<'a>(&'a self, fds: &mut ShimFds<'a>) -> JoinedFds {
        let processes = self.processes.iter().map(|(id, fd)| (id.clone(), fds.add(fd.as_fd()))).collect();
        JoinedFds { processes, shm: self.shm.as_ref().map(|fd| fds.add(fd.as_fd())) }
    }
}

impl JoinedFds {
    /// Where the namespaces of a container come from; `network` is made for it before, if anything is.
    pub(crate) fn namespaces(&self, record: &ContainerRecord, network: Option<i32>) -> Namespaces {
        let of = |id: &str| self.processes.get(id).map_or(Namespace::Own, |fd| Namespace::Join(*fd));
        let source = |source: &NamespaceSource| match source {
            NamespaceSource::Own => Namespace::Own,
            NamespaceSource::Host => Namespace::Host,
            NamespaceSource::Container(id) => of(id),
        };
        let asked = &record.namespaces;
        Namespaces {
            network: match (&record.network, network) {
                (_, Some(fd)) => Namespace::Join(fd),
                (NetworkRequest::Host, None) => Namespace::Host,
                (NetworkRequest::Container(id), None) => of(id),
                _ => Namespace::Own,
            },
            pid: source(&asked.pid),
            ipc: match &asked.ipc {
                IpcRequest::Host => Namespace::Host,
                IpcRequest::Container(id) => of(id),
                _ => Namespace::Own,
            },
            uts: source(&asked.uts),
            host_cgroup: asked.host_cgroup,
        }
    }
}

impl Engine {
    /// Names the other container by its id, so that renaming or name reuse changes nothing.
    pub(crate) fn pin_network(&self, network: NetworkRequest) -> Result<NetworkRequest> {
        let NetworkRequest::Container(name) = network else { return Ok(network) };
        let other = self.other(&name)?;
        Ok(match other.network {
            NetworkRequest::Container(_) => other.network,
            _ => NetworkRequest::Container(other.id),
        })
    }

    /// The same for the other namespaces. What the other container has from the host is the host's here, too.
    pub(crate) fn pin_namespaces(&self, asked: &NamespaceRequest) -> Result<NamespaceRequest> {
        let source = |source: &NamespaceSource, of: fn(NamespaceRequest) -> NamespaceSource| match source {
            NamespaceSource::Container(name) => self.other(name).map(|other| match of(other.namespaces) {
                NamespaceSource::Own => NamespaceSource::Container(other.id),
                shared => shared,
            }),
            own_or_host => Ok(own_or_host.clone()),
        };
        Ok(NamespaceRequest {
            pid: source(&asked.pid, |other| other.pid)?,
            ipc: match &asked.ipc {
                IpcRequest::Container(name) => ipc_of(self.other(name)?)?,
                own_or_host => own_or_host.clone(),
            },
            uts: source(&asked.uts, |other| other.uts)?,
            host_cgroup: asked.host_cgroup,
        })
    }

    fn other(&self, name: &str) -> Result<ContainerRecord> {
        Ok(self.store.load_container(&self.store.resolve_container(name)?)?)
    }

    /// Opens what a container shares with others, all of which must run.
    pub(crate) fn join_others(&self, record: &ContainerRecord) -> Result<Joined> {
        let mut joined = Joined::default();
        for id in record.shares_with() {
            let pidfd = self.init_pidfd(id).map_err(|error| match error.kind {
                ErrorKind::Conflict => {
                    let hint = format!(
                        "it shares namespaces with it: start that one first (cais start {})",
                        short(id)
                    );
                    error.hint(hint)
                }
                _ => error,
            })?;
            if self.config.rootless && !self.shares_user_namespace(id)? {
                let message = format!("namespaces of container {} are out of reach", short(id));
                return Err(Error::new(ErrorKind::Unsupported, message)
                    .hint("rootless, every container has a user namespace of its own; sharing needs root"));
            }
            joined.processes.insert(id.to_owned(), pidfd);
        }
        if let Some(id) = record.namespaces.ipc.container()
            && let Some(pidfd) = joined.processes.get(id)
            && !record.mounts.iter().any(|mount| mount.request.target == "/dev/shm")
        {
            joined.shm = match copy_of_mount(pidfd.as_fd(), "/dev/shm") {
                Err(Errno::NOENT | Errno::INVAL) => None,
                other => Some(other.map_err(|error| {
                    let message = format!("open /dev/shm of container {}", short(id));
                    Error::caused(ErrorKind::System, message, std::io::Error::from(error))
                })?),
            };
        }
        Ok(joined)
    }
}

/// Of the container whose IPC is to be shared.
fn ipc_of(other: ContainerRecord) -> Result<IpcRequest> {
    match other.namespaces.ipc {
        IpcRequest::Default | IpcRequest::Shareable => Ok(IpcRequest::Container(other.id)),
        IpcRequest::Private | IpcRequest::None => {
            let message =
                format!("cannot join the IPC of container {}: it is not shareable", short(&other.id));
            Err(Error::new(ErrorKind::Invalid, message).hint("create that one with --ipc shareable"))
        }
        shared => Ok(shared),
    }
}
