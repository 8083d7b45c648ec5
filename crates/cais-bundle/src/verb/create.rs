//! `create`: everything but the command itself. Afterwards the first process waits for `start` and is nobody's child but
//! the caller's.
//!
//! A failure takes down all of it: process, group, class of resctrl, state. What a kill in between leaves is found by the
//! record, which is written before what it names, and goes with `delete --force`.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use cais_oci::runtime::{Hooks, NamespaceType, Spec, State, Status};
use cais_runtime::cgroup::oci::Group;
use rustix::net::SocketType;

use crate::console::{Console, send_pidfd};
use crate::descriptor::bind_at;
use crate::error::{Error, Result};
use crate::filter::{self, Compiled};
use crate::group::{self, Entrance};
use crate::hooks::{self, Point, state_text};
use crate::launch::{Blame, Child, Conversation, First, Launch, Word, blame, limit, set_up};
use crate::machine::{self, namespace, user_namespace};
use crate::notify;
use crate::plan::{self, Begin, CREATED, ContainerRequest, Planned};
use crate::readiness;
use crate::request::CreateRequest;
use crate::resctrl::Resctrl;
use crate::runtime::Runtime;
use crate::state::{Container, Late, Lock, Record, StateDir, replace};

/// A container whose first process is our child.
pub(crate) struct Created {
    pub(crate) container: Container,
    pub(crate) child: Child,
    /// With the first process, when it waits for our go only.
    pub(crate) talk: Option<Conversation>,
    /// Of its terminal, when we stay.
    pub(crate) master: Option<OwnedFd>,
}

/// What the request and the bundle say.
pub(super) struct Given {
    pub(super) spec: Spec,
    /// As it was read.
    pub(super) json: Vec<u8>,
    bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    preserved: Vec<OwnedFd>,
    pub(super) console: Console,
}

/// What has to be taken down after a failure.
#[derive(Default)]
pub(super) struct Made {
    pub(super) group: Option<Group>,
    pub(super) pid_file: Option<PathBuf>,
    /// Hooks may have run.
    pub(super) was_started: bool,
}

impl Runtime {
    /// Makes a container; the number of its first process, which waits for [`Runtime::start`].
    ///
    /// The process is a child of the caller and keeps its standard streams.
    ///
    /// # Errors
    /// Nothing stays after one.
    pub fn create(&self, request: &CreateRequest) -> Result<i32> {
        let mut created = self.make(request, Begin::ByStart, false)?;
        created.child.release();
        Ok(created.child.identity.pid)
    }

    /// As [`Runtime::create`]; `stays`: a terminal is for us.
    pub(crate) fn make(&self, request: &CreateRequest, begin: Begin, stays: bool) -> Result<Created> {
        crate::state::check_id(&request.id)?;
        let mut given = self.read(request, stays)?;
        let begin = if given.wants_start() { Begin::ByStart } else { begin };
        let (dir, lock) = StateDir::make(&self.config.root, &request.id)?;
        let mut container = Container { record: self.first_record(request, &given)?, dir };
        let mut made = Made::default();
        match self.build(request, begin, &mut given, &mut container, &mut made, lock) {
            Ok((First { child, talk }, master)) => {
                let talk = (begin == Begin::AfterGo).then_some(talk);
                Ok(Created { container, child, talk, master })
            }
            Err(error) => {
                self.undo(&container, &made);
                Err(error)
            }
        }
    }

