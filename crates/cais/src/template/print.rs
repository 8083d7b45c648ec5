//! How Go prints a value: `%v` and the other verbs of `fmt`.

use std::fmt::Write;

use serde_json::Value;

/// `%v`: strings bare, lists `[a b]`, objects `map[k:v]` in order of keys.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => float_shortest(float),
            _ => number.to_string(),
        },
        Value::Bool(truth) => truth.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| *key);
            let pairs: Vec<_> = pairs.into_iter().map(|(k, v)| format!("{k}:{}", plain(v))).collect();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

/// `%g` with the shortest digits: exponents below -4 and from 21 up.
fn float_shortest(float: f64) -> String {
    let magnitude = float.abs();
    if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        return exponent(&format!("{float:e}"));
    }
    float.to_string()
}

/// Go writes at least two digits of exponent and always its sign.
fn exponent(text: &str) -> String {
    match text.split_once('e') {
        Some((digits, power)) => match power.strip_prefix('-') {
            Some(power) => format!("{digits}e-{power:0>2}"),
            None => format!("{digits}e+{power:0>2}"),
        },
        None => text.to_owned(),
    }
}

/// Flags, width and precision of one verb.
#[derive(Default)]
struct Directive {
    minus: bool,
    plus: bool,
    zero: bool,
    sharp: bool,
    space: bool,
    width: usize,
    precision: Option<usize>,
}

/// The largest width or precision that is obeyed; more could only be meant to exhaust memory.
const WIDTH_MAX: usize = 10_000;

/// `printf`: as Go's, faults of the format are shown in the text and are no error.
pub(super) fn formatted(format: &str, arguments: &[Value]) -> String {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut rest = format;
    while let Some(percent) = rest.find('%') {
        out.push_str(&rest[..percent]);
        let (directive, verb, after) = read_directive(&rest[percent + 1..]);
        rest = after;
        match verb {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) => match arguments.next() {
                Some(value) => pad(&mut out, &directive, verb, value),
                None => {
                    let _ = write!(out, "%!{verb}(MISSING)");
                }
            },
        }
    }
    out.push_str(rest);
    let extra: Vec<_> = arguments.map(|value| format!("{}={}", go_type(value), plain(value))).collect();
    if !extra.is_empty() {
        let _ = write!(out, "%!(EXTRA {})", extra.join(", "));
    }
    out
}

fn read_directive(text: &str) -> (Directive, Option<char>, &str) {
    let mut directive = Directive::default();
    let mut rest = text;
    loop {
        match rest.chars().next() {
            Some('-') => directive.minus = true,
            Some('+') => directive.plus = true,
            Some('0') => directive.zero = true,
            Some('#') => directive.sharp = true,
            Some(' ') => directive.space = true,
            _ => break,
        }
        rest = &rest[1..];
    }
    (directive.width, rest) = read_number(rest);
    if let Some(after) = rest.strip_prefix('.') {
        let (precision, after) = read_number(after);
        directive.precision = Some(precision);
        rest = after;
    }
    let verb = rest.chars().next();
    (directive, verb, &rest[verb.map_or(0, char::len_utf8)..])
}

fn read_number(text: &str) -> (usize, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].parse().unwrap_or(0).min(WIDTH_MAX), &text[end..])
}

fn pad(out: &mut String, directive: &Directive, verb: char, value: &Value) {
    let numeric =
        matches!(verb, 'd' | 'x' | 'X' | 'o' | 'b' | 'f' | 'F' | 'e' | 'g' | 'v') && value.is_number();
    let mut text = convert(directive, verb, value);
    if numeric && !text.starts_with('-') {
        if directive.plus && verb != 'v' {
            text.insert(0, '+');
        } else if directive.space {
            text.insert(0, ' ');
        }
    }
    let missing = directive.width.saturating_sub(text.chars().count());
    if directive.minus {
        out.push_str(&text);
        out.extend(std::iter::repeat_n(' ', missing));
    } else if directive.zero && numeric {
        let sign = text.len() - text.trim_start_matches(['-', '+', ' ']).len();
        out.push_str(&text[..sign]);
        out.extend(std::iter::repeat_n('0', missing));
        out.push_str(&text[sign..]);
    } else {
        out.extend(std::iter::repeat_n(' ', missing));
        out.push_str(&text);
    }
}

fn convert(directive: &Directive, verb: char, value: &Value) -> String {
    let mismatch = || format!("%!{verb}({}={})", go_type(value), plain(value));
    match (verb, value) {
        ('v', Value::String(text)) if directive.sharp => quote(text),
        ('s' | 'v', Value::String(text)) => shorten(directive, text),
        ('v', _) => plain(value),
        ('s', Value::Array(_) | Value::Object(_)) => plain(value),
        ('T', _) => go_type(value).into(),
        ('t', Value::Bool(truth)) => truth.to_string(),
        ('q', Value::String(text)) => quote(&shorten(directive, text)),
        ('q', Value::Array(items)) => {
            let items: Vec<_> = items.iter().map(|item| convert(directive, 'q', item)).collect();
            format!("[{}]", items.join(" "))
        }
        ('x', Value::String(text)) => text.bytes().map(|b| format!("{b:02x}")).collect(),
        ('X', Value::String(text)) => text.bytes().map(|b| format!("{b:02X}")).collect(),
        (_, Value::Number(number)) => convert_number(directive, verb, number).unwrap_or_else(mismatch),
        _ => mismatch(),
    }
}

fn convert_number(directive: &Directive, verb: char, number: &serde_json::Number) -> Option<String> {
    if number.is_f64() {
        let float = number.as_f64()?;
        let precision = directive.precision;
        return Some(match verb {
            'f' | 'F' => format!("{float:.*}", precision.unwrap_or(6)),
            'e' => exponent(&format!("{float:.*e}", precision.unwrap_or(6))),
            'g' => float_shortest(float),
            _ => return None,
        });
    }
    let whole = number.as_i64().map_or_else(|| number.as_u64().map(i128::from), |n| Some(i128::from(n)))?;
    let sign = if whole < 0 { "-" } else { "" };
    let magnitude = whole.unsigned_abs();
    Some(match verb {
        'd' => whole.to_string(),
        'x' if directive.sharp => format!("{sign}0x{magnitude:x}"),
        'x' => format!("{sign}{magnitude:x}"),
        'X' => format!("{sign}{magnitude:X}"),
        'o' => format!("{sign}{magnitude:o}"),
        'b' => format!("{sign}{magnitude:b}"),
        'c' => u32::try_from(whole).ok().and_then(char::from_u32)?.to_string(),
        'q' => format!("'{}'", u32::try_from(whole).ok().and_then(char::from_u32)?),
        _ => return None,
    })
}

fn shorten(directive: &Directive, text: &str) -> String {
    match directive.precision {
        Some(most) => text.chars().take(most).collect(),
        None => text.to_owned(),
    }
}

/// Go's `strconv.Quote`, for what occurs in practice.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\x0b' => out.push_str("\\v"),
            c if c.is_control() => {
                let _ = match u32::from(c) {
                    code @ 0..=0xff => write!(out, "\\x{code:02x}"),
                    code => write!(out, "\\u{code:04x}"),
                };
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The name that Go would print for a value's type.
pub(super) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
