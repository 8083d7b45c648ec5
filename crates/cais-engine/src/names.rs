//! The files by which a container knows names: /etc/hosts, /etc/hostname, /etc/resolv.conf.

use cais_net::hosts::{ExtraHost, HostsFile};
use cais_net::resolv::{DnsSettings, Reach, ServerSource, resolv_conf};

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use rustix::fs::{OFlags, XattrFlags, setxattr};
use rustix::io::Errno;

use crate::root_view::open_in_root;
use crate::selinux;
use crate::{ContainerRecord, Engine, Error, ErrorKind, HostsBase, NetworkRequest, Result, RunFacts};

impl Engine {
    /// Writes the three files into the container's directory; a container in another's network has none of its own.
    pub(crate) fn write_name_files(
        &self,
        record: &ContainerRecord,
        facts: &RunFacts,
        warnings: &mut Vec<String>,
    ) -> Result<()> {
        if matches!(record.network, NetworkRequest::Container(_)) {
            return Ok(());
        }
        let paths = self.store.paths();
        let label = selinux::labels(record).map(|labels| labels.mount);
        let write = |path: std::path::PathBuf, text: &str| {
            std::fs::write(&path, text)
                .and_then(|()| {
                    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
                    std::fs::set_permissions(&path, mode)
                })
                .and_then(|()| self.give_to_root(record, &path))
                .and_then(|()| match &label {
                    Some(label) => {
                        Ok(setxattr(&path, selinux::ATTRIBUTE, label.as_bytes(), XattrFlags::empty())?)
                    }
                    None => Ok(()),
                })
                .map_err(|e| Error::caused(ErrorKind::System, format!("write {}", path.display()), e))
        };
        let mut hosts = hosts(record, facts)?;
        if let Some(base) = self.hosts_base(record)? {
            if !hosts.ends_with('\n') {
                hosts.push('\n');
            }
            let fresh = |line: &&str| !hosts.lines().any(|own| own == *line);
            let lines: Vec<&str> = base.lines().filter(fresh).collect();
            hosts.push_str(&lines.join("\n"));
            hosts.push('\n');
        }
        write(paths.container_hosts(&record.id), &hosts)?;
        write(paths.container_hostname(&record.id), &format!("{}\n", record.hostname))?;
        write(paths.container_resolv_conf(&record.id), &resolver(record, warnings))
    }
}

impl Engine {
    /// The text of the file whose lines are added; an image without one has none.
    fn hosts_base(&self, record: &ContainerRecord) -> Result<Option<String>> {
        let failed = |path: &str, error: std::io::Error| {
            Error::caused(ErrorKind::Invalid, format!("read the hosts file {path}"), error)
        };
        let text = match &record.request.hosts_base {
            HostsBase::Nothing => return Ok(None),
            HostsBase::File(path) => {
                std::fs::read(path).map_err(|error| failed(&path.display().to_string(), error))?
            }
            HostsBase::Image => {
                let root = self.bare_root(record)?;
                let mut text = Vec::new();
                match open_in_root(root.as_fd(), b"etc/hosts", OFlags::RDONLY) {
                    Err(Errno::NOENT) => return Ok(None),
                    file => {
                        let mut file = File::from(file.map_err(|e| failed("of the image", e.into()))?);
                        file.read_to_end(&mut text).map_err(|error| failed("of the image", error))?;
                    }
                }
                text
            }
        };
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }
}

fn hosts(record: &ContainerRecord, facts: &RunFacts) -> Result<String> {
    if record.network == NetworkRequest::Host && record.request.add_hosts.is_empty() {
        return Ok(std::fs::read_to_string("/etc/hosts").unwrap_or_default());
    }
    let extra: Vec<ExtraHost> = record
        .request
        .add_hosts
        .iter()
        .map(|(name, address)| format!("{name}={address}").parse())
        .collect::<std::result::Result<_, _>>()
        .map_err(|e: cais_net::Error| Error::caused(ErrorKind::Invalid, "extra host", e))?;
    let gateway = match record.network {
        NetworkRequest::Host => Some(std::net::Ipv4Addr::LOCALHOST),
        _ => facts.gateway,
    };
    let aliases = [record.name.clone()];
    let file =
        HostsFile { ip: facts.ip, hostname: &record.hostname, aliases: &aliases, extra: &extra, gateway };
    file.render().map_err(|e| Error::caused(ErrorKind::Invalid, "write the hosts file", e))
}

fn resolver(record: &ContainerRecord, warnings: &mut Vec<String>) -> String {
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let resolved = std::fs::read_to_string("/run/systemd/resolve/resolv.conf").ok();
    let settings = DnsSettings {
        servers: record.request.dns.clone(),
        search: record.request.dns_search.clone(),
        options: record.request.dns_options.clone(),
    };
    let reach = match record.network {
        NetworkRequest::Host | NetworkRequest::None => Reach::Host,
        _ => Reach::Bridge,
    };
    let file = resolv_conf(&host, resolved.as_deref(), &settings, reach);
    if file.source == ServerSource::None
        && record.network == NetworkRequest::Bridge
        && !host.trim().is_empty()
    {
        warnings
            .push("the container reaches none of the host's name servers; name one with --dns".to_owned());
    }
    file.text
}
