//! Which ids a container's user namespace has, user_namespaces(7): pure but for [`Engine::take_ids`].
//!
//! "Outside" are the ids of the engine's own namespace: the machine's for root, for an ordinary user those that it became
//! root of (0 is the user, from 1 on its subordinate ids).

use std::os::fd::AsFd;

use cais_oci::runtime::IdMapping;
use cais_plan::passwd;
use cais_sys::lock::OfdLock;
use cais_sys::userns::{Range, ranges};

use crate::attach::short;
use crate::root_view::read_in_root;
use crate::{
    AutoRequest, ContainerRecord, ContainerRequest, Engine, Error, ErrorKind, KeepIdRequest, MapRequest,
    Result, UserMaps, UsernsRequest,
};

/// Whose ranges `--userns auto` divides, as with podman.
const AUTO_OWNER: &str = "containers";
/// The fewest and the most ids that `auto` takes by itself, as with podman.
const AUTO_IDS: (u32, u32) = (1024, 65_536);
/// nobody: that an image knows it does not mean that it needs as many ids.
const NOBODY: u32 = 65_534;

/// What the machine and the caller have.
pub(crate) struct Ground {
    /// Ids of the engine's namespace: inside of that, and outside.
    own: UserMaps,
    rootless: bool,
    subuid: String,
    subgid: String,
}

/// One kind of ids: users or groups.
#[derive(Clone, Copy)]
enum Kind {
    Uid,
    Gid,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Uid => "uid",
            Kind::Gid => "gid",
        }
    }
}

impl Ground {
    pub(crate) fn look(rootless: bool) -> Ground {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Ground {
            own: UserMaps {
                uids: UserMaps::parse(&read("/proc/self/uid_map")),
                gids: UserMaps::parse(&read("/proc/self/gid_map")),
            },
            rootless,
            subuid: read("/etc/subuid"),
            subgid: read("/etc/subgid"),
        }
    }

    fn own(&self, kind: Kind) -> &[IdMapping] {
        match kind {
            Kind::Uid => &self.own.uids,
            Kind::Gid => &self.own.gids,
        }
    }

    /// The caller's ids as the host knows them.
    pub(crate) fn caller(&self) -> (u32, u32) {
        let host = |maps: &[IdMapping]| UserMaps::outside(maps, 0).unwrap_or(0);
        (host(&self.own.uids), host(&self.own.gids))
    }

    /// How many ids the engine's namespace has.
    fn count(&self, kind: Kind) -> u32 {
        self.own(kind).iter().fold(0, |sum, map| sum.saturating_add(map.size))
    }

    fn sub_file(&self, kind: Kind) -> (&'static str, &str) {
        match kind {
            Kind::Uid => ("/etc/subuid", &self.subuid),
            Kind::Gid => ("/etc/subgid", &self.subgid),
        }
    }

