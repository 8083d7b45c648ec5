//! A pod as a row of `pod ps`, and as podman's JSON documents.

use cais_engine::verb::{PodState, PodView};
use cais_engine::{NetworkRequest, PodNamespace, RunFacts};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::container_row::{network, protocol, state_word};
use crate::list::{Columns, Row, labels_text};
use crate::time;

/// Placeholders and titles of podman's `pod ps`.
pub const COLUMNS: Columns = Columns {
    titles: &[
        ("Id", "POD ID"),
        ("ID", "POD ID"),
        ("Name", "NAME"),
        ("Status", "STATUS"),
        ("Created", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("InfraID", "INFRA ID"),
        ("InfraId", "INFRA ID"),
        ("NumberOfContainers", "# OF CONTAINERS"),
        ("Cgroup", "CGROUP"),
        ("Namespace", "NAMESPACES"),
        ("Networks", "NETWORKS"),
        ("Labels", "LABELS"),
        ("ContainerIds", "IDS"),
        ("ContainerNames", "NAMES"),
        ("ContainerStatuses", "STATUS"),
    ],
    table: "{{.Id}}\t{{.Name}}\t{{.Status}}\t{{.Created}}\t{{.InfraId}}\t{{.NumberOfContainers}}",
    quiet: "{{.Id}}",
};

/// Makes the row of a pod.
pub fn row(view: &PodView, truncate: bool, now: Timestamp, zone: &TimeZone) -> Row {
    let record = &view.record;
    let mut row = Row { labels: record.request.labels.clone(), ..Row::default() };
    let short = |id: &str| if truncate { id.chars().take(12).collect() } else { id.to_owned() };
    for name in ["Id", "ID"] {
        row.set(name, short(&record.id));
    }
    row.set("Name", record.name.as_str());
    row.set("Status", view.state.word());
    row.set("Created", time::ago(&record.created, now));
    row.set("CreatedAt", time::long(&record.created, zone));
    for name in ["InfraId", "InfraID"] {
        row.set(name, record.infra.as_deref().map(short).unwrap_or_default());
    }
    row.set("NumberOfContainers", view.containers.len().to_string());
    row.set("Cgroup", "");
    row.set("Namespace", shared(view).join(","));
    row.set("Networks", networks(view).join(","));
    row.set("Labels", labels_text(&record.request.labels));
    let all = |text: &dyn Fn(&cais_engine::view::ContainerView) -> String| {
        view.containers.iter().map(text).collect::<Vec<_>>().join(",")
    };
    row.set("ContainerIds", all(&|one| short(&one.record.id)));
    row.set("ContainerNames", all(&|one| one.record.name.clone()));
    row.set("ContainerStatuses", all(&|one| state_word(one.state).to_owned()));
    row
}

fn shared(view: &PodView) -> Vec<&'static str> {
    match view.record.infra {
        Some(_) => view.record.request.share.iter().map(|namespace| namespace.word()).collect(),
        None => Vec::new(),
    }
}

fn networks(view: &PodView) -> Vec<String> {
    match view.infra().map(|infra| &infra.record.network) {
        None | Some(NetworkRequest::None | NetworkRequest::Host) => Vec::new(),
        Some(request) => vec![network(request)],
    }
}

/// An element of `pod ps --format json`.
pub fn listed(view: &PodView) -> Value {
    let containers: Vec<Value> = view
        .containers
        .iter()
        .map(|one| json!({"Id": one.record.id, "Names": one.record.name, "Status": state_word(one.state)}))
        .collect();
    json!({
        "Cgroup": "",
        "Containers": containers,
        "Created": view.record.created,
        "Id": view.record.id,
        "InfraId": view.record.infra.as_deref().unwrap_or_default(),
        "Name": view.record.name,
        "Namespace": "",
        "Networks": networks(view),
        "Status": view.state.word(),
        "Labels": view.record.request.labels,
    })
}

