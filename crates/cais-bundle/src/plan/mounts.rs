//! The mounts of a configuration, in the order given: what each one is, and its steps.
//!
//! A bind mount's tree is opened directly before it is attached, when everything listed before stands, as in runc; where
//! a user namespace comes in between, before that (see [`Spaces::opens_early`]). A mount never hides the root that was
//! taken; nothing is mounted inside /proc but what lxcfs and its kind put there. A tmpfs becomes read-only at the end,
//! because mount points may have to be made in it.

use std::path::{Path, PathBuf};

use cais_oci::runtime::{IdMapping, Mount, RootfsPropagation, Spec};
use cais_plan::{Step, Strings};

use super::draft::{Draft, PASSING_SLOT, clean, list, path, text};
use super::error::{PlanError, Result};
use super::idmap::{self, Mapped};
use super::namespaces::Spaces;
use super::numbers::{CLONE_NEWUSER, MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE, RDONLY};
use super::options::{Change, Options};
use super::{ContainerRequest, Found, Subject};

/// What may be bound over a file of procfs: runc's list.
const INSIDE_PROC: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// File systems that have no SELinux context, or whose superblock is there before the mount.
const UNLABELLED: [&str; 5] = ["proc", "sysfs", "mqueue", "cgroup", "cgroup2"];

/// What one entry of the list is.
#[derive(Debug)]
pub enum Kind<'a> {
    /// A tree of the host.
    Bind { source: PathBuf, recursive: bool },
    /// The host's /sys instead of a sysfs that cannot be mounted.
    HostSys,
    /// Another attribute for what is mounted there.
    Remount,
    /// A symbolic link of the host, made again.
    Link(&'a Path),
    /// Views of the control group.
    Cgroup,
    /// A new file system.
    New(&'a str),
}

/// One entry of the list.
pub struct Entry<'a> {
    /// Its place in the list.
    pub index: usize,
    /// Where, absolute, without `..`.
    pub target: String,
    /// What it is.
    pub kind: Kind<'a>,
    /// Its options.
    pub options: Options,
    /// The shown source of a new file system.
    pub source: &'a str,
    /// How owners are mapped.
    pub mapped: Option<Mapped>,
    /// The tree was opened early, into this slot.
    slot: Option<u32>,
}

/// The mounts of a container.
pub struct Mounts<'a> {
    entries: Vec<Entry<'a>>,
    label: Option<&'a str>,
    user_namespace: bool,
    /// Given to trees that are opened early, unless they say otherwise.
    early_propagation: u64,
}

/// `MS_*` of the root's propagation; the default is runc's.
pub fn root_propagation(spec: &Spec) -> u64 {
    let wanted = spec.linux.as_ref().and_then(|linux| linux.rootfs_propagation);
    match wanted {
        None | Some(RootfsPropagation::RSlave) => MS_SLAVE | MS_REC,
        Some(RootfsPropagation::Slave) => MS_SLAVE,
        Some(RootfsPropagation::Private) => MS_PRIVATE,
        Some(RootfsPropagation::RPrivate) => MS_PRIVATE | MS_REC,
        Some(RootfsPropagation::Shared) => MS_SHARED,
        Some(RootfsPropagation::RShared) => MS_SHARED | MS_REC,
        Some(RootfsPropagation::Unbindable) => MS_UNBINDABLE,
        Some(RootfsPropagation::RUnbindable) => MS_UNBINDABLE | MS_REC,
    }
}

impl Entry<'_> {
    /// Whether this mount changes what `source` shows, a path of the host.
    fn changes(&self, rootfs: &Path, source: &Path) -> bool {
        let target = rootfs.join(self.target.trim_start_matches('/'));
        source.starts_with(rootfs) && (target.starts_with(source) || source.starts_with(&target))
    }
}

