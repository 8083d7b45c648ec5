//! `registries.conf`, version 2: which registries stand behind a name.
//!
//! Implements containers-registries.conf(5): search registries and aliases for short names, `[[registry]]` entries with
//! prefix, location, mirrors, insecure and blocked, drop-in directories. Pure data after loading. Without any file,
//! short names mean docker.io, as they do for Docker; that is so for an empty search list as well. Not
//! implemented: `short-name-mode` (nobody is asked questions) and the retired version 1.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cais_oci::Reference;
use serde::Deserialize;

use crate::error::Error;

const DEFAULT_REGISTRY: &str = "docker.io";

/// What all `registries.conf` files say together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registries {
    /// Registries that are tried for a short name, in order; empty means docker.io.
    pub search: Vec<String>,
    /// Short name to `registry/repository`.
    pub aliases: BTreeMap<String, String>,
    /// The entries; at most one per prefix.
    pub entries: Vec<Entry>,
}

/// A `[[registry]]` entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// What names it applies to: `host[:port][/path…]` or `*.domain`.
    pub prefix: String,
    /// What the prefix is replaced by, if anything.
    pub location: Option<String>,
    /// Whether plain HTTP and unverified certificates are fine.
    pub insecure: bool,
    /// Whether pulling is forbidden.
    pub blocked: bool,
    /// Tried before the location, in order.
    pub mirrors: Vec<Mirror>,
}

/// A `[[registry.mirror]]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// What the prefix is replaced by.
    pub location: String,
    /// Whether plain HTTP and unverified certificates are fine.
    pub insecure: bool,
    /// Which pulls may use it.
    pub pull: PullFromMirror,
}

/// Which pulls may use a mirror.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PullFromMirror {
    /// All.
    #[default]
    All,
    /// Those by digest.
    DigestOnly,
    /// Those by tag.
    TagOnly,
}

/// A place where the content of a reference can be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// Host name with an optional port.
    pub registry: String,
    /// Path within the registry.
    pub repository: String,
    /// Whether plain HTTP and unverified certificates are fine.
    pub insecure: bool,
    /// Whether this is a mirror.
    pub mirror: bool,
}

impl Registries {
    /// Reads the main file, then all `*.conf` files of the drop-in directories in the order of their names.
    ///
    /// Absent files and directories are skipped. A later file replaces the search list and entries of the same
    /// prefix, and adds to the aliases.
    pub fn load(main: &Path, drop_ins: &[PathBuf]) -> Result<Registries, Error> {
        let mut registries = Registries::default();
        registries.read_file(main)?;
        for directory in drop_ins {
            let mut files = Vec::new();
            match std::fs::read_dir(directory) {
                Ok(entries) => {
                    for entry in entries {
                        let entry = entry
                            .map_err(|source| Error::ReadSettings { path: directory.clone(), source })?;
                        files.push(entry.path());
                    }
                }
                Err(error) if is_absent(&error) => continue,
                Err(source) => return Err(Error::ReadSettings { path: directory.clone(), source }),
            }
            files.retain(|file| file.extension().is_some_and(|extension| extension == "conf"));
            files.sort();
            files.iter().try_for_each(|file| registries.read_file(file))?;
        }
        Ok(registries)
    }

    fn read_file(&mut self, path: &Path) -> Result<(), Error> {
        match std::fs::read_to_string(path) {
            Ok(text) => self.merge(path, &text),
            Err(error) if is_absent(&error) => Ok(()),
            Err(source) => Err(Error::ReadSettings { path: path.to_owned(), source }),
        }
    }

    /// Adds what one file says; `path` is for error messages only.
    pub fn merge(&mut self, path: &Path, text: &str) -> Result<(), Error> {
        let file: File = toml::from_str(text)
            .map_err(|source| Error::ParseRegistries { path: path.to_owned(), source: Box::new(source) })?;
        let bad = |value: &str, reason| Error::RegistriesValue {
            path: path.to_owned(),
            value: value.to_owned(),
            reason,
        };
        if file.registries.is_some() {
            return Err(bad(
                "[registries]",
                "version 1 of the format is not supported, use [[registry]] entries",
            ));
        }
        if let Some(search) = file.unqualified_search_registries {
            for registry in &search {
                Reference::parse(&format!("{registry}/x"))
                    .ok()
                    .filter(|reference| same_host(&reference.registry, registry))
                    .ok_or_else(|| bad(registry, "search registry is no host name with an optional port"))?;
            }
            self.search = search;
        }
        for (name, target) in file.aliases {
            if target.is_empty() {
                self.aliases.remove(&name);
                continue;
            }
            let parsed = Reference::parse(&target);
            if Reference::is_short_name(&target) || parsed.is_err() {
                return Err(bad(&target, "alias does not lead to a full name"));
            }
            self.aliases.insert(name, target);
        }
        for registry in file.registry {
            let entry = registry.into_entry().map_err(|(value, reason)| bad(&value, reason))?;
            self.entries.retain(|earlier| earlier.prefix != entry.prefix);
            self.entries.push(entry);
        }
        Ok(())
    }

