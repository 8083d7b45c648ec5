//! `export`: the root of a container as a tar archive, without what is mounted in it.

use std::io::Write;
use std::os::fd::AsFd;

use crate::verb::copy::archive_tree;
use crate::{Engine, Result};

impl Engine {
    /// Writes the whole root of a container, running or not, as a tar archive. Volumes and other mounts are not in it.
    ///
    /// # Errors
    /// When there is no such container, its root cannot be read, or the output takes no more.
    pub fn export(&self, name: &str, out: &mut (dyn Write + Send)) -> Result<()> {
        let id = self.store.resolve_container(name)?;
        let record = self.store.load_container(&id)?;
        self.shift_layers(&record)?;
        let ids = self.bare_ids(&record);
        archive_tree(self.bare_root(&record)?.as_fd(), ids, out)?;
        self.tell_container(&record, "export", &[]);
        Ok(())
    }
}
