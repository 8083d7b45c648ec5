//! `pod create`, and how a container enters a pod.

use std::io::Write;

use cais_store::{Noun, random_id, run_state};

use super::NEW;
use crate::attach::short;
use crate::verb::Created;
use crate::verb::create::open_id_file;
use crate::{
    ContainerRecord, ContainerRequest, Engine, Error, ErrorKind, IpcRequest, LogDriver, NamespaceRequest,
    NamespaceSource, NetworkRequest, PodNamespace, PodRecord, PodRequest, RestartPolicy, Result,
};

impl Engine {
    /// Makes a pod, and the container that holds what its containers share. Nothing runs.
    ///
    /// # Errors
    /// When the request is wrong or a name is taken; nothing is left behind then.
    pub fn pod_create(&self, request: PodRequest) -> Result<Created> {
        if request.replace
            && let Some(name) = &request.name
            && let Ok(old) = self.store.find_pod(name)
            && old.name == *name
        {
            self.pod_remove(&old.id, true, None)?;
        }
        let Some(path) = request.id_file.clone() else { return self.make_pod(request) };
        let mut file = open_id_file(Noun::Pod, &path)?;
        let made = self.make_pod(request).inspect_err(|_| {
            // It would be in the way of the next attempt.
            let _ = std::fs::remove_file(&path);
        })?;
        file.write_all(made.id.as_bytes()).map_err(|e| {
            Error::caused(ErrorKind::System, format!("write the pod id to {}", path.display()), e)
        })?;
        Ok(made)
    }

    fn make_pod(&self, request: PodRequest) -> Result<Created> {
        let mut warnings = Vec::new();
        let pod = self.write_pod(request)?;
        if pod.infra.is_some() {
            self.make_infra(&pod, &mut warnings).inspect_err(|_| {
                // The first error is the one to tell.
                let _ = self.store.remove_pod(&pod.id);
            })?;
        }
        self.tell("pod", "create", &pod.id, &[("name", &pod.name)]);
        Ok(Created { id: pod.id, warnings })
    }

    fn write_pod(&self, request: PodRequest) -> Result<PodRecord> {
        const TRIES: u32 = 20;
        let infra = (!request.no_infra).then(random_id);
        let created = run_state::now();
        let mut pod = PodRecord { id: random_id(), name: String::new(), created, request, infra };
        let hold = self.store.hold_pods()?;
        for attempt in 0..TRIES {
            pod.name = match &pod.request.name {
                Some(name) => name.clone(),
                None => cais_store::random_name(attempt),
            };
            match self.store.put_pod(&pod, &hold) {
                Err(cais_store::StoreError::NameTaken { .. }) if pod.request.name.is_none() => {}
                other => {
                    other?;
                    return Ok(pod);
                }
            }
        }
        Err(Error::new(ErrorKind::Conflict, "no free name for the pod was found: give one with --name"))
    }

    /// The infra container of a new pod.
    fn make_infra(&self, pod: &PodRecord, warnings: &mut Vec<String>) -> Result<()> {
        let Some(id) = &pod.infra else { return Ok(()) };
        let asked = &pod.request.infra;
        let shares = |namespace| pod.request.share.contains(&namespace);
        let mut request = ContainerRequest {
            name: Some(pod.request.infra_name.clone().unwrap_or_else(|| format!("{}-infra", short(&pod.id)))),
            // Never executed.
            command: vec!["pod".to_owned()],
            hostname: asked.hostname.clone().or_else(|| Some(pod.name.clone())),
            cap_drop: vec!["ALL".to_owned()],
            log: LogDriver::None,
            ..asked.clone()
        };
        request.security.no_new_privileges = true;
        if !shares(PodNamespace::Net) {
            request.network = NetworkRequest::None;
        }
        if shares(PodNamespace::Ipc) && request.namespaces.ipc == IpcRequest::Default {
            request.namespaces.ipc = IpcRequest::Shareable;
        }
        if matches!(request.network, NetworkRequest::Container(_)) {
            request.hostname = None;
        }
        let hold = self.store.hold()?;
        let mut record = self.resolve_record(request, None, warnings)?;
        record.id.clone_from(id);
        record.infra = true;
        record.pod = Some(pod.id.clone());
        record.args.clear();
        record.cmd.clear();
        self.check_network(&record)?;
        self.write_all(record, None, hold)?;
        Ok(())
    }