    /// The references that a typed name may mean, to be tried in order.
    ///
    /// A name with a registry means itself. A short name means its alias if there is one, else one
    /// reference per search registry, else the one on docker.io.
    pub fn candidates(&self, typed: &str) -> Result<Vec<Reference>, Error> {
        if !Reference::is_short_name(typed) {
            return Ok(vec![Reference::parse(typed)?]);
        }
        // Reports the errors of the name itself in the words that the user typed.
        let plain = Reference::parse(typed)?;
        let end = typed.find([':', '@']).unwrap_or(typed.len());
        let (name, suffix) = typed.split_at(end);
        if let Some(target) = self.aliases.get(name) {
            let target = Reference::parse(target)?.name();
            return Ok(vec![Reference::parse(&format!("{target}{suffix}"))?]);
        }
        if self.search.is_empty() {
            return Ok(vec![plain]);
        }
        let named = |registry: &String| Reference::parse(&format!("{registry}/{typed}")).map_err(Error::from);
        self.search.iter().map(named).collect()
    }

    /// Where the content of `reference` can be fetched: mirrors first, the registry itself last.
    pub fn sources(&self, reference: &Reference) -> Result<Vec<Source>, Error> {
        let name = reference.name();
        let own = |location: &str, insecure, mirror| {
            let (registry, repository) = location.split_once('/').unwrap_or((location, ""));
            Source { registry: registry.to_owned(), repository: repository.to_owned(), insecure, mirror }
        };
        let Some((entry, matched)) = self.entry_for(reference) else {
            return Ok(vec![own(&name, false, false)]);
        };
        if entry.blocked {
            return Err(blocked(reference, entry));
        }
        let by_digest = reference.digest.is_some();
        let rest = &name[matched..];
        let mut sources: Vec<Source> = entry
            .mirrors
            .iter()
            .filter(|mirror| match mirror.pull {
                PullFromMirror::All => true,
                PullFromMirror::DigestOnly => by_digest,
                PullFromMirror::TagOnly => !by_digest,
            })
            .map(|mirror| own(&format!("{}{rest}", mirror.location), mirror.insecure, true))
            .collect();
        let location = match &entry.location {
            Some(location) => format!("{location}{rest}"),
            None => name.clone(),
        };
        sources.push(own(&location, entry.insecure, false));
        Ok(sources)
    }

    /// Where `reference` is pushed to: the registry of its name itself; mirrors and other locations are for pulls.
    pub fn destination(&self, reference: &Reference) -> Result<Source, Error> {
        let entry = self.entry_for(reference).map(|(entry, _)| entry);
        if let Some(entry) = entry.filter(|entry| entry.blocked) {
            return Err(blocked(reference, entry));
        }
        Ok(Source {
            registry: reference.registry.clone(),
            repository: reference.repository.clone(),
            insecure: entry.is_some_and(|entry| entry.insecure),
            mirror: false,
        })
    }

    /// The entry with the longest matching prefix, and how many bytes of the name it matches.
    fn entry_for(&self, reference: &Reference) -> Option<(&Entry, usize)> {
        let name = reference.name();
        self.entries
            .iter()
            .filter_map(|entry| Some((entry, matched_length(&entry.prefix, reference, &name)?)))
            .max_by_key(|(entry, matched)| (!entry.prefix.starts_with("*."), *matched, entry.prefix.len()))
    }
}

fn blocked(reference: &Reference, entry: &Entry) -> Error {
    Error::Blocked { reference: reference.to_string(), prefix: entry.prefix.clone() }
}

/// How many bytes of `name` the prefix matches, at a boundary of the name's parts.
fn matched_length(prefix: &str, reference: &Reference, name: &str) -> Option<usize> {
    if let Some(domain) = prefix.strip_prefix('*') {
        let host = reference.registry.as_str();
        return (host.len() > domain.len() && host.ends_with(domain)).then_some(host.len());
    }
    let full = reference.to_string();
    let rest = full.strip_prefix(prefix)?;
    // A prefix with a tag or digest still replaces the name only.
    (rest.is_empty() || rest.starts_with(['/', ':', '@'])).then_some(prefix.len().min(name.len()))
}

