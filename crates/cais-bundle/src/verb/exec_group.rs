//! Which group a further process enters: the container's, or with `exec --cgroup` groups within it.

use std::fs::OpenOptions;
use std::path::{Component, Path};

use cais_runtime::cgroup::Join;
use cais_runtime::cgroup::oci::Group;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// One argument of `--cgroup`: controllers (none = all) and a path within the container's group.
#[derive(Debug, PartialEq, Eq)]
struct Sub<'a> {
    controller: Option<&'a str>,
    path: &'a str,
}

/// Opens the way into the group.
///
/// # Errors
/// In runc's words.
pub(super) fn open(group: &Group, arguments: &[String], init: i32) -> Result<Join> {
    let subs = parse(arguments)?;
    match subs.as_slice() {
        [] => Ok(group.open_join_exec(init, None)?),
        _ => open_within(group, &subs),
    }
}

fn parse(arguments: &[String]) -> Result<Vec<Sub<'_>>> {
    let wrong = |problem, argument: &str| Error::CgroupArgument { problem, argument: argument.to_owned() };
    let mut subs: Vec<Sub<'_>> = Vec::new();
    for argument in arguments {
        let Some((controllers, path)) = argument.split_once(':') else {
            if arguments.len() != 1 {
                return Err(wrong("invalid --cgroup argument (missing <controller>: prefix)", argument));
            }
            subs.push(Sub { controller: None, path: argument });
            continue;
        };
        for controller in controllers.split(',') {
            if controller.is_empty() {
                return Err(wrong("invalid --cgroup argument (empty <controller> prefix)", argument));
            }
            if subs.iter().any(|sub| sub.controller == Some(controller)) {
                let problem = "invalid --cgroup argument(s): controller specified multiple times";
                return Err(wrong(problem, controller));
            }
            subs.push(Sub { controller: Some(controller), path });
        }
    }
    Ok(subs)
}

fn open_within(group: &Group, subs: &[Sub<'_>]) -> Result<Join> {
    let places = &group.state().places;
    for sub in subs {
        let bad = |part: Component<'_>| matches!(part, Component::ParentDir | Component::Prefix(_));
        if Path::new(sub.path).components().any(bad) {
            return Err(Error::CgroupArgument {
                problem: "bad sub cgroup path",
                argument: sub.path.to_owned(),
            });
        }
        let known = |name: &str| places.iter().any(|place| place.controllers.iter().any(|one| one == name));
        if let Some(name) = sub.controller.filter(|name| !known(name)) {
            let problem = "unknown controller in SubCgroupPaths";
            return Err(Error::CgroupArgument { problem, argument: name.to_owned() });
        }
    }
    let mut join = Join::default();
    for place in places {
        let meant = |sub: &&Sub<'_>| {
            sub.controller.is_none_or(|name| place.controllers.iter().any(|one| one == name))
        };
        let path = subs.iter().find(meant).map_or("", |sub| sub.path.trim_start_matches('/'));
        let directory = place.path.join(path);
        let failed = |path: &Path, e: std::io::Error| Error::CgroupEntry {
            operation: format!("open {}: ", path.display()),
            source: e,
        };
        if place.unified {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let fd = match rustix::fs::open(&directory, flags, Mode::empty()) {
                // Beside v1 it limits nothing, and nobody makes groups there.
                Err(Errno::NOENT) if group.state().version == 1 => {
                    rustix::fs::open(&place.path, flags, Mode::empty())
                }
                other => other,
            };
            join.directory = Some(fd.map_err(|e| failed(&directory, e.into()))?);
        } else {
            let file = directory.join("tasks");
            let opened = OpenOptions::new().write(true).open(&file).map_err(|e| failed(&file, e))?;
            join.tasks.push(opened.into());
        }
    }
    Ok(join)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_those_of_runc() {
        let parsed = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|&one| one.to_owned()).collect();
            parse(&arguments)
                .map(|subs| {
                    let text = |sub: &Sub<'_>| format!("{}={}", sub.controller.unwrap_or("*"), sub.path);
                    subs.iter().map(text).collect::<Vec<_>>().join(" ")
                })
                .map_err(|error| error.to_string())
        };
        assert_eq!(parsed(&[]).unwrap(), "");
        assert_eq!(parsed(&["a/b"]).unwrap(), "*=a/b");
        assert_eq!(parsed(&["cpu,memory:a", "pids:b"]).unwrap(), "cpu=a memory=a pids=b");
        assert!(parsed(&["a", "b"]).unwrap_err().contains("missing <controller>: prefix"));
        assert!(parsed(&["cpu,:a"]).unwrap_err().contains("empty <controller> prefix"));
        assert!(parsed(&["cpu:a", "cpu:b"]).unwrap_err().contains("specified multiple times: cpu"));
    }
}
