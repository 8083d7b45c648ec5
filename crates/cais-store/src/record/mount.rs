//! Parts of a mount that few have.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the changes of a mount go that leaves its source as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OverlayRequest {
    /// Upper and work directory, absolute, which last; without them every start begins with an empty one of the
    /// container's own.
    pub kept: Option<(PathBuf, PathBuf)>,
}
