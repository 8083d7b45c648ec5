//! Flags before the command, and what of the caller's environment they default to. Pure.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::flags::{Flag, Words, parse};
use super::log::{Format, Level};

/// Flags before the command.
pub(super) const FLAGS: &[Flag] = &[
    Flag::valued(
        "root",
        "DIR",
        "state of containers (default /run/cais-runtime, or $XDG_RUNTIME_DIR/cais-runtime)",
    ),
    Flag::valued("log", "FILE", "append to this log instead of writing to standard error"),
    Flag::valued("log-format", "FORMAT", "text (default) or json"),
    Flag::valued("log-level", "LEVEL", "error, warning (default) or debug"),
    Flag::switch("debug", "log what is done"),
    Flag::switch("systemd-cgroup", "let systemd make the groups; cgroupsPath is then slice:prefix:name"),
    Flag::valued("cgroup-manager", "MANAGER", "cgroupfs (default), systemd or disabled"),
    Flag::valued(
        "rootless",
        "BOOL",
        "whether lacking rights to cgroups are forgiven: true, false or auto (default)",
    ),
    Flag::valued("criu", "FILE", "the criu program (deprecated: it is looked for in $PATH)"),
    Flag::switch("version", "print the version").short('v'),
];

/// What surrounds the command.
#[derive(Debug, Default)]
pub(super) struct Caller {
    /// Effective user id.
    pub(super) euid: u32,
    /// uid 0 means root of a user namespace only.
    pub(super) in_user_namespace: bool,
    /// `XDG_RUNTIME_DIR`, when it is set and not empty.
    pub(super) xdg_runtime_dir: Option<PathBuf>,
    /// `USER`.
    pub(super) user: Option<OsString>,
    /// `DBUS_SESSION_BUS_ADDRESS`.
    pub(super) session_bus: Option<String>,
}

/// Flags before the command, understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Globals {
    /// State of containers, absolute.
    pub(super) root: PathBuf,
    /// `root` is what `--root` said.
    pub(super) root_is_given: bool,
    /// `root` lies below `$XDG_RUNTIME_DIR` because nothing else was said.
    pub(super) root_is_xdg: bool,
    /// `--log`
    pub(super) log: Option<PathBuf>,
    /// `--log-format`
    pub(super) format: Format,
    /// `--log-level`, `--debug`
    pub(super) level: Level,
    /// Which hand makes the groups.
    pub(super) cgroups: Cgroups,
    /// `--rootless`; `None` is `auto`.
    pub(super) rootless: Option<bool>,
    /// Socket of the user's bus, where systemd is asked when the caller is not root.
    pub(super) user_bus: Option<PathBuf>,
    /// `--criu`
    pub(super) criu: Option<PathBuf>,
}

/// Which hand makes control groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Cgroups {
    /// Our own, through the file system.
    #[default]
    File,
    /// systemd's.
    Systemd,
    /// None: the container stays in its caller's.
    Disabled,
}

/// Reads the flags before the command; the rest is in `arguments`.
///
/// # Errors
/// For flags that are not known or have no value.
pub(super) fn read(argv: Vec<OsString>) -> Result<Words, Failure> {
    parse(argv, &[FLAGS], true)
}

/// What the flags mean for this caller.
///
/// # Errors
/// For values that no flag has.
pub(super) fn understand(words: &Words, caller: &Caller) -> Result<Globals, Failure> {
    let (root, root_is_xdg) = match words.raw("root") {
        Some(root) => (absolute(Path::new(root))?, false),
        None => default_root(caller),
    };
    let log = words.path("log");
    Ok(Globals {
        root,
        root_is_given: words.raw("root").is_some(),
        root_is_xdg,
        log: log.map(log_file).transpose()?,
        format: match words.text("log-format")? {
            None | Some("text") => Format::Text,
            Some("json") => Format::Json,
            Some(other) => return Err(Failure::usage(format!("invalid log-format: {other}"))),
        },
        level: match words.text("log-level")? {
            _ if words.switch("debug") => Level::Debug,
            None | Some("warning" | "warn" | "info") => Level::Warning,
            Some("error") => Level::Error,
            Some("debug") => Level::Debug,
            Some(other) => return Err(Failure::usage(format!("invalid log-level: {other}"))),
        },
        cgroups: match words.text("cgroup-manager")? {
            Some("disabled") => Cgroups::Disabled,
            Some("systemd") => Cgroups::Systemd,
            None | Some("cgroupfs") if words.switch("systemd-cgroup") => Cgroups::Systemd,
            None | Some("cgroupfs") => Cgroups::File,
            Some(other) => return Err(Failure::usage(format!("unknown cgroup manager: {other}"))),
        },
        rootless: match words.text("rootless")?.map(str::to_ascii_lowercase).as_deref() {
            None | Some("auto") => None,
            Some("true" | "1" | "t") => Some(true),
            Some("false" | "0" | "f") => Some(false),
            Some(other) => {
                let message = format!("invalid value for rootless: {other:?}: expected true, false or auto");
                return Err(Failure::usage(message));
            }
        },
        user_bus: user_bus(caller),
        criu: words.path("criu"),
    })
}

