//! `history`: how an image came to be.

use cais_oci::Digest;

use crate::{Engine, Result};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryStep {
    /// The image's id for the last step; of the others nobody knows one.
    pub id: Option<Digest>,
    /// RFC 3339.
    pub created: Option<String>,
    /// The instruction.
    pub created_by: String,
    /// Bytes of the files of its layer.
    pub size_bytes: u64,
    /// Remark.
    pub comment: String,
    /// The image's names, for the last step.
    pub names: Vec<String>,
}

impl Engine {
    /// The steps by which an image was made, last one first.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`], or when a layer's record is damaged.
    pub fn history(&self, name: &str) -> Result<Vec<HistoryStep>> {
        let record = self.image_record(name)?;
        let view = self.image_view(record.clone())?;
        let mut layers = record.config.rootfs.diff_ids.iter();
        let mut steps = Vec::new();
        for history in &record.config.history {
            let layer = if history.empty_layer { None } else { layers.next() };
            steps.push(HistoryStep {
                id: None,
                created: history.created.clone(),
                created_by: history.created_by.clone(),
                size_bytes: self.layer_bytes(layer)?,
                comment: history.comment.clone(),
                names: Vec::new(),
            });
        }
        // Some builders write no history.
        for layer in layers {
            steps.push(HistoryStep {
                id: None,
                created: record.config.created.clone(),
                created_by: String::new(),
                size_bytes: self.layer_bytes(Some(layer))?,
                comment: String::new(),
                names: Vec::new(),
            });
        }
        steps.reverse();
        if let Some(last) = steps.first_mut() {
            last.id = Some(record.id);
            last.names = view.names;
        }
        Ok(steps)
    }

    fn layer_bytes(&self, layer: Option<&Digest>) -> Result<u64> {
        let meta = layer.map(|layer| self.store.layer(layer)).transpose()?.flatten();
        Ok(meta.map_or(0, |meta| meta.content_bytes))
    }
}