impl<'a> Mounts<'a> {
    /// Finds out what each entry is.
    pub fn of(request: &ContainerRequest<'a>, spaces: &Spaces<'_>, draft: &mut Draft) -> Result<Mounts<'a>> {
        let spec = request.spec;
        let none = Found::default();
        let mut entries = Vec::with_capacity(spec.mounts.len());
        for (index, mount) in spec.mounts.iter().enumerate() {
            let options = Options::parse(&mount.options);
            let target = below_root(request.rootfs, clean(&mount.destination));
            if !mount.destination.starts_with('/') {
                draft.warn(format!(
                    "mount destination {} is not absolute: it counts from the root",
                    mount.destination
                ));
            }
            if options.propagations_differ {
                draft.warn(format!("mount on {target}: of several propagations the last one counts"));
            }
            let found = request.found.get(index).unwrap_or(&none);
            let kind = kind(request, spaces, mount, &options, request.found.get(index))?;
            check_target(&target, &kind, found)?;
            if let (Kind::Bind { .. }, Some(option)) = (&kind, options.data.first()) {
                // The kernel takes no such option with a bind mount and has always passed over it; bundles have them.
                draft.warn(format!("mount on {target}: {option:?} does nothing on a bind mount"));
            }
            let mapped = mapped(request, spaces, mount, &options, &kind)?;
            let source = mount.source.as_deref().or(mount.kind.as_deref()).unwrap_or_default();
            entries.push(Entry { index, target, kind, options, source, mapped, slot: None });
        }
        let label = spec.linux.as_ref().and_then(|linux| linux.mount_label.as_deref());
        let early_propagation = match root_propagation(spec) & !MS_REC {
            MS_SHARED => 0,
            MS_SLAVE => MS_SLAVE | MS_REC,
            _ => MS_PRIVATE | MS_REC,
        };
        let label = label.filter(|_| request.machine.selinux);
        Ok(Mounts { entries, label, user_namespace: spaces.has(CLONE_NEWUSER), early_propagation })
    }

    /// The entries in order.
    pub fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// A bind mount brings a whole /dev: nothing is made in it.
    pub fn brings_dev(&self) -> bool {
        self.entries.iter().any(|entry| entry.target == "/dev" && matches!(entry.kind, Kind::Bind { .. }))
    }

    /// Opens the trees of the host before the user namespace is entered. What an earlier mount has a part in is there
    /// only later.
    pub fn open_early(&mut self, draft: &mut Draft, rootfs: &Path) -> Result<()> {
        for place in 0..self.entries.len() {
            let (before, rest) = self.entries.split_at_mut(place);
            let Some(entry) = rest.first_mut() else { break };
            let Kind::Bind { source, recursive } = &entry.kind else { continue };
            if entry.mapped.is_none() && before.iter().any(|earlier| earlier.changes(rootfs, source)) {
                continue;
            }
            let slot = draft.slot()?;
            open(draft, entry, source, *recursive, slot)?;
            if let Some(mapped) = &entry.mapped {
                let userns_fd = draft.fd(mapped.by.clone());
                let step = Step::MapTree { slot, userns_fd, recursive: mapped.recursive };
                let sentence = format!("map the owners of {}", source.display());
                draft.about(Subject::Mount(entry.index), sentence, &step);
            }
            entry.slot = Some(slot);
        }
        Ok(())
    }

    /// The steps of one entry; control groups are planned by their own module.
    pub fn mount(&self, draft: &mut Draft, entry: &Entry<'_>) -> Result<()> {
        match &entry.kind {
            Kind::Bind { source, recursive } => self.bind(draft, entry, source, *recursive),
            Kind::HostSys => self.host_sys(draft, entry),
            Kind::Remount => remount(draft, entry),
            Kind::Link(content) => {
                let step = Step::Symlink {
                    content: path("a link", content)?,
                    path: text("a mount target", &entry.target)?,
                };
                let sentence = format!("make the link {}", entry.target);
                draft.about(Subject::Mount(entry.index), sentence, &step);
                Ok(())
            }
            Kind::Cgroup => Ok(()),
            Kind::New(fstype) => self.new_filesystem(draft, entry, fstype),
        }
    }

    fn bind(&self, draft: &mut Draft, entry: &Entry<'_>, source: &Path, recursive: bool) -> Result<()> {
        let slot = match entry.slot {
            Some(slot) => slot,
            None => {
                open(draft, entry, source, recursive, PASSING_SLOT)?;
                PASSING_SLOT
            }
        };
        let mut propagation = entry.options.propagation;
        if propagation == 0 && entry.slot.is_some() {
            propagation = self.early_propagation;
        }
        let (userns_fd, recursive_map) = match &entry.mapped {
            Some(mapped) if entry.slot.is_none() => (draft.fd(mapped.by.clone()), mapped.recursive),
            _ => (-1, false),
        };
        let top = entry.options.bind_change(self.user_namespace);
        let tree = entry.options.recursive_change();
        let step = Step::Bind {
            slot,
            target: text("a mount target", &entry.target)?,
            set: top.set,
            clear: top.clear,
            recursive_set: tree.set,
            recursive_clear: tree.clear,
            propagation,
            userns_fd,
            recursive_map,
        };
        let sentence = format!("mount {} on {}", source.display(), entry.target);
        draft.about(Subject::Mount(entry.index), sentence, &step);
        Ok(())
    }

    fn host_sys(&self, draft: &mut Draft, entry: &Entry<'_>) -> Result<()> {
        open(draft, entry, Path::new("/sys"), true, PASSING_SLOT)?;
        let step = Step::Bind {
            slot: PASSING_SLOT,
            target: text("a mount target", &entry.target)?,
            set: 0,
            clear: 0,
            recursive_set: entry.options.attributes(),
            recursive_clear: entry.options.change().clear & super::numbers::ATIME_MASK,
            propagation: MS_SLAVE | MS_REC,
            userns_fd: -1,
            recursive_map: false,
        };
        let sentence = format!("mount the host's /sys on {}", entry.target);
        draft.about(Subject::Mount(entry.index), sentence, &step);
        Ok(())
    }

    fn new_filesystem(&self, draft: &mut Draft, entry: &Entry<'_>, fstype: &str) -> Result<()> {
        let options = &entry.options;
        let mut words = options.filesystem_words();
        let mut attributes = options.attributes();
        if options.read_only() && entry.source.starts_with('/') && fstype != "overlay" {
            // A device that is write-protected, or its journal, is not even opened for writing.
            words.insert(0, "ro".to_owned());
        }
        if becomes_read_only_late(entry) {
            attributes &= !RDONLY;
        }
        if let Some(label) = self.label
            && !UNLABELLED.contains(&fstype)
            && !words.iter().any(|word| word.starts_with("context="))
        {
            words.push(format!("context={label}"));
        }
        if fstype == "overlay" {
            words = words.into_iter().flat_map(short_enough).collect();
        }
        let words = list("a mount option", &words)?;
        let userns_fd = entry.mapped.as_ref().map_or(-1, |mapped| draft.fd(mapped.by.clone()));
        let step = Step::Filesystem {
            fstype: text("a file system type", fstype)?,
            source: text("a mount source", entry.source)?,
            target: text("a mount target", &entry.target)?,
            attributes,
            options: Strings(&words),
            // Nothing is beneath it yet.
            propagation: options.propagation & !MS_REC,
            userns_fd,
            copy_up: options.copy_up,
            optional: false,
        };
        draft.about(Subject::Mount(entry.index), format!("mount {fstype} on {}", entry.target), &step);
        Ok(())
    }

    /// Makes read-only what had to stay writable while mount points were made in it.
    pub fn read_only_at_last(&self, draft: &mut Draft) -> Result<()> {
        for (place, entry) in self.entries.iter().enumerate() {
            let covered = self.entries[place + 1..].iter().any(|later| later.target == entry.target);
            if !becomes_read_only_late(entry) || covered {
                continue;
            }
            let target = text("a mount target", &entry.target)?;
            let step = Step::Remount { target, set: RDONLY, clear: 0, recursive: false };
            let sentence = format!("make {} read-only", entry.target);
            draft.about(Subject::Mount(entry.index), sentence, &step);
        }
        Ok(())
    }
}

