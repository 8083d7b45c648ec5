//! Flags of [`UserArgs`]: whose ids the container has, who is known in it.

use std::path::Path;

use cais_engine::{
    AutoRequest, ContainerRequest, IdMapping, KeepIdRequest, MapRequest, UserRequest, UsernsRequest,
};

use super::{Result, absolute, flag};
use crate::failure::Failure;
use crate::user_args::UserArgs;

type Parsed<T> = std::result::Result<T, String>;

/// The word among the groups of `--group-add` that keeps the caller's.
const KEEP_GROUPS: &str = "keep-groups";

/// Completes a request.
pub(super) fn apply(args: &UserArgs, directory: &Path, request: &mut ContainerRequest) -> Result<()> {
    let keep_groups = request.group_add.iter().any(|group| group == KEEP_GROUPS);
    if keep_groups && request.group_add.len() > 1 {
        return Err(Failure::usage("--group-add: keep-groups cannot be combined with other groups"));
    }
    if keep_groups {
        request.group_add.clear();
    }
    let (mut uid_maps, mut gid_maps) = (Vec::new(), Vec::new());
    for text in args.uidmap.iter().flat_map(|text| text.split(',')) {
        map(text, 'u', &mut uid_maps, &mut gid_maps).map_err(flag("uidmap"))?;
    }
    for text in args.gidmap.iter().flat_map(|text| text.split(',')) {
        map(text, 'g', &mut uid_maps, &mut gid_maps).map_err(flag("gidmap"))?;
    }
    let userns = userns(args.userns.as_deref(), directory).map_err(flag("userns"))?;
    let name = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    let users = UserRequest {
        userns,
        uid_maps,
        gid_maps,
        sub_uid_name: name(&args.subuidname),
        sub_gid_name: name(&args.subgidname),
        host_users: args.hostuser.iter().flat_map(|text| text.split(',')).map(str::to_owned).collect(),
        passwd: args.passwd,
        passwd_entry: name(&args.passwd_entry),
        group_entry: name(&args.group_entry),
        keep_groups,
    };
    conflicts(&users)?;
    request.users = users;
    Ok(())
}

/// What podman does not take together either.
fn conflicts(users: &UserRequest) -> Result<()> {
    let maps = !users.uid_maps.is_empty() || !users.gid_maps.is_empty();
    let names = users.sub_uid_name.is_some() || users.sub_gid_name.is_some();
    let free = matches!(users.userns, UsernsRequest::Default | UsernsRequest::Private);
    if (maps || names) && !free {
        let flags = if maps { "--uidmap or --gidmap" } else { "--subuidname or --subgidname" };
        return Err(Failure::usage(format!("conflicting options: --userns and {flags}")));
    }
    if (users.sub_uid_name.is_some() && !users.uid_maps.is_empty())
        || (users.sub_gid_name.is_some() && !users.gid_maps.is_empty())
    {
        return Err(Failure::usage("conflicting options: maps and names of ranges for the same ids"));
    }
    if users.passwd == Some(false)
        && (users.passwd_entry.is_some() || users.group_entry.is_some() || !users.host_users.is_empty())
    {
        return Err(Failure::usage("conflicting options: --passwd=false and entries for /etc/passwd"));
    }
    Ok(())
}

fn userns(text: Option<&str>, directory: &Path) -> Parsed<UsernsRequest> {
    let text = text.unwrap_or_default();
    let (mode, options) = text.split_once(':').map_or((text, None), |(mode, rest)| (mode, Some(rest)));
    let wanted =
        |what: &str| options.filter(|rest| !rest.is_empty()).ok_or(format!("{mode}: {what} is missing"));
    match (mode, options) {
        ("", None) => Ok(UsernsRequest::Default),
        ("host", None) => Ok(UsernsRequest::Host),
        ("private", None) => Ok(UsernsRequest::Private),
        ("nomap", None) => Ok(UsernsRequest::NoMap),
        ("auto", options) => auto(options.unwrap_or_default()).map(UsernsRequest::Auto),
        ("keep-id", options) => keep_id(options.unwrap_or_default()).map(UsernsRequest::KeepId),
        ("ns", _) => Ok(UsernsRequest::Path(absolute(directory, wanted("the path of the namespace")?))),
        ("container", _) => Ok(UsernsRequest::Container(wanted("the container")?.to_owned())),
        _ => Err(format!(
            "invalid value {text:?}: use host, private, auto, keep-id, nomap, ns:PATH or container:ID"
        )),
    }
}

