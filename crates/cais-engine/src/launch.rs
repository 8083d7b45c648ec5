//! From a record to a running container: prepares what the plan needs, starts the shim, waits for its first word.
//!
//! Order matters for a crash at any point: the lock and the facts come first, then what they name (address, link,
//! ports, cgroup); [`Engine::tear_down`] finds all of it by the container's id.

use std::fs::{DirBuilder, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use cais_net::bridge::BridgeConfig;
use cais_plan::{RESTORED, Setup, Strings, join_strings};
use cais_runtime::launch::Namespace;
use cais_runtime::plan::{self, Planned};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

use crate::assemble::assemble;
use crate::attach::{AfterExit, AttachStream, broken, short};
use crate::health;
use crate::limits::Group;
use crate::log_sink::LogSink;
use crate::network::{self, PortHolders, reserve_ports};
use crate::restoration::Restoration;
use crate::sharing::Joined;
use crate::shim::{ShimFds, first_word};
use crate::userns::Users;
use crate::verb::exec::NEWPID;
use crate::{ContainerRecord, Engine, Error, ErrorKind, NetworkRequest, Result, RunFacts};

/// How the starter takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taking {
    /// Output and the end come to the starter, who also cleans up.
    pub(crate) attach: bool,
    /// Input, too.
    pub(crate) stdin: bool,
    /// It is a restart: until it runs the container is shown as it was before.
    pub(crate) again: bool,
}

/// A container that was started.
pub(crate) struct Launched {
    pub(crate) stream: AttachStream,
    pub(crate) warnings: Vec<String>,
}

/// What the shim is given beside the plan.
struct Parts {
    lock: OwnedFd,
    owner: OwnedFd,
    listener: OwnedFd,
    log: LogSink,
    directory: File,
    holders: PortHolders,
    netns: Option<OwnedFd>,
    joined: Joined,
    group: Option<Group>,
    users: Users,
}

impl Engine {
    /// Starts a container that does not run. On failure everything of the run is taken down again.
    pub(crate) fn launch(
        &self,
        record: &ContainerRecord,
        taking: Taking,
        from: Option<&Restoration>,
    ) -> Result<Launched> {
        let lock = self.run_lock(record)?;
        self.launch_under(record, taking, from, lock)
    }

    /// As [`Engine::launch`], with the lock in hand.
    pub(crate) fn launch_under(
        &self,
        record: &ContainerRecord,
        taking: Taking,
        from: Option<&Restoration>,
        lock: cais_sys::lock::OfdLock,
    ) -> Result<Launched> {
        self.launch_locked(record, taking, from, lock.into_file().into()).inspect_err(|_| {
            // What was made before the failure is found by id; the first error is the one to tell.
            let _ = self.tear_down(&record.id);
        })
    }

    /// The lock of a new run. A monitor that has reported the end and waits for its cleaner lets go soon.
    fn run_lock(&self, record: &ContainerRecord) -> Result<cais_sys::lock::OfdLock> {
        const TRIES: u32 = 500;
        for _ in 0..TRIES {
            match self.store.take_run_lock(&record.id) {
                Err(cais_store::StoreError::Running { .. }) if self.has_ended(&record.id) => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                other => return Ok(other?),
            }
        }
        let message = format!("container {} has ended, but its monitor does not let go", short(&record.id));
        Err(Error::new(ErrorKind::Conflict, message).hint("`cais system check --repair` looks into it"))
    }

    fn has_ended(&self, id: &str) -> bool {
        matches!(self.store.read_exit(id), Ok(Some(_)))
    }