    /// The ranges of a name in /etc/subuid or /etc/subgid, as ids outside.
    fn ranges_of(&self, kind: Kind, name: &str) -> Result<Vec<Range>> {
        let (file, text) = self.sub_file(kind);
        // A number as the name is found, too; u32::MAX is nobody's.
        let number = name.parse().unwrap_or(u32::MAX);
        let found = ranges(text, Some(name), number);
        if found.is_empty() {
            let message = format!("cannot find mappings for user {name}: no ranges in {file}");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if !self.rootless {
            return Ok(found);
        }
        let ours = |range: Range| {
            let first = UserMaps::inside(self.own(kind), range.first).ok_or_else(|| {
                let message = format!("the range {} of {name} in {file} is not this user's", range.first);
                Error::new(ErrorKind::Denied, message)
            })?;
            Ok(Range { first, ..range })
        };
        found.into_iter().map(ours).collect()
    }
}

/// The maps that a request asks for; `None` where it has the engine's ids, where they are another's
/// ([`Engine::take_ids`]), and for `auto`.
pub(crate) fn explicit(request: &ContainerRequest, ground: &Ground) -> Result<Option<UserMaps>> {
    let users = &request.users;
    let asked = !users.uid_maps.is_empty() || !users.gid_maps.is_empty();
    let named = users.sub_uid_name.is_some() || users.sub_gid_name.is_some();
    match &users.userns {
        UsernsRequest::Default if !asked && !named => Ok(None),
        UsernsRequest::Default | UsernsRequest::Private => given(request, ground).map(Some),
        UsernsRequest::KeepId(wishes) => keep_id(wishes, ground).map(Some),
        UsernsRequest::NoMap => no_map(ground).map(Some),
        UsernsRequest::Host
        | UsernsRequest::Auto(_)
        | UsernsRequest::Path(_)
        | UsernsRequest::Container(_) => Ok(None),
    }
}

/// `--uidmap`, `--gidmap`, `--subuidname`, `--subgidname`; what is given for one kind only holds for both.
fn given(request: &ContainerRequest, ground: &Ground) -> Result<UserMaps> {
    let users = &request.users;
    let uid_name = users.sub_uid_name.as_ref().or(users.sub_gid_name.as_ref());
    let gid_name = users.sub_gid_name.as_ref().or(users.sub_uid_name.as_ref());
    let one = |kind, maps: &[MapRequest], other: &[MapRequest], name: Option<&String>| match (
        maps.is_empty(),
        name,
        other.is_empty(),
    ) {
        (true, Some(name), _) => Ok(in_a_row(&ground.ranges_of(kind, name)?)),
        (false, ..) => mapped(kind, maps, ground),
        (true, None, false) => mapped(kind, other, ground),
        (true, None, true) => Err(Error::new(
            ErrorKind::Invalid,
            "a user namespace of its own needs ids: give --uidmap, --subuidname, or --userns auto",
        )),
    };
    Ok(UserMaps {
        uids: one(Kind::Uid, &users.uid_maps, &users.gid_maps, uid_name)?,
        gids: one(Kind::Gid, &users.gid_maps, &users.uid_maps, gid_name)?,
    })
}

/// From 0 on.
fn in_a_row(ranges: &[Range]) -> Vec<IdMapping> {
    let mut inside = 0_u32;
    let map = |range: &Range| {
        let map = IdMapping { container_id: inside, host_id: range.first, size: range.count };
        inside = inside.saturating_add(range.count);
        map
    };
    ranges.iter().map(map).collect()
}

fn mapped(kind: Kind, asked: &[MapRequest], ground: &Ground) -> Result<Vec<IdMapping>> {
    let own = ground.own(kind);
    let mut maps = Vec::new();
    for map in asked {
        let host_id = match map.of_host && ground.rootless {
            true => UserMaps::inside(own, map.outside).ok_or_else(|| {
                let message =
                    format!("{} {} of the host is not one of this user's", kind.word(), map.outside);
                Error::new(ErrorKind::Denied, message).hint("/etc/subuid and /etc/subgid say which are")
            })?,
            false => map.outside,
        };
        maps.push(IdMapping { container_id: map.inside, host_id, size: map.size });
    }
    if asked.iter().any(|map| map.extends) {
        let all = ground.count(kind).min(AUTO_IDS.1.saturating_add(1));
        let free = without(&[Range { first: 0, count: all }], &maps);
        maps = filled(maps, &free, u32::MAX);
    }
    check(kind, &maps, ground)?;
    Ok(maps)
}

/// The caller has the same ids inside as outside, or those that were asked for; the others come in a row.
fn keep_id(wishes: &KeepIdRequest, ground: &Ground) -> Result<UserMaps> {
    let one = |kind, caller: u32, asked: Option<u32>| -> Result<Vec<IdMapping>> {
        if !ground.rootless {
            return match asked.filter(|id| *id != caller) {
                Some(_) => Err(Error::new(
                    ErrorKind::Invalid,
                    "--userns keep-id with other ids is for ordinary users: root keeps all of them",
                )
                .hint("--uidmap and --gidmap choose ids")),
                None => Ok(ground.own(kind).iter().map(|map| same(map.container_id, map.size)).collect()),
            };
        }
        let kept = IdMapping { container_id: asked.unwrap_or(caller), host_id: 0, size: 1 };
        let others = Range { first: 1, count: ground.count(kind).saturating_sub(1) };
        let size = wishes.size.unwrap_or(u32::MAX);
        Ok(filled(vec![kept], &[others], size))
    };
    let (uid, gid) = ground.caller();
    let maps = UserMaps { uids: one(Kind::Uid, uid, wishes.uid)?, gids: one(Kind::Gid, gid, wishes.gid)? };
    Ok(maps)
}

fn same(first: u32, size: u32) -> IdMapping {
    IdMapping { container_id: first, host_id: first, size }
}

fn no_map(ground: &Ground) -> Result<UserMaps> {
    let invalid = |text: &str| Err(Error::new(ErrorKind::Invalid, text.to_owned()));
    if !ground.rootless {
        return invalid(
            "--userns nomap is for ordinary users: root's ids are not mapped by any of these ways",
        );
    }
    let (uids, gids) = (ground.count(Kind::Uid), ground.count(Kind::Gid));
    if uids < 2 || gids < 2 {
        return invalid(
            "--userns nomap needs subordinate ids: /etc/subuid and /etc/subgid give this user none",
        );
    }
    let all = |count: u32| vec![IdMapping { container_id: 0, host_id: 1, size: count - 1 }];
    Ok(UserMaps { uids: all(uids), gids: all(gids) })
}

/// The ranges without what the maps have of them already.
fn without(ranges: &[Range], maps: &[IdMapping]) -> Vec<Range> {
    let mut left = ranges.to_vec();
    for map in maps {
        let (from, to) = (u64::from(map.host_id), u64::from(map.host_id) + u64::from(map.size));
        left = left.into_iter().flat_map(|range| cut(range, from, to)).collect();
    }
    left
}

/// What of a range lies before `from` and from `to` on.
fn cut(range: Range, from: u64, to: u64) -> impl Iterator<Item = Range> {
    let (first, end) = (u64::from(range.first), u64::from(range.first) + u64::from(range.count));
    let part = |a: u64, b: u64| (a < b).then(|| Range { first: a as u32, count: (b - a) as u32 });
    part(first, end.min(from)).into_iter().chain(part(first.max(to), end))
}

/// Maps the ids below `size` that are not mapped yet, in order, to ids of the ranges, in order, as long as there are
/// some.
fn filled(mut maps: Vec<IdMapping>, free: &[Range], size: u32) -> Vec<IdMapping> {
    let taken: Vec<IdMapping> = maps
        .iter()
        .map(|map| IdMapping { container_id: 0, host_id: map.container_id, size: map.size })
        .collect();
    let mut inside = without(&[Range { first: 0, count: size }], &taken).into_iter();
    let mut outside = free.iter().copied();
    let (mut gap, mut range) = (inside.next(), outside.next());
    while let (Some(to), Some(from)) = (gap, range) {
        let count = to.count.min(from.count);
        if count > 0 {
            maps.push(IdMapping { container_id: to.first, host_id: from.first, size: count });
        }
        let rest = |it: Range| Range { first: it.first.saturating_add(count), count: it.count - count };
        gap = if to.count == count { inside.next() } else { Some(rest(to)) };
        range = if from.count == count { outside.next() } else { Some(rest(from)) };
    }
    maps.sort_by_key(|map| map.container_id);
    maps
}

/// What the kernel would refuse with nothing but a number.
fn check(kind: Kind, maps: &[IdMapping], ground: &Ground) -> Result<()> {
    let invalid = |text: String| Err(Error::new(ErrorKind::Invalid, text));
    let word = kind.word();
    let overlap = |a: u32, b: u32, (sa, sb): (u32, u32)| {
        u64::from(a) < u64::from(b) + u64::from(sb) && u64::from(b) < u64::from(a) + u64::from(sa)
    };
    for (at, map) in maps.iter().enumerate() {
        let IdMapping { container_id, host_id, size } = *map;
        if size == 0 || container_id.checked_add(size).is_none() || host_id.checked_add(size).is_none() {
            return invalid(format!("{word} map {container_id}:{host_id}:{size}: there are no such ids"));
        }
        for other in &maps[..at] {
            let sizes = (size, other.size);
            if overlap(container_id, other.container_id, sizes) || overlap(host_id, other.host_id, sizes) {
                let (c, h, s) = (other.container_id, other.host_id, other.size);
                return invalid(format!(
                    "{word} maps {c}:{h}:{s} and {container_id}:{host_id}:{size} have ids in common"
                ));
            }
        }
        let have = |id: u32| UserMaps::outside(ground.own(kind), id).is_some();
        if !have(host_id) || !have(host_id + (size - 1)) {
            let total = ground.count(kind);
            return invalid(format!(
                "{word} map {container_id}:{host_id}:{size}: this user has the ids 0 to {} only",
                total.saturating_sub(1)
            ));
        }
    }
    Ok(())
}

/// Ids that no other container has, from the ranges of [`AUTO_OWNER`], or, for an ordinary user, from its own.
fn auto(wishes: &AutoRequest, size: u32, used: &[UserMaps], ground: &Ground) -> Result<UserMaps> {
    let one = |kind, fixed: &[IdMapping], used: Vec<IdMapping>| -> Result<Vec<IdMapping>> {
        let all = match ground.rootless {
            true => vec![Range { first: 1, count: ground.count(kind).saturating_sub(1) }],
            false => ground.ranges_of(kind, AUTO_OWNER).map_err(|error| {
                error.hint(format!(
                    "--userns auto divides them: add a line like {AUTO_OWNER}:2147483647:2147483648 to \
                     /etc/subuid and /etc/subgid"
                ))
            })?,
        };
        let free = without(&all, &used);
        let wanted = size.saturating_sub(
            fixed
                .iter()
                .filter(|map| map.container_id < size)
                .fold(0, |n, map| n + map.size.min(size - map.container_id)),
        );
        let found = free.iter().find(|range| range.count >= wanted).ok_or_else(|| {
            let message = format!("--userns auto: no {size} {}s in a row are free", kind.word());
            Error::new(ErrorKind::Conflict, message)
                .hint("remove containers that have some, ask for fewer (auto:size=), or widen the ranges")
        })?;
        let maps = filled(fixed.to_vec(), &[Range { first: found.first, count: wanted }], size);
        check(kind, &maps, ground)?;
        Ok(maps)
    };
    let of =
        |pick: fn(&UserMaps) -> &Vec<IdMapping>| used.iter().flat_map(|maps| pick(maps).clone()).collect();
    Ok(UserMaps {
        uids: one(Kind::Uid, &wishes.uids, of(|maps| &maps.uids))?,
        gids: one(Kind::Gid, &wishes.gids, of(|maps| &maps.gids))?,
    })
}

impl Engine {
    /// Gives a new record the ids of its user namespace, and the user that goes with them. What is returned is held
    /// until the record is written: so nobody else gets the same ids.
    pub(crate) fn take_ids(&self, record: &mut ContainerRecord) -> Result<Option<OfdLock>> {
        let ground = Ground::look(self.config.rootless);
        record.user_maps = explicit(&record.request, &ground)?;
        match record.request.users.userns.clone() {
            UsernsRequest::KeepId(wishes) if record.request.user.is_none() => {
                let (uid, gid) = ground.caller();
                record.user = format!("{}:{}", wishes.uid.unwrap_or(uid), wishes.gid.unwrap_or(gid));
            }
            UsernsRequest::Container(name) => {
                let id = self.store.resolve_container(&name)?;
                record.user_maps = self.store.load_container(&id)?.user_maps;
                record.request.users.userns = UsernsRequest::Container(id);
            }
            UsernsRequest::Path(path) => {
                let file = std::fs::File::open(&path).map_err(|error| {
                    let message = format!("open the user namespace {}", path.display());
                    Error::caused(ErrorKind::Invalid, message, error)
                })?;
                record.user_maps = crate::userns::maps_of(file.as_fd(), &path)?;
            }
            UsernsRequest::Auto(wishes) => {
                let lock = self.lock_ids()?;
                let size = match wishes.size {
                    Some(size) => size,
                    None => self.ids_needed(record)?,
                };
                record.user_maps = Some(auto(&wishes, size, &self.ids_in_use()?, &ground)?);
                check_pids(record)?;
                return Ok(Some(lock));
            }
            _ => {}
        }
        check_pids(record)?;
        check_root(record)?;
        Ok(None)
    }

