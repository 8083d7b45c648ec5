//! A container as a row of `ps`, and the filters of `ps`.

use cais_engine::view::{ContainerView, HealthStatus, State};
use cais_engine::{NetworkRequest, Protocol};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::list::{Columns, Row, ellipsis, labels_text};
use crate::{size, time};

/// Placeholders and titles of docker's `ps`.
pub const COLUMNS: Columns = Columns {
    titles: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("RunningFor", "CREATED"),
        ("Ports", "PORTS"),
        ("State", "STATE"),
        ("Status", "STATUS"),
        ("Size", "SIZE"),
        ("Names", "NAMES"),
        ("Labels", "LABELS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Mounts", "MOUNTS"),
        ("Networks", "NETWORKS"),
        ("Pod", "POD ID"),
        ("PodName", "PODNAME"),
    ],
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
    quiet: "{{.ID}}",
};

/// The table of `ps -s`.
pub const TABLE_WITH_SIZE: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}";

/// What `ps --pod` adds to it.
pub const POD_COLUMNS: &str = "\t{{.Pod}}\t{{.PodName}}";

/// Puts the pod into a row; docker knows none, so it is there only when it is asked for.
pub fn add_pod(row: &mut Row, view: &ContainerView, truncate: bool, name: Option<&str>) {
    let id = view.record.pod.as_deref().unwrap_or_default();
    row.set("Pod", if truncate { id.get(..12).unwrap_or(id) } else { id });
    row.set("PodName", name.unwrap_or_default());
}

/// Bytes of the writable layer and of the image below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The writable layer.
    pub writable_bytes: u64,
    /// Everything.
    pub total_bytes: u64,
}

/// Makes the row of a container.
pub fn row(
    view: &ContainerView,
    truncate: bool,
    sizes: Option<Sizes>,
    now: Timestamp,
    zone: &TimeZone,
) -> Row {
    let record = &view.record;
    let mut row = Row { labels: record.labels.clone(), ..Row::default() };
    let short = record.id.get(..12).unwrap_or(&record.id);
    row.set("ID", if truncate { short } else { &record.id });
    row.set("Image", image(view, truncate));
    let command = record.args.join(" ");
    row.set(
        "Command",
        format!("\"{}\"", quote_inner(&if truncate { ellipsis(&command, 20) } else { command })),
    );
    row.set("CreatedAt", time::long(&record.created, zone));
    row.set("RunningFor", time::ago(&record.created, now));
    row.set("Ports", if view.state == State::Running { ports(&port_list(view)) } else { String::new() });
    row.set("State", state_word(view.state));
    row.set("Status", status(view, now));
    row.set(
        "Size",
        sizes.map_or("0B".into(), |sizes| {
            format!("{} (virtual {})", size::human(sizes.writable_bytes), size::human(sizes.total_bytes))
        }),
    );
    row.set("Names", record.name.as_str());
    row.set("Labels", labels_text(&record.labels));
    let volumes = record.mounts.iter().filter(|mount| !mount.volume.is_empty()).count();
    row.set("LocalVolumes", volumes.to_string());
    let mounts: Vec<String> = record
        .mounts
        .iter()
        .filter(|mount| mount.request.kind.is_of_host())
        .map(|mount| match mount.volume.as_str() {
            "" => mount.host_path.to_string_lossy().into_owned(),
            volume => volume.to_owned(),
        })
        .map(|name| if truncate { ellipsis(&name, 15) } else { name })
        .collect();
    row.set("Mounts", mounts.join(","));
    row.set("Networks", network(&record.network));
    row
}

/// The state in one lower-case word.
pub fn state_word(state: State) -> &'static str {
    match state {
        State::Created => "created",
        State::Running => "running",
        State::Paused => "paused",
        State::Restarting => "restarting",
        State::Exited => "exited",
        State::Dead => "dead",
    }
}

/// The name of the network.
pub fn network(request: &NetworkRequest) -> String {
    match request {
        NetworkRequest::Default | NetworkRequest::Bridge => "bridge".into(),
        NetworkRequest::None => "none".into(),
        NetworkRequest::Host => "host".into(),
        NetworkRequest::Pasta => "pasta".into(),
        NetworkRequest::Container(id) => format!("container:{id}"),
    }
}

/// `tcp` or `udp`.
pub fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

fn image(view: &ContainerView, truncate: bool) -> String {
    let record = &view.record;
    let name = record.image_name.as_str();
    if name.is_empty() {
        return if record.infra { String::new() } else { "<no image>".into() };
    }
    if !truncate {
        return name.to_owned();
    }
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    if let Some(id) = &record.image_id
        && hex.len() >= 12
        && id.hex().starts_with(hex)
    {
        return hex.get(..12).unwrap_or(hex).to_owned();
    }
    name.split_once('@').map_or(name, |(name, _)| name).to_owned()
}

