//! `tag`: another name for an image.

use cais_oci::Reference;

use crate::{Engine, Error, ErrorKind, Result};

impl Engine {
    /// Makes `target` mean the image that `source` means; what `target` meant before may dangle then.
    ///
    /// # Errors
    /// When there is no such image, or `target` is no name or has a digest.
    pub fn tag(&self, source: &str, target: &str) -> Result<()> {
        let reference = parse_target(target)?;
        let hold = self.store.hold()?;
        let image = self.image_record(source)?;
        self.store.tag(&reference, &image.id, &hold)?;
        self.tell("image", "tag", &image.id.to_string(), &[("name", &reference.familiar())]);
        Ok(())
    }
}

/// A name that an image may be given.
pub(crate) fn parse_target(text: &str) -> Result<Reference> {
    let reference = Reference::parse(text)
        .map_err(|error| Error::new(ErrorKind::Invalid, crate::error::chain(&error)))?;
    if reference.digest.is_some() {
        let message =
            format!("cannot tag an image as {text:?}: a name with a digest is given by content, not by hand");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(reference)
}
