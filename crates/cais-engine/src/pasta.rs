//! User-mode network by `pasta`: the only foreign program that a container needs to start, and a rootless one only.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;

use cais_net::attach::create_netns;

use crate::network::network_error;
use crate::{Engine, Error, ErrorKind, Protocol, Result, RunFacts};

/// A path that shows a network namespace, in our own mount namespace: pasta gives away the capabilities with which it
/// could open it through our /proc entries.
struct NetnsPlace {
    path: PathBuf,
}

impl NetnsPlace {
    fn new(path: PathBuf, netns: &OwnedFd) -> Result<NetnsPlace> {
        let failed = |e: std::io::Error| {
            Error::caused(ErrorKind::System, format!("show the network namespace at {}", path.display()), e)
        };
        std::fs::write(&path, "").map_err(failed)?;
        let source = format!("/proc/self/fd/{}", netns.as_raw_fd());
        rustix::mount::mount_bind(source, &path).map_err(|e| failed(e.into()))?;
        Ok(NetnsPlace { path })
    }
}

impl Drop for NetnsPlace {
    /// The file stays: pasta ends when it goes with the run directory.
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.path, rustix::mount::UnmountFlags::DETACH);
    }
}

impl Engine {
    /// pasta is installed and may make its device.
    pub(crate) fn has_pasta(&self) -> bool {
        let tun = || std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun");
        self.find_program("pasta").is_some() && tun().is_ok()
    }

    /// Starts pasta on a network namespace, a new one or `netns`, which goes into the background when the network is ready.
    pub(crate) fn pasta_network(
        &self,
        id: &str,
        facts: &RunFacts,
        netns: Option<OwnedFd>,
    ) -> Result<OwnedFd> {
        let program = self.find_program("pasta").ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "network pasta: the program pasta is not installed")
                .hint("install the package passt, or use --network none or host")
        })?;
        if !self.config.rootless {
            return Err(Error::new(ErrorKind::Unsupported, "network pasta is for rootless containers")
                .hint("as root the bridge does it better: leave --network out"));
        }
        if !self.has_pasta() {
            return Err(Error::new(
                ErrorKind::Denied,
                "network pasta: /dev/net/tun cannot be opened by this user",
            )
            .hint("an administrator allows it with `chmod 666 /dev/net/tun`, as most distributions do"));
        }
        let netns = netns.map_or_else(create_netns, Ok).map_err(network_error)?;
        let place = NetnsPlace::new(self.store.paths().run_container(id).join("netns"), &netns)?;
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
        command.arg("--netns").arg(&place.path);
        let output = command.output().map_err(|e| Error::caused(ErrorKind::System, "start pasta", e))?;
        drop(place);
        if output.status.success() {
            return Ok(netns);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no reason given");
        Err(Error::new(ErrorKind::System, format!("pasta could not set up the network: {}", last.trim())))
    }

    fn pasta_pid_file(&self, id: &str) -> PathBuf {
        self.store.paths().run_container(id).join("pasta.pid")
    }

    /// Ends the container's pasta, if it has one. Idempotent.
    pub(crate) fn stop_pasta(&self, id: &str) {
        let Ok(text) = std::fs::read_to_string(self.pasta_pid_file(id)) else { return };
        let Ok(number) = text.trim().parse::<i32>() else { return };
        // The number may be another program's by now. pasta executes a variant of itself for the processor, which
        // some distributions name `passt.avx2`.
        let name = std::fs::read_to_string(format!("/proc/{number}/comm")).unwrap_or_default();
        let is_pasta = name.starts_with("pasta") || name.starts_with("passt");
        if let (Some(pid), true) = (rustix::process::Pid::from_raw(number), is_pasta) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}