/// What Go's `strconv.Quote` does within the quotes, for text that is shown on one line.
fn quote_inner(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

fn status(view: &ContainerView, now: Timestamp) -> String {
    let up = || {
        let started = view.run.as_ref().and_then(|run| run.started.parse::<Timestamp>().ok());
        started.map_or("Up".into(), |time| format!("Up {}", time::human_duration(now.duration_since(time))))
    };
    let health = match view.health {
        None => "",
        Some(HealthStatus::Starting) => " (health: starting)",
        Some(HealthStatus::Healthy) => " (healthy)",
        Some(HealthStatus::Unhealthy) => " (unhealthy)",
    };
    match (view.state, &view.exit) {
        (State::Created, _) => "Created".into(),
        (State::Running, _) => up() + health,
        (State::Restarting, Some(exit)) => {
            format!("Restarting ({}) {}", exit.code, time::ago(&exit.finished, now))
        }
        (State::Restarting, None) => "Restarting".into(),
        (State::Paused, _) => format!("{} (Paused)", up()),
        (State::Exited, Some(exit)) => {
            format!("Exited ({}) {}{}", exit.code, time::ago(&exit.finished, now), oom(view))
        }
        (State::Exited, None) => "Exited".into(),
        (State::Dead, _) => "Dead".into(),
    }
}

/// What the kernel killed for memory, and at which limit.
fn oom(view: &ContainerView) -> String {
    let Some(oom) = &view.oom else { return String::new() };
    let victim = if oom.victim.is_empty() { String::new() } else { format!(" killed {}", oom.victim) };
    let limit = oom.limit_bytes.and_then(|limit| u64::try_from(limit).ok());
    let limit = limit.map(|limit| format!(" at {}", binary_size(limit))).unwrap_or_default();
    format!(" (OOM{victim}{limit})")
}

/// A limit as it is given: `64MiB`, `1.5GiB`.
fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let digits = format!("{size:.2}");
    format!("{}{}", digits.trim_end_matches('0').trim_end_matches('.'), UNITS[unit])
}

/// A port as `ps` shows it: published at an address, or merely exposed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ShownPort {
    container: u16,
    host: Option<(String, u16)>,
    protocol: String,
}

fn port_list(view: &ContainerView) -> Vec<ShownPort> {
    let published = view.run.as_ref().map_or(&[][..], |run| &run.ports);
    let mut list: Vec<ShownPort> = published
        .iter()
        .map(|port| ShownPort {
            container: port.container_port,
            host: Some((port.host_ip.map_or("0.0.0.0".into(), |ip| ip.to_string()), port.host_port)),
            protocol: protocol(port.protocol).into(),
        })
        .collect();
    for exposed in &view.record.exposed {
        let (port, protocol) = exposed.split_once('/').unwrap_or((exposed, "tcp"));
        let Ok(container) = port.parse() else { continue };
        if !list.iter().any(|shown| shown.container == container && shown.protocol == protocol) {
            list.push(ShownPort { container, host: None, protocol: protocol.into() });
        }
    }
    list.sort();
    list
}

/// Docker's rendering: neighbours that map to themselves are joined to ranges, the other mappings follow.
fn ports(list: &[ShownPort]) -> String {
    let mut shown = Vec::new();
    let mut mappings = Vec::new();
    let mut groups: Vec<((Option<String>, String), u16, u16)> = Vec::new();
    for port in list {
        let key = match &port.host {
            Some((ip, public)) if *public != port.container => {
                mappings.push(format!("{ip}:{public}->{}/{}", port.container, port.protocol));
                continue;
            }
            Some((ip, _)) => (Some(ip.clone()), port.protocol.clone()),
            None => (None, port.protocol.clone()),
        };
        match groups.iter_mut().find(|(known, _, _)| *known == key) {
            Some((_, _, last)) if port.container == last.saturating_add(1) => *last = port.container,
            Some((key, first, last)) => {
                shown.push(port_group(key, *first, *last));
                (*first, *last) = (port.container, port.container);
            }
            None => groups.push((key, port.container, port.container)),
        }
    }
    shown.extend(groups.iter().map(|(key, first, last)| port_group(key, *first, *last)));
    shown.extend(mappings);
    shown.join(", ")
}

