//! What may follow on a half-typed command line: commands, flags, their values, names of what is there.
//!
//! Pure but for two questions that the caller answers ([`World`]). Nothing is listed twice: commands come from the
//! table, flags from each command's own parser, and what an argument is from the command's usage line.

use clap::Command;

use crate::dispatch::{MANAGEMENT, below};
use crate::spec::Spec;
use crate::verb::table::COMMANDS;

/// A word that may stand there, and what it is.
pub type Candidate = (String, String);

/// What names are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Containers, all of them.
    Container,
    /// Containers that run.
    Running,
    /// Containers that do not run.
    Stopped,
    /// Images.
    Image,
    /// Volumes.
    Volume,
    /// Pods.
    Pod,
}

/// What is beyond the command line.
pub struct World<'a> {
    /// The flags of a command.
    pub flags: &'a dyn Fn(&'static Spec) -> Option<Command>,
    /// Names of what is there.
    pub names: &'a dyn Fn(Kind) -> Vec<Candidate>,
}

/// What may follow.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// In the order in which they should be shown.
    pub candidates: Vec<Candidate>,
    /// A path of this machine may stand there, too.
    pub files: bool,
}

/// Global flags that take a value.
const GLOBAL_VALUED: [&str; 6] = ["--root", "--run-root", "--runroot", "--config", "--log-level", "-l"];
const GLOBAL_SWITCHES: [&str; 3] = ["--debug", "--version", "--help"];

/// Completes the last of the words after the program's name; it may be empty.
pub fn complete(words: &[String], world: &World<'_>) -> Completion {
    let Some((partial, before)) = words.split_last() else { return Completion::default() };
    let mut rest = before;
    while let [first, tail @ ..] = rest
        && first.starts_with('-')
    {
        let valued = GLOBAL_VALUED.contains(&first.as_str());
        if valued && tail.is_empty() {
            return Completion { files: true, ..Completion::default() };
        }
        rest = if valued { &tail[1..] } else { tail };
    }
    let found = match rest {
        [] => first_word(partial),
        [word] if MANAGEMENT.contains(&word.as_str()) => second_word(word),
        [word, second, tail @ ..] if MANAGEMENT.contains(&word.as_str()) => {
            command(&format!("{word} {second}"), tail, partial, world)
        }
        [word] if word == "help" => first_word(partial),
        [word, tail @ ..] => command(word, tail, partial, world),
    };
    // A flag's value behind `=` is compared, and answered, without the flag.
    let typed = partial.split_once('=').filter(|_| partial.starts_with("--")).map_or(&**partial, |(_, v)| v);
    let head = &partial[..partial.len() - typed.len()];
    let mut candidates: Vec<Candidate> =
        found.candidates.into_iter().filter(|(word, _)| word.starts_with(typed)).collect();
    candidates.dedup();
    for (word, _) in &mut candidates {
        word.insert_str(0, head);
    }
    Completion { candidates, files: found.files }
}

fn plain(words: impl IntoIterator<Item = &'static str>) -> Vec<Candidate> {
    words.into_iter().map(|word| (word.to_owned(), String::new())).collect()
}

fn first_word(partial: &str) -> Completion {
    if partial.starts_with('-') {
        let flags = GLOBAL_VALUED.iter().chain(&GLOBAL_SWITCHES).filter(|flag| flag.starts_with("--"));
        return Completion { candidates: plain(flags.copied()), files: false };
    }
    let commands = COMMANDS.iter().filter(|spec| !spec.name().contains(' '));
    let mut candidates: Vec<Candidate> =
        commands.map(|spec| (spec.name().to_owned(), spec.about.to_owned())).collect();
    candidates.extend(MANAGEMENT.map(|word| (word.to_owned(), format!("Commands on {word}s"))));
    candidates.push(("help".to_owned(), "Help of a command".to_owned()));
    Completion { candidates, files: false }
}

fn second_word(management: &str) -> Completion {
    let named = |spec: &&'static Spec| {
        let word = spec.names.iter().find_map(|name| name.strip_prefix(management)?.strip_prefix(' '))?;
        Some((word.to_owned(), spec.about.to_owned()))
    };
    Completion { candidates: below(management).iter().filter_map(named).collect(), files: false }
}

