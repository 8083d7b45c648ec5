//! `create`: a request becomes a record on disk; nothing runs.

use std::io::Write;
use std::path::{Path, PathBuf};

use cais_oci::{ImageConfig, ProcessConfig};
use cais_store::{Hold, ImageRecord, Noun, StoreError, check_name, random_hex, random_id};

use super::pod::{in_pod_namespaces, in_pod_network};
use crate::attach::short;
use crate::health;
use crate::local_driver::{self, Backing};
use crate::progress::Progress;
use crate::resolve::{self, signal_number};
use crate::{
    ContainerRecord, ContainerRequest, Engine, Error, ErrorKind, ImageVolumes, MountKind, MountRecord,
    MountRequest, NamespaceSource, NetworkRequest, PullPolicy, RestartPolicy, Result,
};

/// What a container is stopped by when nothing was said.
const SIGTERM: i32 = 15;

/// A container that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its id.
    pub id: String,
    /// What could not be done as asked, for stderr.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Makes a container: pulls the image when the policy wants it, resolves the request, makes volumes, writes the
    /// record.
    ///
    /// # Errors
    /// When the request is wrong, the image cannot be had, or the name is taken; nothing is left behind then.
    pub fn create(&self, request: ContainerRequest, progress: &dyn Progress) -> Result<Created> {
        let (record, warnings) = self.make_record(request, progress)?;
        Ok(Created { id: record.id, warnings })
    }

    /// As [`Engine::create`], giving the record: `run` goes on with it.
    pub(crate) fn make_record(
        &self,
        request: ContainerRequest,
        progress: &dyn Progress,
    ) -> Result<(ContainerRecord, Vec<String>)> {
        if request.auto_remove && request.restart != RestartPolicy::No {
            return Err(Error::new(
                ErrorKind::Invalid,
                "conflicting options: cannot specify both --restart and --rm",
            ));
        }
        if let Some(name) = &request.name {
            check_name(Noun::Container, name)?;
            if !request.replace && !self.store.name_available(name)? {
                let owner = self.store.resolve_container(name).unwrap_or_default();
                let message =
                    format!("the container name {name:?} is already in use by container {}", short(&owner));
                return Err(Error::new(ErrorKind::Conflict, message)
                    .hint(format!("remove it with `cais rm {name}`, or choose another name")));
            }
        }
        let mut warnings = Vec::new();
        let mut request = request;
        let image = self.image_for(&request, progress)?;
        if let (true, Some(name)) = (request.replace, &request.name) {
            self.make_way(name)?;
        }
        let made = self.make_pod_of(&mut request, &mut warnings)?;
        let record = self.make_resolved(request, image.as_ref(), &mut warnings).inspect_err(|_| {
            // The first error is the one to tell.
            let _ = made.map(|pod| self.pod_remove(&pod, true, None));
        })?;
        Ok((record, warnings))
    }

    fn make_resolved(
        &self,
        request: ContainerRequest,
        image: Option<&ImageRecord>,
        warnings: &mut Vec<String>,
    ) -> Result<ContainerRecord> {
        let hold = self.store.hold()?;
        let mut record = self.resolve_record(request, image, warnings)?;
        crate::systemd::prepare(&mut record);
        self.enter_pod(&mut record)?;
        self.check_network(&record)?;
        self.write_all(record, image, hold)
    }

    /// Writes a new record, and makes what belongs to it.
    pub(super) fn write_all(
        &self,
        mut record: ContainerRecord,
        image: Option<&ImageRecord>,
        hold: Hold,
    ) -> Result<ContainerRecord> {
        self.place_mounts(&mut record)?;
        let ids = self.take_ids(&mut record)?;
        // The record goes first: what is made from here on is found by it.
        let in_pod = self.hold_pod_of(&record)?;
        self.write_named(&mut record, &hold)?;
        drop((in_pod, ids));
        // Removing takes the lock that `hold` shares.
        drop(hold);
        if let Err(error) = self.make_volumes(&record, image) {
            // The first error is the one to tell.
            let _ = self.discard(&record);
            return Err(error);
        }
        self.tell_container(&record, "create", &[]);
        Ok(record)
    }

    /// Stops and removes the container of this name, if there is one. Its volumes stay.
    fn make_way(&self, name: &str) -> Result<()> {
        if self.store.name_available(name)? {
            return Ok(());
        }
        let id = self.store.resolve_name(name)?;
        let gone = self.stop(&id, None, None).and_then(|()| self.remove(&id, true, false));
        match gone {
            Err(error) if error.kind != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes the record; a name of our own choice that somebody took meanwhile is replaced by another.
    fn write_named(&self, record: &mut ContainerRecord, hold: &Hold) -> Result<()> {
        const TRIES: u32 = 20;
        for _ in 1..TRIES {
            match self.write_record(record, hold) {
                Err(error) if error.kind == ErrorKind::Conflict && record.request.name.is_none() => {
                    record.name = self.store.free_name()?;
                }
                other => return other,
            }
        }
        self.write_record(record, hold)
    }

    fn write_record(&self, record: &ContainerRecord, hold: &Hold) -> Result<()> {
        let cidfile = record.request.cidfile.as_deref();
        let cidfile = cidfile.map(|path| open_id_file(Noun::Container, path)).transpose()?;
        self.store.put_container(record, hold)?;
        if let (Some(mut file), Some(path)) = (cidfile, &record.request.cidfile) {
            file.write_all(record.id.as_bytes()).map_err(|e| {
                let _ = self.store.remove_container(&record.id);
                Error::caused(ErrorKind::System, format!("write the container id to {}", path.display()), e)
            })?;
        }
        Ok(())
    }

    /// The image of a request, pulled when the policy says so; `None` with `--rootfs`.
    fn image_for(&self, request: &ContainerRequest, progress: &dyn Progress) -> Result<Option<ImageRecord>> {
        if request.rootfs.is_some() {
            return Ok(None);
        }
        let name = request.image.as_str();
        let platform = request.platform.as_deref();
        if request.pull == PullPolicy::Always {
            self.pull(name, platform, progress)?;
            return self.image_record(name).map(Some);
        }
        match self.image_record(name) {
            Ok(record) if crate::hello::is_hello(name) && crate::hello::is_stale(&record) => {
                self.load_hello().map(Some)
            }
            Ok(record) if self.fits(&record, platform)? => Ok(Some(record)),
            Ok(_) if request.pull == PullPolicy::Missing => {
                self.pull(name, platform, progress)?;
                self.image_record(name).map(Some)
            }
            Ok(record) => Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "image {name} is here for {} only, and --pull never forbids fetching it",
                    record.platform
                ),
            )),
            Err(error) if error.kind != ErrorKind::NotFound => Err(error),
            Err(_) if crate::hello::is_hello(name) => self.load_hello().map(Some),
            Err(error) if request.pull == PullPolicy::Never => {
                Err(error.hint("--pull never forbids fetching it; pull or load it first"))
            }
            Err(_) => {
                progress.message(&format!("Unable to find image '{name}' locally"));
                self.pull(name, platform, progress)?;
                self.image_record(name).map(Some)
            }
        }
    }

    fn fits(&self, record: &ImageRecord, platform: Option<&str>) -> Result<bool> {
        let Some(text) = platform else { return Ok(true) };
        let wanted: cais_oci::Platform =
            text.parse().map_err(|e| Error::caused(ErrorKind::Invalid, format!("platform {text:?}"), e))?;
        Ok(wanted.rank(&record.platform).is_some())
    }

    pub(super) fn resolve_record(
        &self,
        request: ContainerRequest,
        image: Option<&ImageRecord>,
        warnings: &mut Vec<String>,
    ) -> Result<ContainerRecord> {
        let empty = ProcessConfig::default();
        let config = image.map_or(&empty, |i| &i.config.config);
        let id = random_id();
        let (entrypoint, cmd) = resolve::command(&request, config)?;
        let pasta = self.config.rootless && self.has_pasta();
        let (network, warning) = resolve::network(&request.network, self.config.rootless, pasta);
        warnings.extend(warning);
        let pod = self.pod_of(&request)?;
        let network = self.pin_network(in_pod_network(network, &request, pod.as_ref()))?;
        let namespaces = self.pin_namespaces(&in_pod_namespaces(&request, pod.as_ref()))?;
        let hostname = match (&request.hostname, &namespaces.uts, &network) {
            (Some(name), ..) => name.clone(),
            (None, NamespaceSource::Host, _) | (None, _, NetworkRequest::Host) => host_name(),
            // Who shares names or a network shares its name.
            (None, NamespaceSource::Container(other), _) | (None, _, NetworkRequest::Container(other)) => {
                self.store.load_container(other)?.hostname
            }
            (None, ..) => short(&id).to_owned(),
        };
        let stop_signal_given = request
            .stop_signal
            .clone()
            .or_else(|| config.stop_signal.clone().filter(|text| !text.is_empty()));
        let stop_signal = stop_signal_given.as_deref().map_or(Ok(SIGTERM), signal_number)?;
        let health = health::resolve(&request.health, config.healthcheck.as_ref())?;
        let volumes: Vec<String> = image.map(|i| image_volumes(&i.config)).unwrap_or_default();
        let mounts = resolve::mounts(
            &self.asked_mounts(&request, &volumes)?,
            match request.image_volumes {
                ImageVolumes::Anonymous => &volumes,
                ImageVolumes::Tmpfs | ImageVolumes::Ignore => &[],
            },
        )?
        .into_iter()
        .map(|request| MountRecord { request, ..MountRecord::default() })
        .collect();
        let mut exposed: Vec<String> = config.exposed_ports.keys().map(|p| with_protocol(p)).collect();
        exposed.extend(request.expose.iter().map(|p| with_protocol(p)));
        exposed.extend(
            request.publish.iter().map(|p| format!("{}/{}", p.container_port, protocol_name(p.protocol))),
        );
        exposed.sort();
        exposed.dedup();
        let name = match &request.name {
            Some(name) => name.clone(),
            None => self.store.free_name()?,
        };
        Ok(ContainerRecord {
            name,
            created: cais_store::run_state::now(),
            image_id: image.map(|i| i.id.clone()),
            image_name: image_name(&request),
            layers: image.map(|i| i.layers.clone()).unwrap_or_default(),
            args: [entrypoint.clone(), cmd.clone()].concat(),
            entrypoint,
            cmd,
            env: {
                let image = if request.ignore_image_env { &[][..] } else { &config.env };
                let merged = resolve::merged(&request.env_merge, image);
                resolve::environment(&[merged, request.env.clone()].concat(), image)
            },
            workdir: resolve::workdir(request.workdir.as_deref(), Some(config.working_dir.as_str()))?,
            user: request.user.clone().unwrap_or_else(|| config.user.clone()),
            labels: resolve::labels(&request.labels, &config.labels),
            stop_signal,
            stop_signal_given,
            mounts,
            exposed,
            network,
            hostname,
            health,
            shell: config.shell.clone(),
            user_maps: None,
            id,
            namespaces,
            requires: self.required(&request)?,
            pod: pod.map(|pod| pod.id),
            infra: false,
            request,
        })
    }

    /// The request's mounts, then those of other containers, then tmpfs for the image's volumes if so asked; what is
    /// mounted first at a target stays.
    fn asked_mounts(&self, request: &ContainerRequest, volumes: &[String]) -> Result<Vec<MountRequest>> {
        let mut all = request.mounts.clone();
        let mut add = |mount: MountRequest| {
            if !all.iter().any(|m| resolve::normalize(&m.target) == resolve::normalize(&mount.target)) {
                all.push(mount);
            }
        };
        for text in &request.volumes_from {
            let (name, mode) = text.split_once(':').unwrap_or((text, ""));
            let other = self.store.load_container(&self.store.resolve_container(name)?)?;
            let given = |mount: &&MountRecord| {
                mount.request.kind.is_of_host() || mount.request.kind == MountKind::Image
            };
            for mount in other.mounts.iter().filter(given) {
                let mut shared = mount.request.clone();
                if shared.kind == MountKind::Volume {
                    shared.source.clone_from(&mount.volume);
                }
                shared.no_copy = true;
                shared.read_only |= mode.split(',').any(|word| word == "ro");
                add(shared);
            }
        }
        if request.image_volumes == ImageVolumes::Tmpfs {
            for target in volumes {
                let kind = MountKind::Tmpfs;
                add(MountRequest { kind, target: target.clone(), ..MountRequest::default() });
            }
        }
        Ok(all)
    }

    pub(super) fn check_network(&self, record: &ContainerRecord) -> Result<()> {
        let request = &record.request;
        let publishes = request.publish_all || !request.publish.is_empty();
        let shares = matches!(record.network, NetworkRequest::Host | NetworkRequest::Container(_));
        if record.network == NetworkRequest::Bridge && self.config.rootless {
            return Err(Error::new(ErrorKind::Unsupported, "network bridge needs root")
                .hint("rootless containers have --network pasta, none or host"));
        }
        if matches!(record.network, NetworkRequest::Container(_)) && publishes {
            return Err(Error::new(
                ErrorKind::Invalid,
                "ports cannot be published in another container's network; publish them on that container",
            ));
        }
        if shares && request.hostname.is_some() && matches!(record.network, NetworkRequest::Container(_)) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "a host name cannot be set in another container's network",
            ));
        }
        Ok(())
    }

    /// Decides where each mount lies on the host; anonymous volumes get their names.
    fn place_mounts(&self, record: &mut ContainerRecord) -> Result<()> {
        for mount in &mut record.mounts {
            match mount.request.kind {
                MountKind::Tmpfs | MountKind::Ramfs | MountKind::Devpts => {}
                MountKind::Image => {
                    mount.layers = self.image_record(&mount.request.source)?.layers;
                }
                MountKind::Bind => mount.host_path = bind_source(&mount.request)?,
                MountKind::Volume => {
                    mount.anonymous = mount.request.source.is_empty();
                    mount.volume =
                        if mount.anonymous { random_hex(32) } else { mount.request.source.clone() };
                    check_name(Noun::Volume, &mount.volume)?;
                    self.place_volume(mount)?;
                }
            }
        }
        Ok(())
    }

    /// Where a volume's data lies: its driver's options may say so.
    fn place_volume(&self, mount: &mut MountRecord) -> Result<()> {
        let options = match self.store.load_volume(&mount.volume) {
            Ok(volume) => volume.options,
            Err(StoreError::NoSuch { .. }) => mount.request.volume_options.clone(),
            Err(error) => return Err(error.into()),
        };
        mount.host_path = match local_driver::parse(&options)? {
            Some(Backing::Directory { path, read_only }) => {
                mount.request.read_only |= read_only;
                path
            }
            _ => self.store.paths().volume_data(&mount.volume),
        };
        Ok(())
    }

    /// Makes the record's volumes that are missing and copies the image's content into those that are empty.
    pub(super) fn make_volumes(&self, record: &ContainerRecord, image: Option<&ImageRecord>) -> Result<()> {
        for mount in record.mounts.iter().filter(|m| m.request.kind == MountKind::Volume) {
            let fresh = if mount.anonymous {
                self.store.create_anonymous_volume(
                    &mount.volume,
                    mount.request.volume_labels.clone(),
                    mount.request.volume_options.clone(),
                )?;
                true
            } else {
                let (labels, options) = (&mount.request.volume_labels, &mount.request.volume_options);
                self.store.create_volume(Some(&mount.volume), labels.clone(), options.clone())?.1
            };
            if fresh {
                self.give_volume(record, mount)?;
                self.tell("volume", "create", &mount.volume, &[("driver", "local")]);
            }
            let whole = mount.request.subpath.is_none() && mount.request.overlay.is_none();
            let backing = local_driver::parse(&self.store.load_volume(&mount.volume)?.options)?;
            // What is not mounted yet cannot be filled.
            let here = !matches!(backing, Some(Backing::Mounted { .. }));
            let fresh = !mount.request.no_copy && whole && here && is_empty(&mount.host_path);
            if let (true, Some(image)) = (fresh, image) {
                let owner = |uid, gid| self.owner_on_disk(record, uid, gid);
                crate::copy_up::copy_up(self, image, &mount.request.target, &mount.host_path, &owner)?;
            }
        }
        Ok(())
    }

    pub(crate) fn remove_anonymous_volumes(&self, record: &ContainerRecord) {
        for mount in record.mounts.iter().filter(|m| m.anonymous && !m.volume.is_empty()) {
            // Another container may use it by now (`--volumes-from` style sharing by name): then it stays.
            if self.store.remove_volume_of(&mount.volume, &record.id).is_ok() {
                self.tell("volume", "destroy", &mount.volume, &[("driver", "local")]);
            }
        }
    }

    /// A program of the caller's PATH.
    pub(crate) fn find_program(&self, name: &str) -> Option<PathBuf> {
        self.config.path.iter().map(|directory| directory.join(name)).find(|candidate| candidate.is_file())
    }
}

