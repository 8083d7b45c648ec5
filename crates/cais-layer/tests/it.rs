//! The public face of the crate on real directories. Needs root; what the machine cannot do is skipped aloud.

#[path = "it/again.rs"]
mod again;
#[path = "it/bed.rs"]
mod bed;
#[path = "it/duplicates.rs"]
mod duplicates;
#[path = "it/forge.rs"]
mod forge;
#[path = "it/formats.rs"]
mod formats;
#[path = "it/gnu_tar.rs"]
mod gnu_tar;
#[path = "it/hostile.rs"]
mod hostile;
#[path = "it/images.rs"]
mod images;
#[path = "it/limits.rs"]
mod limits;
#[path = "it/metadata.rs"]
mod metadata;
#[path = "it/mounted.rs"]
mod mounted;
#[path = "it/random.rs"]
mod random;
#[path = "it/user_namespace.rs"]
mod user_namespace;
#[path = "it/whiteouts.rs"]
mod whiteouts;