fn auto(options: &str) -> Parsed<AutoRequest> {
    let mut request = AutoRequest::default();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", size)) => {
                request.size = Some(
                    number(size)
                        .filter(|size| *size > 0)
                        .ok_or_else(|| format!("auto: size {size:?} is not a number of ids"))?,
                )
            }
            Some(("uidmapping", map)) => request.uids.push(fixed(map)?),
            Some(("gidmapping", map)) => request.gids.push(fixed(map)?),
            _ => return Err(format!("auto: unknown option {option:?}: use size, uidmapping or gidmapping")),
        }
    }
    Ok(request)
}

fn keep_id(options: &str) -> Parsed<KeepIdRequest> {
    let mut request = KeepIdRequest::default();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let place = match key {
            "uid" => &mut request.uid,
            "gid" => &mut request.gid,
            "size" => &mut request.size,
            _ => return Err(format!("keep-id: unknown option {option:?}: use uid, gid or size")),
        };
        *place = Some(number(value).ok_or_else(|| format!("keep-id: {key} {value:?} is not a number"))?);
    }
    Ok(request)
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number != u32::MAX)
}

/// `container:host:size`
fn fixed(text: &str) -> Parsed<IdMapping> {
    let MapRequest { inside, outside, size, .. } = triple(text)?;
    Ok(IdMapping { container_id: inside, host_id: outside, size })
}

/// `[+ug]container:[@]outside[:size]`: `u` and `g` say for which kind of ids, if not for that of the flag.
fn map(text: &str, own: char, uids: &mut Vec<MapRequest>, gids: &mut Vec<MapRequest>) -> Parsed<()> {
    let start = text.find(|c: char| !matches!(c, '+' | 'u' | 'g')).unwrap_or(text.len());
    let (flags, numbers) = text.split_at(start);
    let map =
        MapRequest { extends: flags.contains('+'), ..triple(numbers).map_err(|e| format!("{text:?}: {e}"))? };
    let kinds = flags.contains(['u', 'g']);
    let is = |kind: char| if kinds { flags.contains(kind) } else { own == kind };
    if is('u') {
        uids.push(map);
    }
    if is('g') {
        gids.push(map);
    }
    Ok(())
}

fn triple(text: &str) -> Parsed<MapRequest> {
    let expected = || "expected container:outside[:size]".to_owned();
    let parts: Vec<&str> = text.split(':').collect();
    let (inside, outside, size) = match parts[..] {
        [inside, outside] => (inside, outside, "1"),
        [inside, outside, size] => (inside, outside, size),
        _ => return Err(expected()),
    };
    let (of_host, outside) = outside.strip_prefix('@').map_or((false, outside), |id| (true, id));
    let numbers = (inside.parse().ok(), number(outside), size.parse().ok());
    let (Some(inside), Some(outside), Some(size)) = numbers else { return Err(expected()) };
    Ok(MapRequest { inside, outside, size, of_host, extends: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        let parse = |text: &str| userns(Some(text), Path::new("/here"));
        assert_eq!(parse(""), Ok(UsernsRequest::Default));
        assert_eq!(parse("host"), Ok(UsernsRequest::Host));
        assert_eq!(parse("ns:/x"), Ok(UsernsRequest::Path("/x".into())));
        assert_eq!(parse("ns:x"), Ok(UsernsRequest::Path("/here/x".into())));
        assert_eq!(parse("container:web"), Ok(UsernsRequest::Container("web".into())));
        let auto = AutoRequest {
            size: Some(512),
            uids: vec![IdMapping { container_id: 0, host_id: 1, size: 2 }],
            gids: Vec::new(),
        };
        assert_eq!(parse("auto:size=512,uidmapping=0:1:2"), Ok(UsernsRequest::Auto(auto)));
        let kept = KeepIdRequest { uid: Some(200), gid: Some(210), size: None };
        assert_eq!(parse("keep-id:uid=200,gid=210"), Ok(UsernsRequest::KeepId(kept)));
        for wrong in ["hosts", "host:x", "auto:size=0", "auto:x=1", "keep-id:uid=a", "ns:", "container:"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn maps() {
        let parse = |text: &str, own: char| {
            let (mut uids, mut gids) = (Vec::new(), Vec::new());
            map(text, own, &mut uids, &mut gids).map(|()| (uids, gids))
        };
        let plain = MapRequest { inside: 0, outside: 100, size: 10, ..MapRequest::default() };
        assert_eq!(parse("0:100:10", 'u'), Ok((vec![plain], vec![])));
        let host = MapRequest { of_host: true, extends: true, size: 1, ..plain };
        assert_eq!(parse("+g0:@100", 'u'), Ok((vec![], vec![host])));
        assert_eq!(parse("ug0:100:10", 'g'), Ok((vec![plain], vec![plain])));
        for wrong in ["", "0", "0:a", "0:1:2:3", "x0:1", "-1:0:1"] {
            assert!(parse(wrong, 'u').is_err(), "{wrong}");
        }
    }
}
