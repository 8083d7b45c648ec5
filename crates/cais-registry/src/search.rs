//! What a registry offers: repositories by a word, and the tags of a repository.
//!
//! Tags are those of the distribution specification ("Listing Tags"), read page by page by its `Link` header. Words are
//! looked for as docker and podman do: by `/v1/search` (Docker Hub, quay.io, Artifactory), and by `/v2/_catalog` where
//! that is not answered.

use cais_oci::Reference;
use serde::Deserialize;

use crate::client::Client;
use crate::error::{Error, Failure};
use crate::http::{Response, query};
use crate::registries::Source;
use crate::session::{Ask, Target};

const DOCKER_HUB: &str = "docker.io";
/// Where Docker Hub answers `/v1/search`.
const DOCKER_HUB_SEARCH: &str = "index.docker.io";
const PAGE_MAX_BYTES: u64 = 16 << 20;
/// A registry whose pages have no end.
const PAGES_MAX: usize = 10_000;
/// The largest number of results that Docker Hub gives at once.
const RESULTS_MAX: usize = 100;
/// Repositories and tags asked for at once.
const PAGE_LEN: usize = 1000;

/// A repository that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Name within the registry, as the registry gives it.
    pub name: String,
    /// What its owner says of it; empty when the registry does not tell.
    pub description: String,
    /// How many users like it.
    pub stars: u64,
    /// One of Docker's official images.
    pub is_official: bool,
    /// Built by the registry from sources.
    pub is_automated: bool,
}

#[derive(Deserialize)]
struct Results {
    #[serde(default)]
    results: Vec<ResultEntry>,
}

#[derive(Deserialize)]
struct ResultEntry {
    #[serde(default)]
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default, alias = "stars")]
    star_count: Option<i64>,
    #[serde(default)]
    is_official: Option<bool>,
    #[serde(default)]
    is_automated: Option<bool>,
}

#[derive(Deserialize)]
struct Catalog {
    repositories: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

impl Client {
    /// Repositories of a registry that have to do with a word, at most `limit`; no word at all means every one.
    ///
    /// # Errors
    /// [`Error::Ask`], [`Error::Blocked`].
    pub fn search(&self, registry: &str, word: &str, limit: usize) -> Result<Vec<Found>, Error> {
        let source = self.whole_registry(registry)?;
        let found = match word {
            "" => self.search_catalog(&source, word, limit),
            word => match self.search_index(&source, word, limit) {
                // The Hub has no catalog: what its search says is all there is to say.
                Err(_) if registry != DOCKER_HUB => self.search_catalog(&source, word, limit),
                other => other,
            },
        };
        found.map_err(|failure| asking(format!("search {registry}"), failure))
    }

    fn search_index(&self, source: &Source, word: &str, limit: usize) -> Result<Vec<Found>, Failure> {
        let registry = if source.registry == DOCKER_HUB { DOCKER_HUB_SEARCH } else { &source.registry };
        let source = Source { registry: registry.to_owned(), ..source.clone() };
        let count = limit.min(RESULTS_MAX).to_string();
        let path = format!("v1/search?{}", query(&[("q", word), ("n", &count)]));
        let page = self.session.with_retries(|| {
            let response = self.ask_page(&source, Target::Root(&path))?;
            let host = response.host.clone();
            let bytes = response.read_small(PAGE_MAX_BYTES)?;
            serde_json::from_slice::<Results>(&bytes).map_err(|_| unexpected(host, "search results"))
        });
        Ok(page?.results.into_iter().take(limit).map(found).collect())
    }

    fn search_catalog(&self, source: &Source, word: &str, limit: usize) -> Result<Vec<Found>, Failure> {
        let path = format!("v2/_catalog?n={PAGE_LEN}");
        let mut names = Vec::new();
        self.pages(source, Target::Root(&path), |host, bytes| {
            let page: Catalog =
                serde_json::from_slice(bytes).map_err(|_| unexpected(host, "a list of repositories"))?;
            let matching = page.repositories.unwrap_or_default().into_iter();
            names.extend(matching.filter(|name| name.contains(word)).take(limit - names.len()));
            Ok(names.len() < limit)
        })?;
        Ok(names.into_iter().map(|name| Found { name, ..Found::default() }).collect())
    }

