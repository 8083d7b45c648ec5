//! `-v`, `--mount`, `--tmpfs`.

use std::path::{Path, PathBuf};

use cais_engine::{MountKind, MountRequest, OwnersRequest};

use super::{Result, absolute, flag};
use crate::failure::Failure;

type Parsed<T> = std::result::Result<T, String>;

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// All mounts: volumes first, then `--mount`, then `--tmpfs`; two at one target are refused.
pub(super) fn mounts(
    volumes: &[String],
    mounts: &[String],
    tmpfs: &[String],
    directory: &Path,
) -> Result<Vec<MountRequest>> {
    let mut all = Vec::new();
    for text in volumes {
        all.push(volume(text, directory).map_err(flag("volume"))?);
    }
    for text in mounts {
        all.push(mount(text, directory).map_err(flag("mount"))?);
    }
    for text in tmpfs {
        all.push(tmpfs_mount(text).map_err(flag("tmpfs"))?);
    }
    for (at, mount) in all.iter().enumerate() {
        if all[..at].iter().any(|other| other.target == mount.target) {
            return Err(Failure::usage(format!("duplicate mount point: {}", mount.target)));
        }
    }
    Ok(all)
}

/// The target, cleaned; it is absolute and not the root.
fn target(text: &str) -> Parsed<String> {
    if !text.starts_with('/') {
        return Err(format!("invalid target {text:?}: the path in the container must be absolute"));
    }
    let clean = absolute(Path::new("/"), text);
    if clean == Path::new("/") {
        return Err("invalid target: the container's root cannot be a mount point".into());
    }
    Ok(clean.to_string_lossy().into_owned())
}

/// Docker's rule for the names of volumes.
fn is_volume_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && name.len() > 1
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// `[source:]target[:options]`
fn volume(text: &str, directory: &Path) -> Parsed<MountRequest> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, path, options) = match parts[..] {
        [path] => ("", path, ""),
        [source, path] if !source.is_empty() => (source, path, ""),
        [source, path, options] if !source.is_empty() => (source, path, options),
        [_, _, _, _, ..] => return Err(format!("invalid volume {text:?}: too many colons")),
        _ => return Err(format!("invalid volume {text:?}: expected source:target[:options]")),
    };
    let mut mount = MountRequest { target: target(path)?, create_source: true, ..MountRequest::default() };
    if source.starts_with(['/', '.']) {
        mount.kind = MountKind::Bind;
        mount.source = absolute(directory, source).to_string_lossy().into_owned();
    } else if source.is_empty() || is_volume_name(source) {
        mount.source = source.to_owned();
    } else {
        return Err(format!(
            "{source:?} includes invalid characters for the name of a volume (letters, digits, '_', '.', '-'); \
             to mount a directory of the host use an absolute path or one that begins with ./"
        ));
    }
    volume_options(&mut mount, options)?;
    Ok(mount)
}

fn volume_options(mount: &mut MountRequest, options: &str) -> Parsed<()> {
    let bind = mount.kind == MountKind::Bind;
    let mut access = None;
    let mut directories = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" | "rw" if access.is_none() => access = Some(option),
            "ro" | "rw" => return Err(format!("invalid mode {options:?}: ro and rw exclude each other")),
            // Labels and consistency matter only where there is SELinux, or a virtual machine between.
            "z" | "Z" | "cached" | "delegated" | "consistent" | "default" => {}
            "rbind" if bind => {}
            "bind" if bind => mount.non_recursive = true,
            "nocopy" if !bind => mount.no_copy = true,
            "copy" if !bind => {}
            "nocopy" | "copy" => {
                return Err(format!("{option} is for volumes, not for directories of the host"));
            }
            "U" | "idmap" => owners(mount, option)?,
            option if option.starts_with("idmap=") => owners(mount, option)?,
            "O" => drop(mount.overlay.get_or_insert_default()),
            option if option.starts_with("upperdir=") || option.starts_with("workdir=") => {
                directories.push(option);
            }
            option if PROPAGATIONS.contains(&option) => {
                if !bind {
                    return Err(format!("{option} is for directories of the host, not for volumes"));
                }
                if mount.propagation.replace(option.to_owned()).is_some() {
                    return Err(format!("invalid mode {options:?}: more than one propagation"));
                }
            }
            _ => return Err(format!("invalid mode: {option}")),
        }
    }
    mount.read_only = access == Some("ro");
    overlay_directories(mount, &directories)
}

/// `upperdir=` and `workdir=` of an overlay: both or none.
fn overlay_directories(mount: &mut MountRequest, options: &[&str]) -> Parsed<()> {
    let directory = |key: &str| options.iter().find_map(|option| option.strip_prefix(key));
    let kept = match (directory("upperdir="), directory("workdir=")) {
        (None, None) => return Ok(()),
        (Some(upper), Some(work)) if upper.starts_with('/') && work.starts_with('/') => {
            (PathBuf::from(upper), PathBuf::from(work))
        }
        (Some(_), Some(_)) => return Err("upperdir and workdir are absolute paths".into()),
        _ => return Err("upperdir and workdir need each other".into()),
    };
    match &mut mount.overlay {
        Some(overlay) => overlay.kept = Some(kept),
        None => return Err("upperdir and workdir need the option O".into()),
    }
    Ok(())
}

