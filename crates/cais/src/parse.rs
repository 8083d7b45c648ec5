//! Flags of one command, parsed the way docker's are: `--flag=false`, the last one wins, values may begin with a dash.
//!
//! Only the command that was typed is built. Errors are worded here; the parser's own text never reaches the user.

use std::ffi::OsString;

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Args, Command};

use crate::door::print_stdout;
use crate::failure::Failure;
use crate::help;
use crate::refused::Refused;
use crate::spec::Spec;

/// In place of the words after a command's name: what are its flags? Nobody can type it, for it holds a NUL.
pub const DESCRIBE: &str = "\0describe";

/// What the words after a command's name turned out to be.
#[derive(Debug)]
pub enum Parsed<A> {
    /// Arguments.
    Args(A),
    /// `--help`: the text to print.
    Help(String),
}

/// Parses the words after a command's name; `--help` prints the help and ends the program.
///
/// # Errors
/// A usage failure in words of ours.
pub fn parse<A: Args>(spec: &Spec, argv: Vec<OsString>) -> Result<A, Failure> {
    match read::<A>(spec, argv)? {
        Parsed::Args(args) => Ok(args),
        Parsed::Help(text) => {
            print_stdout(&text)?;
            std::process::exit(0);
        }
    }
}

/// As [`parse`], without doing anything about help.
///
/// # Errors
/// As [`parse`].
pub fn read<A: Args>(spec: &Spec, argv: Vec<OsString>) -> Result<Parsed<A>, Failure> {
    let command = build::<A>(spec);
    if argv.first().is_some_and(|word| word == DESCRIBE) {
        return Err(Failure { described: Some(Box::new(command)), ..Failure::usage("") });
    }
    match command.clone().try_get_matches_from(argv) {
        Ok(matches) => {
            for flag in spec.refused {
                let given = matches.get_many::<String>(flag.long).into_iter().flatten();
                if let Some(objection) = given.filter_map(|value| flag.objection(value)).next() {
                    return Err(Failure::usage(objection));
                }
            }
            A::from_arg_matches(&matches).map(Parsed::Args).map_err(|error| reword(spec, &error))
        }
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            Ok(Parsed::Help(help::command(spec, &command)))
        }
        Err(error) => Err(reword(spec, &error)),
    }
}

/// The parser of one command.
fn build<A: Args>(spec: &Spec) -> Command {
    let command = Command::new(spec.name())
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true);
    let command = A::augment_args(command);
    let taken = command.get_arguments().any(|arg| arg.get_short() == Some('h'));
    let help = Arg::new("help").long("help").action(ArgAction::Help).help("Print usage");
    let help = if taken { help } else { help.short('h') };
    command.mut_args(as_docker).arg(help).args(spec.refused.iter().map(refused_arg))
}

fn as_docker(arg: Arg) -> Arg {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value("false")
            .value_parser(ValueParser::from(parse_bool));
    }
    let takes_any = !arg.is_positional() && arg.get_action().takes_values() && !arg.is_require_equals_set();
    if takes_any { arg.allow_hyphen_values(true) } else { arg }
}

/// A flag like `--sig-proxy` that is true unless told otherwise; put it on an argument of type `bool`.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".into()),
    }
}

fn refused_arg(flag: &Refused) -> Arg {
    let arg = Arg::new(flag.long).long(flag.long).action(ArgAction::Append).hide(true);
    if flag.valued {
        arg.allow_hyphen_values(true)
    } else {
        arg.num_args(0..=1).require_equals(true).default_missing_value("true")
    }
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}

/// `--name <NAME>` as clap shows an argument, without the value.
fn bare(argument: &str) -> &str {
    argument.split([' ', '=', '[']).next().unwrap_or(argument)
}