fn command(name: &str, before: &[String], partial: &str, world: &World<'_>) -> Completion {
    let Some(spec) = COMMANDS.iter().find(|spec| spec.names.contains(&name)) else {
        return Completion::default();
    };
    let Some(flags) = (world.flags)(spec) else { return Completion::default() };
    let mut position = 0;
    let mut pending = None;
    let mut only_arguments = false;
    // Behind the image of `run` and the container of `exec` stand words of another program.
    let trailing = spec.usage.contains("[ARG...]");
    for word in before {
        if pending.take().is_some() {
        } else if word == "--" && !only_arguments {
            only_arguments = true;
        } else if word.starts_with('-') && word.len() > 1 && !only_arguments {
            pending = awaits_value(&flags, word);
        } else {
            position += 1;
            only_arguments |= trailing;
        }
    }
    if let Some(flag) = pending {
        return values(&flag, &flags, world);
    }
    if partial.starts_with('-') && !only_arguments {
        return match partial.split_once('=') {
            Some((flag, _)) => values(flag.trim_start_matches('-'), &flags, world),
            None => Completion { candidates: flag_words(&flags), files: false },
        };
    }
    argument(spec, position, world)
}

/// The long name of a flag whose value is the next word.
fn awaits_value(flags: &Command, word: &str) -> Option<String> {
    if word.contains('=') {
        return None;
    }
    let arg = match word.strip_prefix("--") {
        Some(long) => flags.get_arguments().find(|arg| {
            arg.get_long() == Some(long) || arg.get_all_aliases().is_some_and(|names| names.contains(&long))
        }),
        // The last of several letters, all before it being switches: `-it`; or a letter with its value: `-eA=1`.
        None => {
            let mut letters = word.chars().skip(1);
            let short = |letter| flags.get_arguments().find(|arg| arg.get_short() == Some(letter));
            loop {
                let arg = short(letters.next()?)?;
                if takes_value(arg) {
                    break letters.next().is_none().then_some(arg);
                }
            }
        }
    }?;
    takes_value(arg).then(|| arg.get_long().unwrap_or_default().to_owned())
}

fn takes_value(arg: &clap::Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

fn flag_words(flags: &Command) -> Vec<Candidate> {
    let shown = flags.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set());
    let mut words: Vec<Candidate> = shown
        .filter_map(|arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            Some((format!("--{}", arg.get_long()?), help.trim_end_matches('.').to_owned()))
        })
        .collect();
    words.sort();
    words
}

const SIGNALS: [&str; 10] = ["TERM", "KILL", "INT", "HUP", "QUIT", "USR1", "USR2", "STOP", "CONT", "WINCH"];
const CAPABILITIES: [&str; 12] = [
    "ALL",
    "NET_ADMIN",
    "NET_RAW",
    "SYS_ADMIN",
    "SYS_PTRACE",
    "SYS_TIME",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_MODULE",
    "CHOWN",
    "DAC_OVERRIDE",
    "SETUID",
];

