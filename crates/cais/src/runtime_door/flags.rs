//! The grammar of a runtime's command line: what runc (Go's `flag`, urfave/cli) and crun (argp) both are called with.
//!
//! `--name VALUE`, `--name=VALUE`, `-name VALUE`, `-n VALUE`, `-nVALUE`, `-n=VALUE`; switches `--name`, `--name=false`,
//! `-n`, and several short ones together. A value may begin with a dash; the last one wins; `--` ends the flags. Pure.
//! Knows no command.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::str::FromStr;

use super::failure::Failure;

/// One flag.
#[derive(Debug)]
pub(super) struct Flag {
    /// Its name, without dashes.
    pub(super) long: &'static str,
    /// Its letter.
    pub(super) short: Option<char>,
    /// Word for its value in the help; `None` makes it a switch.
    pub(super) value: Option<&'static str>,
    /// What it does.
    pub(super) help: &'static str,
}

impl Flag {
    /// A flag with a value.
    pub(super) const fn valued(long: &'static str, value: &'static str, help: &'static str) -> Flag {
        Flag { long, short: None, value: Some(value), help }
    }

    /// A flag without.
    pub(super) const fn switch(long: &'static str, help: &'static str) -> Flag {
        Flag { long, short: None, value: None, help }
    }

    /// The same flag with a letter.
    pub(super) const fn short(self, letter: char) -> Flag {
        Flag { short: Some(letter), ..self }
    }
}

/// What was typed: flags that are known, and what is none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    flags: Vec<(&'static str, OsString)>,
    /// Words that are no flags.
    pub(super) arguments: Vec<OsString>,
    /// `--help` or `-h` was among the flags.
    pub(super) help: bool,
}

/// Reads flags and arguments. With `first_ends` the first argument ends the flags.
///
/// # Errors
/// For flags that are not known, values that are missing, switches with a value that is no truth.
pub(super) fn parse(argv: Vec<OsString>, flags: &[&[Flag]], first_ends: bool) -> Result<Words, Failure> {
    let mut words = Words::default();
    let mut rest = argv.into_iter();
    while let Some(word) = rest.next() {
        let bytes = word.as_bytes();
        if bytes == b"--" {
            words.arguments.extend(rest);
            break;
        }
        if bytes.len() < 2 || bytes[0] != b'-' {
            words.arguments.push(word);
            if first_ends {
                words.arguments.extend(rest);
                break;
            }
            continue;
        }
        words.flag(&word, &mut rest, flags)?;
    }
    Ok(words)
}

impl Words {
    fn flag(
        &mut self,
        word: &OsStr,
        rest: &mut impl Iterator<Item = OsString>,
        flags: &[&[Flag]],
    ) -> Result<(), Failure> {
        let bytes = word.as_bytes();
        let doubled = bytes.starts_with(b"--");
        let body = &bytes[if doubled { 2 } else { 1 }..];
        let (name, attached) = match body.iter().position(|byte| *byte == b'=') {
            Some(at) => (&body[..at], Some(OsString::from_vec(body[at + 1..].to_vec()))),
            None => (body, None),
        };
        let unknown = || Failure::usage(format!("unknown flag: {}", word.to_string_lossy()));
        let name = std::str::from_utf8(name).map_err(|_| unknown())?;
        if name == "help" || name == "h" {
            self.help = true;
            return Ok(());
        }
        let all = || flags.iter().copied().flatten();
        // Go takes a long name with one dash, too.
        if let Some(flag) = all().find(|flag| flag.long == name) {
            return self.take(flag, attached, rest);
        }
        if doubled {
            return Err(unknown());
        }
        let mut letters = name.char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            let flag = all().find(|flag| flag.short == Some(letter)).ok_or_else(unknown)?;
            let after = &body[at + letter.len_utf8()..];
            if flag.value.is_some() && !after.is_empty() {
                let value = after.strip_prefix(b"=").unwrap_or(after);
                return self.take(flag, Some(OsString::from_vec(value.to_vec())), rest);
            }
            let attached = attached.clone().filter(|_| letters.peek().is_none());
            self.take(flag, attached, rest)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        flag: &Flag,
        attached: Option<OsString>,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), Failure> {
        let value = match (flag.value, attached) {
            (Some(_), None) => {
                let missing = || Failure::usage(format!("flag needs a value: --{}", flag.long));
                rest.next().ok_or_else(missing)?
            }
            (_, Some(value)) => value,
            (None, None) => "true".into(),
        };
        if flag.value.is_none() && truth(&value).is_none() {
            let message = format!("invalid value {value:?} for --{}: expected true or false", flag.long);
            return Err(Failure::usage(message));
        }
        self.flags.push((flag.long, value));
        Ok(())
    }

    /// The value of a flag, as it was typed.
    pub(super) fn raw(&self, name: &str) -> Option<&OsStr> {
        self.flags.iter().rev().find(|(long, _)| *long == name).map(|(_, value)| value.as_os_str())
    }

    /// Whether a switch is on; `None` when it was not typed.
    pub(super) fn switch_if_set(&self, name: &str) -> Option<bool> {
        self.raw(name).and_then(truth)
    }

