//! `wait`: until a container has ended.

use cais_plan::wire;

use crate::attach::{MESSAGE_BYTES, Message, broken};
use crate::{Engine, ErrorKind, Result};

/// What is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// It does not run (any more).
    #[default]
    NotRunning,
    /// It is gone altogether.
    Removed,
}

impl Engine {
    /// Waits, without limit, and gives the exit code. A container that never ran gives 0 at once.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn wait(&self, name: &str, condition: WaitCondition) -> Result<i32> {
        let id = self.store.resolve_container(name)?;
        let code = self.wait_for_end(&id)?;
        if condition == WaitCondition::Removed {
            while self.store.paths().container_record(&id).exists() {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        Ok(code)
    }

    /// The exit code of the present run, or of the last one.
    pub(crate) fn wait_for_end(&self, id: &str) -> Result<i32> {
        let recorded = |engine: &Engine| match engine.store.read_exit(id) {
            Ok(Some(exit)) => exit.code,
            _ => 0,
        };
        let stream = match self.talk(id) {
            Ok(stream) => stream,
            Err(error) if error.kind == ErrorKind::Conflict => return Ok(recorded(self)),
            Err(error) => return Err(error),
        };
        if stream.request(wire::WAIT, &[]).is_err() {
            // It ended between the connection and the request.
            return Ok(recorded(self));
        }
        let mut buffer = vec![0; MESSAGE_BYTES];
        loop {
            match stream.recv(&mut buffer) {
                Ok(Message::Exit { code, .. }) => return Ok(code),
                Ok(Message::Closed) => return Ok(recorded(self)),
                Ok(_) => {}
                Err(error) => return Err(broken(id, error)),
            }
        }
    }
}