    pub(super) fn read(&self, request: &CreateRequest, stays: bool) -> Result<Given> {
        let preserved = preserved(request.listen_fds, request.preserve_fds)?;
        let bundle = fs::canonicalize(&request.bundle)
            .map_err(|e| Error::system(format!("find the bundle {}", request.bundle.display()), e))?;
        let path = bundle.join(request.config.as_deref().unwrap_or(Path::new("config.json")));
        let json = fs::read(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::NoConfig { path: path.clone() },
            _ => Error::system(format!("read {}", path.display()), e),
        })?;
        let mut spec = Spec::parse(&json)?;
        spec.validate()?;
        self.check_rootless(&spec)?;
        let rootfs = machine::rootfs(&spec, &bundle)?;
        let Some(process) = &mut spec.process else {
            return Err(Error::Request("process property must not be empty"));
        };
        if request.listen_fds > 0 {
            process.env.extend([format!("LISTEN_FDS={}", request.listen_fds), "LISTEN_PID=1".to_owned()]);
        }
        let console = Console::new(process.terminal, stays, request.console_socket.as_deref())?;
        Ok(Given { spec, json, bundle, rootfs, preserved, console })
    }

    /// In runc's words.
    fn check_rootless(&self, spec: &Spec) -> Result<()> {
        if self.caller.uid == 0 {
            return Ok(());
        }
        let maps = spec.linux.as_ref().map(|linux| (linux.uid_mappings.len(), linux.gid_mappings.len()));
        match (user_namespace(spec), maps.unwrap_or_default()) {
            (None, _) => Err(Error::Request("rootless container requires user namespaces")),
            (Some(None), (0, _)) => {
                Err(Error::Request("rootless containers requires at least one UID mapping"))
            }
            (Some(None), (_, 0)) => {
                Err(Error::Request("rootless containers requires at least one GID mapping"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn first_record(&self, request: &CreateRequest, given: &Given) -> Result<Record> {
        let text = |path: &Path| {
            path.to_str().map(str::to_owned).ok_or_else(|| Error::NotText { path: path.to_owned() })
        };
        let spec = &given.spec;
        let pid_namespace = namespace(spec, NamespaceType::Pid);
        let command = spec.process.as_ref().and_then(|process| process.args.first());
        Ok(Record {
            oci_version: spec.oci_version.clone(),
            id: request.id.clone(),
            bundle: text(&given.bundle)?,
            annotations: spec.annotations.clone(),
            created: jiff::Timestamp::now().to_string(),
            uid: self.caller.uid,
            rootfs: text(&given.rootfs)?,
            complete: false,
            init: None,
            own_pid_namespace: pid_namespace == Some(None),
            cgroup: None,
            rootless_cgroup: group::is_rootless(&self.config, self.caller),
            resources: None,
            hooks: spec.hooks.clone().filter(|hooks| *hooks != Hooks::default()),
            resctrl: None,
            late: Late { command: command.cloned().unwrap_or_default(), ..Late::default() },
            listener: filter::listener(spec),
            notify_socket: request.notify_socket.clone(),
        })
    }

    /// Makes everything. The lock is held until the record is complete.
    fn build(
        &self,
        request: &CreateRequest,
        begin: Begin,
        given: &mut Given,
        container: &mut Container,
        made: &mut Made,
        lock: Lock,
    ) -> Result<(First, Option<OwnedFd>)> {
        let dir = container.dir.clone();
        lock.write_config(&given.json)?;
        if request.notify_socket.is_some() {
            readiness::prepare(dir.path(), &mut given.spec)?;
        }
        let spec = &given.spec;
        if let Some(wanted) = spec.linux.as_ref().and_then(|linux| linux.intel_rdt.as_ref()) {
            container.record.resctrl = Some(Resctrl::create(wanted, &request.id)?);
        }
        let entrance = self.enter_group(spec, container, made)?;
        let listener = match begin {
            Begin::ByStart => Some(listen(&dir.start_socket())?),
            Begin::AfterGo => None,
        };
        let planned = self.plan(request, begin, given, &entrance)?;
        let launch = Launch {
            planned: &planned,
            command: &container.record.late.command,
            preserved: &given.preserved,
            join: &entrance.join,
            init: None,
            start: listener.as_ref().map(AsFd::as_fd),
            console: given.console.for_process(),
        };
        let first = launch.start()?;
        self.note("nsexec container setup: the first process is there");
        made.was_started = true;
        container.record.init = Some(first.child.identity);
        if let Some(resctrl) = &container.record.resctrl {
            resctrl.enter(first.child.identity.pid)?;
        }
        drop(listener);
        // While the first process is at work. Hooks may ask for the record, which would have to be written in between.
        let complete = complete_record(&container.record, &planned);
        let mut prepared =
            if container.record.hooks.is_none() { Some(dir.prepare(&complete)?) } else { None };
        self.converse(&first, &planned, spec, container)?;
        let console = std::mem::replace(&mut given.console, Console::None);
        let master = tell(request, &first.child, made, console)?;
        container.record = complete;
        let prepared = prepared.take().map_or_else(|| dir.prepare(&container.record), Ok)?;
        prepared.publish()?;
        drop(lock);
        if begin == Begin::ByStart {
            first.talk.go(b"")?;
        }
        Ok((first, master))
    }

    /// Makes the group; the record knows of it before.
    pub(super) fn enter_group(
        &self,
        spec: &Spec,
        container: &mut Container,
        made: &mut Made,
    ) -> Result<Entrance> {
        let id = container.record.id.clone();
        let record = &mut container.record;
        let dir = &container.dir;
        let mut is_written = false;
        let entrance = Entrance::create(&self.config, self.caller, spec, &id, |intent| {
            record.cgroup = Some(intent);
            is_written = true;
            dir.write(record)
        });
        if !is_written {
            dir.write(record)?;
        }
        let entrance = entrance?;
        made.group.clone_from(&entrance.group);
        record.cgroup = entrance.group.as_ref().map(|group| group.state().clone());
        Ok(entrance)
    }

    fn plan(
        &self,
        request: &CreateRequest,
        begin: Begin,
        given: &Given,
        entrance: &Entrance,
    ) -> Result<Planned> {
        let spec = &given.spec;
        let process = spec.process.as_ref().ok_or(Error::Request("process property must not be empty"))?;
        let filter = Compiled::of(spec)?;
        if let Some(filter) = &filter {
            self.note(filter.flags_told());
        }
        let machine = self.caller.machine(spec, process, None);
        let mut planned = plan::container(&ContainerRequest {
            spec,
            id: &request.id,
            bundle: &given.bundle,
            rootfs: &given.rootfs,
            found: &machine::found(spec, &given.bundle),
            device_sources: &[],
            joins_own_network: machine::joins_own_network(spec),
            cgroup: entrance.shape(),
            machine: &machine,
            seccomp: filter.as_ref().map(Compiled::as_filter),
            no_pivot: request.no_pivot,
            no_new_keyring: request.no_new_keyring,
            preserve: given.preserved.len() as u32,
            begin,
        })?;
        self.warn(std::mem::take(&mut planned.warnings));
        Ok(planned)
    }

    /// Answers the first process until it is ready.
    fn converse(
        &self,
        first: &First,
        planned: &Planned,
        spec: &Spec,
        container: &mut Container,
    ) -> Result<()> {
        loop {
            match first.talk.next()? {
                Word::Ready => {
                    self.note("child process in init(): it is ready");
                    let mut warnings = Vec::new();
                    if let Some(process) = &spec.process {
                        limit(first.child.identity.pid, spec, process, self.caller, &mut warnings)?;
                    }
                    self.warn(warnings);
                    return Ok(());
                }
                Word::Setup => {
                    let mut warnings = Vec::new();
                    let pid = first.child.identity.pid;
                    if let Some(process) = &spec.process {
                        set_up(pid, spec, process, self.caller, false, &mut warnings)?;
                    }
                    self.warn(warnings);
                    first.talk.go(b"")?;
                }
                Word::Hooks => {
                    // A hook may ask for the state, and somebody may kill us while it runs.
                    container.dir.write(&container.record)?;
                    let state = container.record.state(Status::Creating);
                    run_hooks(spec, container, &state)?;
                    first.talk.go(&state_text(&state)?)?;
                }
                Word::Listener(fd) => {
                    let state = container.record.state(Status::Creating);
                    send_listener(container, state, first.child.identity.pid, fd)?;
                    first.talk.go(b"")?;
                }
                Word::Failed(failed) => {
                    return Err(blame(failed, &Blame::planned(planned, &container.record.late.command)));
                }
                Word::End => return Err(died(container)),
                Word::Cloned(..) => return Err(Error::Message),
            }
        }
    }

    /// The process is gone already. Goes on after failures: the first error of all is the one that led here.
    pub(super) fn undo(&self, container: &Container, made: &Made) {
        let mut warnings = Vec::new();
        let mut note = |result: Result<()>| warnings.extend(result.err().map(|error| error.to_string()));
        if let Some(group) = &made.group {
            if !container.record.own_pid_namespace {
                note(group.kill_all().map_err(Error::from));
            }
            note(group.destroy().map_err(Error::from));
        }
        if let Some(resctrl) = &container.record.resctrl {
            note(resctrl.remove());
        }
        if let Some(path) = &made.pid_file {
            // Whoever waits for it would find a process that is none.
            let _ = fs::remove_file(path);
        }
        note(container.dir.remove());
        if let (true, Some(hooks)) = (made.was_started, &container.record.hooks) {
            let point = Point { name: "poststop", directory: None };
            hooks::run_all(&hooks.poststop, point, &container.record.state(Status::Stopped), &mut warnings);
        }
        self.warn(warnings);
    }
}

impl Given {
    /// Its hooks and the caller who awaits readiness are served by whoever starts it.
    fn wants_start(&self) -> bool {
        self.spec.hooks.as_ref().is_some_and(|hooks| !hooks.start_container.is_empty())
    }
}

fn listen(path: &Path) -> Result<OwnedFd> {
    bind_at(path, SocketType::SEQPACKET, 8)
        .map_err(|e| Error::system(format!("listen on {}", path.display()), e))
}

/// What the record is once the container is created.
fn complete_record(record: &Record, planned: &Planned) -> Record {
    let first = late_steps(planned);
    let sentence = |index| planned.steps.sentence(index).unwrap_or_default().to_owned();
    let late = Late {
        first,
        sentences: (first..planned.steps.len()).map(sentence).collect(),
        command: record.late.command.clone(),
    };
    Record { created: jiff::Timestamp::now().to_string(), late, complete: true, ..record.clone() }
}

/// Everything is there: tells whom it may concern; the record comes after that. Gives the terminal when it is ours.
fn tell(
    request: &CreateRequest,
    child: &Child,
    made: &mut Made,
    console: Console,
) -> Result<Option<OwnedFd>> {
    let master = console.master()?;
    if let Some(path) = &request.pidfd_socket {
        send_pidfd(path, "standard", child.pidfd.as_fd())?;
    }
    if let Some(path) = &request.pid_file {
        write_pid_file(path, child.identity.pid)?;
        made.pid_file = Some(path.clone());
    }
    Ok(master)
}

/// Inherited descriptors: the listening sockets first, then as many as are to be preserved.
pub(crate) fn preserved(listen: u32, preserve: u32) -> Result<Vec<OwnedFd>> {
    let duplicate = |index: u32| {
        cais_sys::inherited::duplicate(3 + index as i32).map_err(|source| Error::Preserved {
            index: index.saturating_sub(listen),
            count: if index < listen { listen } else { preserve },
            source,
        })
    };
    (0..listen.saturating_add(preserve)).map(duplicate).collect()
}

fn run_hooks(spec: &Spec, container: &Container, state: &State) -> Result<()> {
    let Some(hooks) = &spec.hooks else { return Ok(()) };
    let directory = Some(Path::new(&container.record.bundle));
    // The old kind of hook was defined when there was no other word for it.
    let created = State { status: Status::Created, ..state.clone() };
    hooks::run(&hooks.prestart, Point { name: "prestart", directory }, &created)?;
    hooks::run(&hooks.create_runtime, Point { name: "createRuntime", directory }, state)
}

/// Gives a filter's listener to whom the configuration names.
pub(crate) fn send_listener(container: &Container, state: State, pid: i32, fd: OwnedFd) -> Result<()> {
    let to = container.record.listener.as_ref();
    let to = to.ok_or(Error::Request("seccomp listenerPath is not set"))?;
    notify::send(to, state, pid, fd)
}

/// Without a word; perhaps the memory of its group was too small.
fn died(container: &Container) -> Error {
    let kills = container.group().and_then(|group| {
        let directory = group.path("memory")?;
        let file = |name: &str| fs::read_to_string(directory.join(name)).ok();
        let text = file("memory.oom_control").or_else(|| file("memory.events"))?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
        count.trim().parse::<u64>().ok()
    });
    if kills.is_some_and(|count| count > 0) { Error::OutOfMemory } else { Error::Died }
}

/// The first step after which only the starter hears of a failure.
fn late_steps(planned: &Planned) -> usize {
    let created = |index: &usize| planned.steps.sentence(*index) == Some(CREATED);
    (0..planned.steps.len()).rev().find(created).unwrap_or(planned.steps.len())
}

/// Whole or not at all: it is watched for.
pub(crate) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}"));
    replace(path, &beside, pid.to_string().as_bytes())
        .map_err(|e| Error::system(format!("write {}", path.display()), e))
}