/// What may be the value of a flag.
fn values(flag: &str, flags: &Command, world: &World<'_>) -> Completion {
    let Some(arg) = flags.get_arguments().find(|arg| arg.get_long() == Some(flag)) else {
        return Completion::default();
    };
    let words = |words: &[&'static str]| Completion { candidates: plain(words.to_vec()), files: false };
    let possible = arg.get_possible_values();
    if !possible.is_empty() && takes_value(arg) {
        let candidates = possible.iter().map(|value| (value.get_name().to_owned(), String::new())).collect();
        return Completion { candidates, files: false };
    }
    let shared = |kind, modes: &[&'static str]| {
        let mut candidates = plain(modes.to_vec());
        candidates
            .extend((world.names)(kind).into_iter().map(|(name, what)| (format!("container:{name}"), what)));
        Completion { candidates, files: false }
    };
    match flag {
        "network" => shared(Kind::Running, &["bridge", "none", "host", "pasta"]),
        "ipc" => shared(Kind::Running, &["private", "shareable", "host", "none"]),
        "pid" => shared(Kind::Running, &["private", "host"]),
        "uts" => shared(Kind::Running, &["private", "host"]),
        "cgroupns" => words(&["private", "host"]),
        "restart" => words(&["no", "on-failure", "always", "unless-stopped"]),
        "pull" => words(&["always", "missing", "never"]),
        "log-driver" => words(&["json-file", "k8s-file", "journald", "none"]),
        "signal" | "stop-signal" => words(&SIGNALS),
        "cap-add" | "cap-drop" => words(&CAPABILITIES),
        "platform" => words(&["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/riscv64"]),
        "format" => words(&["json", "table"]),
        "progress" => words(&["auto", "plain"]),
        "security-opt" => {
            words(&["no-new-privileges", "seccomp=", "apparmor=", "label=", "systempaths=unconfined"])
        }
        "mount" => words(&["type=bind,", "type=volume,", "type=tmpfs,", "type=image,"]),
        "image-volume" => words(&["anonymous", "tmpfs", "ignore"]),
        "volume" => Completion { candidates: (world.names)(Kind::Volume), files: true },
        "pod" => Completion { candidates: (world.names)(Kind::Pod), files: false },
        "share" => words(&["ipc", "net", "pid", "uts", "none"]),
        "exit-policy" => words(&["continue", "stop"]),
        "requires" | "volumes-from" => {
            Completion { candidates: (world.names)(Kind::Container), files: false }
        }
        _ => {
            let value = arg.get_value_names().and_then(|names| names.first()).map(|name| name.as_str());
            Completion {
                candidates: Vec::new(),
                files: matches!(value, Some("FILE" | "DIR" | "PATH" | "DEVICE")),
            }
        }
    }
}

/// What stands at a place of the usage line, such as `CONTAINER COMMAND [ARG...]`; the last repeats when it ends in dots.
fn argument(spec: &'static Spec, position: usize, world: &World<'_>) -> Completion {
    let usage: Vec<&str> = spec.usage.split(' ').filter(|word| *word != "[OPTIONS]").collect();
    let repeated = usage.last().filter(|word| word.contains("..."));
    let Some(word) = usage.get(position).or(repeated) else { return Completion::default() };
    let is = |what: &str| word.contains(what);
    let container = match spec.name().rsplit(' ').next().unwrap_or_default() {
        "stop" | "kill" | "exec" | "attach" | "pause" | "top" | "port" | "stats" | "checkpoint" => {
            Kind::Running
        }
        "start" | "restore" => Kind::Stopped,
        _ => Kind::Container,
    };
    let kinds: &[Kind] = match () {
        () if is("NAME|ID") => &[Kind::Container, Kind::Image, Kind::Volume, Kind::Pod],
        () if is("CONTAINER") => &[container],
        () if is("IMAGE") || is("REPOSITORY") || is("NAME[:TAG") => &[Kind::Image],
        () if is("VOLUME") => &[Kind::Volume],
        () if is("POD") => &[Kind::Pod],
        () => &[],
    };
    let candidates = kinds.iter().flat_map(|kind| (world.names)(*kind)).collect();
    Completion { candidates, files: is("FILE") || is("PATH") || is("ARG") || is("COMMAND") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::Door;

    fn completed(line: &str) -> String {
        let flags = |spec: &'static Spec| spec.flags(&Door::for_tests(spec));
        let names = |kind| {
            plain(match kind {
                Kind::Container => vec!["web", "old"],
                Kind::Running => vec!["web"],
                Kind::Stopped => vec!["old"],
                Kind::Image => vec!["busybox", "debian"],
                Kind::Volume => vec!["data"],
                Kind::Pod => vec!["shop"],
            })
        };
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let found = complete(&words, &World { flags: &flags, names: &names });
        let words: Vec<&str> = found.candidates.iter().map(|(word, _)| word.as_str()).collect();
        words.join(" ") + if found.files { " +files" } else { "" }
    }

    #[test]
    fn completes() {
        let cases = [
            ("ru", "run"),
            ("--root /x ru", "run"),
            ("vol", "volume"),
            ("volume i", "inspect"),
            ("--deb", "--debug"),
            ("run --priv", "--privileged"),
            ("run --network ho", "host"),
            ("run --network=ho", "--network=host"),
            ("run -it --network container:", "container:web"),
            ("run -it d", "debian"),
            ("run -e d", ""),
            ("run -eA=1 d", "debian"),
            ("run -v d", "data +files"),
            ("run --rm debian --", " +files"),
            ("run --env-file ", " +files"),
            ("stop ", "web"),
            ("stop web ", "web"),
            ("container start ", "old"),
            ("rm -f w", "web"),
            ("rmi b", "busybox"),
            ("inspect ", "web old busybox debian data shop"),
            ("kill -s K", "KILL"),
            ("pod rm ", "shop"),
            ("run --pod s", "shop"),
            ("exec web ", " +files"),
            ("frobnicate ", ""),
            ("help ru", "run"),
        ];
        for (line, expected) in cases {
            assert_eq!(completed(line), expected, "{line}");
        }
        assert!(!completed("run --").contains("--gpus "), "refused flags are not offered");
        assert!(completed("").contains("run ") && completed("").contains(" volume"));
    }
}
