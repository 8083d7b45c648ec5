//! The files by which a container knows names: /etc/hosts, /etc/hostname, /etc/resolv.conf.

use cais_net::hosts::{ExtraHost, HostsFile};
use cais_net::resolv::{DnsSettings, Reach, ServerSource, resolv_conf};

use rustix::fs::{XattrFlags, setxattr};

use crate::selinux;
use crate::{ContainerRecord, Engine, Error, ErrorKind, NetworkRequest, Result, RunFacts};

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
                .and_then(|()| match &label {
                    Some(label) => {
                        Ok(setxattr(&path, selinux::ATTRIBUTE, label.as_bytes(), XattrFlags::empty())?)
                    }
                    None => Ok(()),
                })
                .map_err(|e| Error::caused(ErrorKind::System, format!("write {}", path.display()), e))
        };
        write(paths.container_hosts(&record.id), &hosts(record, facts)?)?;
        write(paths.container_hostname(&record.id), &format!("{}\n", record.hostname))?;
        write(paths.container_resolv_conf(&record.id), &resolver(record, warnings))
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