/// `type=…,source=…,target=…,…`
fn mount(text: &str, directory: &Path) -> Parsed<MountRequest> {
    let fields = csv_fields(text)?;
    let mut mount = MountRequest::default();
    let kind = fields.iter().rev().find_map(|field| field.strip_prefix("type="));
    mount.kind = match kind.map(str::to_ascii_lowercase).as_deref() {
        None | Some("volume") => MountKind::Volume,
        Some("bind") => MountKind::Bind,
        Some("tmpfs") => MountKind::Tmpfs,
        Some("npipe" | "cluster") => {
            return Err("mounts of this type exist on Windows and in swarms only".into());
        }
        Some("image") => MountKind::Image,
        Some("ramfs") => MountKind::Ramfs,
        Some("devpts") => MountKind::Devpts,
        Some(other @ ("glob" | "artifact")) => {
            return Err(format!("mounts of type {other} are not supported yet"));
        }
        Some(other) => {
            return Err(format!("unknown type {other:?}: use bind, volume, tmpfs, image, ramfs or devpts"));
        }
    };
    mount.read_only = mount.kind == MountKind::Image;
    for field in &fields {
        mount_field(&mut mount, field, directory)?;
    }
    if mount.target.is_empty() {
        return Err("target is required".into());
    }
    match mount.kind {
        MountKind::Bind if mount.source.is_empty() => Err("source is required for type bind".into()),
        MountKind::Image if mount.source.is_empty() => Err("source is required for type image".into()),
        MountKind::Tmpfs | MountKind::Ramfs | MountKind::Devpts if !mount.source.is_empty() => {
            Err("a new file system has no source".into())
        }
        MountKind::Bind if mount.writable_beneath && !mount.read_only => {
            Err("bind-recursive=writable and =readonly need readonly".into())
        }
        MountKind::Volume if !mount.source.is_empty() && !is_volume_name(&mount.source) => Err(format!(
            "{:?} is not the name of a volume; for a directory of the host add type=bind",
            mount.source
        )),
        _ => Ok(mount),
    }
}

fn mount_field(mount: &mut MountRequest, field: &str, directory: &Path) -> Parsed<()> {
    let (key, value) = field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)));
    let key = key.to_ascii_lowercase();
    let kind = match key.split_once('-') {
        Some(("bind", _)) => Some((MountKind::Bind, "bind")),
        Some(("volume", _)) => Some((MountKind::Volume, "volume")),
        Some(("tmpfs", "mode")) if mount.kind == MountKind::Ramfs => None,
        Some(("tmpfs", _)) => Some((MountKind::Tmpfs, "tmpfs")),
        Some(("image", _)) => Some((MountKind::Image, "image")),
        _ => None,
    };
    if let Some((_, name)) = kind.filter(|(kind, _)| *kind != mount.kind) {
        return Err(format!("{key} is for mounts of type {name}"));
    }
    let truth = || match value {
        None => Ok(true),
        Some(value) => crate::parse::parse_bool(value).map_err(|e| format!("{key}={value}: {e}")),
    };
    let text = || value.ok_or_else(|| format!("invalid field {field:?}: must be key=value"));
    match key.as_str() {
        "type" => {}
        "source" | "src" => {
            mount.source = text()?.to_owned();
            if mount.kind == MountKind::Bind {
                if !mount.source.starts_with(['/', '.']) {
                    return Err(format!(
                        "invalid source {:?}: the path must be absolute or begin with ./",
                        mount.source
                    ));
                }
                mount.source = absolute(directory, &mount.source).to_string_lossy().into_owned();
            }
        }
        "target" | "dst" | "destination" => mount.target = target(text()?)?,
        "readonly" | "ro" => mount.read_only = truth()?,
        "rw" | "readwrite" => mount.read_only = !truth()?,
        "consistency" | "relabel" => {}
        "bind-propagation" => {
            let propagation = text()?;
            if !PROPAGATIONS.contains(&propagation) {
                return Err(format!(
                    "unknown propagation {propagation:?}: use one of {}",
                    PROPAGATIONS.join(", ")
                ));
            }
            mount.propagation = Some(propagation.to_owned());
        }
        "bind-nonrecursive" => mount.non_recursive = truth()?,
        "bind-recursive" => match text()? {
            // What is mounted beneath a read-only directory is read-only anyway.
            "enabled" | "true" | "readonly" => {}
            "disabled" | "false" => mount.non_recursive = true,
            "writable" => mount.writable_beneath = true,
            other => {
                return Err(format!("bind-recursive={other}: use enabled, disabled, writable or readonly"));
            }
        },
        "bind-create-src" => mount.create_source = truth()?,
        "volume-nocopy" => mount.no_copy = truth()?,
        "volume-driver" if value == Some("local") => {}
        "tmpfs-size" => mount.tmpfs_size_bytes = Some(crate::size::parse_bytes(text()?)?),
        "tmpfs-mode" => mount.tmpfs_mode = Some(mode(text()?)?),
        "u" | "chown" | "idmap" if mount.kind == MountKind::Tmpfs => {
            return Err(format!("{key} is for directories of the host and volumes"));
        }
        "u" | "chown" if truth()? => owners(mount, "U")?,
        "u" | "chown" => {}
        "idmap" => owners(mount, field)?,
        "volume-opt" => drop(pair(text()?, &key).map(|(k, v)| mount.volume_options.insert(k, v))?),
        "volume-label" => drop(pair(text()?, &key).map(|(k, v)| mount.volume_labels.insert(k, v))?),
        "volume-subpath" | "image-subpath" => mount.subpath = Some(subpath(text()?)?),
        "subpath" if matches!(mount.kind, MountKind::Volume | MountKind::Image) => {
            mount.subpath = Some(subpath(text()?)?);
        }
        "uid" | "gid" | "mode" | "max" if mount.kind == MountKind::Devpts => {
            mount.options.push(format!("{key}={}", text()?));
        }
        "volume-driver" => return Err(format!("{field}: there is no other volume driver than local")),
        "tmpfs-options" | "subpath" | "notmpcopyup" => {
            return Err(format!("{key} is not supported yet"));
        }
        _ => return Err(format!("unexpected key {key:?} in {field:?}")),
    }
    Ok(())
}

