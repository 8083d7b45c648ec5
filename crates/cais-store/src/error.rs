//! The store's one error type: operation and object; what a door decides by is the variant. The reason is the source,
//! which `Display` leaves out.

use std::io;
use std::path::{Path, PathBuf};

use cais_layer::LayerError;
use cais_oci::{Digest, ManifestError, ReferenceError};

/// Result of every call of the store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// What can be looked up by a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noun {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A volume.
    Volume,
    /// A pod.
    Pod,
    /// A layer, by its diff_id.
    Layer,
    /// A blob, by its digest.
    Blob,
    /// A checkpoint of a container.
    Checkpoint,
}

impl std::fmt::Display for Noun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Noun::Container => "container",
            Noun::Image => "image",
            Noun::Volume => "volume",
            Noun::Pod => "pod",
            Noun::Layer => "layer",
            Noun::Blob => "blob",
            Noun::Checkpoint => "checkpoint",
        })
    }
}

/// What went wrong, on what, why.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The kernel or the disk refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// A verb, such as `rename`.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store was made by another version of the program.
    #[error(
        "store {} has the format {found:?}, this program knows only {known:?}: use the program that made it, or another root",
        root.display()
    )]
    Version {
        /// The store.
        root: PathBuf,
        /// First line of its VERSION file.
        found: String,
        /// What is expected there.
        known: &'static str,
    },
    /// A file of the store does not hold what it must.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the JSON reader says.
        source: serde_json::Error,
    },
    /// A line of a file of the store does not hold what it must.
    #[error("{} is damaged: {problem}", path.display())]
    DamagedText {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// Nothing of that name.
    #[error("no such {noun}: {name}")]
    NoSuch {
        /// What was looked for.
        noun: Noun,
        /// As typed.
        name: String,
    },
    /// The prefix fits several.
    #[error("{noun} id prefix {prefix} is ambiguous: {}", candidates.join(", "))]
    Ambiguous {
        /// What was looked for.
        noun: Noun,
        /// As typed.
        prefix: String,
        /// Short ids, at most ten.
        candidates: Vec<String>,
    },
    /// The name is in use.
    #[error("{noun} name {name:?} is already in use by {noun} {owner}")]
    NameTaken {
        /// What has the name.
        noun: Noun,
        /// The name.
        name: String,
        /// Short id of its owner.
        owner: String,
    },
    /// The name breaks the grammar.
    #[error(
        "invalid {noun} name {name:?}: only letters, digits, '_', '.' and '-' are allowed, at least two characters, the first a letter or digit"
    )]
    BadName {
        /// What was to be named.
        noun: Noun,
        /// As typed.
        name: String,
    },
    /// The reference breaks the grammar.
    #[error(transparent)]
    BadReference(#[from] ReferenceError),
    /// Containers stand in the way.
    #[error("{noun} {name} is in use by container {}", containers.join(", "))]
    InUse {
        /// What is in use.
        noun: Noun,
        /// Its name.
        name: String,
        /// Short ids.
        containers: Vec<String>,
    },
    /// A container is already running, or being started.
    #[error("container {id} is already running")]
    Running {
        /// Its id.
        id: String,
    },
    /// Content is not what its name says.
    #[error("{what} has the digest {found}, expected {expected}")]
    WrongDigest {
        /// `blob`, `layer` …
        what: &'static str,
        /// By which it was asked for.
        expected: Digest,
        /// Of what came.
        found: Digest,
    },
    /// Content has not the announced length.
    #[error("{what} {digest} has {found} bytes, expected {expected}")]
    WrongSize {
        /// `blob`, `layer` …
        what: &'static str,
        /// Which.
        digest: Digest,
        /// As announced.
        expected: u64,
        /// As received; may be just the first byte too many.
        found: u64,
    },
    /// A digest that the store does not keep content by.
    #[error("{what} {digest}: the digest algorithm is not supported as a key of the store, only sha256 is")]
    UnsupportedDigest {
        /// `blob`, `layer` …
        what: &'static str,
        /// Which.
        digest: Digest,
    },
    /// A layer could not be unpacked.
    #[error("cannot unpack layer {layer}")]
    Layer {
        /// Digest of its blob or its diff_id.
        layer: String,
        /// Why.
        source: LayerError,
    },
    /// A manifest in the store is malformed.
    #[error("manifest {digest} is not usable")]
    Manifest {
        /// Which.
        digest: Digest,
        /// Why.
        source: ManifestError,
    },
    /// Layers of an image vanished between their arrival and its commit, again and again.
    #[error("layers of image {image} were removed while it was being stored: {}", layers.iter().map(Digest::short).collect::<Vec<_>>().join(", "))]
    LayersVanished {
        /// The image.
        image: Digest,
        /// Their diff ids.
        layers: Vec<Digest>,
    },
}

impl StoreError {
    /// For `map_err`: wraps an I/O error with operation and path.
    pub(crate) fn io<E: Into<io::Error>>(
        operation: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> StoreError {
        move |source| StoreError::Io { operation, path: path.to_owned(), source: source.into() }
    }

    /// The error of the kernel behind this one, if there is one.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            StoreError::Io { source, .. } => Some(source.kind()),
            _ => None,
        }
    }
}