    fn lock_ids(&self) -> Result<OfdLock> {
        let path = self.store.paths().id_ranges_lock();
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .and_then(OfdLock::take)
            .map_err(|error| Error::caused(ErrorKind::System, format!("lock {}", path.display()), error))
    }

    /// Maps of all containers that have ids for themselves.
    fn ids_in_use(&self) -> Result<Vec<UserMaps>> {
        let mut all = Vec::new();
        for id in self.store.container_ids()? {
            // One that is being removed has its ids no more.
            let Ok(record) = self.store.load_container(&id) else { continue };
            all.extend(
                record.user_maps.filter(|_| matches!(record.request.users.userns, UsernsRequest::Auto(_))),
            );
        }
        Ok(all)
    }

    /// As many ids as the image's users and groups and the request's user need.
    fn ids_needed(&self, record: &ContainerRecord) -> Result<u32> {
        let root = self.bare_root(record)?;
        let mut highest = 0;
        let mut see = |id: u32| {
            if id != NOBODY && id < AUTO_IDS.1 {
                highest = highest.max(id);
            }
        };
        for line in read_in_root(root.as_fd(), b"/etc/passwd").split(|byte| *byte == b'\n') {
            if let Some(user) = passwd::parse_user(line) {
                see(user.uid);
                see(user.gid);
            }
        }
        for line in read_in_root(root.as_fd(), b"/etc/group").split(|byte| *byte == b'\n') {
            passwd::parse_group(line).into_iter().for_each(|group| see(group.gid));
        }
        let asked: Vec<u32> =
            record.user.split(':').filter_map(|part| passwd::number(part.as_bytes())).collect();
        if let Some(id) = asked.iter().find(|id| **id >= AUTO_IDS.1) {
            let message =
                format!("--userns auto: user {id} of container {} needs more ids", short(&record.id));
            return Err(
                Error::new(ErrorKind::Invalid, message).hint("say how many: --userns auto:size=NUMBER")
            );
        }
        asked.into_iter().for_each(&mut see);
        Ok((highest + 1).max(AUTO_IDS.0))
    }
}

/// The processes of a PID namespace could only be shown by who owns it.
fn check_pids(record: &ContainerRecord) -> Result<()> {
    if record.user_maps.is_none() || record.namespaces.pid.container().is_none() {
        return Ok(());
    }
    let message = "a user namespace of its own does not go with the PID namespace of another container";
    Err(Error::new(ErrorKind::Unsupported, message))
}

/// The image's files belong to 0: without it nothing could be mounted in there.
fn check_root(record: &ContainerRecord) -> Result<()> {
    let Some(maps) = record.user_maps.as_ref().filter(|_| record.request.rootfs.is_none()) else {
        return Ok(());
    };
    if maps.root() == (0, 0) {
        return Ok(());
    }
    let message = "the user namespace has no user or group 0, to which the files of the image belong";
    Err(Error::new(ErrorKind::Invalid, message)
        .hint("map it: --uidmap 0:FIRST:COUNT, --gidmap 0:FIRST:COUNT"))
}

#[cfg(test)]
mod tests;