    fn launch_locked(
        &self,
        record: &ContainerRecord,
        taking: Taking,
        from: Option<&Restoration>,
        lock: OwnedFd,
    ) -> Result<Launched> {
        let mut warnings = Vec::new();
        self.store.clear_exit(&record.id)?;
        let joined = self.join_others(record)?;
        let (mut facts, holders, bridge) = self.first_facts(record, from)?;
        facts.restarting = taking.again;
        facts.restored = from.is_some();
        self.store.write_facts(&record.id, &facts)?;
        if record.health.is_some() {
            self.store.reset_health(&record.id, &facts.started)?;
        }
        let mut users = self.user_namespaces(record)?;
        let netns = users.network.take();
        let make_network = || self.network_namespace(record, bridge.as_ref(), &facts, (from, netns));
        let (netns, prepared) = if matches!(record.network, NetworkRequest::Bridge | NetworkRequest::Pasta) {
            // The network is made on another thread while this one prepares the rest: they meet at the plan.
            std::thread::scope(|scope| {
                let thread = scope.spawn(make_network);
                let prepared = self.prepare(record, &facts, from, &mut warnings);
                let died = |_| Err(Error::new(ErrorKind::System, "the thread that makes the network died"));
                (thread.join().unwrap_or_else(died), prepared)
            })
        } else {
            (make_network(), self.prepare(record, &facts, from, &mut warnings))
        };
        let group = prepared?;
        let (owner, ours) = AttachStream::pair().map_err(|e| broken(&record.id, e))?;
        let parts = Parts {
            lock,
            owner,
            listener: self.listen(&record.id)?,
            log: self.open_log(record)?,
            directory: open_directory(&self.store.paths().container(&record.id))?,
            holders,
            netns: netns?,
            joined,
            group,
            users,
        };
        let (shim_pid, planned) = self.spawn_shim(record, taking, from, &parts, &mut warnings)?;
        drop(parts);
        let after = AfterExit { engine: self.clone(), id: record.id.clone(), shim_pid };
        // Where there may be another run, what comes after the end is not the starter's.
        let cleans = taking.attach && !record.may_run_again();
        let stream = AttachStream::new(ours, cleans.then_some(after));
        let pid = first_word(&stream, shim_pid, &record.id, &planned.steps).map_err(|error| match from {
            Some(from) => from.explained(record, error),
            None => error,
        })?;
        if from.is_some() {
            Group::update(self, &while_restoring(record), record, &mut warnings)?;
        }
        if let Some(path) = &record.request.pidfile {
            std::fs::write(path, pid.to_string()).map_err(|e| {
                Error::caused(ErrorKind::System, format!("write the process id to {}", path.display()), e)
            })?;
        }
        let facts = RunFacts { shim_pid, pid, restarting: false, ..facts };
        let written = self.store.write_facts(&record.id, &facts);
        // A short run may have ended and been taken down by now: then there is nothing left to note.
        if self.store.paths().run_container(&record.id).exists() {
            written?;
        }
        Ok(Launched { stream, warnings })
    }

