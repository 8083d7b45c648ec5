//! `--security-opt`, `--cap-add`, `--cap-drop`, `--device`, `--device-cgroup-rule`.

use std::path::Path;

use cais_engine::{SeccompRequest, SecurityRequest};

use super::Caller;

type Result<T> = std::result::Result<T, String>;

/// Options taken apart; a seccomp profile's file is read here, so that its text is in the record.
pub(super) fn options(texts: &[String], caller: &Caller<'_>) -> Result<SecurityRequest> {
    let mut security = SecurityRequest::default();
    for text in texts {
        // Docker once separated by ':', and scripts still do.
        let (key, value) = match (text.split_once('='), text.split_once(':')) {
            (Some((key, value)), _) if !key.contains(':') => (key, Some(value)),
            (_, Some((key, value))) => (key, Some(value)),
            _ => (text.as_str(), None),
        };
        match (key, value) {
            ("no-new-privileges", None) => security.no_new_privileges = true,
            ("no-new-privileges", Some(value)) => {
                security.no_new_privileges =
                    crate::parse::parse_bool(value).map_err(|e| format!("no-new-privileges: {e}"))?;
            }
            ("seccomp", Some("unconfined")) => security.seccomp = SeccompRequest::Unconfined,
            ("seccomp", Some("builtin" | "default")) => security.seccomp = SeccompRequest::Default,
            ("seccomp", Some(file)) if !file.is_empty() => {
                let fail = |reason: String| format!("seccomp profile {file}: {reason}");
                let bytes = (caller.read)(Path::new(file)).map_err(|e| fail(e.to_string()))?;
                let profile = String::from_utf8(bytes).map_err(|_| fail("not valid UTF-8".into()))?;
                let parsed: std::result::Result<serde_json::Value, _> = serde_json::from_str(&profile);
                parsed.map_err(|e| fail(e.to_string()))?;
                security.seccomp = SeccompRequest::Profile(profile);
            }
            ("apparmor", Some(profile)) if !profile.is_empty() => {
                security.apparmor = Some(profile.to_owned())
            }
            ("label", Some("disable")) => security.label_disable = true,
            ("label", Some(value)) => {
                let (name, value) = value.split_once(':').unwrap_or((value, ""));
                let part = security.label.part(name).filter(|_| !value.is_empty());
                *part.ok_or_else(|| {
                    format!("{text}: expected label=disable or label=user|role|type|level|filetype:VALUE")
                })? = Some(value.to_owned());
            }
            ("systempaths", Some("unconfined")) => security.unmask = true,
            ("unmask", Some(all)) if all.eq_ignore_ascii_case("all") => security.unmask = true,
            ("mask", Some(paths)) => security.masked.extend(absolute_paths(text, paths)?),
            ("unmask", Some(paths)) => security.unmasked.extend(absolute_paths(text, paths)?),
            ("proc-opts", _) => return Err(format!("{text}: options of /proc are not supported yet")),
            _ => return Err(format!("invalid option {text:?}")),
        }
    }
    Ok(security)
}

/// `/a:/b`
fn absolute_paths(option: &str, paths: &str) -> Result<Vec<String>> {
    match paths.split(':').find(|path| !path.starts_with('/')) {
        Some(path) => Err(format!("{option}: the path {path:?} is not absolute")),
        None => Ok(paths.split(':').map(str::to_owned).collect()),
    }
}

/// Names in upper case; whether they exist is for the engine to say.
pub(super) fn capabilities(texts: &[String]) -> Result<Vec<String>> {
    let names = texts.iter().flat_map(|text| text.split(',')).map(str::trim);
    names
        .map(|name| match name {
            "" => Err("the name of a capability is empty".into()),
            name => Ok(name.to_ascii_uppercase()),
        })
        .collect()
}

/// `/dev/x[:/dev/y[:rwm]]`.
pub(super) fn devices(texts: &[String]) -> Result<Vec<String>> {
    for text in texts {
        let parts: Vec<&str> = text.split(':').collect();
        let permissions = |part: &str| !part.is_empty() && part.chars().all(|c| "rwm".contains(c));
        let host = parts.first().copied().unwrap_or_default();
        if !host.starts_with('/') {
            let named = host.contains('/') && text.contains('=');
            return Err(match named {
                true => format!("{text}: CDI devices are not supported yet"),
                false => format!("{text}: the path of a device is absolute"),
            });
        }
        let valid = match parts[1..] {
            [] => true,
            [second] => second.starts_with('/') || permissions(second),
            [second, third] => second.starts_with('/') && permissions(third),
            _ => false,
        };
        if !valid {
            return Err(format!("{text}: expected /dev/host[:/dev/container[:rwm]]"));
        }
    }
    Ok(texts.to_vec())
}

/// `type major:minor permissions`, such as `c 10:* rwm`.
pub(super) fn device_rules(texts: &[String]) -> Result<Vec<String>> {
    for text in texts {
        let words: Vec<&str> = text.split(' ').collect();
        let number = |part: &str| part == "*" || part.parse::<u32>().is_ok();
        let valid = match words[..] {
            ["a" | "b" | "c", numbers, permissions] => {
                numbers.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor))
                    && (1..=3).contains(&permissions.len())
                    && permissions.chars().all(|c| "rwm".contains(c))
            }
            _ => false,
        };
        if !valid {
            return Err(format!(
                "invalid rule {text:?}: expected type major:minor permissions, such as 'c 10:* rwm'"
            ));
        }
    }
    Ok(texts.to_vec())
}
