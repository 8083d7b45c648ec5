//! What a request and an image amount to: the effective command, environment, user, mounts, network.
//!
//! Pure: no disk, no kernel. Rules are Docker's; each function names the one it implements.

use std::collections::BTreeMap;

use cais_oci::ProcessConfig;

use crate::{ContainerRequest, Error, ErrorKind, MountKind, MountRequest, NetworkRequest, Result};

/// PATH of containers whose image sets none.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Effective entrypoint and command.
///
/// A command replaces the image's; an entrypoint replaces the image's and drops its command.
///
/// # Errors
/// When nothing is left to run.
pub(crate) fn command(
    request: &ContainerRequest,
    image: &ProcessConfig,
) -> Result<(Vec<String>, Vec<String>)> {
    let from_image = request.entrypoint.is_none();
    let entrypoint =
        request.entrypoint.clone().unwrap_or_else(|| image.entrypoint.clone().unwrap_or_default());
    let entrypoint: Vec<String> = if entrypoint == [""] { Vec::new() } else { entrypoint };
    let cmd = if !request.command.is_empty() {
        request.command.clone()
    } else if from_image {
        image.cmd.clone().unwrap_or_default()
    } else {
        Vec::new()
    };
    if entrypoint.is_empty() && cmd.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "no command specified")
            .hint("the image names none: give one after the image name"));
    }
    Ok((entrypoint, cmd))
}

/// Image's variables, overridden by the request's; PATH is always there. `KEY` without `=` removes a variable.
pub(crate) fn environment(request: &[String], image: &[String]) -> Vec<String> {
    let mut merged: Vec<String> = Vec::new();
    let key = |v: &str| v.split('=').next().unwrap_or_default().to_owned();
    for variable in std::iter::once(&DEFAULT_PATH.to_owned()).chain(image).chain(request) {
        let place = merged.iter().position(|m| key(m) == key(variable));
        match (place, variable.contains('=')) {
            (Some(at), true) => variable.clone_into(&mut merged[at]),
            (Some(at), false) => drop(merged.remove(at)),
            (None, true) => merged.push(variable.clone()),
            (None, false) => {}
        }
    }
    merged
}

/// The request's variables that are made of the image's: `$NAME` and `${NAME}` in a value are replaced.
pub(crate) fn merged(templates: &[String], image: &[String]) -> Vec<String> {
    let value = |name: &str| {
        let found = image.iter().rev().find_map(|v| v.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().to_owned()
    };
    templates.iter().map(|template| expand(template, &value)).collect()
}

fn expand(text: &str, value: &dyn Fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if let Some((name, after)) = rest.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            out.push_str(&value(name));
            rest = after;
        } else {
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            out.push_str(&if end == 0 { "$".to_owned() } else { value(&rest[..end]) });
            rest = &rest[end..];
        }
    }
    out + rest
}

/// Absolute working directory.
pub(crate) fn workdir(request: Option<&str>, image: Option<&str>) -> Result<String> {
    let chosen = request.or(image).filter(|w| !w.is_empty()).unwrap_or("/");
    if !chosen.starts_with('/') {
        return Err(Error::new(ErrorKind::Invalid, format!("working directory {chosen:?} is not absolute")));
    }
    Ok(normalize(chosen))
}