    /// Whether a switch is on.
    pub(super) fn switch(&self, name: &str) -> bool {
        self.switch_if_set(name).unwrap_or(false)
    }

    /// A path; the empty one counts as not typed.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.raw(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// A text; the empty one counts as not typed.
    ///
    /// # Errors
    /// When it is not valid UTF-8.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Failure> {
        let text = self.raw(name).map(|value| utf8(name, value)).transpose()?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// All values of a flag that may be repeated.
    ///
    /// # Errors
    /// When one is not valid UTF-8.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, Failure> {
        let given = self.flags.iter().filter(|(long, _)| *long == name);
        given.map(|(_, value)| utf8(name, value).map(str::to_owned)).collect()
    }

    /// A number; the empty text counts as not typed.
    ///
    /// # Errors
    /// When it is none, or out of range.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let number =
            text.parse().map_err(|_| Failure::usage(format!("invalid value for {name}: {text:?}")))?;
        Ok(Some(number))
    }
}

fn utf8<'a>(name: &str, value: &'a OsStr) -> Result<&'a str, Failure> {
    value.to_str().ok_or_else(|| Failure::usage(format!("invalid value for {name}: not valid UTF-8")))
}

/// What Go's `ParseBool` takes, and argp's users of crun write.
fn truth(value: &OsStr) -> Option<bool> {
    match value.as_bytes() {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" | b"yes" => Some(true),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" | b"no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::valued("bundle", "DIR", "").short('b'),
        Flag::valued("memory-swap", "BYTES", ""),
        Flag::valued("env", "NAME=VALUE", "").short('e'),
        Flag::switch("detach", "").short('d'),
        Flag::switch("tty", "").short('t'),
    ];

    fn read(line: &str, first_ends: bool) -> Result<Words, Failure> {
        parse(line.split_whitespace().map(OsString::from).collect(), &[FLAGS, &[]], first_ends)
    }

    fn refused(line: &str) -> String {
        read(line, false).expect_err(line).message
    }

    #[test]
    fn every_spelling_of_a_value() {
        for line in
            ["--bundle /b x", "--bundle=/b x", "-b /b x", "-b=/b x", "-b/b x", "-bundle /b x", "x -dtb /b"]
        {
            let words = read(line, false).expect(line);
            assert_eq!(words.path("bundle"), Some("/b".into()), "{line}");
            assert_eq!(words.arguments, ["x"], "{line}");
        }
        assert_eq!(
            read("--memory-swap -1", false).expect("ok").number("memory-swap").expect("ok"),
            Some(-1_i64)
        );
        assert_eq!(read("-b 1 -b 2 --bundle=", false).expect("ok").path("bundle"), None, "the last one wins");
        let env = read("-e A=1 --env=B=2=3 -eC", false).expect("ok").texts("env").expect("ok");
        assert_eq!(env, ["A=1", "B=2=3", "C"]);
    }

    #[test]
    fn every_spelling_of_a_switch() {
        for line in ["-d", "--detach", "-detach", "--detach=true", "-d=1", "-td", "--detach=false -d"] {
            assert!(read(line, false).expect(line).switch("detach"), "{line}");
        }
        for line in ["", "--detach=false", "-d=0", "-d --detach=no"] {
            assert!(!read(line, false).expect(line).switch("detach"), "{line}");
        }
        let words = read("-td=false", false).expect("ok");
        assert_eq!((words.switch("tty"), words.switch_if_set("detach")), (true, Some(false)));
        assert_eq!(words.switch_if_set("help"), None);
    }

    #[test]
    fn arguments_and_where_flags_end() {
        assert_eq!(read("x -d -- -t --nope", false).expect("ok").arguments, ["x", "-t", "--nope"]);
        let words = read("-d x -c --detach -h", true).expect("ok");
        assert_eq!(words.arguments, ["x", "-c", "--detach", "-h"]);
        assert!(words.switch("detach") && !words.help);
        assert_eq!(read("-", false).expect("ok").arguments, ["-"]);
        assert!(read("x --help", false).expect("ok").help && read("-h", true).expect("ok").help);
    }

    #[test]
    fn refusals() {
        assert_eq!(refused("--nope"), "unknown flag: --nope");
        assert_eq!(refused("-dx"), "unknown flag: -dx");
        assert_eq!(refused("--b x"), "unknown flag: --b");
        assert_eq!(refused("--bundle"), "flag needs a value: --bundle");
        assert_eq!(refused("-e"), "flag needs a value: --env");
        assert_eq!(refused("--tty=maybe"), "invalid value \"maybe\" for --tty: expected true or false");
        let bad = OsString::from_vec(b"--env=\xff".to_vec());
        let words = parse(vec![bad], &[FLAGS], false).expect("kept as bytes");
        assert_eq!(
            words.texts("env").expect_err("not text").message,
            "invalid value for env: not valid UTF-8"
        );
        let words = read("--memory-swap 1g", false).expect("ok");
        assert_eq!(
            words.number::<i64>("memory-swap").expect_err("no number").message,
            "invalid value for memory-swap: \"1g\""
        );
    }
}
