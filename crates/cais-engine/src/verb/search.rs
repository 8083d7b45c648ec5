//! `search`: what registries offer.

use cais_oci::Reference;
use cais_registry::{Client, Found};

use crate::verb::RegistryAccess;
use crate::{Engine, Error, ErrorKind, Result};

const DOCKER_HUB: &str = "docker.io";

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub struct SearchRequest {
    /// A word, or `REGISTRY/WORD`; `REGISTRY/` means all that it has.
    pub term: String,
    /// Results of each registry, at most.
    pub limit: usize,
    /// How the registries are reached.
    pub access: RegistryAccess,
}

/// A repository that a registry offers.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The registry that offers it.
    pub registry: String,
    /// The name by which it can be pulled.
    pub name: String,
    /// What the registry says of it.
    pub found: Found,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Searched {
    /// In the order of the registries, and in theirs.
    pub offers: Vec<Offer>,
    /// Why some registries are missing.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Looks for repositories: at the registry of the term, else at those that short names are looked for.
    ///
    /// # Errors
    /// When no registry answers; [`ErrorKind::Invalid`].
    pub fn search(&self, request: &SearchRequest) -> Result<Searched> {
        let settings = self.registry_settings()?;
        let (registries, word) = match request.term.split_once('/') {
            Some((registry, word)) if is_registry(registry) => (vec![registry.to_owned()], word),
            _ if settings.registries.search.is_empty() => {
                (vec![DOCKER_HUB.to_owned()], request.term.as_str())
            }
            _ => (settings.registries.search.clone(), request.term.as_str()),
        };
        // Names that mean the Hub wherever nothing else is asked; docker shows them so.
        let is_short = settings.registries.search.is_empty();
        let (mut searched, mut failures) = (Searched::default(), Vec::new());
        let answers = std::thread::scope(|scope| {
            let ask = |registry: &String| -> Result<Vec<Found>> {
                let client = Client::new(&self.settings_for(registry, &request.access)?)?;
                Ok(client.search(registry, word, request.limit)?)
            };
            let asked: Vec<_> =
                registries.iter().map(|registry| (registry, scope.spawn(move || ask(registry)))).collect();
            asked.into_iter().map(|(registry, thread)| (registry, thread.join())).collect::<Vec<_>>()
        });
        for (registry, answer) in answers {
            match answer.unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
                Ok(found) => searched
                    .offers
                    .extend(found.into_iter().filter_map(|found| offer(registry, found, is_short))),
                Err(error) => failures.push(error),
            }
        }
        if failures.len() == registries.len()
            && let Some(error) = failures.pop()
        {
            searched.warnings = failures.iter().map(|error| error.message.clone()).collect();
            return match searched.warnings.is_empty() {
                true => Err(error),
                false => {
                    let all = [searched.warnings.join("; "), error.message].join("; ");
                    Err(Error::new(error.kind, all))
                }
            };
        }
        searched.warnings = failures.into_iter().map(|error| error.message).collect();
        Ok(searched)
    }

    /// The tags of a repository, with its name; a short name is looked for as by `pull`. At most `limit`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Remote`], [`ErrorKind::Invalid`] for a name with a tag.
    pub fn tags(&self, name: &str, limit: usize, access: &RegistryAccess) -> Result<(String, Vec<String>)> {
        let candidates = self.registry_settings()?.registries.candidates(name)?;
        let after_path = name.rsplit('/').next().unwrap_or(name);
        if after_path.contains([':', '@']) {
            let message = format!("{name}: the tags of a repository are listed, not those of one image");
            return Err(Error::new(ErrorKind::Invalid, message).hint("leave the tag or digest out"));
        }
        let mut failures: Vec<Error> = Vec::new();
        for reference in &candidates {
            let client = Client::new(&self.settings_for(&reference.registry, access)?)?;
            match client.tags(reference, limit) {
                Ok(tags) => return Ok((reference.familiar_name(), tags)),
                Err(error) => failures.push(error.into()),
            }
        }
        let none = || Error::new(ErrorKind::Invalid, format!("{name} means no repository"));
        let last = failures.pop().unwrap_or_else(none);
        let texts: Vec<&str> = failures.iter().map(|error| error.message.as_str()).collect();
        if texts.is_empty() {
            return Err(last);
        }
        Err(Error::new(last.kind, format!("{}; {}", texts.join("; "), last.message)))
    }
}

/// Whether the first part of a term is a registry by the rule of image names.
fn is_registry(part: &str) -> bool {
    !Reference::is_short_name(&format!("{part}/x"))
}

/// A repository with the name that it is pulled by; `None` for a name that no image can have.
fn offer(registry: &str, found: Found, is_short: bool) -> Option<Offer> {
    let reference = Reference::parse(&format!("{registry}/{}", found.name)).ok()?;
    let name = if is_short { reference.familiar_name() } else { reference.name() };
    Some(Offer { registry: registry.to_owned(), name, found })
}
