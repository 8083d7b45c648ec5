//! What users have set in docker's `config.json`: formats of lists, detach keys. Everything else there is not for us.

use serde_json::Value;

use crate::door::Door;

/// A string setting; `None` when there is no file or it cannot be read, as for docker without one.
pub fn text(door: &Door, key: &str) -> Option<String> {
    let file = std::fs::read(door.surroundings.docker_config_file()?).ok()?;
    let config: Value = serde_json::from_slice(&file).ok()?;
    config.get(key)?.as_str().map(str::to_owned)
}
