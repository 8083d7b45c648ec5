//! Help texts, in the shape that runc's callers know: `NAME:`, `USAGE:`, `OPTIONS:`.

use super::command::{COMMANDS, Command};
use super::flags::Flag;
use super::globals;

/// Where explanations of flags begin.
const COLUMN: usize = 34;

/// What the program is and which commands it has.
pub(super) fn overview(program: &str) -> String {
    let mut text = format!(
        "NAME:\n   {program} - Open Container Initiative runtime\n\n\
         USAGE:\n   {program} [GLOBAL OPTIONS] COMMAND [OPTIONS] [ARGUMENTS]\n\nCOMMANDS:\n"
    );
    for command in COMMANDS {
        text.push_str(&format!("   {:<14}{}\n", command.name, command.about));
    }
    text.push_str("\nGLOBAL OPTIONS:\n");
    push_flags(&mut text, &[globals::FLAGS]);
    text.push_str("\n'COMMAND --help' tells the options of a command.\n");
    text
}

/// One command.
pub(super) fn of(program: &str, command: &Command) -> String {
    let name = command.name;
    let mut text = format!("NAME:\n   {program} {name} - {}\n\nUSAGE:\n   {program} {name}", command.about);
    if !command.flags.is_empty() {
        text.push_str(" [OPTIONS]");
    }
    if !command.usage.is_empty() {
        text.push_str(&format!(" {}", command.usage));
    }
    text.push_str("\n\nOPTIONS:\n");
    push_flags(&mut text, command.flags);
    text
}

fn push_flags(text: &mut String, flags: &[&[Flag]]) {
    let mut rows: Vec<(String, &str)> = flags
        .iter()
        .copied()
        .flatten()
        .map(|flag| {
            let short = flag.short.map_or("    ".to_owned(), |letter| format!("-{letter}, "));
            let value = flag.value.map_or(String::new(), |value| format!(" {value}"));
            (format!("   {short}--{}{value}", flag.long), flag.help)
        })
        .collect();
    rows.sort_by(|left, right| left.0[7..].cmp(&right.0[7..]));
    rows.push(("   -h, --help".to_owned(), "print this"));
    for (left, right) in rows {
        let gap = COLUMN.saturating_sub(left.chars().count()).max(1);
        text.push_str(&format!("{left}{}{right}\n", " ".repeat(gap)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_are_those_that_are_looked_for() {
        let text = overview("cais-runtime");
        assert!(text.starts_with("NAME:\n   cais-runtime - Open Container Initiative runtime\n"), "{text}");
        for command in COMMANDS {
            assert!(text.contains(&format!("\n   {} ", command.name)), "{}", command.name);
            let own = of("cais runtime", command);
            assert!(own.starts_with(&format!("NAME:\n   cais runtime {} - ", command.name)), "{own}");
            for flag in command.flags.iter().copied().flatten() {
                assert!(own.contains(&format!("--{}", flag.long)), "{} {}", command.name, flag.long);
            }
        }
    }
}
