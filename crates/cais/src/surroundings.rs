//! Where the state lies and what the environment says: the only reader of environment variables.
//!
//! Decided by a pure function over a lookup; directories are touched only by [`Surroundings::config`].

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use cais_engine::{Config, Proxies, Secret};

use crate::failure::Failure;

/// Global flags, before the command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Globals {
    /// `--root`
    pub root: Option<PathBuf>,
    /// `--run-root`
    pub run_root: Option<PathBuf>,
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--debug`
    pub debug: bool,
}

/// What flags and environment say.
#[derive(Clone, Debug)]
pub struct Surroundings {
    config: Config,
    /// The run directory is below a directory that everybody may write to: who owns it must be looked at.
    shared_run: bool,
    uid: u32,
    /// `DOCKER_DEFAULT_PLATFORM`
    pub default_platform: Option<String>,
    /// Moving lines are unwanted (`TERM=dumb`, `CI`). There is no colour that `NO_COLOR` could take away.
    pub plain_progress: bool,
}

/// Who calls, as the kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Effective user id.
    pub uid: u32,
    /// Not in the machine's own user namespace: root here is not root there.
    pub nested: bool,
    /// Only one id exists here.
    pub single_id: bool,
}

impl Identity {
    /// Reads the identity off a user id and the text of `/proc/self/uid_map` (user_namespaces(7)).
    pub fn new(uid: u32, uid_map: &str) -> Identity {
        let ranges = uid_map.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let ranges: Vec<_> = ranges.filter(|range| !range.is_empty()).collect();
        let counts =
            ranges.iter().map(|range| range.get(2).and_then(|count| count.parse::<u64>().ok()).unwrap_or(0));
        Identity {
            uid,
            nested: !ranges.is_empty() && ranges != [["0", "0", "4294967295"]],
            single_id: counts.sum::<u64>() == 1,
        }
    }
}

/// Looks a variable up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Surroundings {
    /// Reads flags and variables; `home_of` is asked when `HOME` is not set.
    pub fn new(
        globals: &Globals,
        env: Lookup<'_>,
        identity: Identity,
        home_of: &dyn Fn(u32) -> Option<PathBuf>,
    ) -> Surroundings {
        let uid = identity.uid;
        let var = |name: &str| env(name).filter(|value| !value.is_empty());
        let path = |name: &str| var(name).map(PathBuf::from).filter(|path| path.is_absolute());
        // A relative directory of ours is one below the working directory; XDG's must be ignored.
        let own = |name: &str| var(name).map(|dir| std::path::absolute(&dir).unwrap_or_else(|_| dir.into()));
        let ordinary = uid != 0;
        let home = path("HOME").or_else(|| home_of(uid));
        let runtime_dir = path("XDG_RUNTIME_DIR");
        let data_home = || {
            path("XDG_DATA_HOME")
                .or_else(|| home.as_ref().map(|home| home.join(".local/share")))
                .map(|d| d.join("cais"))
        };
        let root = globals.root.clone().or_else(|| own("CAIS_ROOT")).unwrap_or_else(|| match ordinary {
            false => "/var/lib/cais".into(),
            true => data_home().unwrap_or_default(),
        });
        let chosen = globals.run_root.clone().or_else(|| own("CAIS_RUN_ROOT"));
        let usual = || match (ordinary, &runtime_dir) {
            (false, _) => Some("/run/cais".into()),
            (true, Some(dir)) => Some(dir.join("cais")),
            (true, None) => None,
        };
        let run = chosen.or_else(usual);
        let shared_run = run.is_none();
        let either = |upper: &str, lower: &str| var(upper).or_else(|| var(lower));
        let all = either("ALL_PROXY", "all_proxy");
        let proxies = Proxies {
            http: either("HTTP_PROXY", "http_proxy").or_else(|| all.clone()),
            https: either("HTTPS_PROXY", "https_proxy").or(all),
            no_proxy: either("NO_PROXY", "no_proxy"),
        };
        let config = Config {
            root,
            run: run.unwrap_or_else(|| format!("/tmp/cais-{uid}").into()),
            rootless: ordinary || identity.nested,
            single_id: identity.nested && identity.single_id,
            left_namespaces: Vec::new(),
            home,
            auth_file: path("REGISTRY_AUTH_FILE"),
            docker_config: globals.config.clone().or_else(|| path("DOCKER_CONFIG")),
            docker_auth_config: var("DOCKER_AUTH_CONFIG").map(Secret),
            runtime_dir,
            proxies,
            ca_bundle: path("SSL_CERT_FILE"),
            notify_socket: var("NOTIFY_SOCKET").map(Into::into),
            path: var("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default(),
            failing_step: None,
        };
        Surroundings {
            config,
            shared_run,
            uid,
            default_platform: var("DOCKER_DEFAULT_PLATFORM"),
            plain_progress: var("CI").is_some() || var("TERM").as_deref() == Some("dumb"),
        }
    }

    /// The engine's configuration; a run directory below `/tmp` is made and must be ours alone.
    ///
    /// # Errors
    /// When that directory belongs to somebody else or others may write to it, or when the user has no home.
    pub fn config(&self) -> Result<Config, Failure> {
        if self.config.root.as_os_str().is_empty() {
            return Err(Failure::usage("this user has no home directory to keep containers in")
                .hint("set HOME, XDG_DATA_HOME or --root"));
        }
        if self.shared_run {
            own_directory(&self.config.run, self.uid)?;
        }
        Ok(self.config.clone())
    }

    /// Docker's `config.json`, where users keep formats and detach keys.
    pub fn docker_config_file(&self) -> Option<PathBuf> {
        let usual = || self.config.home.as_ref().map(|home| home.join(".docker"));
        Some(self.config.docker_config.clone().or_else(usual)?.join("config.json"))
    }
}

/// The home directory in the text of passwd(5).
pub fn home_in_passwd(passwd: &str, uid: u32) -> Option<PathBuf> {
    passwd.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let found = fields.get(2)?.parse() == Ok(uid);
        fields.get(5).filter(|home| found && home.starts_with('/')).map(PathBuf::from)
    })
}

fn own_directory(path: &Path, uid: u32) -> Result<(), Failure> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Failure::edge(format_args!("create {}", path.display()), error));
        }
        _ => {}
    }
    let meta = fs::symlink_metadata(path)
        .map_err(|error| Failure::edge(format_args!("look at {}", path.display()), error))?;
    if meta.is_dir() && meta.uid() == uid && meta.mode() & 0o077 == 0 {
        return Ok(());
    }
    let message = format!("{} is not a directory that only this user can use", path.display());
    Err(Failure::usage(message).hint("set XDG_RUNTIME_DIR or --run-root to a directory of your own"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(globals: &Globals, env: &[(&str, &str)], uid: u32) -> Surroundings {
        let lookup = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned());
        let identity = Identity { uid, nested: false, single_id: false };
        Surroundings::new(globals, &lookup, identity, &|_| Some("/home/anna".into()))
    }

    fn dirs(globals: &Globals, env: &[(&str, &str)], uid: u32) -> (String, String) {
        let found = surroundings(globals, env, uid);
        (found.config.root.display().to_string(), found.config.run.display().to_string())
    }

    #[test]
    fn state_lies_where_the_design_says() {
        let none = Globals::default();
        let flags = Globals { root: Some("/r".into()), run_root: Some("/x".into()), ..Globals::default() };
        let xdg = [("XDG_DATA_HOME", "/d"), ("XDG_RUNTIME_DIR", "/run/user/7")];
        let own = [("CAIS_ROOT", "/cr"), ("CAIS_RUN_ROOT", "/crr"), ("XDG_RUNTIME_DIR", "/run/user/7")];
        let cases = [
            (dirs(&none, &[], 0), ("/var/lib/cais", "/run/cais")),
            (dirs(&none, &xdg, 0), ("/var/lib/cais", "/run/cais")),
            (dirs(&none, &xdg, 7), ("/d/cais", "/run/user/7/cais")),
            (dirs(&none, &[], 7), ("/home/anna/.local/share/cais", "/tmp/cais-7")),
            (
                dirs(&none, &[("XDG_DATA_HOME", "relative"), ("HOME", "/h")], 7),
                ("/h/.local/share/cais", "/tmp/cais-7"),
            ),
            (dirs(&none, &own, 7), ("/cr", "/crr")),
            (dirs(&flags, &own, 7), ("/r", "/x")),
        ];
        for ((root, run), expected) in cases {
            assert_eq!((root.as_str(), run.as_str()), expected);
        }
    }

    #[test]
    fn a_user_without_home_is_told() {
        let identity = Identity { uid: 7, nested: false, single_id: false };
        let found = Surroundings::new(&Globals::default(), &|_| None, identity, &|_| None);
        assert!(found.config().is_err_and(|failure| failure.message.contains("no home directory")));
    }

    #[test]
    fn identities() {
        let of = |map: &str| {
            let identity = Identity::new(0, map);
            (identity.nested, identity.single_id)
        };
        assert_eq!(of("         0          0 4294967295\n"), (false, false));
        assert_eq!(of("0 1000 1\n"), (true, true));
        assert_eq!(of("0 1000 1\n1 100000 65536\n"), (true, false));
        assert_eq!(of(""), (false, false));
    }

    #[test]
    fn proxies_and_switches() {
        let env = [
            ("https_proxy", "http://p:1"),
            ("ALL_PROXY", "http://all:1"),
            ("TERM", "dumb"),
            ("PATH", "/a:/b"),
        ];
        let found = surroundings(&Globals::default(), &env, 0);
        assert_eq!(found.config.proxies.https.as_deref(), Some("http://p:1"));
        assert_eq!(found.config.proxies.http.as_deref(), Some("http://all:1"));
        assert!(found.plain_progress && !found.config.rootless && found.config.path.len() == 2);
        assert_eq!(found.docker_config_file(), Some("/home/anna/.docker/config.json".into()));
    }

    #[test]
    fn a_foreign_run_directory_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let uid = rustix::process::geteuid().as_raw();
        let path = dir.path().join("run");
        own_directory(&path, uid).expect("made");
        own_directory(&path, uid).expect("found again");
        assert!(own_directory(&path, uid + 1).is_err());
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o770)).expect("chmod");
        assert!(own_directory(&path, uid).is_err());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("symlink");
        assert!(own_directory(&link, uid).is_err());
    }

    #[test]
    fn home_from_passwd() {
        let text = "root:x:0:0::/root:/bin/sh\nanna:x:7:7::/home/anna:/bin/sh\n";
        assert_eq!(home_in_passwd(text, 7), Some("/home/anna".into()));
        assert_eq!(home_in_passwd(text, 8), None);
    }
}
