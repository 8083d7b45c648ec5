//! `--ulimit`, `--sysctl` and sizes.

use std::collections::BTreeMap;

use cais_engine::Ulimit;

type Result<T> = std::result::Result<T, String>;

const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// A size in bytes; `None` when the flag was not given.
pub(super) fn size(text: Option<&str>) -> Result<Option<u64>> {
    text.filter(|text| !text.is_empty()).map(crate::size::parse_bytes).transpose()
}

/// `name=soft[:hard]`; the last of a name wins.
pub(super) fn ulimits(texts: &[String]) -> Result<Vec<Ulimit>> {
    let mut limits: Vec<Ulimit> = Vec::new();
    // Podman's `host` asks for the caller's limits, which a container has anyway.
    for text in texts.iter().filter(|text| *text != "host") {
        let limit = ulimit(text)?;
        limits.retain(|old| old.name != limit.name);
        limits.push(limit);
    }
    Ok(limits)
}

fn ulimit(text: &str) -> Result<Ulimit> {
    let (name, values) =
        text.split_once('=').ok_or_else(|| format!("invalid limit {text:?}: expected name=soft[:hard]"))?;
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix("rlimit_").unwrap_or(&name).to_owned();
    if !ULIMITS.contains(&name.as_str()) {
        return Err(format!("unknown limit {name:?}: there are {}", ULIMITS.join(", ")));
    }
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let number = |text: &str| match text {
        "unlimited" => Ok(-1),
        text => {
            text.parse::<i64>().ok().filter(|n| *n >= -1).ok_or_else(|| format!("{text:?} is not a limit"))
        }
    };
    let (soft, hard) = (number(soft)?, number(hard)?);
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(format!("{name}: the soft limit {soft} is greater than the hard limit {hard}"));
    }
    Ok(Ulimit { name, soft, hard })
}

/// `name=value`.
pub(super) fn sysctls(texts: &[String]) -> Result<BTreeMap<String, String>> {
    texts
        .iter()
        .map(|text| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(format!("invalid parameter {text:?}: expected name=value")),
        })
        .collect()
}
