//! Help texts: the overview, a management command's, and that of one command with all its flags.

use clap::{Arg, Command};

use crate::spec::Spec;

/// The overview; its commands are in `commands::COMMANDS` (a test compares them).
pub const OVERVIEW: &str = "\
Usage:  cais [GLOBAL OPTIONS] COMMAND

Builds, ships and runs containers: one program, no daemon. Commands and flags are docker's.

Common commands:
  run       Create a container from an image and run it
  exec      Run a command in a running container
  ps        List containers
  logs      Show what a container wrote
  stop      Stop containers gracefully
  rm        Remove containers

Containers (also: cais container COMMAND):
  create    Create a container without starting it
  start     Start containers that do not run
  restart   Stop containers, if they run, and start them
  pause     Stop all processes of containers where they are
  unpause   Let the processes of paused containers go on
  kill      Send a signal to containers
  attach    Attach this terminal to a running container
  wait      Wait until containers end, print their exit codes
  debug     Run a shell with tools of another image beside a container
  why       Explain how a container ended or why it does not start
  inspect   Show containers, images, volumes and pods in detail
  port      Show published ports
  cp        Copy files between a container and the host
  diff      Show what a container has changed in its files
  export    Write a container's files as a tar archive
  commit    Make an image of a container as it is
  top       Show the processes of a container
  stats     Show what containers use, again and again
  update    Change limits and variables of containers
  rename    Give a container another name
  container clone | exists | prune
  container checkpoint | restore
            Turn containers into files and back, by CRIU
  checkpoint create | ls | rm
            The same in docker's words
  healthcheck run
            Probe a container's health now

Images (also: cais image COMMAND):
  pull      Fetch an image from a registry
  push      Send an image to a registry
  save      Write images to an archive or an OCI layout
  load      Load images from an archive or an OCI layout
  import    Make an image from a tar archive of a file system
  images    List images
  history   Show how an image came to be
  tag       Give an image another name
  rmi       Remove images
  image prune
            Remove images that nobody uses

Registries:
  login     Log in to a registry
  logout    Forget the login for a registry
  search    Look for images at registries
  image tags
            List the tags of a repository
  image sign | verify
            Sign an image at its registry; tell whether it is signed

Volumes:
  volume create | ls | inspect | rm | prune

Pods:
  pod create | start | stop | restart | kill | pause | unpause | rm | ps | inspect | exists | prune | top | stats | logs
            Containers that share a network, IPC and names

System:
  events    Show what happens to containers, images and volumes
  info      Show what this machine offers and what is stored
  version   Show versions
  system df | prune
            Show what takes space on the disk; remove what nobody uses
  completion  Print a script that lets bash, zsh or fish complete command lines
  system check [--repair]
            Compare what is stored with what is real; repair it
  system boot
            After a boot: start what should run
  boot enable | disable | status
            Have systemd do that
  runtime   The OCI runtime that other engines call (cais runtime --help)

Global options:
      --root DIR       Durable state (/var/lib/cais; rootless: $XDG_DATA_HOME/cais)
      --run-root DIR   Run-time state (/run/cais; rootless: $XDG_RUNTIME_DIR/cais)
      --config DIR     Directory of docker's config.json
      --debug          Show the causes of an error
  -v, --version        Print the version
  -h, --help           Print this

Examples:
  cais run --rm hello                          The image that is built in
  cais run -it --rm debian bash                A shell in Debian
  cais run -d --name web -p 8080:80 nginx      A server; then: cais logs -f web
  cais exec -it web sh                         A shell beside it
  cais ps -a --format '{{.Names}} {{.Status}}'

'cais COMMAND --help' tells the flags of a command.
";

/// Columns when standard output is no terminal.
const WIDTH_DEFAULT: usize = 100;
/// Where the explanations of flags begin, at most.
const COLUMN_MAX: usize = 34;

/// Commands with more flags show them in groups.
const GROUPED_FROM: usize = 40;

/// Groups of flags, last first, with what their names begin with; the first that fits decides.
const GROUPS: [(&str, &[&str]); 5] = [
    (
        "Limits",
        &[
            "blkio-",
            "cpu",
            "memory",
            "oom-",
            "pids-",
            "ulimit",
            "device-read",
            "device-write",
            "shm-size",
            "cgroup-conf",
        ],
    ),
    (
        "Security and namespaces",
        &[
            "cap-",
            "security-opt",
            "privileged",
            "user",
            "group-add",
            "device",
            "sysctl",
            "ipc",
            "pid",
            "uts",
            "cgroup",
            "personality",
            "umask",
            "share",
        ],
    ),
    ("Storage", &["mount", "volume", "tmpfs", "read-only", "image-volume", "rootfs"]),
    (
        "Network",
        &[
            "network",
            "publish",
            "expose",
            "dns",
            "add-host",
            "hostname",
            "domainname",
            "mac-",
            "no-host",
            "link",
            "ip",
        ],
    ),
    ("Options", &[""]),
];

