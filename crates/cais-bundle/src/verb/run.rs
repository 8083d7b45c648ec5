//! `run`: create and start; in the foreground also stay, and delete at the end.

use crate::error::Result;
use crate::plan::Begin;
use crate::relay::Relay;
use crate::request::RunRequest;
use crate::runtime::Runtime;
use crate::verb::create::Created;

impl Runtime {
    /// Runs a container. Detached: returns 0 when the command runs. Else signals go to the command, its terminal is passed
    /// through, and its exit code (128+n after a signal) comes back when the container has been deleted, unless
    /// it is to be kept.
    ///
    /// In the foreground the signals of the calling thread stay blocked.
    ///
    /// # Errors
    /// Nothing stays after one.
    pub fn run(&self, request: &RunRequest) -> Result<i32> {
        if request.detach {
            let mut created = self.make(&request.create, Begin::AfterGo, false)?;
            self.begin_or_remove(&mut created)?;
            created.child.release();
            return Ok(0);
        }
        let relay = Relay::begin(!request.no_subreaper)?;
        let mut created = self.make(&request.create, Begin::AfterGo, true)?;
        self.begin_or_remove(&mut created)?;
        let master = created.master.take();
        let code = relay.stay(created.child.identity.pid, &created.child.pidfd, master);
        // It was waited for; if not (an error), the deletion kills it.
        created.child.release();
        if !request.keep {
            match code {
                Ok(_) => self.delete_ended(created.container)?,
                Err(_) => self.delete(&request.create.id, true)?,
            }
        }
        code
    }

    fn begin_or_remove(&self, created: &mut Created) -> Result<()> {
        let begun = match created.talk.take() {
            Some(talk) => self.begin_over(&created.container, talk),
            None => self.begin(&created.container),
        };
        begun.inspect_err(|_| {
            if let Err(error) = self.delete(&created.container.record.id, true) {
                self.warn([format!("delete the container that did not start: {error}")]);
            }
        })
    }
}
