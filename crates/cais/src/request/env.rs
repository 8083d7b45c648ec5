//! `-e`, `--env-file`, `-l`, `--label-file`.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Caller, Result};
use crate::failure::Failure;

/// The environment that files and flags ask for, `KEY=VALUE` each; later ones of a name replace earlier ones.
///
/// # Errors
/// When a file cannot be read, or a variable has no name.
pub fn environment(files: &[String], flags: &[String], caller: &Caller<'_>) -> Result<Vec<String>> {
    let mut env: Vec<String> = Vec::new();
    let mut put = |pair: String| {
        let key = pair.split_once('=').map_or("", |(key, _)| key).len();
        match env.iter_mut().find(|old| old.get(..=key) == pair.get(..=key)) {
            Some(old) => *old = pair,
            None => env.push(pair),
        }
    };
    for file in files {
        for line in read_lines("env-file", file, caller)? {
            env_line(&line, caller)
                .map_err(|reason| Failure::usage(format!("--env-file {file}: {reason}")))?
                .map(&mut put);
        }
    }
    for text in flags {
        env_line(text, caller).map_err(|reason| Failure::usage(format!("--env: {reason}")))?.map(&mut put);
    }
    Ok(env)
}

/// `KEY=VALUE`, or the caller's value of `KEY`, or nothing when the caller has none.
fn env_line(text: &str, caller: &Caller<'_>) -> std::result::Result<Option<String>, String> {
    match text.split_once('=') {
        Some(("", _)) => Err(format!("no variable name in {text:?}")),
        None if text.is_empty() => Err("the name of a variable is empty".into()),
        _ if text.contains('\0') => Err("a variable holds a NUL character".into()),
        Some(_) => Ok(Some(text.to_owned())),
        None => Ok((caller.env)(text).map(|value| format!("{text}={value}"))),
    }
}

/// The lines of a file in docker's grammar: blanks at their beginning, empty lines and comments are left out.
///
/// # Errors
/// As [`environment`].
fn env_file(text: &str) -> std::result::Result<Vec<String>, String> {
    let mut lines = Vec::new();
    for (number, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = line.split_once('=').map_or(line, |(key, _)| key);
        let key_bare = if line.contains('=') { key } else { key.trim_end() };
        if key_bare.is_empty() {
            return Err(format!("no variable name on line {}", number + 1));
        }
        if key_bare.contains(char::is_whitespace) {
            return Err(format!("the variable {key:?} on line {} holds blanks", number + 1));
        }
        lines.push(if line.contains('=') { line.to_owned() } else { key_bare.to_owned() });
    }
    Ok(lines)
}

fn read_lines(flag: &str, file: &str, caller: &Caller<'_>) -> Result<Vec<String>> {
    let bytes =
        (caller.read)(Path::new(file)).map_err(|e| Failure::usage(format!("--{flag} {file}: {e}")))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("--{flag} {file}: the file is not valid UTF-8")))?;
    env_file(&text).map_err(|reason| Failure::usage(format!("--{flag} {file}: {reason}")))
}

/// Labels of files and flags; a label without `=` has the empty value.
///
/// # Errors
/// When a file cannot be read, or a label has no name.
pub(super) fn labels(
    files: &[String],
    flags: &[String],
    caller: &Caller<'_>,
) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for file in files {
        labels.extend(read_lines("label-file", file, caller)?.iter().map(|line| key_value(line)));
    }
    for text in flags {
        let (key, value) = key_value(text);
        if key.is_empty() {
            return Err(Failure::usage(format!("--label: {text:?} has no name")));
        }
        labels.insert(key, value);
    }
    Ok(labels)
}

/// `key=value`, or `key` with the empty value.
pub(crate) fn key_value(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}
