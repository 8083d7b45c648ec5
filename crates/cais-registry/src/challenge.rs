//! `WWW-Authenticate`: what a registry wants to see before it answers (RFC 9110, section 11.6.1).

/// What the registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token from a token service (distribution's token specification).
    Bearer {
        /// Address of the service.
        realm: String,
        /// The registry's name for itself.
        service: Option<String>,
        /// What the token must allow.
        scope: Option<String>,
    },
}

/// The challenges in the header's values that we can answer; Bearer comes first.
pub(crate) fn parse<'a>(values: impl Iterator<Item = &'a str>) -> Vec<Challenge> {
    let mut found: Vec<Challenge> =
        values.flat_map(split).filter_map(|(scheme, parameters)| read(&scheme, parameters)).collect();
    found.sort_by_key(|challenge| *challenge == Challenge::Basic);
    found
}

type Parameters = Vec<(String, String)>;

fn read(scheme: &str, parameters: Parameters) -> Option<Challenge> {
    let value = |name: &str| {
        let of_name = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        parameters.iter().find(of_name).map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    };
    match scheme.to_ascii_lowercase().as_str() {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer {
            realm: value("realm")?,
            service: value("service"),
            scope: value("scope"),
        }),
        _ => None,
    }
}

/// Splits `Scheme key="value", key=value, Scheme …`; what does not fit is skipped.
fn split(text: &str) -> Vec<(String, Parameters)> {
    let mut challenges: Vec<(String, Parameters)> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return challenges;
        }
        let end = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        if end == 0 {
            // Garbage: skip one character and look again.
            rest = &rest[rest.chars().next().map_or(1, char::len_utf8)..];
            continue;
        }
        let (word, after) = rest.split_at(end);
        let after_space = after.trim_start_matches([' ', '\t']);
        match after_space.strip_prefix('=') {
            Some(value) => {
                let (value, after_value) = read_value(value.trim_start_matches([' ', '\t']));
                if let Some((_, parameters)) = challenges.last_mut() {
                    parameters.push((word.to_owned(), value));
                }
                rest = after_value;
            }
            None => {
                challenges.push((word.to_owned(), Vec::new()));
                rest = after;
            }
        }
    }
}

/// A quoted string with backslash escapes, or a bare word up to the next comma or blank.
fn read_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.into(),
            service: service.map(Into::into),
            scope: scope.map(Into::into),
        }
    }

    #[test]
    fn usual_headers() {
        let parse = |text: &str| parse([text].into_iter());
        assert_eq!(
            parse(
                r#"Bearer realm="https://auth.test/token",service="registry.test",scope="repository:a/b:pull,push""#
            ),
            [bearer("https://auth.test/token", Some("registry.test"), Some("repository:a/b:pull,push"))]
        );
        assert_eq!(parse(r#"Basic realm="x, Bearer realm=y""#), [Challenge::Basic]);
        assert_eq!(parse(r#"basic"#), [Challenge::Basic]);
        assert_eq!(
            parse(r#"Basic realm="a", BEARER Realm = "r\"q" , error=x"#),
            [bearer("r\"q", None, None), Challenge::Basic]
        );
        assert_eq!(parse("Bearer service=x"), [], "no realm");
        assert_eq!(parse("Negotiate abc=="), []);
        assert_eq!(parse(""), []);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text: String) {
            parse([text.as_str()].into_iter());
        }
    }
}
