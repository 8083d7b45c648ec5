//! `--filter key=value`: values of one key are alternatives, different keys must all hold (labels: every one must).

use std::collections::BTreeMap;

use crate::failure::Failure;

/// Parsed filters, keys checked.
#[derive(Debug, Default)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Parses the values of `--filter`; `known` are the keys that the list understands.
    ///
    /// # Errors
    /// For a text without `=` or an unknown key.
    pub fn parse(texts: &[String], known: &[&str]) -> Result<Filters, Failure> {
        let mut filters = Filters::default();
        for text in texts.iter().filter(|text| !text.is_empty()) {
            let (key, value) = text
                .split_once('=')
                .ok_or_else(|| Failure::usage(format!("--filter {text}: expected key=value")))?;
            let key = key.trim().to_ascii_lowercase();
            if !known.contains(&key.as_str()) {
                let hint = format!("there are {}", known.join(", "));
                return Err(Failure::usage(format!("--filter {text}: unknown filter {key:?}")).hint(hint));
            }
            filters.0.entry(key).or_default().push(value.trim().to_owned());
        }
        Ok(filters)
    }

    /// The values of a key.
    pub fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether a key was given.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// True when the key was not given, or one of its values passes.
    pub fn any(&self, key: &str, passes: impl FnMut(&String) -> bool) -> bool {
        !self.has(key) || self.values(key).iter().any(passes)
    }

    /// A key that is true or false, given at most once.
    ///
    /// # Errors
    /// When the value is neither.
    pub fn truth(&self, key: &str) -> Result<Option<bool>, Failure> {
        match self.values(key).last() {
            None => Ok(None),
            Some(value) => match crate::parse::parse_bool(value) {
                Ok(truth) => Ok(Some(truth)),
                Err(reason) => Err(Failure::usage(format!("--filter {key}={value}: {reason}"))),
            },
        }
    }

    /// Whether every `label=key[=value]` (and `label!=…`) holds.
    pub fn labels_match(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        };
        self.values("label").iter().all(has) && !self.values("label!").iter().any(has)
    }
}

/// Shell patterns as Go's `path.Match`: `*` and `?` stop at a slash, `[a-z]`, `[^a]`, `\` quotes.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut pattern_chars = pattern.chars();
    let Some(first) = pattern_chars.next() else { return text.is_empty() };
    let rest = pattern_chars.as_str();
    if first == '*' {
        let stops = text.char_indices().take_while(|(_, c)| *c != '/').map(|(at, c)| at + c.len_utf8());
        let tails = std::iter::once(0).chain(stops);
        // Of several stars in a row one is as good.
        let rest = rest.trim_start_matches('*');
        return tails.into_iter().any(|at| glob(rest, &text[at..]));
    }
    let mut text_chars = text.chars();
    let Some(c) = text_chars.next() else { return false };
    let after = text_chars.as_str();
    match first {
        '?' => c != '/' && glob(rest, after),
        '\\' => rest.strip_prefix(c).is_some_and(|rest| glob(rest, after)),
        '[' => match rest.split_once(']') {
            Some((set, rest)) => c != '/' && in_set(set, c) && glob(rest, after),
            None => false,
        },
        literal => literal == c && glob(rest, after),
    }
}

fn in_set(set: &str, c: char) -> bool {
    let (negated, set) = set.strip_prefix('^').map_or((false, set), |set| (true, set));
    let chars: Vec<char> = set.chars().collect();
    let mut found = false;
    let mut at = 0;
    while at < chars.len() {
        if at + 2 < chars.len() && chars[at + 1] == '-' {
            found |= (chars[at]..=chars[at + 2]).contains(&c);
            at += 3;
        } else {
            found |= chars[at] == c;
            at += 1;
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_matches() {
        let texts = ["name=a", "name=b", "label=x", "label=y=1", "dangling=true"].map(str::to_owned);
        let filters = Filters::parse(&texts, &["name", "label", "dangling"]).expect("valid");
        assert!(filters.any("name", |name| name == "b") && !filters.any("name", |name| name == "c"));
        assert!(filters.any("other", |_| false));
        assert_eq!(filters.truth("dangling").expect("a truth"), Some(true));
        let labels =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert!(filters.labels_match(&labels(&[("x", "9"), ("y", "1")])));
        assert!(!filters.labels_match(&labels(&[("x", "9"), ("y", "2")])));
        let error = Filters::parse(&["colour=red".to_owned()], &["name"]).expect_err("unknown");
        assert!(error.message.contains("unknown filter \"colour\""));
        assert!(Filters::parse(&["name".to_owned()], &["name"]).is_err());
    }

    #[test]
    fn globs_as_go() {
        let cases = [
            ("busy*", "busybox", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("b?sy", "busy", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("", "", true),
            ("a", "", false),
            ("***a", "xxa", true),
            ("[", "a", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