/// Some callers name a destination by its path on the host, as in runc.
fn below_root(rootfs: &Path, target: String) -> String {
    match rootfs.to_str().filter(|root| *root != "/").and_then(|root| target.strip_prefix(root)) {
        Some("") => "/".to_owned(),
        Some(inside) if inside.starts_with('/') => inside.to_owned(),
        _ => target,
    }
}

fn becomes_read_only_late(entry: &Entry<'_>) -> bool {
    let kept_writable = matches!(entry.kind, Kind::New("tmpfs"))
        || (entry.target == "/dev" && matches!(entry.kind, Kind::New(_)));
    kept_writable && entry.options.read_only()
}

fn open(draft: &mut Draft, entry: &Entry<'_>, source: &Path, recursive: bool, slot: u32) -> Result<()> {
    let step = Step::OpenTree { source: path("a mount source", source)?, slot, recursive };
    let sentence = format!("open {} to mount it on {}", source.display(), entry.target);
    draft.about(Subject::Mount(entry.index), sentence, &step);
    Ok(())
}

/// Attributes of the mount, and unless it is a bind mount the file system's own options.
fn remount(draft: &mut Draft, entry: &Entry<'_>) -> Result<()> {
    let subject = Subject::Mount(entry.index);
    let words = entry.options.filesystem_words();
    if entry.options.bind.is_none() && !words.is_empty() {
        let words = list("a mount option", &words)?;
        let target = text("a mount target", &entry.target)?;
        let step = Step::Reconfigure { target, options: Strings(&words) };
        draft.about(subject, format!("change options of {}", entry.target), &step);
    }
    let (top, tree) = (entry.options.change(), entry.options.recursive_change());
    for (Change { set, clear }, recursive) in [(top, false), (tree, true)] {
        if (set, clear) != (0, 0) {
            let target = text("a mount target", &entry.target)?;
            let step = Step::Remount { target, set, clear, recursive };
            draft.about(subject, format!("remount {}", entry.target), &step);
        }
    }
    Ok(())
}

