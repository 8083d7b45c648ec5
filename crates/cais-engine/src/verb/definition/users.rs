//! Flags about users, control groups and systemd, as a command line has them.

use crate::{ContainerRequest, MapRequest, SystemdRequest, UserRequest};

/// Flags and their values, in order.
pub(super) fn flags(request: &ContainerRequest) -> Vec<(&'static str, String)> {
    let users = &request.users;
    let UserRequest { sub_uid_name, sub_gid_name, passwd_entry, group_entry, .. } = users;
    let userns = users.userns.text();
    let mut flags = vec![("--userns", (!userns.is_empty()).then_some(userns))];
    flags.extend(users.uid_maps.iter().map(|map| ("--uidmap", Some(map_text(map)))));
    flags.extend(users.gid_maps.iter().map(|map| ("--gidmap", Some(map_text(map)))));
    flags.push(("--subuidname", sub_uid_name.clone()));
    flags.push(("--subgidname", sub_gid_name.clone()));
    flags.extend(users.host_users.iter().map(|user| ("--hostuser", Some(user.clone()))));
    flags.push(("--passwd", users.passwd.map(|passwd| passwd.to_string())));
    flags.push(("--passwd-entry", passwd_entry.clone()));
    flags.push(("--group-entry", group_entry.clone()));
    flags.push(("--group-add", users.keep_groups.then(|| "keep-groups".to_owned())));
    flags.extend(service_flags(request));
    flags.into_iter().filter_map(|(flag, value)| Some((flag, value?))).collect()
}

/// Of control groups and systemd.
fn service_flags(request: &ContainerRequest) -> Vec<(&'static str, Option<String>)> {
    let service = &request.service;
    let systemd = match service.systemd {
        SystemdRequest::False => None,
        SystemdRequest::True => Some("true"),
        SystemdRequest::Always => Some("always"),
    };
    vec![
        ("--cgroup-parent", service.cgroup_parent.as_ref().map(|parent| format!("/{parent}"))),
        ("--cgroups", service.no_cgroup.then(|| "disabled".to_owned())),
        ("--systemd", systemd.map(str::to_owned)),
        ("--shm-size-systemd", service.shm_size_systemd_bytes.map(|bytes| bytes.to_string())),
        ("--sdnotify", service.notify.then(|| "conmon".to_owned())),
    ]
}

fn map_text(map: &MapRequest) -> String {
    let (plus, at) = (if map.extends { "+" } else { "" }, if map.of_host { "@" } else { "" });
    format!("{plus}{}:{at}{}:{}", map.inside, map.outside, map.size)
}
