//! Where everything lies; the only file that knows it.
//!
//! ```text
//! root/VERSION                        format of the store, one line
//! root/blobs/sha256/<hex>             manifests, configs, compressed layers, byte for byte as received
//! root/layers/<diff_id hex>/fs/       an unpacked layer
//! root/layers/<diff_id hex>/meta.json
//! root/layers/<diff_id hex>/disk      what the layer takes on the disk without this file, in bytes; made when first asked for
//! root/layers/<diff_id hex>/packed.json  blobs that were made of it here, if any
//! root/layers/<diff_id hex>/implied   directories that its tar has no entry for, if any, separated by NUL
//! root/images/<image id hex>.json     all that `run` and `inspect` need of an image
//! root/refs/<escaped reference>       image id and reference, one line each
//! root/containers/<64 hex>/…          record.json, exit, restart.json, health.json, log, hosts, …
//! root/names/<name>                   symlink whose text is the id of the container of that name
//! root/volumes/<name>/…               volume.json, _data/
//! root/pods/<64 hex>.json             a pod; which containers are in it is in their records
//! root/events/                        what happened, a line of JSON each: `now`, and older files by number
//! root/ingest/                        what is on its way in; only files whose lock is held mean anything
//! root/trash/                         what is on its way out
//! root/gc.lock                        shared: something is being made reachable; exclusive: mark and rename
//! run/containers/<64 hex>/…           lock, ctl, facts.json, pausing
//! run/gone/<64 hex>/                  a run directory that is being removed
//! run/boot-id                         boot in which the run directory was made
//! ```

use std::path::{Path, PathBuf};

use cais_oci::{Digest, Reference};

/// Longest file name that a reference is escaped to; longer ones are named by their digest.
const REFERENCE_NAME_MAX_LEN: usize = 200;

/// The paths of one store.
#[derive(Clone, Debug)]
pub struct Paths {
    root: PathBuf,
    run: PathBuf,
}

impl Paths {
    pub(crate) fn new(root: &Path, run: &Path) -> Paths {
        Paths { root: root.to_owned(), run: run.to_owned() }
    }

    /// The durable root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The run directory.
    pub fn run(&self) -> &Path {
        &self.run
    }

    pub(crate) fn version(&self) -> PathBuf {
        self.root.join("VERSION")
    }

    pub(crate) fn gc_lock(&self) -> PathBuf {
        self.root.join("gc.lock")
    }

    /// Directories below the root and their modes.
    pub(crate) fn directories(&self) -> [(PathBuf, u32); 11] {
        // Searchable where a container's user may have to pass on the way to an overlay, closed elsewhere.
        [
            (self.root.join("blobs"), 0o700),
            (self.blobs(), 0o700),
            (self.layers(), 0o711),
            (self.images(), 0o700),
            (self.refs(), 0o700),
            (self.containers(), 0o711),
            (self.names(), 0o700),
            (self.volumes(), 0o711),
            (self.pods(), 0o700),
            (self.ingest(), 0o700),
            (self.trash(), 0o700),
        ]
    }

