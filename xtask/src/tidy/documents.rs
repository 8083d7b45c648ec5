//! Rules for the documents: they exist, their links lead somewhere, the README's commands exist.

use super::Finding;

/// Documents that every checkout has.
pub(super) const NEEDED: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "STYLE.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "LICENSE",
    ".ci/run",
    "docs/kernel.md",
    "docs/performance.md",
];

/// Relative links of a markdown file must lead to something; `exists` gets a path below the project.
pub(super) fn links(path: &str, content: &str, exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    let mut in_code = false;
    for (number, line) in (1..).zip(content.lines()) {
        in_code ^= line.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let target = line[at + 2..].split(')').next().unwrap_or_default();
            let file = target.split(['#', ' ']).next().unwrap_or_default();
            let is_foreign = target.contains("://") || target.starts_with("mailto:");
            if !file.is_empty() && !is_foreign && !exists(&joined(folder, file)) {
                findings.push(Finding::at(path, number, format!("the link to {target} leads nowhere")));
            }
        }
    }
    findings
}

fn joined(folder: &str, file: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in file.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// The changelog has a place for what has not been released.
pub(super) fn changelog(content: &str) -> Option<Finding> {
    let found =
        content.lines().any(|line| line.starts_with("## ") && line.to_lowercase().contains("unreleased"));
    (!found).then(|| Finding::new("CHANGELOG.md", "has no section `## Unreleased`"))
}

/// Every command and long flag in the README's blocks must be a word that the command line's source knows.
pub(super) fn readme_commands(readme: &str, sources: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_code = false;
    for (number, line) in (1..).zip(readme.lines()) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
            continue;
        }
        let Some(words) = in_code.then(|| cais_words(line)).flatten() else { continue };
        for word in unknown(&words, sources) {
            findings.push(Finding::at(
                "README.md",
                number,
                format!("the command line does not know `{word}`"),
            ));
        }
    }
    findings
}

/// The words after `cais` or `cargo run … --`, comments cut off.
fn cais_words(line: &str) -> Option<Vec<&str>> {
    let line = line.trim().trim_start_matches("$ ").trim_start_matches("# ");
    let line = line.split(" # ").next().unwrap_or(line);
    let rest = match line.strip_prefix("cargo run ") {
        Some(run) => run.split_once("-- ")?.1,
        None => line.strip_prefix("cais ")?,
    };
    Some(rest.split_whitespace().collect())
}

fn unknown<'a>(words: &[&'a str], sources: &str) -> Vec<&'a str> {
    let knows =
        |word: &str| sources.contains(&format!("\"{word}\"")) || sources.contains(&format!("--{word}"));
    let mut bad = Vec::new();
    if let Some(command) = words.first().filter(|word| !word.starts_with('-') && !knows(word)) {
        bad.push(*command);
    }
    // Flags end where the image and its command begin: at the second plain word after the command.
    let mut plain = 0;
    for word in words.iter().skip(1) {
        let Some(flag) = word.strip_prefix("--") else {
            plain += usize::from(!word.starts_with('-'));
            continue;
        };
        if plain < 2 && !flag.is_empty() && !knows(flag.split('=').next().unwrap_or(flag)) {
            bad.push(*word);
        }
    }
    bad
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_links_are_found() {
        let exists = |path: &str| path == "docs/a.md" || path == "README.md";
        let text = "[ok](a.md) [up](../README.md#x) [net](https://x.y/z) [here](#z)\n[bad](b.md)\n```\n[code](c.md)\n```\n";
        let found = links("docs/x.md", text, &exists);
        assert_eq!(found, [Finding::at("docs/x.md", 2, "the link to b.md leads nowhere")]);
    }

    #[test]
    fn the_changelog_needs_its_section() {
        assert!(changelog("# Changes\n\n## Unreleased\n").is_none());
        assert!(changelog("# Changes\n\n## [Unreleased]\n").is_none());
        assert!(changelog("# Changes\n\n## 1.0\n").is_some());
    }

    #[test]
    fn unknown_commands_and_flags_are_found() {
        let sources = "\"run\" \"rm\" --name";
        let check = |line: &str| readme_commands(&format!("```sh\n{line}\n```\n"), sources).len();
        assert_eq!(check("cais run --rm hello"), 0);
        assert_eq!(check("$ cais run --name=x hello   # --nonsense"), 0);
        assert_eq!(check("cargo run --release -- run --rm hello"), 0);
        assert_eq!(check("cais fly"), 1);
        assert_eq!(check("cais run --nonsense hello"), 1);
        assert_eq!(check("cais run --rm image program --its-own"), 0);
        assert_eq!(check("make it"), 0);
        assert!(readme_commands("cais fly\n", sources).is_empty(), "prose is not checked");
    }
}
