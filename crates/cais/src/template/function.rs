//! The functions of templates: Go's built-in ones and those that docker adds. `and`, `or` are in the evaluator,
//! because they do not evaluate all their arguments.

use std::cmp::Ordering;

use serde_json::Value;

use super::print;

const NAMES: &[&str] = &[
    "and", "or", "not", "len", "index", "slice", "print", "printf", "println", "html", "urlquery", "eq",
    "ne", "lt", "le", "gt", "ge", "json", "join", "split", "upper", "lower", "title", "pad", "truncate",
];

/// The largest padding that `pad` obeys; more could only be meant to exhaust memory.
const PAD_MAX: usize = 10_000;

/// Whether a template may use this name as a function.
pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Go's truth: false, zero, nil, empty strings, lists and objects are not true.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

type Answer = Result<Value, String>;

/// Calls a function on evaluated arguments.
pub(super) fn call(name: &str, arguments: &[Value]) -> Answer {
    let count = arguments.len();
    match (name, arguments) {
        ("not", [value]) => Ok(Value::Bool(!truth(value))),
        ("len", [value]) => length(value),
        ("index", [value, keys @ ..]) => keys.iter().try_fold(value.clone(), |value, key| index(&value, key)),
        ("slice", [value, bounds @ ..]) if bounds.len() <= 3 => slice(value, bounds),
        ("print", _) => Ok(print_all(arguments).into()),
        ("println", _) => {
            let words: Vec<_> = arguments.iter().map(print::plain).collect();
            Ok(format!("{}\n", words.join(" ")).into())
        }
        ("printf", [format, rest @ ..]) => Ok(print::formatted(text(format)?, rest).into()),
        ("html", _) => Ok(escape_html(&print_all(arguments)).into()),
        ("urlquery", _) => Ok(escape_query(&print_all(arguments)).into()),
        ("eq", [first, rest @ ..]) if !rest.is_empty() => {
            for value in rest {
                if equal(first, value)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        ("ne", [left, right]) => Ok(Value::Bool(!equal(left, right)?)),
        ("lt", [left, right]) => Ok(Value::Bool(order(left, right)?.is_lt())),
        ("le", [left, right]) => Ok(Value::Bool(order(left, right)?.is_le())),
        ("gt", [left, right]) => Ok(Value::Bool(order(left, right)?.is_gt())),
        ("ge", [left, right]) => Ok(Value::Bool(order(left, right)?.is_ge())),
        ("json", [value]) => Ok(value.to_string().into()),
        ("join", [list, separator]) => join(list, text(separator)?),
        ("split", [whole, separator]) => Ok(split(text(whole)?, text(separator)?)),
        ("upper", [value]) => Ok(text(value)?.to_uppercase().into()),
        ("lower", [value]) => Ok(text(value)?.to_lowercase().into()),
        ("title", [value]) => Ok(title(text(value)?).into()),
        ("pad", [value, before, after]) => pad(text(value)?, number(before)?, number(after)?),
        ("truncate", [value, most]) => {
            let most =
                usize::try_from(number(most)?).map_err(|_| "truncate: the length is negative".to_owned())?;
            Ok(text(value)?.chars().take(most).collect::<String>().into())
        }
        _ => Err(format!("{name}: wrong number of arguments ({count})")),
    }
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("expected a string, found {}", print::go_type(value)))
}

fn number(value: &Value) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| format!("expected a whole number, found {}", print::go_type(value)))
}

fn length(value: &Value) -> Answer {
    let length = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        Value::Null => 0,
        _ => return Err(format!("len of type {}", print::go_type(value))),
    };
    Ok(length.into())
}

