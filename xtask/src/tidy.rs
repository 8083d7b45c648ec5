//! `cargo xtask tidy`: what the compiler does not check.
//!
//! Every rule is a function from text to findings, with a test that shows it can fail. This file collects the
//! inputs and prints; it decides nothing.

mod documents;
mod layers;
mod licences;
mod source;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::shell;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// File below the project, with `:LINE` when there is one.
    place: String,
    /// What is wrong.
    problem: String,
}

impl Finding {
    fn new(place: impl Into<String>, problem: impl Into<String>) -> Finding {
        Finding { place: place.into(), problem: problem.into() }
    }

    fn at(path: &str, line: usize, problem: impl Into<String>) -> Finding {
        Finding::new(format!("{path}:{line}"), problem)
    }
}

/// A text file of the project.
pub(crate) struct Text {
    path: String,
    content: String,
}

/// Runs all rules; true when nothing was found.
pub(crate) fn run() -> Result<bool> {
    let texts = texts(shell::project())?;
    let mut findings = Vec::new();
    for text in &texts {
        findings.extend(words::check(&text.path, &text.content));
        if text.path.ends_with(".rs") {
            findings.extend(source::check(&text.path, &text.content));
        }
        if text.path.ends_with(".md") {
            findings.extend(documents::links(&text.path, &text.content, &|path| {
                shell::project().join(path).exists()
            }));
        }
    }
    findings.extend(whole(&texts));
    findings.extend(metadata_rules(&texts)?);
    findings.sort();
    for finding in &findings {
        eprintln!("{}: {}", finding.place, finding.problem);
    }
    let denied = !deny()?;
    if findings.is_empty() && !denied {
        println!("tidy: {} files, nothing found", texts.len());
        return Ok(true);
    }
    eprintln!("tidy: {} findings", findings.len());
    Ok(false)
}

/// Rules that need more than one file.
fn whole(texts: &[Text]) -> Vec<Finding> {
    let find = |path: &str| texts.iter().find(|text| text.path == path).map(|text| text.content.as_str());
    let mut findings = Vec::new();
    for needed in documents::NEEDED {
        if find(needed).is_none() {
            findings.push(Finding::new(*needed, "is missing"));
        }
    }
    if let Some(changelog) = find("CHANGELOG.md") {
        findings.extend(documents::changelog(changelog));
    }
    if let Some(readme) = find("README.md") {
        let is_command_line =
            |text: &&Text| text.path.starts_with("crates/cais/src/") && text.path.ends_with(".rs");
        let sources: String =
            texts.iter().filter(is_command_line).map(|text| text.content.as_str()).collect();
        findings.extend(documents::readme_commands(readme, &sources));
    }
    findings
}

fn metadata_rules(texts: &[Text]) -> Result<Vec<Finding>> {
    let own = metadata("metadata --format-version 1 --no-deps")?;
    let mut findings = layers::check(&own);
    let is_member = |text: &&Text| text.path.starts_with("crates/") || text.path.starts_with("xtask/");
    for text in texts.iter().filter(|text| text.path.ends_with("/Cargo.toml")).filter(is_member) {
        findings.extend(layers::lints(&text.path, &text.content));
    }
    let deny = fs::read_to_string(shell::project().join("deny.toml")).context("reading deny.toml")?;
    let host = shell::output(&mut shell::command("rustc", "--print host-tuple"))?;
    let all = metadata(&format!("metadata --format-version 1 --locked --filter-platform {}", host.trim()))?;
    findings.extend(licences::check(&all, &deny));
    Ok(findings)
}

fn metadata(line: &str) -> Result<Value> {
    let text = shell::output(&mut shell::cargo(line))?;
    serde_json::from_str(&text).with_context(|| format!("reading what cargo {line} says"))
}

/// cargo-deny sees more (advisories, duplicates); its absence is no failure, the licences were checked above.
fn deny() -> Result<bool> {
    if !shell::has("cargo-deny") {
        return Ok(true);
    }
    shell::succeeds(&mut shell::cargo("deny --offline --log-level error check licenses bans sources"))
}

/// Every text file, folders of cargo and git aside.
fn texts(project: &Path) -> Result<Vec<Text>> {
    let mut texts = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(project.join(&folder)).with_context(|| format!("reading {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            // `.git` is a file in a linked worktree.
            if [".git", "target"].iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if let Ok(content) = fs::read_to_string(entry.path()) {
                texts.push(Text { path: path.to_string_lossy().into_owned(), content });
            }
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_documents_are_found() {
        let missing: Vec<String> = whole(&[]).into_iter().map(|finding| finding.place).collect();
        assert!(missing.contains(&"README.md".to_owned()) && missing.contains(&"LICENSE".to_owned()));
    }

    #[test]
    fn this_very_file_is_read() {
        let texts = texts(shell::project()).unwrap();
        assert!(texts.iter().any(|text| text.path == "xtask/src/tidy.rs"));
        assert!(!texts.iter().any(|text| text.path.starts_with(".git/")));
    }
}
