//! `features` and `--version`: what this runtime is.

use cais_engine::verb::VERSION;

use super::failure::{Failure, Outcome};
use super::flags::Words;
use super::{Door, print};

pub(super) fn main(door: &Door, _words: &Words) -> Outcome {
    let features = door.runtime()?.features();
    let text = serde_json::to_string_pretty(&features).map_err(|error| Failure::edge("write JSON", error))?;
    print(&format!("{text}\n"))?;
    Ok(0)
}

/// Three lines: callers look for `version`, `commit:` and `spec:`.
pub(super) fn version() -> String {
    format!("cais-runtime version {VERSION}\ncommit: v{VERSION}\nspec: {}\n", cais_bundle::SPEC_VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_find_the_version() {
        let text = version();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        // dockerd: what stands before and after the word.
        assert_eq!(lines[0].split("version").map(str::trim).collect::<Vec<_>>(), ["cais-runtime", VERSION]);
        assert!(lines[1].starts_with("commit: ") && lines[2].starts_with("spec: 1."));
    }
}
