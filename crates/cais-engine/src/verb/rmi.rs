//! `rmi`: takes names away from an image, and the image with its last one. Docker's rules.
//!
//! What to do is a pure function of the image's references and users ([`plan`]); it is decided and done under the
//! store's exclusive lock, so no container can be made of an image that is going away.

use cais_oci::Reference;
use cais_store::{FoundImage, References};

use crate::view::ImageRemoval;
use crate::{Engine, Error, ErrorKind, Result};

/// A container that was made from the image.
#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    id: String,
    running: bool,
}

/// What a removal comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Plan {
    untag: Vec<Reference>,
    delete: bool,
}

impl Engine {
    /// Takes a name away from an image, and removes the image when it was the last one; by id removes the image with
    /// its only name. Returns what was done, in order.
    ///
    /// `force` removes all names of an image given by id, and images that stopped containers were made from (those
    /// keep the layers that they need). `no_prune` keeps untagged parents, of which there are none here.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] when names or containers are in the way, nothing is changed then.
    pub fn remove_image(&self, name: &str, force: bool, no_prune: bool) -> Result<Vec<ImageRemoval>> {
        let _ = no_prune;
        let mut exclusive = self.store.exclusive()?;
        let found = self.find_image(name)?;
        let id = found.record.id.clone();
        let references = self.store.references_of(&id)?;
        let mut users = Vec::new();
        for user in self.store.containers_using_image(&id)? {
            users.push(User { running: self.store.is_running(&user)?, id: user });
        }
        let plan = plan(name, &found, &references, force, &users)?;
        let mut done = Vec::new();
        for reference in &plan.untag {
            if exclusive.untag(reference)? {
                done.push(ImageRemoval::Untagged(reference.familiar()));
            }
        }
        if plan.delete {
            exclusive.remove_image(&id)?;
            exclusive.sweep()?;
            done.push(ImageRemoval::Deleted(id));
        }
        exclusive.finish()?;
        let image = found.record.id.to_string();
        for removal in &done {
            let action = match removal {
                ImageRemoval::Untagged(_) => "untag",
                ImageRemoval::Deleted(_) => "delete",
            };
            self.tell("image", action, &image, &[("name", &image)]);
        }
        Ok(done)
    }
}

/// Decides by Docker's rules what goes, or what is in the way.
fn plan(
    name: &str,
    found: &FoundImage,
    references: &References,
    force: bool,
    users: &[User],
) -> Result<Plan> {
    let id = found.record.id.short();
    let all: Vec<Reference> = references.tags.iter().chain(&references.digests).cloned().collect();
    let running = users.iter().find(|user| user.running);
    let conflict = |what: String, user: &User| {
        let state = if user.running { "running" } else { "stopped" };
        let message =
            format!("conflict: {what} - image is being used by {state} container {}", short(&user.id));
        Err(Error::new(ErrorKind::Conflict, message))
    };
    if let Some(reference) = &found.reference {
        let plan = untag(reference, references);
        if !plan.delete {
            return Ok(plan);
        }
        if let (Some(user), false) = (running.or(users.first()), force) {
            let what =
                format!("unable to remove repository reference {:?} (must force)", reference.familiar());
            return conflict(what, user);
        }
        if let Some(user) = running {
            return conflict(format!("unable to delete {id} (cannot be forced)"), user);
        }
        return Ok(plan);
    }
    if let Some(user) = running {
        return conflict(format!("unable to delete {id} (cannot be forced)"), user);
    }
    if !force {
        if !is_single(references) {
            let message = format!(
                "conflict: unable to delete {name} (must be forced) - image is referenced in multiple repositories"
            );
            let names: Vec<String> = all.iter().map(Reference::familiar).collect();
            let hint = format!("its names are {}; remove them one by one, or use --force", names.join(", "));
            return Err(Error::new(ErrorKind::Conflict, message).hint(hint));
        }
        if let Some(user) = users.first() {
            return conflict(format!("unable to delete {id} (must be forced)"), user);
        }
    }
    Ok(Plan { untag: all, delete: true })
}

/// Takes one reference away; with the last tag of a repository its digests go too, with the last reference the image.
fn untag(reference: &Reference, references: &References) -> Plan {
    let gone = match &reference.digest {
        Some(digest) => reference.with_digest(digest.clone()),
        None => reference.clone(),
    };
    let is_other_tag = |tag: &&Reference| **tag != gone;
    let same_repository_has_tag =
        references.tags.iter().filter(is_other_tag).any(|tag| tag.name() == gone.name());
    let mut untag = vec![gone.clone()];
    if gone.digest.is_none() && !same_repository_has_tag {
        untag.extend(references.digests.iter().filter(|digest| digest.name() == gone.name()).cloned());
    }
    let delete = references.tags.iter().chain(&references.digests).all(|reference| untag.contains(reference));
    Plan { untag, delete }
}

