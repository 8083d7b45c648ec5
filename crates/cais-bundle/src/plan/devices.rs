//! Device files: those of the configuration, the default ones, and the links beside them; config-linux.md "Devices".
//!
//! Made where that is possible, else bound from the host. A default device gives way to one of the configuration with the
//! same path. /dev/ptmx is always the link to the container's own devpts. Nothing is made in a /dev that a bind mount
//! brings.

use std::path::{Path, PathBuf};

use cais_oci::runtime::{Device, DeviceType};
use cais_plan::{Step, Str};
use cais_runtime::capability::Capability;

use super::ContainerRequest;
use super::draft::{Draft, PASSING_SLOT, clean, path, text};
use super::error::{PlanError, Result};
use super::namespaces::Spaces;
use super::numbers::{CLONE_NEWUSER, PERMISSIONS, S_IFBLK, S_IFCHR, S_IFIFO, device_number};

const DEFAULT: [(&str, i64, i64); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/random", 1, 8),
    ("/dev/full", 1, 7),
    ("/dev/tty", 5, 0),
    ("/dev/zero", 1, 5),
    ("/dev/urandom", 1, 9),
];

const LINKS: [(&str, &str); 6] = [
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
];

/// One device file.
struct Node {
    target: String,
    /// Type and permissions.
    mode: u32,
    number: u64,
    uid: u32,
    gid: u32,
    /// The host's file that is bound; `None` = made.
    bound: Option<PathBuf>,
    /// It was opened early, into this slot.
    slot: Option<u32>,
}

/// The device files of a container.
pub struct Devices {
    nodes: Vec<Node>,
}

impl Devices {
    /// Collects them.
    pub fn of(request: &ContainerRequest<'_>, spaces: &Spaces<'_>) -> Result<Devices> {
        let own = request.spec.linux.as_ref().map_or(&[][..], |linux| &linux.devices);
        let binds = spaces.has(CLONE_NEWUSER)
            || request.machine.user_namespace
            || !request.machine.bounding.contains(Capability::MKNOD);
        let mut nodes = Vec::with_capacity(DEFAULT.len() + own.len());
        for (target, major, minor) in DEFAULT {
            if own.iter().any(|device| clean(&device.path) == target) {
                continue;
            }
            let device = Device {
                path: target.to_owned(),
                kind: DeviceType::Char,
                major,
                minor,
                file_mode: None,
                uid: None,
                gid: None,
            };
            nodes.push(node(&device, binds, None)?);
        }
        for (index, device) in own.iter().enumerate() {
            if clean(&device.path) == "/dev/ptmx" {
                continue;
            }
            let source =
                request.device_sources.iter().find(|(of, _)| *of == index).map(|(_, path)| path.as_path());
            nodes.push(node(device, binds, source)?);
        }
        Ok(Devices { nodes })
    }

    /// Opens the host's files before the user namespace is entered.
    pub fn open_early(&mut self, draft: &mut Draft) -> Result<()> {
        for node in &mut self.nodes {
            if let Some(source) = &node.bound {
                let slot = draft.slot()?;
                open(draft, source, slot)?;
                node.slot = Some(slot);
            }
        }
        Ok(())
    }

    /// Makes or binds them, and the links.
    pub fn make(&self, draft: &mut Draft) -> Result<()> {
        for node in &self.nodes {
            let target = text("a device path", &node.target)?;
            let Some(source) = &node.bound else {
                let (mode, device, uid, gid) = (node.mode, node.number, node.uid, node.gid);
                let step = Step::Device { path: target, mode, device, uid, gid };
                draft.step(format!("make the device {}", node.target), &step);
                continue;
            };
            let slot = match node.slot {
                Some(slot) => slot,
                None => {
                    open(draft, source, PASSING_SLOT)?;
                    PASSING_SLOT
                }
            };
            let sentence = format!("mount {} on {}", source.display(), node.target);
            draft.step(sentence, &Step::BindNode { slot, path: target });
        }
        for (link, content) in LINKS {
            let step = Step::Symlink { content: Str(content.as_bytes()), path: Str(link.as_bytes()) };
            draft.step(format!("make the link {link}"), &step);
        }
        Ok(())
    }
}

fn open(draft: &mut Draft, source: &Path, slot: u32) -> Result<()> {
    let step = Step::OpenTree { source: path("a device path", source)?, slot, recursive: false };
    draft.step(format!("open the device {}", source.display()), &step);
    Ok(())
}

fn node(device: &Device, binds: bool, source: Option<&Path>) -> Result<Node> {
    let target = clean(&device.path);
    if target == "/" || device.path.ends_with('/') {
        return Err(PlanError::DevicePath(device.path.clone()));
    }
    let kind = match device.kind {
        DeviceType::Block => S_IFBLK,
        DeviceType::Char | DeviceType::Unbuffered => S_IFCHR,
        DeviceType::Pipe => S_IFIFO,
    };
    let number = match device.kind {
        DeviceType::Pipe => 0,
        _ => device_number(device.major, device.minor).ok_or_else(|| PlanError::DeviceNumber {
            path: device.path.clone(),
            major: device.major,
            minor: device.minor,
        })?,
    };
    // A pipe can be made by anybody, anywhere.
    let binds = binds && device.kind != DeviceType::Pipe;
    let bound = binds.then(|| source.map_or_else(|| PathBuf::from(&target), Path::to_path_buf));
    Ok(Node {
        target,
        mode: kind | (device.file_mode.unwrap_or(0o666) & PERMISSIONS),
        number,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
        bound,
        slot: None,
    })
}