    /// Where blobs lie.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    /// The blob of this digest; the digest must be a key of the store.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// Where layers lie.
    pub fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(crate) fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex())
    }

    /// The unpacked tree of a layer.
    pub fn layer_fs(&self, diff_id: &Digest) -> PathBuf {
        self.layer(diff_id).join(LAYER_FS)
    }

    /// Where image records lie.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(crate) fn image(&self, id: &Digest) -> PathBuf {
        self.images().join(format!("{}.json", id.hex()))
    }

    pub(crate) fn refs(&self) -> PathBuf {
        self.root.join("refs")
    }

    pub(crate) fn reference(&self, reference: &Reference) -> PathBuf {
        self.refs().join(reference_file_name(&reference.to_string()))
    }

    /// Where containers lie.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// Directory of a container.
    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }

    /// The container's record.
    pub fn container_record(&self, id: &str) -> PathBuf {
        self.container(id).join("record.json")
    }

    /// Its record before it has its name.
    pub(crate) fn container_draft(&self, id: &str) -> PathBuf {
        self.container(id).join("record.new")
    }

    /// How its last run ended; written by the shim.
    pub fn container_exit(&self, id: &str) -> PathBuf {
        self.container(id).join("exit")
    }

    /// What its restart policy remembers.
    pub(crate) fn container_restart(&self, id: &str) -> PathBuf {
        self.container(id).join("restart.json")
    }

    /// Is there when somebody wants it to be down.
    pub(crate) fn container_stopped(&self, id: &str) -> PathBuf {
        self.container(id).join("stopped")
    }

    /// Is there when it ends because it is unhealthy.
    pub(crate) fn container_unhealthy(&self, id: &str) -> PathBuf {
        self.container(id).join("unhealthy")
    }

    /// Whom the kernel killed for memory in the last run that it did so.
    pub(crate) fn container_oom(&self, id: &str) -> PathBuf {
        self.container(id).join("oom.json")
    }

    /// Its health.
    pub(crate) fn container_health(&self, id: &str) -> PathBuf {
        self.container(id).join("health.json")
    }

    /// Held by who changes its health.
    pub(crate) fn container_health_lock(&self, id: &str) -> PathBuf {
        self.container(id).join("health.lock")
    }

    /// Is there when another container requires it, or did.
    pub(crate) fn container_required(&self, id: &str) -> PathBuf {
        self.container(id).join("required")
    }

    /// Who of us ended its last run, and how.
    pub fn container_ending(&self, id: &str) -> PathBuf {
        self.container(id).join("ending")
    }

    /// Where the changes of its mount with this index go.
    pub fn container_mount(&self, id: &str, index: usize) -> PathBuf {
        self.container(id).join(format!("mount-{index}"))
    }

    /// Where its checkpoints lie unless somebody wants them elsewhere.
    pub fn container_checkpoints(&self, id: &str) -> PathBuf {
        self.container(id).join("checkpoints")
    }

    /// Its log.
    pub fn container_log(&self, id: &str) -> PathBuf {
        self.container(id).join("log")
    }

    /// Its `/etc/hosts`.
    pub fn container_hosts(&self, id: &str) -> PathBuf {
        self.container(id).join("hosts")
    }

    /// Its `/etc/hostname`.
    pub fn container_hostname(&self, id: &str) -> PathBuf {
        self.container(id).join("hostname")
    }

    /// Its `/etc/resolv.conf`.
    pub fn container_resolv_conf(&self, id: &str) -> PathBuf {
        self.container(id).join("resolv.conf")
    }

    /// Its writable layer.
    pub fn container_upper(&self, id: &str) -> PathBuf {
        self.container(id).join("upper")
    }

    /// Its image with other owners, where they cannot be mapped.
    pub fn container_shifted(&self, id: &str) -> PathBuf {
        self.container(id).join("shifted")
    }

    /// Overlay's work directory.
    pub fn container_work(&self, id: &str) -> PathBuf {
        self.container(id).join("work")
    }

    pub(crate) fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    pub(crate) fn name(&self, name: &str) -> PathBuf {
        self.names().join(name)
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// Directory of a volume.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.volumes().join(name)
    }

    /// Data of a volume.
    pub fn volume_data(&self, name: &str) -> PathBuf {
        self.volume(name).join(VOLUME_DATA)
    }

    /// Where pods lie.
    pub(crate) fn pods(&self) -> PathBuf {
        self.root.join("pods")
    }

    /// A pod's record.
    pub(crate) fn pod(&self, id: &str) -> PathBuf {
        self.pods().join(format!("{id}.json"))
    }

    /// Where events lie.
    pub(crate) fn events(&self) -> PathBuf {
        self.root.join("events")
    }

    pub(crate) fn ingest(&self) -> PathBuf {
        self.root.join("ingest")
    }

    /// Shared by whoever brings something in; who gets it exclusively knows that all of `ingest/` is left over.
    pub(crate) fn ingest_lock(&self) -> PathBuf {
        self.ingest().join("lock")
    }

    /// Complete, verified, not yet durable layers of this boot.
    pub(crate) fn ready(&self, boot_id: &str) -> PathBuf {
        self.ingest().join(format!("ready-{boot_id}"))
    }

    /// Held by whoever fetches this layer.
    pub(crate) fn layer_lock(&self, diff_id: &Digest) -> PathBuf {
        self.ingest().join(format!("{}.lock", diff_id.hex()))
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    /// Where run directories of containers lie.
    pub fn run_containers(&self) -> PathBuf {
        self.run.join("containers")
    }

    /// Run directory of a container.
    pub fn run_container(&self, id: &str) -> PathBuf {
        self.run_containers().join(id)
    }

    /// A run directory on its way out.
    pub fn run_gone(&self, id: &str) -> PathBuf {
        self.run.join("gone").join(id)
    }

    /// Locked by the shim as long as it lives.
    pub fn run_lock(&self, id: &str) -> PathBuf {
        self.run_container(id).join("lock")
    }

    /// Names of the volumes that were mounted for its run, one on a line.
    pub fn run_volumes(&self, id: &str) -> PathBuf {
        self.run_container(id).join("volumes")
    }

    /// The shim's socket.
    pub fn run_ctl(&self, id: &str) -> PathBuf {
        self.run_container(id).join("ctl")
    }

    /// Made by who reports the end of the run, once.
    pub(crate) fn run_ended(&self, id: &str) -> PathBuf {
        self.run_container(id).join("ended")
    }

    /// Facts of the present run.
    pub fn run_facts(&self, id: &str) -> PathBuf {
        self.run_container(id).join("facts.json")
    }

    /// The group in which the container's is, when it is not the usual one.
    pub fn run_cgroup_parent(&self, id: &str) -> PathBuf {
        self.run_container(id).join("cgroup-parent")
    }

    /// Locked by whoever lets the container stand still for a moment.
    pub fn run_pausing(&self, id: &str) -> PathBuf {
        self.run_container(id).join("pausing")
    }

    /// Addresses given out, one file each, named by the address and holding the container's id.
    pub fn leases(&self) -> PathBuf {
        self.run.join("leases")
    }

    /// Held by whoever chooses ids that no other container has.
    pub fn id_ranges_lock(&self) -> PathBuf {
        self.run.join("id-ranges.lock")
    }

    /// The subnet of the default bridge, chosen once a boot.
    pub fn bridge_subnet(&self) -> PathBuf {
        self.run.join("bridge")
    }

    /// The lowest layer of what `debug` shows beside a container: mount points that a tools image may lack.
    pub fn debug_floor(&self) -> PathBuf {
        self.run.join("debug")
    }

    /// Empty directory on which roots are mounted, each in its own mount namespace.
    pub fn mountpoint(&self) -> PathBuf {
        self.run.join("root")
    }

    pub(crate) fn boot_id(&self) -> PathBuf {
        self.run.join("boot-id")
    }
}