    /// What the run will take, decided and written down before any of it is made.
    fn first_facts(
        &self,
        record: &ContainerRecord,
        from: Option<&Restoration>,
    ) -> Result<(RunFacts, PortHolders, Option<BridgeConfig>)> {
        let mut facts = RunFacts { started: cais_store::run_state::now(), ..RunFacts::default() };
        let (ports, holders) = match record.network {
            NetworkRequest::Bridge | NetworkRequest::Pasta => reserve_ports(record)?,
            _ => (Vec::new(), Vec::new()),
        };
        facts.ports = ports;
        if record.network != NetworkRequest::Bridge {
            return Ok((facts, holders, None));
        }
        let bridge = self.bridge()?;
        let ip = match from.and_then(Restoration::ip) {
            Some(ip) => self.lease_again(&record.id, ip, &bridge)?,
            None => self.lease(&record.id, &bridge)?,
        };
        facts.ip = Some(ip);
        facts.gateway = Some(bridge.gateway);
        facts.prefix = bridge.subnet.prefix();
        let [a, b, c, d] = ip.octets();
        facts.mac = match from.and_then(Restoration::mac).or(record.request.mac_address.as_deref()) {
            Some(asked) => asked.to_owned(),
            None => format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}"),
        };
        facts.host_link = network::link_name(&record.id, nanoseconds());
        Ok((facts, holders, Some(bridge)))
    }

    /// The namespace that is made for the container; `None` when it gets a fresh one of its own, or shares one.
    fn network_namespace(
        &self,
        record: &ContainerRecord,
        bridge: Option<&BridgeConfig>,
        facts: &RunFacts,
        (from, netns): (Option<&Restoration>, Option<OwnedFd>),
    ) -> Result<Option<OwnedFd>> {
        match (&record.network, bridge) {
            (NetworkRequest::None, _) if from.is_some() => network::lonely_namespace().map(Some),
            (NetworkRequest::Bridge, Some(bridge)) => {
                Ok(Some(self.attach_network(bridge, facts, netns)?.netns))
            }
            (NetworkRequest::Pasta, _) => self.pasta_network(&record.id, facts, netns).map(Some),
            _ => Ok(None),
        }
    }

    /// Directories, name files and the cgroup.
    fn prepare(
        &self,
        record: &ContainerRecord,
        facts: &RunFacts,
        from: Option<&Restoration>,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Group>> {
        let paths = self.store.paths();
        if record.request.rootfs.is_none() {
            let work = paths.container_work(&record.id);
            if record.request.auto_remove && work.exists() {
                // A failed start left the mark of an unsynced mount, over which overlayfs does not mount again.
                std::fs::remove_dir_all(&work)
                    .map_err(|e| Error::caused(ErrorKind::System, format!("remove {}", work.display()), e))?;
            }
            for (path, mode) in [(paths.container_upper(&record.id), 0o755), (work, 0o700)] {
                let made = DirBuilder::new().mode(mode).create(&path);
                match made.and_then(|()| self.give_to_root(record, &path)) {
                    Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                        return Err(Error::caused(
                            ErrorKind::System,
                            format!("create {}", path.display()),
                            e,
                        ));
                    }
                    _ => {}
                }
            }
        }
        self.prepare_own_uppers(record)?;
        self.mount_volumes(record)?;
        self.shift_layers(record)?;
        self.change_owners(record)?;
        self.write_name_files(record, facts, warnings)?;
        match from {
            Some(_) => Group::create(self, &while_restoring(record), warnings),
            None => Group::create(self, record, warnings),
        }
    }

    fn listen(&self, id: &str) -> Result<OwnedFd> {
        let path = self.store.paths().run_ctl(id);
        let failed =
            |e: std::io::Error| Error::caused(ErrorKind::System, format!("listen on {}", path.display()), e);
        // Through the directory's descriptor: the whole path may be longer than an address.
        let directory = File::open(self.store.paths().run_container(id)).map_err(failed)?;
        let short = format!("/proc/self/fd/{}/ctl", std::os::fd::AsRawFd::as_raw_fd(&directory));
        let listening = || -> std::io::Result<OwnedFd> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
            bind(&socket, &SocketAddrUnix::new(short)?)?;
            listen(&socket, 64)?;
            Ok(socket)
        };
        listening().map_err(failed)
    }

    fn spawn_shim(
        &self,
        record: &ContainerRecord,
        taking: Taking,
        from: Option<&Restoration>,
        parts: &Parts,
        warnings: &mut Vec<String>,
    ) -> Result<(i32, Planned)> {
        let mut fds = ShimFds::new();
        let owner_fd = fds.add(parts.owner.as_fd());
        let listen_fd = fds.add(parts.listener.as_fd());
        let log_fds = parts.log.descriptors().map(|fd| fds.maybe(fd));
        let exit_dir_fd = fds.add(parts.directory.as_fd());
        let lock_fd = fds.add(parts.lock.as_fd());
        let netns = parts.netns.as_ref().map(|netns| fds.add(netns.as_fd()));
        let joined = parts.joined.add(&mut fds);
        let namespaces = joined.namespaces(record, netns);
        let group = parts.group.as_ref();
        let oom_fd = fds.maybe(group.and_then(Group::oom_counter));
        let oom_control_fd = fds.maybe(group.and_then(Group::oom_control));
        let cgroup_fd = fds.maybe(group.and_then(Group::directory));
        let join: Vec<i32> = group.map(|g| g.tasks().map(|fd| fds.add(fd)).collect()).unwrap_or_default();
        for holder in &parts.holders {
            fds.add(holder.as_fd());
        }
        let mut cgroup = group.map(|g| g.view(join)).unwrap_or_default();
        cgroup.writable = record.runs_systemd();
        if cgroup.writable && !cgroup.unified {
            warnings.push("systemd in a container needs cgroup v2: here it cannot make groups".to_owned());
        }
        let mut launch = assemble(self, record, namespaces, joined.shm, cgroup, warnings)?;
        let netns = parts.netns.as_ref().map(AsFd::as_fd);
        launch.appended = self.user_entries(record)?;
        self.with_users(&mut launch, record, &parts.users, netns, &mut fds);
        let mut restored = None;
        let planned = match from {
            None => plan::container(&launch),
            Some(from) => {
                let directory = self.store.paths().run_container(&record.id);
                let path = directory.join(RESTORED.to_string_lossy().as_ref());
                let line = from.command_line(self, &record.id, &launch, &path)?;
                restored = Some(open_directory(&directory)?);
                plan::restore(&launch, &line, &self.environment())
            }
        };
        let planned = planned.map_err(|e| Error::caused(ErrorKind::Invalid, "plan the launch", e))?;
        let restored_fd = fds.maybe(restored.as_ref().map(AsFd::as_fd));
        let program = join_strings(self.program(&record.id));
        let environment = join_strings(self.environment());
        let probes = health::Times::of_record(record);
        let setup = Setup {
            clone_flags: planned.clone_flags,
            outer: planned.outer,
            join_pid_fd: match namespaces.pid {
                Namespace::Join(fd) => fd,
                _ => Setup::NONE.join_pid_fd,
            },
            join_flags: NEWPID,
            cgroup_fd,
            owner_fd,
            lock_fd,
            listen_fd,
            exit_dir_fd,
            oom_fd,
            oom_polls: oom_fd >= 0 && group.is_some_and(Group::is_unified),
            oom_control_fd,
            tty: record.request.tty,
            stdin: record.request.interactive,
            attached: taking.attach,
            stdin_once: taking.attach && taking.stdin,
            rows: record.request.terminal_size.map_or(0, |(rows, _)| u32::from(rows)),
            cols: record.request.terminal_size.map_or(0, |(_, cols)| u32::from(cols)),
            program: Strings(&program),
            environment: Strings(&environment),
            stays: record.may_run_again(),
            probe_ms: probes.interval_ms,
            first_probe_ms: probes.first_ms(),
            restored_fd,
            run_ms: record.request.run_limit_secs.unwrap_or(0).saturating_mul(1000),
            ..parts.log.setup(record, log_fds)
        };
        Ok((fds.spawn(&planned.steps, &setup)?, planned))
    }

    /// How the shim calls this program: see [`Setup::program`].
    fn program(&self, id: &str) -> Vec<String> {
        let Ok(program) = std::fs::read_link("/proc/self/exe") else { return Vec::new() };
        let paths = self.store.paths();
        [program.as_path(), paths.root(), paths.run()]
            .iter()
            .map(|path| path.to_string_lossy().into_owned())
            .zip(["", "--root", "--run-root"])
            .flat_map(|(path, flag)| [flag.to_owned(), path])
            .filter(|word| !word.is_empty())
            .chain([id.to_owned()])
            .collect()
    }

    /// What this program needs to know of the caller's surroundings to run the container again.
    fn environment(&self) -> Vec<String> {
        let path = std::env::join_paths(&self.config.path).unwrap_or_default();
        let variable = |name: &str, value: &std::ffi::OsStr| format!("{name}={}", value.to_string_lossy());
        let home = self.config.home.as_ref().map(|home| variable("HOME", home.as_os_str()));
        let runtime = self.config.runtime_dir.as_ref();
        [Some(variable("PATH", &path)), home, runtime.map(|dir| variable("XDG_RUNTIME_DIR", dir.as_os_str()))]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// The record with what CRIU, which works inside of the group, must not be limited by.
fn while_restoring(record: &ContainerRecord) -> ContainerRecord {
    let mut record = record.clone();
    let limits = &mut record.request.resources;
    (limits.memory_bytes, limits.memory_swap_bytes, limits.pids_limit) = (None, None, None);
    record
}

fn open_directory(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| Error::caused(ErrorKind::System, format!("open {}", path.display()), e))
}

/// Nanoseconds of the clock, to tell runs apart.
fn nanoseconds() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| u64::from(d.subsec_nanos()) ^ d.as_secs())
}