/// One step of `index`. A missing key of an object of strings gives the empty string, as with Go's `map[string]string`
/// (labels); of any other object it gives nil.
fn index(value: &Value, key: &Value) -> Answer {
    match value {
        Value::Array(items) => {
            let at = number(key)?;
            let item = usize::try_from(at).ok().and_then(|at| items.get(at));
            item.cloned().ok_or_else(|| format!("index out of range: {at} of {}", items.len()))
        }
        Value::String(text) => {
            let at = number(key)?;
            let byte = usize::try_from(at).ok().and_then(|at| text.as_bytes().get(at));
            byte.map(|b| (*b).into()).ok_or_else(|| format!("index out of range: {at} of {}", text.len()))
        }
        Value::Object(map) => {
            let key = text(key)?;
            let strings = map.values().all(Value::is_string);
            Ok(map.get(key).cloned().unwrap_or(if strings { "".into() } else { Value::Null }))
        }
        Value::Null if key.is_string() => Ok("".into()),
        _ => Err(format!("cannot index {}", print::go_type(value))),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Answer {
    let length = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        _ => return Err(format!("cannot slice {}", print::go_type(value))),
    };
    let bound = |at: usize, default: usize| match bounds.get(at) {
        None => Ok(default),
        Some(value) => {
            let found = usize::try_from(number(value)?).ok().filter(|n| *n <= length);
            found.ok_or_else(|| format!("slice: index out of range: {} of {length}", print::plain(value)))
        }
    };
    let (from, to) = (bound(0, 0)?, bound(1, length)?);
    if from > to {
        return Err(format!("slice: {from} is greater than {to}"));
    }
    match value {
        Value::String(text) => {
            text.get(from..to).map(Into::into).ok_or_else(|| "slice: inside a character".to_owned())
        }
        Value::Array(items) => Ok(items[from..to].to_vec().into()),
        _ => Ok(Value::Null),
    }
}

/// Go's `Sprint`: a blank between two operands when neither is a string.
fn print_all(values: &[Value]) -> String {
    let mut out = String::new();
    for (at, value) in values.iter().enumerate() {
        if at > 0 && !value.is_string() && !values[at - 1].is_string() {
            out.push(' ');
        }
        out.push_str(&print::plain(value));
    }
    out
}

fn equal(left: &Value, right: &Value) -> Result<bool, String> {
    match (left, right) {
        (Value::Number(_), Value::Number(_)) => Ok(order(left, right)?.is_eq()),
        (Value::Null, _) | (_, Value::Null) => Ok(left == right),
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => {
            Err("lists and objects cannot be compared".into())
        }
        (Value::String(_), Value::String(_)) | (Value::Bool(_), Value::Bool(_)) => Ok(left == right),
        _ => Err(incompatible(left, right)),
    }
}

fn order(left: &Value, right: &Value) -> Result<Ordering, String> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Ok(left.cmp(right)),
        (Value::Number(a), Value::Number(b)) => {
            let exact = a.as_i64().zip(b.as_i64()).map(|(a, b)| a.cmp(&b));
            let float = || a.as_f64().zip(b.as_f64()).and_then(|(a, b)| a.partial_cmp(&b));
            exact.or_else(float).ok_or_else(|| incompatible(left, right))
        }
        _ => Err(incompatible(left, right)),
    }
}

fn incompatible(left: &Value, right: &Value) -> String {
    format!("incompatible types for comparison: {} and {}", print::go_type(left), print::go_type(right))
}

fn join(list: &Value, separator: &str) -> Answer {
    match list {
        Value::Array(items) => Ok(items.iter().map(print::plain).collect::<Vec<_>>().join(separator).into()),
        Value::Null => Ok("".into()),
        _ => Err(format!("join: expected a list, found {}", print::go_type(list))),
    }
}

fn split(whole: &str, separator: &str) -> Value {
    if separator.is_empty() {
        return whole.chars().map(|c| c.to_string()).collect();
    }
    whole.split(separator).collect()
}

fn title(text: &str) -> String {
    let mut before = ' ';
    text.chars()
        .flat_map(|c| {
            let first = !before.is_alphanumeric() && before != '_' && before != '\'';
            before = c;
            if first { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] }
        })
        .collect()
}

fn pad(text: &str, before: i64, after: i64) -> Answer {
    if text.is_empty() {
        return Ok(text.into());
    }
    let blanks = |n: i64| " ".repeat(usize::try_from(n).unwrap_or(0).min(PAD_MAX));
    Ok(format!("{}{text}{}", blanks(before), blanks(after)).into())
}

fn escape_html(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn escape_query(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            b' ' => "+".into(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
