//! Names of what is there, for completion and "did you mean".

use cais_engine::{Engine, Noun};
use cais_oci::Reference;

use crate::failure::Failure;

/// Names of containers, images or volumes; none of other things.
///
/// # Errors
/// When the store cannot be read.
pub fn of(engine: &Engine, noun: Noun) -> Result<Vec<String>, Failure> {
    Ok(match noun {
        Noun::Container => engine.containers(true)?.into_iter().map(|view| view.record.name).collect(),
        Noun::Image => engine.images()?.iter().flat_map(|view| image_names(&view.names)).collect(),
        Noun::Volume => engine.volumes()?.into_iter().map(|view| view.name).collect(),
        Noun::Pod => engine.pod_records()?.into_iter().map(|pod| pod.name).collect(),
        Noun::Layer | Noun::Blob | Noun::Checkpoint => Vec::new(),
    })
}

/// As people write them: with the tag, and without where it is the usual one.
fn image_names(canonical: &[String]) -> Vec<String> {
    let familiar = |name: &String| Reference::parse(name).map_or(name.clone(), |name| name.familiar());
    let names: Vec<String> = canonical.iter().map(familiar).collect();
    let bare = names.iter().filter_map(|name| name.strip_suffix(":latest"));
    bare.map(str::to_owned).chain(names.iter().cloned()).collect()
}