fn kind<'a>(
    request: &ContainerRequest<'a>,
    spaces: &Spaces<'_>,
    mount: &'a Mount,
    options: &Options,
    found: Option<&'a Found>,
) -> Result<Kind<'a>> {
    let destination = || mount.destination.clone();
    let fstype = mount.kind.as_deref();
    if options.remount {
        return Ok(Kind::Remount);
    }
    if options.bind.is_some() || fstype == Some("bind") {
        let source =
            mount.source.as_deref().ok_or_else(|| PlanError::NoSource { destination: destination() })?;
        if let Some(Found { symlink: Some(content), .. }) = found.filter(|_| options.copy_symlink) {
            return Ok(Kind::Link(content));
        }
        let recursive = options.bind == Some(true);
        return Ok(Kind::Bind { source: request.bundle.join(source), recursive });
    }
    match fstype {
        None | Some("none") => Err(PlanError::NoType { destination: destination() }),
        Some("cgroup") => Ok(Kind::Cgroup),
        Some("sysfs") if spaces.sysfs_is_foreign(request.machine) => Ok(Kind::HostSys),
        Some(other) if options.copy_up && other != "tmpfs" => {
            Err(PlanError::CopyUp { destination: destination(), kind: other.to_owned() })
        }
        Some(fstype) => Ok(Kind::New(fstype)),
    }
}

/// /proc belongs to the kernel: security modules, masks and we ourselves rely on what it says.
fn check_target(target: &str, kind: &Kind<'_>, found: &Found) -> Result<()> {
    if matches!(kind, Kind::Remount) {
        return Ok(());
    }
    if target == "/" {
        return Err(PlanError::OverRoot(target.to_owned()));
    }
    if target == "/proc" {
        let is_proc = match kind {
            Kind::Bind { .. } => found.procfs,
            Kind::New(fstype) => *fstype == "proc",
            _ => false,
        };
        return if is_proc { Ok(()) } else { Err(PlanError::NotProc(target.to_owned())) };
    }
    if target.starts_with("/proc/") && !INSIDE_PROC.contains(&target) {
        return Err(PlanError::InProc(target.to_owned()));
    }
    Ok(())
}

fn mapped(
    request: &ContainerRequest<'_>,
    spaces: &Spaces<'_>,
    mount: &Mount,
    options: &Options,
    kind: &Kind<'_>,
) -> Result<Option<Mapped>> {
    let linux = request.spec.linux.as_ref();
    let container: (&[IdMapping], &[IdMapping]) =
        linux.map_or((&[], &[]), |linux| (&linux.uid_mappings, &linux.gid_mappings));
    let Some(mapped) = idmap::of_mount(mount, options.id_map.as_ref(), spaces, container)? else {
        return Ok(None);
    };
    let destination = mount.destination.clone();
    if !request.machine.capable {
        return Err(PlanError::RootlessMappings { destination });
    }
    match kind {
        Kind::Bind { .. } => Ok(Some(mapped)),
        Kind::New(fstype) if spaces.has(CLONE_NEWUSER) => {
            Err(PlanError::MappedFilesystem { destination, kind: (*fstype).to_owned() })
        }
        Kind::New(_) => Ok(Some(mapped)),
        Kind::HostSys | Kind::Remount | Kind::Link(_) | Kind::Cgroup => Ok(None),
    }
}

/// The kernel takes values of up to 255 bytes one by one: a longer list of lower directories is given in parts.
fn short_enough(word: String) -> Vec<String> {
    const LONGEST: usize = 255;
    let Some(layers) = word.strip_prefix("lowerdir=").filter(|layers| layers.len() > LONGEST) else {
        return vec![word];
    };
    let (mut parts, mut layer, mut key) = (Vec::new(), String::new(), "lowerdir+");
    let mut letters = layers.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => layer.extend(letters.next()),
            ':' => {
                parts.push(format!("{key}={layer}"));
                layer.clear();
                // Behind two colons come layers that only hold data.
                if letters.next_if_eq(&':').is_some() {
                    key = "datadir+";
                }
            }
            other => layer.push(other),
        }
    }
    parts.push(format!("{key}={layer}"));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_of_layers_are_split() {
        assert_eq!(short_enough("lowerdir=/a:/b".to_owned()), ["lowerdir=/a:/b"]);
        let long = "x".repeat(200);
        assert_eq!(
            short_enough(format!("lowerdir=/a\\:b/{long}:/c::/d/{long}")),
            [format!("lowerdir+=/a:b/{long}"), "lowerdir+=/c".to_owned(), format!("datadir+=/d/{long}")]
        );
        assert_eq!(short_enough(format!("upperdir=/{long}{long}")).len(), 1);
    }
}
