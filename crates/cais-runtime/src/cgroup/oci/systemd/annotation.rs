//! Properties of a unit from annotations: `org.systemd.property.TimeoutStopUSec: "uint64 5000000"`.
//!
//! The value is GVariant text (docs.gtk.org/glib/gvariant-text-format.html), of which scalars, arrays and tuples are
//! read. Names ending in `Sec` are taken in seconds and told to systemd in microseconds, as in runc and crun. Pure.

use std::collections::BTreeMap;

use super::wire::Value;
use crate::cgroup::oci::error::GroupError;

const PREFIX: &str = "org.systemd.property.";
/// Nobody nests deeper by hand.
const MAX_DEPTH: usize = 8;

/// The properties among a container's annotations, by name.
///
/// # Errors
/// [`GroupError::Annotation`] for a name or a value that is none.
pub(in super::super) fn properties(
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<(String, Value)>, GroupError> {
    let mut properties = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let wrong = |reason| GroupError::Annotation { key: key.clone(), value: text.clone(), reason };
        if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(wrong("a name has three letters or more, and nothing else"));
        }
        let value = parse(text).map_err(wrong)?;
        let seconds =
            name.strip_suffix("Sec").filter(|stem| stem.ends_with(|last: char| last.is_ascii_lowercase()));
        properties.push(match seconds {
            Some(stem) => {
                (format!("{stem}USec"), Value::U64(micros(&value).ok_or(wrong("it is no number"))?))
            }
            None => (name.to_owned(), value),
        });
    }
    Ok(properties)
}

fn micros(value: &Value) -> Option<u64> {
    let seconds = match *value {
        Value::Byte(number) => i128::from(number),
        Value::I16(number) => i128::from(number),
        Value::U16(number) => i128::from(number),
        Value::I32(number) => i128::from(number),
        Value::U32(number) => i128::from(number),
        Value::I64(number) => i128::from(number),
        Value::U64(number) => i128::from(number),
        // The cast keeps to the bounds.
        Value::F64(number) => return Some((number * 1e6) as u64),
        _ => return None,
    };
    u64::try_from(seconds.saturating_mul(1_000_000)).ok()
}

type Parsed<T> = Result<T, &'static str>;

fn parse(text: &str) -> Parsed<Value> {
    let mut parser = Parser { rest: text.trim() };
    let value = parser.value("", 0)?;
    if parser.rest.trim().is_empty() { Ok(value) } else { Err("something follows the value") }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn eat(&mut self, token: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c)));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// A value of a type; an empty one is found out.
    fn value(&mut self, kind: &str, depth: usize) -> Parsed<Value> {
        if depth > MAX_DEPTH {
            return Err("it is nested too deeply");
        }
        if self.eat('@') {
            let end = self.rest.find(' ').ok_or("a type without a value")?;
            let (kind, rest) = self.rest.split_at(end);
            self.rest = rest;
            return self.value(kind, depth + 1);
        }
        self.rest = self.rest.trim_start();
        match self.rest.chars().next().ok_or("it is empty")? {
            quote @ ('\'' | '"') => {
                let text = self.text(quote)?;
                match kind {
                    "" | "s" => Ok(Value::Text(text)),
                    "o" => Ok(Value::Path(text)),
                    "g" => Ok(Value::Signature(text)),
                    _ => Err("a text stands where something else should"),
                }
            }
            '[' => self.array(kind, depth),
            '(' => self.tuple(depth),
            _ => {
                let word = self.word();
                match named_type(word) {
                    Some(kind) => self.value(kind, depth + 1),
                    None => scalar(kind, word),
                }
            }
        }
    }

    fn text(&mut self, quote: char) -> Parsed<String> {
        let mut text = String::new();
        let mut letters = self.rest.char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            match letter {
                _ if letter == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\\' => match letters.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, other @ ('\\' | '\'' | '"'))) => text.push(other),
                    _ => return Err("a backslash stands before something that needs none"),
                },
                '\0' => return Err("a text has a zero in it"),
                _ => text.push(letter),
            }
        }
        Err("a text does not end")
    }

    fn array(&mut self, kind: &str, depth: usize) -> Parsed<Value> {
        let mut element = match (kind, kind.strip_prefix('a')) {
            ("", _) => String::new(),
            (_, Some(element)) => element.to_owned(),
            _ => return Err("an array stands where something else should"),
        };
        self.eat('[');
        let mut items = Vec::new();
        while !self.eat(']') {
            if !items.is_empty() && !self.eat(',') {
                return Err("a comma is missing in an array");
            }
            let item = self.value(&element, depth + 1)?;
            let kind = item.signature();
            if !element.is_empty() && element != kind {
                return Err("the types in an array differ");
            }
            element = kind;
            items.push(item);
        }
        if element.is_empty() {
            Err("an empty array needs a type, as in \"@as []\"")
        } else {
            Ok(Value::Array(element, items))
        }
    }

    fn tuple(&mut self, depth: usize) -> Parsed<Value> {
        self.eat('(');
        let mut items = Vec::new();
        while !self.eat(')') {
            if !items.is_empty() && !self.eat(',') {
                return Err("a comma is missing in a tuple");
            }
            if self.eat(')') {
                break;
            }
            items.push(self.value("", depth + 1)?);
        }
        if items.is_empty() { Err("a tuple is empty") } else { Ok(Value::Struct(items)) }
    }
}