fn group(long: &str) -> &'static str {
    // A file that is written, not a namespace.
    let long = if long == "pidfile" { "" } else { long };
    let fits = |names: &[&str]| names.iter().any(|name| long.starts_with(name));
    GROUPS.iter().find(|(_, names)| fits(names)).map_or("Options", |(title, _)| title)
}

/// Help of one command.
pub fn command(spec: &Spec, command: &Command) -> String {
    let mut text = format!("Usage:  cais {} {}\n\n{}\n", spec.name(), spec.usage, spec.about);
    if spec.names.len() > 1 {
        let names: Vec<_> = spec.names.iter().map(|name| format!("cais {name}")).collect();
        text.push_str(&format!("\nAliases:\n  {}\n", names.join(", ")));
    }
    let mut shown: Vec<&Arg> =
        command.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set()).collect();
    shown.sort_by_key(|arg| arg.get_long());
    let many = shown.len() > GROUPED_FROM;
    for title in GROUPS.iter().map(|(title, _)| *title).rev() {
        let of_group = shown.iter().filter(|arg| {
            let group = if many { group(arg.get_long().unwrap_or_default()) } else { "Options" };
            group == title
        });
        let flags: Vec<(String, String)> = of_group.map(|arg| (left_side(arg), right_side(arg))).collect();
        if !flags.is_empty() {
            text.push_str(&format!("\n{title}:\n"));
            push_columns(&mut text, &flags, width());
        }
    }
    if !spec.examples.is_empty() {
        text.push_str("\nExamples:\n");
        for example in spec.examples {
            text.push_str(&format!("  {example}\n"));
        }
    }
    text
}

/// Help of a word with commands below it, such as `image`.
pub fn management(word: &str, specs: &[&Spec]) -> String {
    let mut text = format!("Usage:  cais {word} COMMAND\n\nCommands:\n");
    let rows: Vec<_> = specs
        .iter()
        .map(|spec| {
            let below = spec.names.iter().find_map(|name| name.strip_prefix(word)?.strip_prefix(' '));
            (format!("  {}", below.unwrap_or(spec.name())), spec.about.to_owned())
        })
        .collect();
    push_columns(&mut text, &rows, width());
    text.push_str(&format!("\n'cais {word} COMMAND --help' tells the flags of a command.\n"));
    text
}

fn left_side(arg: &Arg) -> String {
    let short = arg.get_short().map_or("    ".to_owned(), |short| format!("-{short}, "));
    let long = arg.get_long().unwrap_or_default();
    let valued = arg.get_action().takes_values() && !arg.is_require_equals_set();
    let value = arg.get_value_names().filter(|_| valued).and_then(|names| names.first());
    match value {
        Some(value) => format!("  {short}--{long} {value}"),
        None => format!("  {short}--{long}"),
    }
}

fn right_side(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    help.trim_end_matches('.').to_owned()
}

fn push_columns(text: &mut String, rows: &[(String, String)], width: usize) {
    let widest =
        rows.iter().map(|(left, _)| left.chars().count()).filter(|n| *n <= COLUMN_MAX).max().unwrap_or(0);
    let column = widest + 3;
    for (left, right) in rows {
        text.push_str(left);
        let mut at = left.chars().count();
        if at + 2 > column {
            text.push('\n');
            at = 0;
        }
        for word in right.split(' ') {
            let length = word.chars().count();
            if at < column {
                text.push_str(&" ".repeat(column - at));
                at = column;
            } else if at + 1 + length > width && column + length <= width {
                text.push('\n');
                text.push_str(&" ".repeat(column));
                at = column;
            } else {
                text.push(' ');
                at += 1;
            }
            text.push_str(word);
            at += length;
        }
        text.push('\n');
    }
}

fn width() -> usize {
    match rustix::termios::tcgetwinsize(rustix::stdio::stdout()) {
        Ok(size) if size.ws_col >= 40 => usize::from(size.ws_col),
        _ => WIDTH_DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_flags_stand_in_groups() {
        for (long, title) in [
            ("memory", "Limits"),
            ("pids-limit", "Limits"),
            ("device-read-bps", "Limits"),
            ("device", "Security and namespaces"),
            ("device-cgroup-rule", "Security and namespaces"),
            ("pid", "Security and namespaces"),
            ("ipc", "Security and namespaces"),
            ("pidfile", "Options"),
            ("volumes-from", "Storage"),
            ("dns-search", "Network"),
            ("mac-address", "Network"),
            ("rm", "Options"),
        ] {
            assert_eq!(group(long), title, "{long}");
        }
    }

    #[test]
    fn wraps_at_the_width() {
        let mut text = String::new();
        let rows =
            [("  --a X".to_owned(), "one two three four".to_owned()), ("  --bb".to_owned(), "x".to_owned())];
        push_columns(&mut text, &rows, 20);
        assert_eq!(text, "  --a X   one two\n          three four\n  --bb    x\n");
    }
}
