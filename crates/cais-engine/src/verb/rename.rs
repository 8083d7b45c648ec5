//! `rename`: a container gets another name; it may run.

use cais_store::StoreError;

use crate::attach::short;
use crate::{Engine, Error, ErrorKind, Result};

impl Engine {
    /// Gives a container another name. Its files of names (/etc/hosts) have the new one from the next start on.
    ///
    /// # Errors
    /// When the name is no name, is its own, or belongs to another container.
    pub fn rename(&self, name: &str, new_name: &str) -> Result<()> {
        let id = self.store.resolve_container(name)?;
        let new_name = new_name.strip_prefix('/').unwrap_or(new_name);
        let old_name = self.store.load_container(&id)?.name;
        match self.store.rename_container(&id, new_name) {
            Ok(_) => {
                let record = self.store.load_container(&id)?;
                self.tell_container(&record, "rename", &[("oldName", &format!("/{old_name}"))]);
                Ok(())
            }
            Err(StoreError::NameTaken { .. }) => {
                let owner = self.store.resolve_container(new_name).unwrap_or_default();
                if owner == id {
                    let message = format!("container {} has the name {new_name:?} already", short(&id));
                    return Err(Error::new(ErrorKind::Invalid, message));
                }
                let message = format!(
                    "the container name {new_name:?} is already in use by container {}",
                    short(&owner)
                );
                Err(Error::new(ErrorKind::Conflict, message)
                    .hint(format!("remove or rename {new_name} first, or choose another name")))
            }
            Err(error) => Err(error.into()),
        }
    }
}