/// Labels of image and request.
pub(crate) fn labels(
    request: &BTreeMap<String, String>,
    image: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    image.iter().chain(request).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// The request's mounts, and an anonymous volume for each VOLUME of the image that nothing else is mounted on.
///
/// # Errors
/// For relative or doubled targets.
pub(crate) fn mounts(request: &[MountRequest], volumes: &[String]) -> Result<Vec<MountRequest>> {
    let mut all: Vec<MountRequest> = Vec::new();
    for mount in request {
        let target = normalize(&mount.target);
        if !mount.target.starts_with('/') {
            let message = format!("mount target {:?} is not an absolute path", mount.target);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if target == "/" {
            return Err(Error::new(ErrorKind::Invalid, "mount target / would hide the whole container"));
        }
        if all.iter().any(|m| m.target == target) {
            return Err(Error::new(ErrorKind::Invalid, format!("duplicate mount point: {target}")));
        }
        all.push(MountRequest { target, ..mount.clone() });
    }
    for volume in volumes {
        let target = normalize(volume);
        if target.starts_with('/') && target != "/" && !all.iter().any(|m| m.target == target) {
            all.push(MountRequest { kind: MountKind::Volume, target, ..MountRequest::default() });
        }
    }
    Ok(all)
}

/// A path without `.`, `..` and doubled slashes, by its text alone: it is resolved again inside the container.
pub(crate) fn normalize(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The network mode in force; never `Default`.
pub(crate) fn network(
    request: &NetworkRequest,
    rootless: bool,
    pasta: bool,
) -> (NetworkRequest, Option<String>) {
    match request {
        NetworkRequest::Default if !rootless => (NetworkRequest::Bridge, None),
        NetworkRequest::Default if pasta => (NetworkRequest::Pasta, None),
        NetworkRequest::Default => (
            NetworkRequest::None,
            Some("no network: rootless containers get one from pasta, which is not installed (package passt); \
                  --network host shares the host's"
                .to_owned()),
        ),
        other => (other.clone(), None),
    }
}

/// Number of a signal given by name or number.
///
/// # Errors
/// For unknown ones.
pub fn signal_number(text: &str) -> Result<i32> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let unknown = || Error::new(ErrorKind::Invalid, format!("invalid signal: {text}"));
    if let Ok(number) = name.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let real_time = |base: i32, rest: &str| -> Option<i32> {
        if rest.is_empty() {
            return Some(base);
        }
        let number = base.checked_add(rest.parse::<i32>().ok()?)?;
        (34..=64).contains(&number).then_some(number)
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return real_time(34, rest.trim_start_matches('+')).ok_or_else(unknown);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return real_time(64, rest).ok_or_else(unknown);
    }
    let name = match name {
        "IOT" => "ABRT",
        "CLD" => "CHLD",
        "POLL" => "IO",
        other => other,
    };
    NAMES.iter().zip(1..).find(|(n, _)| **n == name).map(|(_, number)| number).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn commands() {
        let image = ProcessConfig {
            entrypoint: Some(strings(&["/entry"])),
            cmd: Some(strings(&["serve"])),
            ..ProcessConfig::default()
        };
        let run = |entrypoint: Option<&[&str]>, args: &[&str]| {
            let request = ContainerRequest {
                entrypoint: entrypoint.map(strings),
                command: strings(args),
                ..ContainerRequest::default()
            };
            command(&request, &image).map(|(e, c)| [e, c].concat().join(" ")).map_err(|e| e.to_string())
        };
        assert_eq!(run(None, &[]).as_deref(), Ok("/entry serve"));
        assert_eq!(run(None, &["x"]).as_deref(), Ok("/entry x"));
        assert_eq!(run(Some(&["/bin/sh"]), &[]).as_deref(), Ok("/bin/sh"));
        assert_eq!(run(Some(&[""]), &["a", "b"]).as_deref(), Ok("a b"));
        assert!(run(Some(&[""]), &[]).is_err());
    }

    #[test]
    fn environments() {
        let merged = environment(&strings(&["A=2", "B", "C=3"]), &strings(&["A=1", "B=1", "PATH=/x"]));
        assert_eq!(merged, strings(&["PATH=/x", "A=2", "C=3"]));
        assert_eq!(environment(&[], &[]), vec![DEFAULT_PATH.to_owned()]);
    }

    #[test]
    fn paths() {
        assert_eq!(normalize("/a/./b/../c//"), "/a/c");
        assert_eq!(normalize("/../.."), "/");
        assert!(workdir(Some("x"), None).is_err());
        assert_eq!(workdir(None, Some("/srv/")).ok().as_deref(), Some("/srv"));
    }

    #[test]
    fn volumes_of_the_image_give_way_to_mounts() {
        let asked =
            [MountRequest { kind: MountKind::Bind, target: "/data/".into(), ..MountRequest::default() }];
        let all = mounts(&asked, &strings(&["/data", "/logs"])).expect("resolves");
        assert_eq!(all.iter().map(|m| m.target.as_str()).collect::<Vec<_>>(), ["/data", "/logs"]);
        assert_eq!(all[1].kind, MountKind::Volume);
        let twice = [asked[0].clone(), asked[0].clone()];
        assert!(mounts(&twice, &[]).is_err());
        let relative = [MountRequest { target: "x".into(), ..MountRequest::default() }];
        assert!(mounts(&relative, &[]).is_err());
    }

    #[test]
    fn signals() {
        for (text, number) in [
            ("TERM", Some(15)),
            ("SIGkill", Some(9)),
            ("9", Some(9)),
            ("RTMIN+3", Some(37)),
            ("SIGRTMAX-1", Some(63)),
        ] {
            assert_eq!(signal_number(text).ok(), number, "{text}");
        }
        for text in ["0", "65", "FOO", "RTMIN+99", "RTMIN+2147483647", ""] {
            assert!(signal_number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn variables_made_of_the_images() {
        let image = ["PATH=/bin".to_owned(), "EMPTY=".to_owned()];
        let merged = |text: &str| merged(&[text.to_owned()], &image).concat();
        assert_eq!(merged("PATH=/x:$PATH"), "PATH=/x:/bin");
        assert_eq!(merged("A=${PATH}y-$NONE-${EMPTY}"), "A=/biny--");
        assert_eq!(merged("A=cost 5$ ${PATH"), "A=cost 5$ ${PATH");
    }
}
