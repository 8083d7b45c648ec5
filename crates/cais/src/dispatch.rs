//! Which command was typed: global flags, then one word or two. Pure; the parser of the command is not built here.

use std::ffi::OsString;

use crate::failure::Failure;
use crate::similar::nearest;
use crate::spec::Spec;
use crate::surroundings::Globals;
use crate::verb::table::{COMMANDS, HIDDEN};

/// What is to be done.
#[derive(Debug)]
pub enum Errand {
    /// A command with the words after its name.
    Command { spec: &'static Spec, words: String, argv: Vec<OsString> },
    /// `cais image`: the commands below a word.
    Management(&'static str),
    /// `--help`, or nothing at all.
    Help,
    /// `--version`
    Version,
}

/// Words with commands below them.
pub const MANAGEMENT: [&str; 8] =
    ["container", "image", "volume", "pod", "checkpoint", "system", "healthcheck", "boot"];

/// Global flags of docker and podman that are refused, those with a value first.
const REFUSED_VALUED: [(&str, &str); 12] = [
    ("host", "there is no daemon to connect to"),
    ("context", "there is no daemon to connect to"),
    ("connection", "there is no service to connect to"),
    ("url", "there is no service to connect to"),
    ("identity", "there is no service to connect to"),
    ("tlscacert", "there is no daemon to connect to"),
    ("tlscert", "there is no daemon to connect to"),
    ("tlskey", "there is no daemon to connect to"),
    ("cgroup-manager", "cgroups are managed by cais itself"),
    ("runtime", "there is no other runtime than cais itself"),
    ("storage-driver", "there is no other storage driver than overlay"),
    ("storage-opt", "options of the storage driver are not supported yet"),
];
const REFUSED_SWITCHES: [(&str, &str); 3] = [
    ("tls", "there is no daemon to connect to"),
    ("tlsverify", "there is no daemon to connect to"),
    ("remote", "there is no service to connect to"),
];

/// Reads global flags and finds the command.
///
/// # Errors
/// A usage failure for unknown flags and commands, with what was probably meant.
pub fn dispatch(argv: Vec<OsString>) -> (Globals, Result<Errand, Failure>) {
    let mut globals = Globals::default();
    let mut words = argv.into_iter().peekable();
    while let Some(word) = words.next_if(|word| word.to_string_lossy().starts_with('-')) {
        match global_flag(&mut globals, &word.to_string_lossy(), &mut words) {
            Ok(None) => {}
            Ok(Some(errand)) => return (globals, Ok(errand)),
            Err(failure) => return (globals, Err(failure)),
        }
    }
    let errand = find(words.collect());
    if let Ok(Errand::Command { words, argv, .. }) = &errand
        && words == "__complete"
    {
        // The line that is being typed has global flags of its own; what is wrong with them is told when it is entered.
        let mut typed = argv.clone().into_iter().peekable();
        while let Some(word) = typed.next_if(|word| word.to_string_lossy().starts_with('-')) {
            if global_flag(&mut globals, &word.to_string_lossy(), &mut typed).is_err() {
                break;
            }
        }
    }
    (globals, errand)
}

fn global_flag(
    globals: &mut Globals,
    word: &str,
    rest: &mut impl Iterator<Item = OsString>,
) -> Result<Option<Errand>, Failure> {
    let (flag, attached) = word.split_once('=').map_or((word, None), |(flag, value)| (flag, Some(value)));
    let mut value = || {
        let value = attached.map(OsString::from).or_else(|| rest.next());
        value.ok_or_else(|| Failure::usage(format!("flag needs a value: {flag}")))
    };
    match flag {
        "-h" | "--help" => return Ok(Some(Errand::Help)),
        "-v" | "--version" => return Ok(Some(Errand::Version)),
        "--root" => globals.root = Some(absolute(value()?)),
        "--run-root" | "--runroot" => globals.run_root = Some(absolute(value()?)),
        "--config" => globals.config = Some(absolute(value()?)),
        "-D" | "--debug" => globals.debug = attached != Some("false"),
        // There is no log whose level it could be.
        "-l" | "--log-level" => drop(value()?),
        _ => {
            let long = match flag {
                "-H" => "host",
                "-c" => "context",
                flag => flag.trim_start_matches("--"),
            };
            let refused = REFUSED_VALUED.iter().chain(&REFUSED_SWITCHES).find(|(name, _)| *name == long);
            let message = match refused {
                Some((_, reason)) => format!("{flag}: {reason}"),
                None => format!("unknown flag: {flag}"),
            };
            return Err(Failure::usage(message).hint("see 'cais --help'"));
        }
    }
    Ok(None)
}

/// Containers outlive the working directory of the command that names their root.
fn absolute(path: OsString) -> std::path::PathBuf {
    std::path::absolute(&path).unwrap_or_else(|_| path.into())
}

fn find(argv: Vec<OsString>) -> Result<Errand, Failure> {
    let mut rest = argv.into_iter();
    let Some(first) = rest.next() else { return Ok(Errand::Help) };
    let first = first.to_string_lossy().into_owned();
    if let Some(spec) = HIDDEN.iter().copied().find(|spec| spec.name() == first) {
        return Ok(Errand::Command { spec, words: first, argv: rest.collect() });
    }
    if first == "help" {
        let mut argv: Vec<OsString> = rest.collect();
        argv.truncate(2);
        return match find(argv)? {
            Errand::Command { spec, words, .. } => {
                Ok(Errand::Command { spec, words, argv: vec!["--help".into()] })
            }
            errand => Ok(errand),
        };
    }
    let Some(management) = MANAGEMENT.into_iter().find(|word| *word == first) else {
        return command(first, rest.collect());
    };
    match rest.next() {
        None => Ok(Errand::Management(management)),
        Some(word) if word == "--help" || word == "-h" || word == "help" => {
            Ok(Errand::Management(management))
        }
        Some(word) => command(format!("{management} {}", word.to_string_lossy()), rest.collect()),
    }
}

fn command(words: String, argv: Vec<OsString>) -> Result<Errand, Failure> {
    if let Some(spec) = COMMANDS.iter().find(|spec| spec.names.contains(&words.as_str())) {
        return Ok(Errand::Command { spec, words, argv });
    }
    let help = match words.split_once(' ') {
        Some((management, _)) => format!("see 'cais {management} --help'"),
        None => "see 'cais --help'".to_owned(),
    };
    let hint = match similar(&words) {
        Some(similar) => format!("did you mean 'cais {similar}'? {help}"),
        None => help,
    };
    Err(Failure::usage(format!("unknown command: {words}")).hint(hint))
}

/// The commands below a word.
pub fn below(management: &str) -> Vec<&'static Spec> {
    let is_below = |name: &&str| name.strip_prefix(management).is_some_and(|rest| rest.starts_with(' '));
    COMMANDS.iter().filter(|spec| spec.names.iter().any(is_below)).collect()
}

/// The command that differs least, if it differs by little.
fn similar(words: &str) -> Option<&'static str> {
    nearest(words, COMMANDS.iter().flat_map(|spec| spec.names).copied().chain(MANAGEMENT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help::OVERVIEW;

    fn errand(line: &str) -> (Globals, String) {
        let (globals, errand) = dispatch(line.split_whitespace().map(OsString::from).collect());
        let text = match errand {
            Ok(Errand::Command { spec, words, argv }) => format!("{}|{words}|{argv:?}", spec.name()),
            Ok(other) => format!("{other:?}"),
            Err(failure) => failure.told("", false),
        };
        (globals, text)
    }

    #[test]
    fn finds_commands() {
        let cases = [
            ("run --rm x", "run|run|[\"--rm\", \"x\"]"),
            ("container ls -a", "ps|container ls|[\"-a\"]"),
            ("image inspect x", "image inspect|image inspect|[\"x\"]"),
            ("help image rm", "rmi|image rm|[\"--help\"]"),
            ("help run", "run|run|[\"--help\"]"),
            ("image", "Management(\"image\")"),
            ("volume --help", "Management(\"volume\")"),
            ("help", "Help"),
            ("", "Help"),
            ("--help", "Help"),
            ("-v", "Version"),
            ("__cleanup x", "__cleanup|__cleanup|[\"x\"]"),
            ("__probe x", "__probe|__probe|[\"x\"]"),
        ];
        for (line, expected) in cases {
            assert_eq!(errand(line).1, expected, "{line}");
        }
    }

    #[test]
    fn reads_global_flags() {
        let (globals, text) =
            errand("--root /r --run-root=/x --runroot /y -D --log-level debug --config /c ps -q");
        assert_eq!(text, "ps|ps|[\"-q\"]");
        let expected = Globals {
            root: Some("/r".into()),
            run_root: Some("/y".into()),
            config: Some("/c".into()),
            debug: true,
        };
        assert_eq!(globals, expected);
        assert!(errand("--root relative ps").0.root.is_some_and(|root| root.is_absolute()));
    }

    #[test]
    fn tells_what_was_meant() {
        let cases = [
            ("rnu busybox", "unknown command: rnu\nhint: did you mean 'cais run'? see 'cais --help'"),
            ("imgaes", "did you mean 'cais images'?"),
            ("volume lst", "did you mean 'cais volume ls"),
            ("frobnicate", "unknown command: frobnicate\nhint: see 'cais --help'"),
            ("--root", "flag needs a value: --root"),
            ("-H tcp://x ps", "-H: there is no daemon to connect to"),
            ("--nope ps", "unknown flag: --nope"),
        ];
        for (line, expected) in cases {
            let text = errand(line).1;
            assert!(text.contains(expected), "{line}: {text}");
        }
    }

    #[test]
    fn the_overview_names_every_command_once() {
        for spec in COMMANDS {
            let name = spec.name();
            let listed = match name.split_once(' ') {
                // Their words stand in lines of their own, or are the same as those of a short command.
                Some((management, word)) => OVERVIEW.contains(management) && OVERVIEW.contains(word),
                None => OVERVIEW.lines().filter(|line| line.starts_with(&format!("  {name} "))).count() == 1,
            };
            assert!(listed, "{name}");
        }
        let mut names: Vec<_> = COMMANDS.iter().flat_map(|spec| spec.names).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "a name twice");
    }
}