fn port_group((ip, protocol): &(Option<String>, String), first: u16, last: u16) -> String {
    let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
    match ip {
        Some(ip) => format!("{ip}:{range}->{range}/{protocol}"),
        None => format!("{range}/{protocol}"),
    }
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeMap;

    use cais_engine::{
        ContainerRecord, ContainerRequest, ExitRecord, MountRecord, OomRecord, PublishedPort, RunFacts,
    };

    use super::*;

    /// A container for tests: `web`, made 2026-01-02T00:00:00Z.
    pub fn view(state: State) -> ContainerView {
        let record = ContainerRecord {
            id: "0123456789abcdef".repeat(4),
            name: "web".into(),
            created: "2026-01-02T00:00:00Z".into(),
            request: ContainerRequest::default(),
            image_id: Some(cais_oci::Digest::sha256(b"x")),
            image_name: "nginx:1".into(),
            layers: vec![],
            args: ["/docker-entrypoint.sh", "a \"b\""].map(str::to_owned).to_vec(),
            entrypoint: vec![],
            cmd: vec![],
            env: vec![],
            workdir: "/".into(),
            user: String::new(),
            labels: BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]),
            stop_signal: 15,
            stop_signal_given: None,
            mounts: vec![MountRecord { volume: "data".into(), ..MountRecord::default() }],
            exposed: vec!["80/tcp".into(), "443/tcp".into()],
            network: NetworkRequest::Bridge,
            hostname: "web".into(),
            health: None,
            ..ContainerRecord::default()
        };
        let port = |host_port, container_port| PublishedPort {
            host_ip: None,
            host_port,
            container_port,
            protocol: Protocol::Tcp,
        };
        let run = RunFacts {
            started: "2026-01-02T00:01:00Z".into(),
            ports: vec![port(8080, 80), port(90, 90), port(91, 91)],
            ..RunFacts::default()
        };
        let exit = ExitRecord { code: 3, finished: "2026-01-02T00:01:30Z".into(), ..ExitRecord::default() };
        ContainerView {
            record,
            state,
            run: (state == State::Running).then_some(run),
            exit: (state == State::Exited).then_some(exit),
            size_bytes: None,
            oom: None,
            health: None,
        }
    }

    fn field(view: &ContainerView, truncate: bool, name: &str) -> String {
        let now = "2026-01-02T00:02:00Z".parse().expect("a time");
        let sizes = Sizes { writable_bytes: 1200, total_bytes: 2_000_000 };
        row(view, truncate, Some(sizes), now, &TimeZone::UTC).fields[name].clone()
    }

    #[test]
    fn shows_what_docker_shows() {
        let running = view(State::Running);
        let cases = [
            ("ID", "0123456789ab"),
            ("Image", "nginx:1"),
            ("Command", "\"/docker-entrypoint.…\""),
            ("CreatedAt", "2026-01-02 00:00:00 +0000 UTC"),
            ("RunningFor", "2 minutes ago"),
            ("Ports", "0.0.0.0:90-91->90-91/tcp, 443/tcp, 0.0.0.0:8080->80/tcp"),
            ("State", "running"),
            ("Status", "Up About a minute"),
            ("Size", "1.2kB (virtual 2MB)"),
            ("Names", "web"),
            ("Labels", "a=1,b=2"),
            ("LocalVolumes", "1"),
            ("Mounts", "data"),
            ("Networks", "bridge"),
        ];
        // Docker knows no pods.
        assert_eq!(cases.len(), COLUMNS.titles.iter().filter(|(name, _)| !name.starts_with("Pod")).count());
        for (name, expected) in cases {
            assert_eq!(field(&running, true, name), expected, "{name}");
        }
        assert_eq!(field(&running, false, "Command"), "\"/docker-entrypoint.sh a \\\"b\\\"\"");
        assert_eq!(field(&running, false, "ID").len(), 64);
        let exited = view(State::Exited);
        assert_eq!(field(&exited, true, "Status"), "Exited (3) 30 seconds ago");
        assert_eq!(field(&exited, true, "Ports"), "");
        assert_eq!(field(&view(State::Created), true, "Status"), "Created");
        let mut probed = view(State::Running);
        probed.health = Some(HealthStatus::Healthy);
        assert_eq!(field(&probed, true, "Status"), "Up About a minute (healthy)");
        let mut hungry = view(State::Exited);
        let limit_bytes = Some(64 << 20);
        hungry.oom = Some(OomRecord { victim: "java".into(), limit_bytes, ..OomRecord::default() });
        assert_eq!(field(&hungry, true, "Status"), "Exited (3) 30 seconds ago (OOM killed java at 64MiB)");
        hungry.oom = Some(OomRecord::default());
        assert_eq!(field(&hungry, true, "Status"), "Exited (3) 30 seconds ago (OOM)");
        let waiting = ContainerView { state: State::Restarting, ..view(State::Exited) };
        assert_eq!(field(&waiting, true, "Status"), "Restarting (3) 30 seconds ago");
        let mut by_digest = view(State::Exited);
        by_digest.record.image_name = format!("nginx@{}", cais_oci::Digest::sha256(b"y"));
        assert_eq!(field(&by_digest, true, "Image"), "nginx");
    }
}
