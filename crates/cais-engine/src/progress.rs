//! Progress of long work, told to the door as events; the engine never draws.

use cais_oci::Digest;

/// What happens to one layer of a pull, load, push or save.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerEvent {
    /// Known, not begun.
    Waiting,
    /// Already in the store.
    Exists,
    /// Bytes received so far of a total (compressed).
    Downloading {
        /// Received.
        done_bytes: u64,
        /// Of so many, from the manifest.
        total_bytes: u64,
    },
    /// Unpacked and verified.
    Done,
    /// Being compressed, for another place.
    Packing,
    /// Bytes sent so far of a total (compressed).
    Uploading {
        /// Sent.
        done_bytes: u64,
        /// Of so many.
        total_bytes: u64,
    },
    /// The registry has it already.
    Present,
    /// The registry has taken it from another of its repositories.
    Mounted {
        /// That repository.
        from: String,
    },
    /// The registry has it now.
    Pushed,
    /// It is in the archive.
    Saved,
}

/// Receives events; may be called from several threads.
pub trait Progress: Sync {
    /// A line of text, such as `latest: Pulling from library/busybox`.
    fn message(&self, text: &str);
    /// Something happened to a layer, named by the digest of its blob.
    fn layer(&self, digest: &Digest, event: LayerEvent);
    /// Something the user should know on stderr.
    fn warn(&self, text: &str);
}