fn same_host(parsed: &str, typed: &str) -> bool {
    parsed == typed || (parsed == DEFAULT_REGISTRY && typed == "index.docker.io")
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    unqualified_search_registries: Option<Vec<String>>,
    #[serde(default)]
    registry: Vec<FileRegistry>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    registries: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FileRegistry {
    prefix: Option<String>,
    location: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<FileMirror>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FileMirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<PullFromMirror>,
}

impl FileRegistry {
    fn into_entry(self) -> Result<Entry, (String, &'static str)> {
        let location = self.location.filter(|text| !text.is_empty()).map(checked).transpose()?;
        let prefix = match (self.prefix.filter(|text| !text.is_empty()), &location) {
            (Some(prefix), _) => prefix.trim_end_matches('/').to_owned(),
            (None, Some(location)) => location.clone(),
            (None, None) => return Err((String::new(), "registry has neither prefix nor location")),
        };
        match prefix.strip_prefix("*.") {
            Some(domain) if domain.is_empty() || domain.contains(['/', '*', ':', '@']) => {
                return Err((prefix, "a wildcard prefix has the form *.domain"));
            }
            Some(_) => {}
            None if prefix.contains('*') => return Err((prefix, "a wildcard prefix has the form *.domain")),
            // Docker Hub's official images have the hidden library/; only the registry of a prefix is checked here.
            None => {
                checked(prefix.split(['@']).next().unwrap_or("").to_owned())?;
            }
        }
        let default_pull =
            if self.mirror_by_digest_only { PullFromMirror::DigestOnly } else { PullFromMirror::All };
        let mut mirrors = Vec::with_capacity(self.mirror.len());
        for mirror in self.mirror {
            if self.mirror_by_digest_only && mirror.pull_from_mirror.is_some() {
                return Err((
                    mirror.location,
                    "mirror-by-digest-only and pull-from-mirror exclude each other",
                ));
            }
            mirrors.push(Mirror {
                location: checked(mirror.location)?,
                insecure: mirror.insecure,
                pull: mirror.pull_from_mirror.unwrap_or(default_pull),
            });
        }
        Ok(Entry { prefix, location, insecure: self.insecure, blocked: self.blocked, mirrors })
    }
}

/// A location without trailing slashes, if it is `host[:port][/path…]`.
fn checked(location: String) -> Result<String, (String, &'static str)> {
    let trimmed = location.trim_end_matches('/');
    if trimmed.contains("://") {
        return Err((location, "location must not have a scheme (plain HTTP is insecure = true)"));
    }
    let host = trimmed.split('/').next().unwrap_or("");
    // A dot makes any host a registry for the parser of references.
    let known = host.contains(['.', ':']) || host == "localhost";
    let probe = if known { format!("{host}/x") } else { format!("{host}.x/x") };
    let path_is_valid = match trimmed.split_once('/') {
        Some((_, path)) => Reference::parse(&format!("x.y/{path}")).is_ok(),
        None => true,
    };
    match Reference::parse(&probe) {
        Ok(_) if path_is_valid => Ok(trimmed.to_owned()),
        _ => Err((location, "location is not host[:port][/path]")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        unqualified-search-registries = ["quay.io", "docker.io"]
        short-name-mode = "enforcing"
        [aliases]
        "busybox" = "registry.test:5000/tools/busybox"
        [[registry]]
        prefix = "docker.io"
        location = "registry-1.docker.io"
        [[registry.mirror]]
        location = "mirror.test/hub"
        [[registry.mirror]]
        location = "digests.test"
        insecure = true
        pull-from-mirror = "digest-only"
        [[registry]]
        prefix = "docker.io/library"
        location = "lib.test/official"
        [[registry]]
        location = "bad.test"
        blocked = true
        [[registry]]
        prefix = "*.corp.test"
        location = "gate.test/corp"
        insecure = true
    "#;
    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn registries(text: &str) -> Registries {
        let mut registries = Registries::default();
        registries.merge(Path::new("r.conf"), text).unwrap();
        registries
    }

    fn sources(registries: &Registries, typed: &str) -> Vec<String> {
        let reference = Reference::parse(typed).unwrap();
        let text = |source: Source| {
            format!(
                "{}/{}{}",
                source.registry,
                source.repository,
                if source.insecure { " insecure" } else { "" }
            )
        };
        registries.sources(&reference).unwrap().into_iter().map(text).collect()
    }

    #[test]
    fn short_names() {
        let list = |registries: &Registries, typed: &str| -> Vec<String> {
            registries.candidates(typed).unwrap().iter().map(Reference::to_string).collect()
        };
        let none = Registries::default();
        assert_eq!(list(&none, "busybox"), ["docker.io/library/busybox:latest"]);
        assert_eq!(list(&none, "quay.io/a"), ["quay.io/a:latest"]);
        let some = registries(TEXT);
        assert_eq!(list(&some, "busybox:1"), ["registry.test:5000/tools/busybox:1"]);
        assert_eq!(list(&some, "a/b"), ["quay.io/a/b:latest", "docker.io/a/b:latest"]);
        assert_eq!(list(&some, "alpine:3"), ["quay.io/alpine:3", "docker.io/library/alpine:3"]);
        let by_digest = format!("busybox@sha256:{HEX}");
        assert_eq!(list(&some, &by_digest), [format!("registry.test:5000/tools/{by_digest}")]);
        assert!(matches!(some.candidates("Bad:x"), Err(Error::Reference(_))));
    }

    #[test]
    fn mirrors_and_locations() {
        let some = registries(TEXT);
        assert_eq!(sources(&some, "a/b:1"), ["mirror.test/hub/a/b", "registry-1.docker.io/a/b"]);
        assert_eq!(
            sources(&some, &format!("a/b@sha256:{HEX}")),
            ["mirror.test/hub/a/b", "digests.test/a/b insecure", "registry-1.docker.io/a/b"]
        );
        assert_eq!(sources(&some, "busybox"), ["lib.test/official/busybox"], "the longest prefix wins");
        assert_eq!(
            sources(&some, "libraryx/y"),
            ["mirror.test/hub/libraryx/y", "registry-1.docker.io/libraryx/y"]
        );
        assert_eq!(sources(&some, "x.y.corp.test/a"), ["gate.test/corp/a insecure"]);
        assert_eq!(sources(&some, "corp.test/a"), ["corp.test/a"]);
        assert_eq!(sources(&some, "quay.io/a"), ["quay.io/a"]);
        assert!(matches!(some.sources(&Reference::parse("bad.test/x").unwrap()), Err(Error::Blocked { .. })));
        assert!(some.sources(&Reference::parse("bad.test.org/x").unwrap()).is_ok());
    }

    #[test]
    fn prefix_with_tag() {
        let some = registries("[[registry]]\nprefix = \"quay.io/a/b:1\"\nlocation = \"other.test/c\"\n");
        assert_eq!(sources(&some, "quay.io/a/b:1"), ["other.test/c"]);
        assert_eq!(sources(&some, "quay.io/a/b:12"), ["quay.io/a/b"]);
    }

    #[test]
    fn bad_files_are_refused() {
        let refused =
            |text: &str| Registries::default().merge(Path::new("r.conf"), text).unwrap_err().to_string();
        assert!(refused("x = ").contains("r.conf"));
        assert!(refused("[registries.search]\nregistries = ['a']").contains("version 1"));
        assert!(refused("[[registry]]\ninsecure = true").contains("neither"));
        assert!(refused("[[registry]]\nlocation = 'https://x'").contains("scheme"));
        assert!(refused("[[registry]]\nprefix = 'a*.b'").contains("wildcard"));
        assert!(refused("[aliases]\nx = 'y'").contains("full name"));
        assert!(refused("unqualified-search-registries = ['a/b']").contains("search"));
        assert!(refused("[[registry]]\nlocation='h'\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation='m'\npull-from-mirror='all'").contains("exclude"));
    }

    #[test]
    fn drop_ins_come_later() {
        let directory = tempfile::tempdir().unwrap();
        let main = directory.path().join("registries.conf");
        let drop_ins = directory.path().join("registries.conf.d");
        std::fs::create_dir(&drop_ins).unwrap();
        std::fs::write(&main, TEXT).unwrap();
        std::fs::write(drop_ins.join("20.conf"), "[[registry]]\nlocation='bad.test'\ninsecure=true\n")
            .unwrap();
        std::fs::write(
            drop_ins.join("10.conf"),
            "unqualified-search-registries=[]\n[[registry]]\nlocation='bad.test'\nblocked=true\n",
        )
        .unwrap();
        std::fs::write(drop_ins.join("30.ignored"), "x").unwrap();
        let loaded = Registries::load(&main, std::slice::from_ref(&drop_ins)).unwrap();
        assert_eq!(sources(&loaded, "bad.test/x"), ["bad.test/x insecure"]);
        assert!(loaded.search.is_empty());
        let absent = directory.path().join("none");
        assert_eq!(Registries::load(&absent, std::slice::from_ref(&absent)).unwrap(), Registries::default());
    }
}
