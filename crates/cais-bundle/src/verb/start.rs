//! `start`: the first process executes the command.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use cais_oci::runtime::Status;
use rustix::net::SocketType;

use super::create::send_listener;
use crate::descriptor::connect_to;
use crate::error::{Error, Result};
use crate::hooks::{self, Point, state_text};
use crate::launch::{Blame, Conversation, Word, blame, is_refusal};
use crate::readiness;
use crate::runtime::Runtime;
use crate::state::Container;

impl Runtime {
    /// Lets the command of a created container run; returns when it was executed.
    ///
    /// # Errors
    /// In any other status; when a hook fails or the command cannot be executed, after which the container has stopped.
    pub fn start(&self, id: &str) -> Result<()> {
        let container = self.load(id)?;
        match container.status() {
            Status::Created => {}
            Status::Stopped => return Err(Error::StartStopped),
            Status::Running => return Err(Error::AlreadyRunning),
            other => return Err(Error::StartState(other)),
        }
        self.begin(&container)
    }

    /// As [`Runtime::start`], for a container that is known to be created.
    pub(crate) fn begin(&self, container: &Container) -> Result<()> {
        self.begin_by(container, |container| self.give_the_word(container))
    }

    /// As [`Runtime::start`], for one that waits for the go of its maker: us.
    pub(crate) fn begin_over(&self, container: &Container, talk: Conversation) -> Result<()> {
        self.begin_by(container, |container| self.tell(container, &talk))
    }

    fn begin_by(&self, container: &Container, word: impl FnOnce(&Container) -> Result<()>) -> Result<()> {
        let readiness = match &container.record.notify_socket {
            Some(caller) => Some((readiness::listen(container.dir.path())?, caller)),
            None => None,
        };
        word(container)?;
        self.note("init: closing the pipe to signal completion: the command runs");
        self.after_start(container)?;
        let Some((socket, caller)) = readiness else { return Ok(()) };
        let open = || -> Option<(i32, OwnedFd)> {
            let init = container.record.init?;
            Some((init.pid, init.open()?))
        };
        match open() {
            Some((pid, pidfd)) => readiness::pass_on(&socket, caller, pid, &pidfd),
            None => Ok(()),
        }
    }

    fn give_the_word(&self, container: &Container) -> Result<()> {
        let path = container.dir.start_socket();
        // Somebody else was heard, or it has ended.
        let late = || if container.is_alive() { Error::AlreadyRunning } else { Error::StartStopped };
        let socket = connect_to(&path, SocketType::SEQPACKET).map_err(|e| match e.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => late(),
            _ => Error::system(format!("connect to {}", path.display()), e),
        })?;
        let talk = Conversation::over(socket);
        let told = self.tell(container, &talk);
        match told {
            Err(error) if is_refusal(&error) => return Err(late()),
            other => other?,
        }
        // That it is gone already is fine.
        let _ = std::fs::remove_file(&path);
        Ok(())
    }

    fn tell(&self, container: &Container, talk: &Conversation) -> Result<()> {
        let state = container.record.state(Status::Created);
        let wants_state =
            container.record.hooks.as_ref().is_some_and(|hooks| !hooks.start_container.is_empty());
        let text = if wants_state { state_text(&state)? } else { Vec::new() };
        talk.go(&text)?;
        loop {
            match talk.next()? {
                Word::End => return Ok(()),
                Word::Failed(failed) => return Err(blame(failed, &Blame::kept(&container.record.late))),
                Word::Listener(fd) => {
                    let pid = container.record.init.map_or(0, |init| init.pid);
                    send_listener(container, container.record.state(Status::Running), pid, fd)?;
                    talk.go(b"")?;
                }
                _ => return Err(Error::Message),
            }
        }
    }

    /// The container does not outlive a failed `poststart` hook.
    fn after_start(&self, container: &Container) -> Result<()> {
        let Some(hooks) = &container.record.hooks else { return Ok(()) };
        let directory = Some(Path::new(&container.record.bundle));
        let point = Point { name: "poststart", directory };
        hooks::run(&hooks.poststart, point, &container.record.state(Status::Running)).inspect_err(|_| {
            if let Err(error) = super::kill::kill_hard(container) {
                self.warn([format!("kill the container after a failed poststart hook: {error}")]);
            }
        })
    }
}
