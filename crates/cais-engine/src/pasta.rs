//! User-mode network by `pasta`: the only foreign program that cais starts, for rootless containers.

use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;

use cais_net::attach::create_netns;

use crate::network::network_error;
use crate::{Engine, Error, ErrorKind, Protocol, Result, RunFacts};

impl Engine {
    /// Makes a network namespace and starts pasta on it, which goes into the background when the network is ready.
    pub(crate) fn pasta_network(&self, id: &str, facts: &RunFacts) -> Result<OwnedFd> {
        let program = self.find_program("pasta").ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "network pasta: the program pasta is not installed")
                .hint("install the package passt, or use --network none or host")
        })?;
        let netns = create_netns().map_err(network_error)?;
        let mut command = Command::new(program);
        command.args(["--config-net", "--quiet", "--no-map-gw", "--ipv4-only"]);
        command.arg("--pid").arg(self.pasta_pid_file(id));
        for (protocol, flag, none) in [(Protocol::Tcp, "-t", "-T"), (Protocol::Udp, "-u", "-U")] {
            let mut specs: Vec<String> = Vec::new();
            for port in facts.ports.iter().filter(|p| p.protocol == protocol) {
                let address = port.host_ip.filter(|ip| !ip.is_unspecified()).map(|ip| format!("{ip}/"));
                specs.push(format!(
                    "{}{}:{}",
                    address.unwrap_or_default(),
                    port.host_port,
                    port.container_port
                ));
            }
            if specs.is_empty() {
                specs.push("none".to_owned());
            }
            for spec in specs {
                command.args([flag, &spec]);
            }
            command.args([none, "none"]);
        }
        command.arg("--netns").arg(format!("/proc/{}/fd/{}", std::process::id(), netns.as_raw_fd()));
        let output = command.output().map_err(|e| Error::caused(ErrorKind::System, "start pasta", e))?;
        if output.status.success() {
            return Ok(netns);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no reason given");
        Err(Error::new(ErrorKind::System, format!("pasta could not set up the network: {}", last.trim())))
    }

    fn pasta_pid_file(&self, id: &str) -> std::path::PathBuf {
        self.store.paths().run_container(id).join("pasta.pid")
    }

    /// Ends the container's pasta, if it has one. Idempotent.
    pub(crate) fn stop_pasta(&self, id: &str) {
        let Ok(text) = std::fs::read_to_string(self.pasta_pid_file(id)) else { return };
        let Ok(number) = text.trim().parse::<i32>() else { return };
        // The number may be another program's by now.
        let name = std::fs::read_to_string(format!("/proc/{number}/comm")).unwrap_or_default();
        if let (Some(pid), true) = (rustix::process::Pid::from_raw(number), name.starts_with("pasta")) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}
