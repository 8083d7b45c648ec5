//! `container clone`: another container from the definition of one that is there.

use super::update;
use crate::progress::Progress;
use crate::verb::Created;
use crate::{ContainerRequest, Engine, Error, ErrorKind, ResourceRequest, Result};

/// How the copy differs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CloneRequest {
    /// Its name; `None` is the old one's with `-clone`.
    pub name: Option<String>,
    /// Another image.
    pub image: Option<String>,
    /// Other limits.
    pub resources: ResourceRequest,
    /// The old container goes; a running one only with `force`.
    pub destroy: bool,
    /// Also when it runs.
    pub force: bool,
}

impl Engine {
    /// Makes a container with the definition of another one: same named volumes, anonymous ones of its own, an empty
    /// writable layer.
    ///
    /// # Errors
    /// As for [`Engine::create`], and when the old one is to go and runs.
    pub fn clone_container(
        &self,
        name: &str,
        wishes: &CloneRequest,
        progress: &dyn Progress,
    ) -> Result<Created> {
        let view = self.container(name)?;
        if wishes.destroy && !wishes.force && view.is_alive() {
            let message = format!("cannot destroy container {name}: it runs");
            return Err(Error::new(ErrorKind::Conflict, message).hint("stop it first, or add --force"));
        }
        let old = view.record;
        let resources = update::merge(&old.request.resources, &wishes.resources)?;
        let name = match &wishes.name {
            Some(name) => name.clone(),
            None => self.clone_name(&old.name)?,
        };
        let mut request =
            ContainerRequest { name: Some(name), resources, cidfile: None, ..old.request.clone() };
        match &wishes.image {
            Some(_) if request.rootfs.is_some() => {
                let message = "the container runs a directory, not an image: no image can replace it";
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            Some(image) => request.image.clone_from(image),
            // The name may mean a newer image by now.
            None => {
                if let Some(id) = &old.image_id
                    && self.image(&request.image).map_or(true, |image| image.id != *id)
                {
                    request.image = id.to_string();
                }
            }
        }
        let created = self.create(request, progress)?;
        if wishes.destroy {
            self.remove(&old.id, wishes.force, false)?;
        }
        Ok(created)
    }

    /// `web-clone`, `web-clone1`, …
    fn clone_name(&self, old: &str) -> Result<String> {
        let first = format!("{old}-clone");
        let mut name = first.clone();
        let mut number = 1;
        while !self.store.name_available(&name)? {
            name = format!("{first}{number}");
            number += 1;
        }
        Ok(name)
    }
}
