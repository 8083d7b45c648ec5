//! `debug` of what does not run: a container's files as it left them, or an image's, with nothing running beside.
//!
//! Namespaces are fresh, the network has its loopback interface only. The root is the tools image, read-only, with the files
//! at /container: layers, what the container has written, its volumes and bind mounts (read-only). What the shell
//! changes there goes to memory and is thrown away; the container may meanwhile be started or removed.

use std::os::fd::AsFd;
use std::path::Path;

use cais_plan::Setup;
use cais_runtime::launch::{MountPlan, Namespace};
use cais_runtime::plan;

use crate::attach::{AfterExec, AttachStream, broken};
use crate::progress::Progress;
use crate::resolve;
use crate::root_view::Purpose;
use crate::shim::{ShimFds, first_word};
use crate::verb::debug::{Beside, CONTAINER, DebugRequest, make_floor};
use crate::{ContainerRecord, ContainerRequest, Engine, Error, ErrorKind, NetworkRequest, Result};

const MS_PRIVATE: u64 = 1 << 18;

impl Engine {
    pub(super) fn debug_image(
        &self,
        name: &str,
        request: &DebugRequest,
        progress: &dyn Progress,
    ) -> Result<AttachStream> {
        let image = self.image_record(name)?;
        let asked = ContainerRequest {
            image: name.to_owned(),
            network: NetworkRequest::None,
            ..ContainerRequest::default()
        };
        // Written nowhere: a container that was never made has its image's files.
        let record = self.resolve_record(asked, Some(&image), &mut Vec::new())?;
        let record = ContainerRecord { mounts: Vec::new(), ..record };
        self.debug_stopped(&record, request, progress)
    }

    pub(super) fn debug_stopped(
        &self,
        record: &ContainerRecord,
        request: &DebugRequest,
        progress: &dyn Progress,
    ) -> Result<AttachStream> {
        let tools = self.tools(request, progress)?;
        let engine = self.with_ids()?;
        let mut request = request.clone();
        request.env = beside_tools(&record.env, &tools.config.config.env, &request.env);
        let with = Beside { record, tools: &tools, request: &request, set_groups: !engine.config.single_id };
        // The shim takes over the mounts of the thread that puts the root together.
        engine.with_stopped_root(record, Purpose::Read, |_, place| engine.shell_beside(&with, place))
    }

    fn shell_beside(&self, with: &Beside<'_>, place: &Path) -> Result<AttachStream> {
        let record = with.record;
        let floor = place.join("floor");
        make_floor(&floor).and_then(|()| std::fs::create_dir(floor.join(CONTAINER))).map_err(|error| {
            Error::caused(ErrorKind::System, format!("make the mount points in {}", floor.display()), error)
        })?;
        let mut launch = self.debug_launch(with, floor)?;
        // Name files are those in the container's root.
        launch.mounts.retain(|mount| matches!(mount, MountPlan::Tmpfs { .. }));
        launch.mounts.push(MountPlan::Bind {
            source: place.join("root"),
            target: format!("/{CONTAINER}"),
            subpath: None,
            writable_beneath: false,
            directory: true,
            read_only: false,
            recursive: true,
            propagation: MS_PRIVATE,
        });
        launch.namespaces.network = Namespace::Own;
        launch.hostname.clone_from(&record.hostname);
        launch.read_only = true;
        let planned = plan::container(&launch)
            .map_err(|error| Error::caused(ErrorKind::Invalid, "plan the debug shell", error))?;
        let (owner, ours) = AttachStream::pair().map_err(|error| broken(&record.id, error))?;
        let mut fds = ShimFds::new();
        let owner_fd = fds.add(owner.as_fd());
        let setup = Setup { clone_flags: planned.clone_flags, owner_fd, ..with.request.setup() };
        let shim_pid = fds.spawn(&planned.steps, &setup)?;
        drop(owner);
        let stream = AttachStream::for_exec(ours, AfterExec { shim_pid, event: None });
        first_word(&stream, shim_pid, &record.id, &planned.steps)?;
        Ok(stream)
    }
}

/// What was asked for over the container's variables, but the tools find themselves by their own.
fn beside_tools(container: &[String], tools: &[String], asked: &[String]) -> Vec<String> {
    let key = |variable: &String| variable.split('=').next().map(str::to_owned);
    let theirs = container.iter().filter(|variable| {
        let name = key(variable);
        name.as_deref() != Some("PATH") && !tools.iter().any(|other| key(other) == name)
    });
    let mut all = resolve::environment(asked, &theirs.cloned().collect::<Vec<_>>());
    // One that is added where there is none would be in the way of the tools'.
    all.retain(|variable| !variable.starts_with("PATH=") || asked.contains(variable));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let found =
            beside_tools(&words("PATH=/x A=1 B=2 C=3"), &words("PATH=/bin B=tools"), &words("A=9 D=4"));
        assert_eq!(found, words("A=9 C=3 D=4"));
    }
}
