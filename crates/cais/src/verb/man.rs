//! `man`: a manual page for every command, in man(7), from what `--help` is made of.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Command};

use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::help::OVERVIEW;
use crate::parse::parse;
use crate::spec::Spec;
use crate::verb::table::COMMANDS;

#[derive(Debug, Args)]
struct ManArgs {
    /// Write all pages into this directory.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print the page of one command; without one that of cais.
    words: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: ManArgs = parse(door.spec, argv)?;
    let Some(dir) = args.dir else {
        let words = args.words.join(" ");
        let text = match COMMANDS.iter().find(|spec| spec.names.contains(&words.as_str())) {
            Some(spec) => of_command(spec, door)?,
            None if words.is_empty() => overview(),
            None => return Err(Failure::usage(format!("unknown command: {words}"))),
        };
        print_stdout(&text)?;
        return Ok(0);
    };
    let failed = |path: &PathBuf, error| Failure::edge(format_args!("write {}", path.display()), error);
    std::fs::create_dir_all(&dir).map_err(|error| failed(&dir, error))?;
    let mut pages = vec![("cais".to_owned(), overview())];
    for spec in COMMANDS {
        pages.push((page_name(spec.name()), of_command(spec, door)?));
    }
    for (name, text) in pages {
        let path = dir.join(format!("{name}.1"));
        std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
    }
    Ok(0)
}

fn page_name(command: &str) -> String {
    format!("cais-{}", command.replace(' ', "-"))
}

fn of_command(spec: &'static Spec, door: &Door) -> Result<String, Failure> {
    let flags = spec.flags(door).ok_or_else(|| Failure::usage(format!("{} has no flags", spec.name())))?;
    Ok(page(spec, &flags))
}

fn overview() -> String {
    let mut text = title("cais");
    text.push_str(".SH NAME\ncais \\- a container engine without a daemon\n");
    text.push_str(&format!(".SH OVERVIEW\n.nf\n{}.fi\n.SH SEE ALSO\n", escaped(OVERVIEW)));
    let pages: Vec<_> =
        COMMANDS.iter().map(|spec| format!(".BR {} (1)", escaped(&page_name(spec.name())))).collect();
    text.push_str(&(pages.join(",\n") + "\n"));
    text
}

fn page(spec: &Spec, flags: &Command) -> String {
    let name = page_name(spec.name());
    let mut text = title(&name);
    text.push_str(&format!(".SH NAME\n{} \\- {}\n", escaped(&name), escaped(spec.about)));
    let usage = escaped(spec.usage);
    text.push_str(&format!(".SH SYNOPSIS\n.B cais {}\n{usage}\n", escaped(spec.name())));
    text.push_str(&format!(".SH DESCRIPTION\n{}.\n", escaped(spec.about)));
    if spec.names.len() > 1 {
        let names: Vec<_> = spec.names.iter().map(|name| format!("cais {name}")).collect();
        text.push_str(&format!(".PP\nAlso: {}.\n", escaped(&names.join(", "))));
    }
    let mut shown: Vec<_> =
        flags.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set()).collect();
    shown.sort_by_key(|arg| arg.get_long().unwrap_or_default().to_owned());
    if !shown.is_empty() {
        text.push_str(".SH OPTIONS\n");
    }
    for arg in shown {
        let short = arg.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
        let flag = escaped(&format!("{short}--{}", arg.get_long().unwrap_or_default()));
        let valued = arg.get_action().takes_values() && !arg.is_require_equals_set();
        let value = arg.get_value_names().filter(|_| valued).and_then(|names| names.first());
        let value = value.map(|value| format!(" \\fI{}\\fR", escaped(value))).unwrap_or_default();
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!(".TP\n\\fB{flag}\\fR{value}\n{}.\n", escaped(help.trim_end_matches('.'))));
    }
    if !spec.examples.is_empty() {
        text.push_str(&format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", escaped(&spec.examples.join("\n"))));
    }
    text.push_str(".SH SEE ALSO\n.BR cais (1)\n");
    text
}

fn title(name: &str) -> String {
    format!(".TH \"{}\" \"1\" \"\" \"cais {}\"\n", escaped(&name.to_uppercase()), cais_engine::verb::VERSION)
}

/// Text as roff shows it: no escapes, hyphens that can be copied, no line that looks like a request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() })
        .collect();
    // What is no ASCII has names: roff reads bytes.
    let named = |character: char| match character.is_ascii() {
        true => character.to_string(),
        false => format!("\\[u{:04X}]", u32::from(character)),
    };
    lines.join("\n").chars().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        for spec in COMMANDS {
            let text = of_command(spec, &Door::for_tests(spec)).expect("a page");
            assert!(text.starts_with(".TH \"CAIS\\-"), "{text}");
            for word in [".SH NAME", ".SH SYNOPSIS", ".SH SEE ALSO"] {
                assert!(text.contains(word), "{}: {word}", spec.name());
            }
        }
    }

    #[test]
    fn escapes_what_roff_would_obey() {
        assert_eq!(escaped("a-b\\n\n.SH x\n'y"), "a\\-b\\en\n\\&.SH x\n\\&'y");
        assert_eq!(escaped("a…"), "a\\[u2026]");
    }
}