/// `KEY=VALUE` or `KEY`.
fn pair(text: &str, field: &str) -> Parsed<(String, String)> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    match key {
        "" => Err(format!("{field}: expected {field}=KEY=VALUE")),
        key => Ok((key.to_owned(), value.to_owned())),
    }
}

/// Within the volume or image.
fn subpath(text: &str) -> Parsed<String> {
    let within = text.trim_start_matches('/');
    if within.is_empty() || within.split('/').any(|part| part == "..") {
        return Err(format!("subpath {text:?}: must be a path within the volume or image"));
    }
    Ok(within.to_owned())
}

/// `U`, `idmap` or `idmap=MAPS`; a truth value means the container's own maps.
fn owners(mount: &mut MountRequest, option: &str) -> Parsed<()> {
    let maps = option.split_once('=').map_or("", |(_, maps)| maps);
    let owners = match (option, maps) {
        ("U", _) => OwnersRequest::Changed,
        (_, "" | "true") => OwnersRequest::Mapped,
        (_, maps) if cais_oci::runtime::idmap_option(maps, (&[], &[])).is_none() && !maps.contains('@') => {
            return Err(format!("{option:?}: expected idmap=uids=0-1000-10;gids=0-1000-10"));
        }
        (_, maps) => OwnersRequest::MappedBy(maps.to_owned()),
    };
    if std::mem::replace(&mut mount.owners, owners) != OwnersRequest::Default {
        return Err("U and idmap exclude each other".to_owned());
    }
    Ok(())
}

fn mode(text: &str) -> Parsed<u32> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| format!("{text:?} is not an octal mode such as 1777"))
}

/// Fields of one line of CSV (RFC 4180): separated by commas, a field in double quotes may hold some.
fn csv_fields(text: &str) -> Parsed<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => csv_quoted(quoted).ok_or_else(|| format!("{text}: unbalanced quotes"))?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        if field.is_empty() {
            return Err(format!("{text}: a field is empty"));
        }
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err(format!("{text}: a comma is missing after the quotes")),
        }
    }
}

fn csv_quoted(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, rest)),
        }
    }
}

/// `/path[:options]`
fn tmpfs_mount(text: &str) -> Parsed<MountRequest> {
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    let mut mount = MountRequest { kind: MountKind::Tmpfs, target: target(path)?, ..MountRequest::default() };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match (key, value) {
            ("size", percent) if percent.ends_with('%') => mount.options.push(option.to_owned()),
            ("size", size) => mount.tmpfs_size_bytes = Some(crate::size::parse_bytes(size)?),
            ("mode", octal) => mount.tmpfs_mode = Some(mode(octal)?),
            ("ro", "") => mount.read_only = true,
            ("rw" | "tmpcopyup" | "notmpcopyup", "") => {}
            (
                "exec" | "noexec" | "suid" | "nosuid" | "dev" | "nodev" | "sync" | "async" | "dirsync"
                | "atime" | "noatime" | "diratime" | "nodiratime" | "relatime" | "norelatime" | "strictatime"
                | "nostrictatime" | "nosymfollow",
                "",
            ) => mount.options.push(option.to_owned()),
            ("uid" | "gid" | "nr_inodes" | "nr_blocks" | "mpol" | "huge", value) if !value.is_empty() => {
                mount.options.push(option.to_owned());
            }
            _ => return Err(format!("{text}: unknown option {option:?}")),
        }
    }
    Ok(mount)
}