fn reword(spec: &Spec, error: &clap::Error) -> Failure {
    let help = format!("see 'cais {} --help'", spec.name());
    let argument = context(error, ContextKind::InvalidArg).unwrap_or_default();
    let value = context(error, ContextKind::InvalidValue).unwrap_or_default();
    let flag = bare(&argument);
    let message = match error.kind() {
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            let hint = match context(error, ContextKind::SuggestedArg) {
                Some(similar) => format!("did you mean {}? {help}", bare(&similar)),
                None => help,
            };
            return Failure::usage(format!("unknown flag: {flag}")).hint(hint);
        }
        ErrorKind::UnknownArgument => {
            format!("unexpected argument {argument:?}; usage: cais {} {}", spec.name(), spec.usage)
        }
        ErrorKind::MissingRequiredArgument => {
            format!("arguments are missing; usage: cais {} {}", spec.name(), spec.usage)
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("flag needs a value: {flag}"),
        ErrorKind::InvalidValue => {
            format!("invalid value {value:?} for {flag}: expected one of {}", choices(error))
        }
        ErrorKind::ValueValidation => {
            let reason =
                std::error::Error::source(error).map(|source| source.to_string()).unwrap_or_default();
            format!("invalid value {value:?} for {flag}: {reason}")
        }
        ErrorKind::NoEquals => format!("flag needs a value: {flag}="),
        ErrorKind::TooManyValues => format!("{flag} takes one value"),
        ErrorKind::InvalidUtf8 => "an argument is not valid UTF-8".into(),
        ErrorKind::ArgumentConflict => {
            let other = context(error, ContextKind::PriorArg).unwrap_or_default();
            format!("conflicting options: {flag} and {}", bare(&other))
        }
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    };
    Failure::usage(message).hint(help)
}

fn choices(error: &clap::Error) -> String {
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Codes;

    #[derive(Debug, Default, PartialEq, clap::Args)]
    struct Sample {
        /// Terminal.
        #[arg(short, long)]
        tty: bool,
        #[arg(short, long)]
        interactive: bool,
        #[arg(long)]
        memory: Option<String>,
        #[arg(short, long)]
        env: Vec<String>,
        #[arg(long)]
        number: Option<i64>,
        #[arg(required = true, trailing_var_arg = true)]
        words: Vec<String>,
    }

    const SPEC: Spec = Spec {
        names: &["sample"],
        usage: "IMAGE [COMMAND]",
        about: "Sample.",
        examples: &[],
        codes: Codes::Program,
        needs_ids: false,
        refused: &[Refused { long: "restart", valued: true, harmless: &["no"], reason: "not yet" }],
        main: |_, _| Ok(0),
    };

    fn sample(line: &str) -> Result<Sample, String> {
        match read::<Sample>(&SPEC, line.split(' ').map(Into::into).collect()) {
            Ok(Parsed::Args(args)) => Ok(args),
            Ok(Parsed::Help(text)) => Err(text),
            Err(failure) => Err(failure.told("sample", false)),
        }
    }

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn parses_as_docker_does() {
        let args = sample("-it -e A=1 -eB=2 -e=C --memory=1 --memory 2 img -t --foo -- x").expect("valid");
        assert_eq!(
            args,
            Sample {
                tty: true,
                interactive: true,
                memory: Some("2".into()),
                env: words("A=1 B=2 C"),
                number: None,
                words: words("img -t --foo -- x"),
            }
        );
        assert!(!sample("-t --tty=false img").expect("valid").tty);
        assert!(sample("-t=true img").expect("valid").tty);
        assert_eq!(sample("--number -1 --memory -x img").expect("valid").number, Some(-1));
        assert_eq!(sample("-t -- img -i").expect("valid").words, words("img -i"));
        assert_eq!(sample("img -- -i").expect("valid").words, words("img -- -i"));
        assert_eq!(sample("img --help").expect("valid").words, words("img --help"));
        assert_eq!(sample("--restart no img").expect("valid").words, words("img"));
    }

    #[test]
    fn words_errors_itself() {
        let cases = [
            ("--memry 1 img", "unknown flag: --memry\nhint: did you mean --memory? see 'cais sample --help'"),
            ("-Z img", "unknown flag: -Z"),
            ("-tZ img", "unknown flag: -Z"),
            ("-t", "arguments are missing; usage: cais sample IMAGE [COMMAND]"),
            ("--memory", "flag needs a value: --memory"),
            ("--tty=maybe img", "invalid value \"maybe\" for --tty: expected true or false"),
            ("--number x img", "invalid value \"x\" for --number: invalid digit"),
            ("--restart always img", "cais: sample: --restart: not yet"),
            ("--restart=always img", "--restart: not yet"),
            ("--help", "Usage:  cais sample IMAGE [COMMAND]"),
            ("-h img", "Usage:  cais sample"),
        ];
        for (line, expected) in cases {
            let error = sample(line).expect_err(line);
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
