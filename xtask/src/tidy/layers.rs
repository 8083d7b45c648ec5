//! A crate depends on lower layers only.

use serde_json::Value;

use super::Finding;

/// Every crate of the product and its layer.
const LAYERS: &[(&str, u8)] = &[
    ("cais-sys", 0),
    ("cais-plan", 0),
    ("cais-oci", 0),
    ("cais-shim", 1),
    ("cais-hello", 1),
    ("cais-layer", 1),
    ("cais-registry", 1),
    ("cais-runtime", 1),
    ("cais-net", 1),
    ("cais-bundle", 2),
    ("cais-store", 2),
    ("cais-engine", 3),
    ("cais", 6),
];

/// Crates outside the layers: nothing of the product may depend on them but tests.
const OUTSIDE: &[&str] = &["cais-test", "xtask"];

/// Allowed although the layers are equal, each with its reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    // The program of the image `hello` uses the shim's start code and system calls.
    ("cais-hello", "cais-shim"),
    // The benchmark gives its floor program the very filter that the runtime loads; optional, by the feature `bench`.
    ("cais-test", "cais-runtime"),
    // The floor of a pull decompresses and reads the tar by the very code of a pull.
    ("cais-test", "cais-layer"),
];

fn layer(name: &str) -> Option<u8> {
    LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer)
}

/// Checks the output of `cargo metadata --no-deps`.
pub(super) fn check(metadata: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let place = format!("crates/{name}/Cargo.toml");
        let own = layer(name);
        if own.is_none() && !OUTSIDE.contains(&name) {
            findings.push(Finding::new(&place, "is not in the table of layers of xtask/src/tidy/layers.rs"));
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let needed = dependency["name"].as_str().unwrap_or_default();
            let is_dev = dependency["kind"] == "dev";
            findings.extend(refusal(name, own, needed, is_dev).map(|problem| Finding::new(&place, problem)));
        }
    }
    findings
}

fn refusal(name: &str, own: Option<u8>, needed: &str, is_dev: bool) -> Option<String> {
    if OUTSIDE.contains(&needed) {
        let allowed = (is_dev && needed == "cais-test") || needed == name;
        return (!allowed).then(|| format!("only tests may depend on {needed}"));
    }
    let below = layer(needed)?;
    if OUTSIDE.contains(&name) {
        return (below > 0 && !EXCEPTIONS.contains(&(name, needed)))
            .then(|| format!("depends on {needed} of layer {below}; test crates know no more than layer 0"));
    }
    if below < own? || EXCEPTIONS.contains(&(name, needed)) {
        return None;
    }
    Some(format!("layer {} depends on {needed} of layer {below}: only lower layers are allowed", own?))
}

/// Each manifest takes over the lints of the workspace.
pub(super) fn lints(path: &str, manifest: &str) -> Option<Finding> {
    let mut lines = manifest.lines().skip_while(|line| line.trim() != "[lints]");
    let ok = lines.nth(1).is_some_and(|line| line.trim() == "workspace = true");
    (!ok).then(|| Finding::new(path, "does not say `[lints] workspace = true`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problems(name: &str, dependencies: &[(&str, Option<&str>)]) -> Vec<String> {
        let dependencies: Vec<Value> =
            dependencies.iter().map(|(name, kind)| json!({"name": name, "kind": kind})).collect();
        let metadata = json!({"packages": [{"name": name, "dependencies": dependencies}]});
        check(&metadata).into_iter().map(|finding| finding.problem).collect()
    }

    #[test]
    fn lower_layers_pass() {
        assert!(
            problems("cais-store", &[("cais-sys", None), ("cais-layer", None), ("serde", None)]).is_empty()
        );
        assert!(problems("cais-hello", &[("cais-shim", None)]).is_empty());
        assert!(problems("cais-net", &[("cais-test", Some("dev"))]).is_empty());
    }

    #[test]
    fn equal_and_higher_layers_are_refused() {
        assert_eq!(problems("cais-net", &[("cais-layer", None)]).len(), 1);
        assert_eq!(problems("cais-sys", &[("cais-engine", None)]).len(), 1);
        assert_eq!(problems("cais-layer", &[("cais-store", Some("dev"))]).len(), 1);
        assert_eq!(problems("cais-shim", &[("cais-hello", None)]).len(), 1);
    }

    #[test]
    fn test_crates_stay_out_of_the_product() {
        assert_eq!(problems("cais", &[("cais-test", None)]).len(), 1);
        assert_eq!(problems("cais", &[("cais-test", Some("build"))]).len(), 1);
        assert_eq!(problems("cais-test", &[("cais-engine", None)]).len(), 1);
    }

    #[test]
    fn unknown_crates_are_refused() {
        assert_eq!(problems("cais-new", &[]).len(), 1);
    }

    #[test]
    fn lints_must_be_taken_over() {
        assert!(lints("x", "[package]\n\n[lints]\nworkspace = true\n").is_none());
        assert!(lints("x", "[package]\n").is_some());
    }
}
