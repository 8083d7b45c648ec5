//! The nouns of the OCI image, distribution and runtime specifications, parsed once at the edge.
//!
//! After parsing there is no string that must be a digest and no list that may be `null`. Knows nothing of
//! registries' HTTP, of the store, or of the kernel. Reading is lenient where Docker's own images are
//! (nulls for empty lists, missing history), strict where identity depends on it (digests, sizes).

mod config;
mod digest;
mod manifest;
mod platform;
mod reference;
pub mod runtime;

pub use config::{Healthcheck, History, ImageConfig, Present, ProcessConfig, Rootfs};
pub use digest::{Digest, DigestError, Hasher};
pub use manifest::{Descriptor, Index, Manifest, ManifestError, ManifestKind, media_type, parse_manifest};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