pub(super) fn open_id_file(noun: Noun, path: &Path) -> Result<std::fs::File> {
    std::fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(|e| {
        if e.kind() == std::io::ErrorKind::AlreadyExists {
            Error::new(ErrorKind::Conflict, format!("{noun} ID file {} exists already", path.display()))
                .hint(format!("make sure that the other {noun} is not running, or delete the file"))
        } else {
            Error::caused(ErrorKind::System, format!("create the {noun} ID file {}", path.display()), e)
        }
    })
}

fn bind_source(request: &MountRequest) -> Result<PathBuf> {
    let path = PathBuf::from(&request.source);
    if !path.is_absolute() {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("bind source {:?} is not absolute", request.source),
        ));
    }
    match std::fs::metadata(&path) {
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && request.create_source => {
            std::fs::create_dir_all(&path).map_err(|e| {
                Error::caused(ErrorKind::System, format!("create the bind source {}", path.display()), e)
            })?;
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("bind source path does not exist: {}", path.display()),
            ));
        }
        Err(e) => return Err(Error::caused(ErrorKind::System, format!("bind source {}", path.display()), e)),
    }
    Ok(path)
}

/// A directory that is there and holds nothing.
fn is_empty(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

fn image_volumes(config: &ImageConfig) -> Vec<String> {
    config.config.volumes.keys().cloned().collect()
}

fn image_name(request: &ContainerRequest) -> String {
    match &request.rootfs {
        Some(path) => path.display().to_string(),
        None => request.image.clone(),
    }
}

fn with_protocol(port: &str) -> String {
    if port.contains('/') { port.to_owned() } else { format!("{port}/tcp") }
}

/// As in `80/tcp`.
pub(crate) fn protocol_name(protocol: crate::Protocol) -> &'static str {
    match protocol {
        crate::Protocol::Tcp => "tcp",
        crate::Protocol::Udp => "udp",
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