    /// The tags of a repository in the registry's order, at most `limit`. Mirrors are not asked.
    ///
    /// # Errors
    /// [`Error::Ask`], also for a repository that does not exist; [`Error::Blocked`].
    pub fn tags(&self, reference: &Reference, limit: usize) -> Result<Vec<String>, Error> {
        let mut sources = self.registries.sources(reference)?;
        let Some(source) = sources.pop() else { return Ok(Vec::new()) };
        let path = format!("tags/list?n={PAGE_LEN}");
        let mut tags = Vec::new();
        let read = self.pages(&source, Target::Path(&path), |host, bytes| {
            let page: Tags = serde_json::from_slice(bytes).map_err(|_| unexpected(host, "a list of tags"))?;
            tags.extend(page.tags.unwrap_or_default().into_iter().take(limit - tags.len()));
            Ok(tags.len() < limit)
        });
        read.map_err(|failure| asking(format!("list the tags of {}", reference.familiar_name()), failure))?;
        Ok(tags)
    }

    /// Hands every page to `take`, until that is content or the `Link` header names no next one.
    fn pages(
        &self,
        source: &Source,
        first: Target<'_>,
        mut take: impl FnMut(String, &[u8]) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let mut next = None;
        for _ in 0..PAGES_MAX {
            let (host, bytes, link) = self.session.with_retries(|| {
                let target = next.as_ref().map_or(first, Target::Address);
                let response = self.ask_page(source, target)?;
                let link = response.header("link").and_then(next_link).map(str::to_owned);
                let link = link.map(|link| self.session.follow(source, &response.url, &link)).transpose()?;
                Ok((response.host.clone(), response.read_small(PAGE_MAX_BYTES)?, link))
            })?;
            let wants_more = take(host, &bytes)?;
            match link {
                Some(link) if wants_more => next = Some(link),
                _ => return Ok(()),
            }
        }
        Err(unexpected(source.registry.clone(), "a list with an end"))
    }

    fn ask_page(&self, source: &Source, target: Target<'_>) -> Result<Response, Failure> {
        let ask = Ask { target, accept: &["application/json"], small: true, success: &[200], ..Ask::get("") };
        self.session.ask(source, &ask)
    }
}

fn asking(task: String, failure: Failure) -> Error {
    Error::Ask { task, source: Box::new(failure) }
}

fn unexpected(host: String, wanted: &str) -> Failure {
    Failure::Protocol { host, reason: format!("its answer is not {wanted}") }
}

fn found(entry: ResultEntry) -> Found {
    Found {
        name: entry.name,
        description: crate::words::clean(&entry.description.unwrap_or_default()),
        stars: entry.star_count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0),
        is_official: entry.is_official.unwrap_or(false),
        is_automated: entry.is_automated.unwrap_or(false),
    }
}

/// The address of `<ADDRESS>; rel="next"` (RFC 8288).
fn next_link(header: &str) -> Option<&str> {
    let (address, parameters) = header.split_once('<')?.1.split_once('>')?;
    let is_next = parameters.split([';', ',']).any(|parameter| {
        matches!(parameter.trim().to_ascii_lowercase().as_str(), "rel=\"next\"" | "rel=next")
    });
    is_next.then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        assert_eq!(
            next_link(r#"</v2/x/tags/list?last=b&n=2>; rel="next""#),
            Some("/v2/x/tags/list?last=b&n=2")
        );
        assert_eq!(next_link("<https://a.test/y>;rel=next"), Some("https://a.test/y"));
        assert_eq!(next_link(r#"</x>; rel="prev""#), None);
        assert_eq!(next_link("/x"), None);
    }
}
