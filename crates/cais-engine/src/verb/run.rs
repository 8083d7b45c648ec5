//! `run`: create and start in one go.

use crate::attach::AttachStream;
use crate::progress::Progress;
use crate::{ContainerRequest, Engine, Result};

/// A container that was made and started.
pub struct Running {
    /// Its id.
    pub id: String,
    /// Its output and end; `None` when detached.
    pub stream: Option<AttachStream>,
    /// For stderr.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Makes and starts a container.
    ///
    /// # Errors
    /// As for [`Engine::create`] and [`Engine::start`]. A container that could not start stays, as in Docker, unless
    /// it was to be removed at its end.
    pub fn run(&self, request: ContainerRequest, progress: &dyn Progress) -> Result<Running> {
        let attach = !request.detach;
        let stdin = request.interactive;
        let (record, mut warnings) = self.make_record(request, progress)?;
        match self.launch_record(&record, attach, stdin) {
            Ok(launched) => {
                warnings.extend(launched.warnings);
                Ok(Running { id: record.id, stream: attach.then_some(launched.stream), warnings })
            }
            Err(error) => {
                if record.request.auto_remove {
                    let _ = self.discard(&record);
                    self.tell_container(&record, "destroy", &[]);
                }
                Err(error)
            }
        }
    }
}