    /// `--pod new:NAME`: makes the pod, and the request says its name from then on. What belongs to the network is the
    /// pod's. Gives the id of the pod that was made.
    pub(in crate::verb) fn make_pod_of(
        &self,
        request: &mut ContainerRequest,
        warnings: &mut Vec<String>,
    ) -> Result<Option<String>> {
        let Some(name) = request.pod.as_deref().and_then(|pod| pod.strip_prefix(NEW)) else {
            return Ok(None);
        };
        let pod = PodRequest {
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            share: PodNamespace::DEFAULT.to_vec(),
            infra: ContainerRequest {
                network: std::mem::take(&mut request.network),
                publish: std::mem::take(&mut request.publish),
                hostname: request.hostname.take(),
                dns: std::mem::take(&mut request.dns),
                dns_search: std::mem::take(&mut request.dns_search),
                dns_options: std::mem::take(&mut request.dns_options),
                add_hosts: std::mem::take(&mut request.add_hosts),
                mac_address: request.mac_address.take(),
                ..ContainerRequest::default()
            },
            ..PodRequest::default()
        };
        let made = self.pod_create(pod)?;
        warnings.extend(made.warnings);
        request.pod = Some(made.id.clone());
        Ok(Some(made.id))
    }

    /// What a container cannot have of its own in a pod is refused; what it does not say is the pod's.
    pub(in crate::verb) fn enter_pod(&self, record: &mut ContainerRecord) -> Result<()> {
        let Some(pod) = &record.pod else { return Ok(()) };
        let pod = self.store.load_pod(pod)?;
        let request = &mut record.request;
        let names = [
            ("--publish", !request.publish.is_empty() || request.publish_all),
            ("--dns", !request.dns.is_empty()),
            ("--dns-search", !request.dns_search.is_empty()),
            ("--dns-option", !request.dns_options.is_empty()),
            ("--add-host", !request.add_hosts.is_empty()),
        ];
        let in_its_network =
            matches!(&record.network, NetworkRequest::Container(id) if Some(id) == pod.infra.as_ref());
        if let (true, Some((flag, _))) = (in_its_network, names.iter().find(|(_, given)| *given)) {
            let message = format!("{flag} belongs to pod {}, whose network the container shares", pod.name);
            return Err(Error::new(ErrorKind::Invalid, message)
                .hint(format!("give it to `cais pod create`, or make the pod with --pod {NEW}NAME")));
        }
        let shares_names = record.namespaces.uts.container().is_some();
        if shares_names && request.hostname.is_some() {
            let message = format!("--hostname belongs to pod {}, whose names the container shares", pod.name);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if request.restart == RestartPolicy::No && !request.auto_remove && !record.infra {
            request.restart = pod.request.infra.restart;
        }
        // By id, so that a name that is used again means nothing.
        request.pod = Some(pod.id);
        Ok(())
    }
}

/// The network of a container in a pod: the pod's, unless it asks for one.
pub(in crate::verb) fn in_pod_network(
    network: NetworkRequest,
    request: &ContainerRequest,
    pod: Option<&PodRecord>,
) -> NetworkRequest {
    match holder(pod, PodNamespace::Net) {
        Some(infra) if request.network == NetworkRequest::Default => NetworkRequest::Container(infra),
        _ => network,
    }
}

/// The same for the other namespaces.
pub(in crate::verb) fn in_pod_namespaces(
    request: &ContainerRequest,
    pod: Option<&PodRecord>,
) -> NamespaceRequest {
    let asked = request.namespaces.clone();
    let source = |own: NamespaceSource, namespace| match holder(pod, namespace) {
        Some(infra) if own == NamespaceSource::Own => NamespaceSource::Container(infra),
        _ => own,
    };
    NamespaceRequest {
        pid: source(asked.pid, PodNamespace::Pid),
        uts: source(asked.uts, PodNamespace::Uts),
        ipc: match holder(pod, PodNamespace::Ipc) {
            Some(infra) if asked.ipc == IpcRequest::Default => IpcRequest::Container(infra),
            _ => asked.ipc,
        },
        host_cgroup: asked.host_cgroup,
    }
}

/// Who holds a namespace of the pod.
fn holder(pod: Option<&PodRecord>, namespace: PodNamespace) -> Option<String> {
    pod.filter(|pod| pod.request.share.contains(&namespace))?.infra.clone()
}
