//! What a request says about users and groups: whose ids the container has, who is known in it.

use std::path::PathBuf;

use cais_oci::runtime::IdMapping;
use serde::{Deserialize, Serialize};

/// Flags about users that are not `--user` and `--group-add`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserRequest {
    /// Whose ids.
    pub userns: UsernsRequest,
    /// `--uidmap`, each with its flags, in order.
    pub uid_maps: Vec<MapRequest>,
    /// `--gidmap`.
    pub gid_maps: Vec<MapRequest>,
    /// Name in /etc/subuid whose ranges are the container's.
    pub sub_uid_name: Option<String>,
    /// Name in /etc/subgid.
    pub sub_gid_name: Option<String>,
    /// Users of the host that are added to the container's /etc/passwd.
    pub host_users: Vec<String>,
    /// Whether users without an entry get one in the container's /etc/passwd; `None`: where the user was not chosen by
    /// number.
    pub passwd: Option<bool>,
    /// The text of that entry; `$USERNAME`, `$UID`, `$GID`, `$NAME` and `$HOME` stand for what they say.
    pub passwd_entry: Option<String>,
    /// The same for /etc/group; `$GROUPNAME`, `$GID` and `$USERLIST`.
    pub group_entry: Option<String>,
    /// The caller's supplementary groups stay (`--group-add keep-groups`).
    pub keep_groups: bool,
}

/// `--userns`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UsernsRequest {
    /// Nothing was said: the engine's, unless maps are given.
    #[default]
    Default,
    /// The engine's.
    Host,
    /// One of its own, with the maps given.
    Private,
    /// One of its own, with ids that no other such container has.
    Auto(AutoRequest),
    /// One of its own, in which the caller has the same ids as outside, or these.
    KeepId(KeepIdRequest),
    /// One of its own, in which the caller's ids do not exist.
    NoMap,
    /// One that is there.
    Path(PathBuf),
    /// That of another container, by name; by id in a record.
    Container(String),
}

impl UsernsRequest {
    /// As it is asked for; empty when nothing was said.
    #[must_use]
    pub fn text(&self) -> String {
        let with = |mode: &str, options: Vec<Option<String>>| {
            let options: Vec<String> = options.into_iter().flatten().collect();
            let colon = if options.is_empty() { "" } else { ":" };
            format!("{mode}{colon}{}", options.join(","))
        };
        let option = |key: &str, value: Option<u32>| value.map(|value| format!("{key}={value}"));
        match self {
            UsernsRequest::Default => String::new(),
            UsernsRequest::Host => "host".to_owned(),
            UsernsRequest::Private => "private".to_owned(),
            UsernsRequest::NoMap => "nomap".to_owned(),
            UsernsRequest::Path(path) => format!("ns:{}", path.display()),
            UsernsRequest::Container(name) => format!("container:{name}"),
            UsernsRequest::KeepId(KeepIdRequest { uid, gid, size }) => {
                with("keep-id", vec![option("uid", *uid), option("gid", *gid), option("size", *size)])
            }
            UsernsRequest::Auto(AutoRequest { size, uids, gids }) => {
                let map = |key: &str, map: &IdMapping| {
                    Some(format!("{key}={}:{}:{}", map.container_id, map.host_id, map.size))
                };
                let mut options = vec![option("size", *size)];
                options.extend(uids.iter().map(|one| map("uidmapping", one)));
                options.extend(gids.iter().map(|one| map("gidmapping", one)));
                with("auto", options)
            }
        }
    }
}

/// Options of `--userns auto`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AutoRequest {
    /// How many ids; `None`: as many as the image needs.
    pub size: Option<u32>,
    /// Maps beside the chosen range.
    pub uids: Vec<IdMapping>,
    /// The same of groups.
    pub gids: Vec<IdMapping>,
}

/// Options of `--userns keep-id`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeepIdRequest {
    /// The caller's user id inside.
    pub uid: Option<u32>,
    /// The caller's group id inside.
    pub gid: Option<u32>,
    /// How many ids; `None`: all that there are.
    pub size: Option<u32>,
}

/// One `--uidmap` or `--gidmap`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MapRequest {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub size: u32,
    /// All other ids are mapped, too, as far as there are some (`+`).
    pub extends: bool,
    /// As an ordinary user: `outside` is an id of the host (`@`), not one of the engine's own namespace.
    pub of_host: bool,
}

/// What becomes of the owners of what is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OwnersRequest {
    /// A volume's are the container's ids, a bind's are the host's.
    #[default]
    Default,
    /// All of it is given to the container's user before the start (`U`).
    Changed,
    /// What is on disk are the container's ids (`idmap`).
    Mapped,
    /// On disk are the ids that these maps say, in crun's words: `uids=0-1000-10;gids=0-1000-10`.
    MappedBy(String),
}

impl OwnersRequest {
    /// Nothing was said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == OwnersRequest::Default
    }
}

/// The ids of a container's user namespace, as they are written to it: outside are the ids of the engine's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserMaps {
    /// Users.
    pub uids: Vec<IdMapping>,
    /// Groups.
    pub gids: Vec<IdMapping>,
}

impl UserMaps {
    /// The id outside of one inside; `None` when it is not mapped.
    #[must_use]
    pub fn outside(maps: &[IdMapping], inside: u32) -> Option<u32> {
        maps.iter().find_map(|map| {
            let offset = inside.checked_sub(map.container_id).filter(|offset| *offset < map.size)?;
            map.host_id.checked_add(offset)
        })
    }

    /// The id inside of one outside.
    #[must_use]
    pub fn inside(maps: &[IdMapping], outside: u32) -> Option<u32> {
        maps.iter().find_map(|map| {
            let offset = outside.checked_sub(map.host_id).filter(|offset| *offset < map.size)?;
            map.container_id.checked_add(offset)
        })
    }

    /// User and group that make what the container needs: 0, or the lowest that there is.
    #[must_use]
    pub fn root(&self) -> (u32, u32) {
        let lowest = |maps: &[IdMapping]| maps.iter().map(|map| map.container_id).min().unwrap_or(0);
        (lowest(&self.uids), lowest(&self.gids))
    }

    /// As the kernel reads them: `inside outside count`, a line each.
    #[must_use]
    pub fn lines(maps: &[IdMapping]) -> String {
        maps.iter().map(|map| format!("{} {} {}\n", map.container_id, map.host_id, map.size)).collect()
    }

    /// As `/proc/PID/uid_map` shows them.
    #[must_use]
    pub fn parse(text: &str) -> Vec<IdMapping> {
        let line = |line: &str| {
            let mut numbers = line.split_whitespace().map(|word| word.parse::<u32>().ok());
            let mut next = || numbers.next().flatten();
            Some(IdMapping { container_id: next()?, host_id: next()?, size: next()? })
        };
        text.lines().filter_map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_both_ways() {
        let maps = UserMaps::parse("  0  100000 1000\n1000 5 1\n");
        assert_eq!(maps.len(), 2);
        assert_eq!(UserMaps::lines(&maps), "0 100000 1000\n1000 5 1\n");
        assert_eq!(UserMaps::outside(&maps, 999), Some(100_999));
        assert_eq!(UserMaps::outside(&maps, 1000), Some(5));
        assert_eq!(UserMaps::outside(&maps, 1001), None);
        assert_eq!(UserMaps::inside(&maps, 5), Some(1000));
        assert_eq!(UserMaps::inside(&maps, 4), None);
        let both = UserMaps { uids: maps, gids: UserMaps::parse("7 1 1") };
        assert_eq!(both.root(), (0, 7));
    }
}