fn named_type(word: &str) -> Option<&'static str> {
    Some(match word {
        "boolean" => "b",
        "byte" => "y",
        "int16" => "n",
        "uint16" => "q",
        "int32" => "i",
        "uint32" => "u",
        "int64" => "x",
        "uint64" => "t",
        "double" => "d",
        "string" => "s",
        "objectpath" => "o",
        "signature" => "g",
        _ => return None,
    })
}

fn scalar(kind: &str, word: &str) -> Parsed<Value> {
    const RANGE: &str = "it is no number of its type";
    fn number<T: std::str::FromStr>(word: &str) -> Parsed<T> {
        word.parse().map_err(|_| RANGE)
    }
    Ok(match (kind, word) {
        ("" | "b", "true") => Value::Bool(true),
        ("" | "b", "false") => Value::Bool(false),
        ("y", _) => Value::Byte(number(word)?),
        ("n", _) => Value::I16(number(word)?),
        ("q", _) => Value::U16(number(word)?),
        ("u", _) => Value::U32(number(word)?),
        ("x", _) => Value::I64(number(word)?),
        ("t", _) => Value::U64(number(word)?),
        ("d", _) => Value::F64(number(word)?),
        ("", _) if word.contains('.') => Value::F64(number(word)?),
        ("" | "i", _) => Value::I32(number(word)?),
        _ => return Err("a word stands where something else should"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (text, value) in [
            ("true", Value::Bool(true)),
            (" 'it\\'s' ", Value::Text("it's".into())),
            ("\"two\"", Value::Text("two".into())),
            ("uint64 5", Value::U64(5)),
            ("-7", Value::I32(-7)),
            ("2.5", Value::F64(2.5)),
            ("byte 255", Value::Byte(255)),
            ("int64 -1", Value::I64(-1)),
            ("['a', 'b']", Value::texts(["a", "b"])),
            ("@as []", Value::texts([""; 0])),
            ("[uint32 1, 2]", Value::Array("u".into(), vec![Value::U32(1), Value::U32(2)])),
            ("@at [1]", Value::Array("t".into(), vec![Value::U64(1)])),
            ("objectpath '/a'", Value::Path("/a".into())),
            ("('a', 1,)", Value::Struct(vec![Value::Text("a".into()), Value::I32(1)])),
        ] {
            assert_eq!(parse(text).unwrap(), value, "{text}");
        }
        let deep = "[".repeat(100);
        for text in [
            "",
            "no",
            "'a",
            "[]",
            "['a' 'b']",
            "['a', 1]",
            "uint32 -1",
            "int32 3000000000",
            "1 2",
            "@as",
            "@as 5",
            "string 5",
            "()",
            "'\\x'",
            &deep,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_annotations_of_systemd_count_and_seconds_become_microseconds() {
        let annotations = |list: &[(&str, &str)]| {
            list.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        let found = properties(&annotations(&[
            ("org.systemd.property.CollectMode", "'inactive-or-failed'"),
            ("org.systemd.property.TimeoutStopSec", "123"),
            ("org.systemd.property.RuntimeMaxUSec", "uint64 9"),
            ("io.podman", "x"),
        ]))
        .unwrap();
        let want = [
            ("CollectMode".to_owned(), Value::Text("inactive-or-failed".into())),
            ("RuntimeMaxUSec".to_owned(), Value::U64(9)),
            ("TimeoutStopUSec".to_owned(), Value::U64(123_000_000)),
        ];
        assert_eq!(found, want);
        for (key, value) in
            [("x", "1"), ("A1b", "1"), ("TimeoutStopSec", "'a'"), ("TimeoutStopSec", "-1"), ("Abc", "z")]
        {
            let refused = properties(&annotations(&[(&format!("{PREFIX}{key}"), value)]));
            assert!(matches!(refused, Err(GroupError::Annotation { .. })), "{key} {value}");
        }
    }
}
