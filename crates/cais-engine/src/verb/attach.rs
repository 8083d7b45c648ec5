//! `attach`: take part in the output (and input) of a running container; and the talks with its shim.

use cais_plan::wire;

use crate::attach::{AttachStream, MESSAGE_BYTES, Message, broken, short};
use crate::{Engine, Error, ErrorKind, Result};

impl Engine {
    /// Attaches to a running container; output from here on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn attach(&self, name: &str, stdin: bool) -> Result<AttachStream> {
        let id = self.store.resolve_container(name)?;
        let stream = self.talk(&id)?;
        stream.request(wire::ATTACH, &[u8::from(stdin)]).map_err(|e| broken(&id, e))?;
        Ok(stream)
    }

    /// Connects to a container's shim.
    pub(crate) fn talk(&self, id: &str) -> Result<AttachStream> {
        if self.store.is_running(id)?
            && self.store.read_exit(id)?.is_none()
            && let Ok(stream) = AttachStream::connect(&self.store.paths().run_ctl(id))
        {
            return Ok(stream);
        }
        Err(Error::new(ErrorKind::Conflict, format!("container {} is not running", short(id))))
    }

    /// The pid of the container's init, as the shim knows it.
    pub(crate) fn ask_pid(&self, id: &str) -> Result<Option<i32>> {
        let Ok(stream) = self.talk(id) else { return Ok(None) };
        stream.request(wire::QUERY, &[]).map_err(|e| broken(id, e))?;
        let mut buffer = vec![0; MESSAGE_BYTES];
        match stream.recv(&mut buffer) {
            Ok(Message::Started { pid }) => Ok(Some(pid)),
            _ => Ok(None),
        }
    }
}