/// Whether all references are one tag at most and digests of its repository.
fn is_single(references: &References) -> bool {
    let mut names: Vec<String> =
        references.tags.iter().chain(&references.digests).map(Reference::name).collect();
    names.dedup();
    references.tags.len() <= 1 && names.len() <= 1
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cais_oci::{Descriptor, Digest, ImageConfig, Platform, media_type};
    use cais_store::ImageRecord;

    fn reference(text: &str) -> Reference {
        let text = text.replace('#', &format!("sha256:{}", "a".repeat(64)));
        Reference::parse(&text).unwrap()
    }

    fn found(by: Option<&str>) -> FoundImage {
        let id = Digest::sha256(b"id");
        let record = ImageRecord {
            manifest: Descriptor::new(media_type::OCI_MANIFEST, id.clone(), 2),
            id,
            platform: Platform::host(),
            size_bytes: 0,
            layers: Vec::new(),
            blobs: Vec::new(),
            stored: String::new(),
            config: ImageConfig::default(),
        };
        FoundImage { record, reference: by.map(reference) }
    }

    fn references(texts: &[&str]) -> References {
        let (digests, tags) = texts.iter().map(|text| reference(text)).partition(|it| it.digest.is_some());
        References { tags, digests }
    }

    /// What goes, as familiar names, `DELETE` for the image; or the error.
    fn outcome(by: Option<&str>, refs: &[&str], force: bool, users: &[bool]) -> String {
        let users: Vec<User> =
            users.iter().map(|running| User { id: "c".repeat(64), running: *running }).collect();
        match plan("typed", &found(by), &references(refs), force, &users) {
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Conflict);
                error.message
            }
            Ok(plan) => {
                let mut words: Vec<String> =
                    plan.untag.iter().map(|it| it.familiar().replace(&"a".repeat(64), "")).collect();
                words.extend(plan.delete.then(|| "DELETE".to_owned()));
                words.join(" ")
            }
        }
    }

    #[test]
    fn dockers_rules() {
        // By name.
        assert_eq!(outcome(Some("a"), &["a"], false, &[]), "a:latest DELETE");
        assert_eq!(outcome(Some("a"), &["a", "b"], false, &[]), "a:latest");
        assert_eq!(outcome(Some("a"), &["a", "b"], false, &[true]), "a:latest");
        assert_eq!(outcome(Some("a"), &["a", "a@#"], false, &[]), "a:latest a@sha256: DELETE");
        assert_eq!(outcome(Some("a"), &["a", "a:2", "a@#"], false, &[]), "a:latest");
        assert_eq!(outcome(Some("a"), &["a", "b@#"], false, &[]), "a:latest");
        assert_eq!(outcome(Some("a@#"), &["a@#"], false, &[]), "a@sha256: DELETE");
        assert_eq!(outcome(Some("a@#"), &["a", "a@#"], false, &[]), "a@sha256:");
        // By id.
        assert_eq!(outcome(None, &[], false, &[]), "DELETE");
        assert_eq!(outcome(None, &["a", "a@#"], false, &[]), "a:latest a@sha256: DELETE");
        let multiple = "conflict: unable to delete typed (must be forced) - image is referenced in multiple repositories";
        assert_eq!(outcome(None, &["a", "b"], false, &[]), multiple);
        assert_eq!(outcome(None, &["a", "a:2"], false, &[]), multiple);
        assert_eq!(outcome(None, &["a", "b"], true, &[]), "a:latest b:latest DELETE");
    }

    #[test]
    fn containers_in_the_way_are_named() {
        let by_name = "conflict: unable to remove repository reference \"a:latest\" (must force) - image is being used by";
        assert_eq!(
            outcome(Some("a"), &["a"], false, &[false]),
            format!("{by_name} stopped container cccccccccccc")
        );
        assert_eq!(outcome(Some("a"), &["a"], true, &[false]), "a:latest DELETE");
        assert!(
            outcome(Some("a"), &["a"], true, &[false, true])
                .contains("(cannot be forced) - image is being used by running")
        );
        assert!(outcome(None, &["a"], true, &[true]).contains("(cannot be forced)"));
        assert!(outcome(None, &["a"], false, &[false]).contains("(must be forced)"));
        assert_eq!(outcome(None, &["a", "b"], true, &[false]), "a:latest b:latest DELETE");
    }
}