/// Within a layer's directory.
pub(crate) const LAYER_FS: &str = "fs";
/// Within a layer's directory.
pub(crate) const LAYER_META: &str = "meta.json";
/// Within a layer's directory.
pub(crate) const LAYER_DISK: &str = "disk";
/// Within a layer's directory.
pub(crate) const LAYER_PACKED: &str = "packed.json";
/// Within a layer's directory.
pub(crate) const LAYER_IMPLIED: &str = "implied";
/// Within a staged layer's directory: its compressed blob.
pub(crate) const LAYER_BLOB: &str = "blob";
/// Within a volume's directory.
pub(crate) const VOLUME_RECORD: &str = "volume.json";
/// Within a volume's directory.
pub(crate) const VOLUME_DATA: &str = "_data";
/// Files beside their final name begin so; lists skip them.
pub(crate) const TEMPORARY_PREFIX: &str = ".new-";

/// `docker.io/library/busybox:latest` as one file name: `/` becomes `+`, which no reference holds.
fn reference_file_name(canonical: &str) -> String {
    if canonical.len() > REFERENCE_NAME_MAX_LEN {
        return format!("~{}", Digest::sha256(canonical.as_bytes()).hex());
    }
    canonical.replace('/', "+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_become_file_names() {
        let name = |text: &str| {
            let paths = Paths::new(Path::new("/r"), Path::new("/x"));
            paths.reference(&Reference::parse(text).unwrap()).to_str().unwrap().to_owned()
        };
        assert_eq!(name("busybox"), "/r/refs/docker.io+library+busybox:latest");
        assert_eq!(name("[::1]:5000/a/b:1"), "/r/refs/[::1]:5000+a+b:1");
        let long = format!("registry.example/{}:{}", "a/".repeat(90) + "b", "t".repeat(128));
        assert_eq!(name(&long).len(), "/r/refs/~".len() + 64);
        assert_ne!(name(&long), name(&long[..long.len() - 1]));
    }
}