fn absolute(root: &Path) -> Result<PathBuf, Failure> {
    let mut clean = PathBuf::new();
    let path = std::path::absolute(if root.as_os_str().is_empty() { Path::new(".") } else { root });
    for part in path.map_err(|error| Failure::io("find the working directory", &error))?.components() {
        match part {
            std::path::Component::ParentDir => drop(clean.pop()),
            part => clean.push(part),
        }
    }
    if clean == Path::new("/") {
        return Err(Failure::usage("option --root argument should not be set to /"));
    }
    Ok(clean)
}

/// runc's rule: root has no use for `$XDG_RUNTIME_DIR` unless it is root of a user namespace only.
fn default_root(caller: &Caller) -> (PathBuf, bool) {
    let honoured = caller.euid != 0
        || (caller.in_user_namespace && caller.user.as_deref().is_none_or(|user| user != "root"));
    match &caller.xdg_runtime_dir {
        Some(directory) if honoured => (directory.join("cais-runtime"), true),
        _ => ("/run/cais-runtime".into(), false),
    }
}

/// crun has other destinations than files.
fn log_file(log: PathBuf) -> Result<PathBuf, Failure> {
    let Some(text) = log.to_str() else { return Ok(log) };
    if text.starts_with("journald:") || text.starts_with("syslog:") {
        return Err(Failure::usage(format!("--log {text}: only files can be logged to")));
    }
    Ok(text.strip_prefix("file:").map(PathBuf::from).unwrap_or(log))
}

fn user_bus(caller: &Caller) -> Option<PathBuf> {
    let address = caller.session_bus.as_deref().unwrap_or_default();
    let path = address
        .split(';')
        .find_map(|one| one.strip_prefix("unix:"))
        .and_then(|keys| keys.split(',').find_map(|key| key.strip_prefix("path=")).map(PathBuf::from));
    path.or_else(|| caller.xdg_runtime_dir.as_ref().map(|directory| directory.join("bus")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globals(line: &str, caller: &Caller) -> Result<(Globals, Vec<OsString>), Failure> {
        let words = read(line.split_whitespace().map(OsString::from).collect())?;
        Ok((understand(&words, caller)?, words.arguments))
    }

    fn understood(line: &str) -> Globals {
        globals(line, &Caller::default()).expect(line).0
    }

    #[test]
    fn callers_command_lines() {
        let (shim, rest) = globals(
            "--root /run/c/moby --log /l/log.json --log-format json --systemd-cgroup create --bundle /b --debug x",
            &Caller::default(),
        )
        .expect("ok");
        let expected = Globals {
            root: "/run/c/moby".into(),
            root_is_given: true,
            log: Some("/l/log.json".into()),
            format: Format::Json,
            cgroups: Cgroups::Systemd,
            ..Globals::default()
        };
        assert_eq!(shim, expected);
        assert_eq!(rest, ["create", "--bundle", "/b", "--debug", "x"]);
        let conmon =
            understood("--log-format=json --log=/x --root=/r --cgroup-manager disabled --rootless=true list");
        assert_eq!((conmon.cgroups, conmon.rootless), (Cgroups::Disabled, Some(true)));
        let crun = understood("--debug --log file:/x --cgroup-manager=systemd --criu /usr/sbin/criu list");
        assert_eq!((crun.level, crun.log, crun.cgroups), (Level::Debug, Some("/x".into()), Cgroups::Systemd));
    }

    #[test]
    fn where_the_state_lies() {
        let xdg = || Some(PathBuf::from("/run/user/7"));
        let caller = |euid, in_user_namespace, user: &str| Caller {
            euid,
            in_user_namespace,
            xdg_runtime_dir: xdg(),
            user: Some(user.into()),
            session_bus: None,
        };
        for (caller, expected) in [
            (caller(0, false, "quay"), "/run/cais-runtime"),
            (caller(0, true, "root"), "/run/cais-runtime"),
            (caller(0, true, "quay"), "/run/user/7/cais-runtime"),
            (caller(7, false, "root"), "/run/user/7/cais-runtime"),
            (Caller { euid: 7, ..Caller::default() }, "/run/cais-runtime"),
        ] {
            assert_eq!(globals("list", &caller).expect("ok").0.root, Path::new(expected), "{caller:?}");
        }
        assert_eq!(understood("--root /a/./b/../c list").root, Path::new("/a/c"));
        assert!(understood("--root x list").root.is_absolute());
        for bad in ["--root / list", "--root /a/.. list"] {
            assert!(globals(bad, &Caller::default()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_bus_of_a_user() {
        let bus = |address: &str| {
            user_bus(&Caller {
                session_bus: Some(address.into()),
                xdg_runtime_dir: Some("/x".into()),
                ..Caller::default()
            })
        };
        assert_eq!(bus("unix:guid=1,path=/run/bus;tcp:host=x"), Some("/run/bus".into()));
        assert_eq!(bus("unix:abstract=/tmp/x"), Some("/x/bus".into()));
        assert_eq!(user_bus(&Caller::default()), None);
    }

    #[test]
    fn refusals() {
        for (line, expected) in [
            ("--log-format xml list", "invalid log-format: xml"),
            ("--log-level loud list", "invalid log-level: loud"),
            ("--cgroup-manager none list", "unknown cgroup manager: none"),
            ("--rootless maybe list", "invalid value for rootless: \"maybe\": expected true, false or auto"),
            ("--log journald:x list", "--log journald:x: only files can be logged to"),
            ("--nope list", "unknown flag: --nope"),
        ] {
            assert_eq!(globals(line, &Caller::default()).expect_err(line).message, expected);
        }
    }
}