/// The document of `pod inspect`.
pub fn document(view: &PodView) -> Value {
    let record = &view.record;
    let containers: Vec<Value> = view
        .containers
        .iter()
        .map(|one| json!({"Id": one.record.id, "Name": one.record.name, "State": state_word(one.state)}))
        .collect();
    let mut document = json!({
        "Id": record.id,
        "Name": record.name,
        "Created": record.created,
        "CreateCommand": record.request.command,
        "ExitPolicy": record.request.exit_policy,
        "State": view.state.word(),
        "Hostname": record.request.infra.hostname.as_deref().unwrap_or_default(),
        "Labels": record.request.labels,
        "CreateCgroup": false,
        "CgroupParent": "",
        "CgroupPath": "",
        "CreateInfra": record.infra.is_some(),
        "InfraContainerID": record.infra.as_deref().unwrap_or_default(),
        "SharedNamespaces": shared(view),
        "NumContainers": view.containers.len(),
        "Containers": containers,
        "RestartPolicy": record.request.infra.restart.name(),
    });
    if record.infra.is_some() {
        document["InfraConfig"] = infra(view);
    }
    document
}

fn infra(view: &PodView) -> Value {
    let asked = &view.record.request.infra;
    let null_when_empty = |list: Vec<String>| if list.is_empty() { Value::Null } else { json!(list) };
    let shares = |namespace| view.record.request.share.contains(&namespace);
    let own = |word: String| if word.is_empty() { "private".to_owned() } else { word };
    let hosts = asked.add_hosts.iter().map(|(name, address)| format!("{name}:{address}"));
    json!({
        "PortBindings": ports(view),
        "HostNetwork": asked.network == NetworkRequest::Host,
        "StaticIP": "",
        "StaticMAC": asked.mac_address.as_deref().unwrap_or_default(),
        "NoManageResolvConf": false,
        "DNSServer": null_when_empty(asked.dns.iter().map(ToString::to_string).collect()),
        "DNSSearch": null_when_empty(asked.dns_search.clone()),
        "DNSOption": null_when_empty(asked.dns_options.clone()),
        "NoManageHosts": false,
        "HostAdd": null_when_empty(hosts.collect()),
        "Networks": if shares(PodNamespace::Net) { networks(view) } else { Vec::new() },
        "NetworkOptions": Value::Null,
        "pid_ns": own(asked.namespaces.pid.word()),
        "userns": "host",
        "uts_ns": own(asked.namespaces.uts.word()),
    })
}

/// As asked; while the pod runs with the ports of the host that were chosen.
fn ports(view: &PodView) -> Value {
    let mut bindings: Map<String, Value> = Map::new();
    let mut add = |port: u16, name: &str, ip: String, host: String| {
        let all = bindings.entry(format!("{port}/{name}")).or_insert_with(|| json!([]));
        if let Some(all) = all.as_array_mut() {
            all.push(json!({"HostIp": ip, "HostPort": host}));
        }
    };
    let chosen: &[_] =
        view.infra().and_then(|infra| infra.run.as_ref()).map_or(&[], |run: &RunFacts| &run.ports);
    for port in chosen {
        let ip = port.host_ip.map(|ip| ip.to_string()).unwrap_or_default();
        add(port.container_port, protocol(port.protocol), ip, port.host_port.to_string());
    }
    if chosen.is_empty() {
        for port in &view.record.request.infra.publish {
            let ip = port.host_ip.map(|ip| ip.to_string()).unwrap_or_default();
            let host = port.host_port.map(|port| port.to_string()).unwrap_or_default();
            add(port.container_port, protocol(port.protocol), ip, host);
        }
    }
    Value::Object(bindings)
}

/// A state from podman's word.
pub fn state(word: &str) -> Option<PodState> {
    PodState::ALL.into_iter().find(|state| state.word().eq_ignore_ascii_case(word))
}
