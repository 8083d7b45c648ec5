//! Words that must not be in the tree.

use super::Finding;

/// What must not be, and why. Written in pieces, so that this file does not find itself.
fn forbidden() -> Vec<(String, &'static str)> {
    let mut words = vec![(["FIX", "ME"].concat(), "open ends belong in an issue")];
    for name in ["to", "unimple"] {
        let rest = if name == "to" { "do" } else { "mented" };
        words.push((format!("{name}{rest}!("), "nothing unfinished in the tree"));
    }
    words.push((["db", "g!("].concat(), "left over from looking for a mistake"));
    for host in ["crates", "static.crates", "index.crates"] {
        words.push((format!("{host}.io"), "names of package registries belong in Cargo.lock only"));
    }
    for host in ["pypi.", "registry.npmjs.", "proxy.golang."] {
        words.push((format!("{host}org"), "names of package registries belong in Cargo.lock only"));
    }
    words
}

/// Folders of a developer's machine; they count only where a path begins.
fn machine_paths() -> Vec<String> {
    let pieces =
        [("/wo", "rk/main"), ("/wo", "rk/shared"), ("/var/tm", "p/tgt"), ("/ho", "me/dev"), ("/Us", "ers/")];
    pieces.iter().map(|(first, second)| format!("{first}{second}")).collect()
}

/// Module names that say nothing.
const EMPTY_NAMES: [&str; 5] = ["utils", "common", "helpers", "types", "manager"];

/// Checks one text file.
pub(super) fn check(path: &str, content: &str) -> Vec<Finding> {
    if path == "Cargo.lock" || path == "LICENSE" {
        return Vec::new();
    }
    let (forbidden, machine_paths) = (forbidden(), machine_paths());
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(content.lines()) {
        for (word, why) in &forbidden {
            if line.contains(word.as_str()) {
                findings.push(Finding::at(path, number, format!("`{word}`: {why}")));
            }
        }
        for folder in &machine_paths {
            let begins =
                |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_-.}/>".contains(c));
            if line.match_indices(folder.as_str()).any(|(at, _)| begins(at)) {
                findings.push(Finding::at(path, number, format!("`{folder}` is a path of one machine")));
            }
        }
        let declares = |name: &&&str| {
            line.trim_start_matches("pub ").trim_start_matches("pub(crate) ") == format!("mod {name};")
        };
        if let Some(name) = EMPTY_NAMES.iter().find(declares) {
            findings.push(Finding::at(
                path,
                number,
                format!("`mod {name}`: a module is named after what it knows"),
            ));
        }
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    if EMPTY_NAMES.iter().any(|empty| name == format!("{empty}.rs")) {
        findings.push(Finding::new(path, "a module is named after what it knows"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(line: &str) -> usize {
        check("x.rs", line).len()
    }

    #[test]
    fn each_word_is_found() {
        for (word, _) in forbidden() {
            assert_eq!(count(&format!("    {word}")).min(1), 1, "{word}");
        }
        for folder in machine_paths() {
            assert_eq!(count(&format!("see {folder}x")), 1, "{folder}");
            assert_eq!(count(&format!("\"{folder}x\"")), 1, "{folder}");
        }
        for name in EMPTY_NAMES {
            assert_eq!(count(&format!("mod {name};")), 1);
            assert_eq!(count(&format!("pub mod {name};")), 1);
            assert_eq!(check(&format!("a/{name}.rs"), "").len(), 1);
        }
    }

    #[test]
    fn harmless_text_is_not() {
        let inner = ["rw/{id}/wo", "rk/main"].concat();
        assert_eq!(count(&inner), 0);
        assert_eq!(count("mod typesetting; // commonly"), 0);
        let host = format!("{}.io", "crates");
        assert!(check("Cargo.lock", &host).is_empty());
        assert_eq!(check("README.md", &host).len(), 1);
    }
}
