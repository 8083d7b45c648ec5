//! Licences of all dependencies against the list in deny.toml, so that no tool but cargo is needed.
//!
//! Implements SPDX licence expressions (SPDX 2.3, annex D): `OR`, `AND`, `WITH`, parentheses, and the old slash.

use serde_json::Value;

use super::Finding;

/// Checks the output of `cargo metadata` against the text of deny.toml.
pub(super) fn check(metadata: &Value, deny: &str) -> Vec<Finding> {
    let allowed = allowed(deny);
    let mut findings = Vec::new();
    if allowed.is_empty() {
        findings
            .push(Finding::new("deny.toml", "allows no licence: is the list still where tidy looks for it?"));
    }
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let place = || format!("{} {}", text(&package["name"]), text(&package["version"]));
        if package["source"].is_null() {
            continue;
        }
        match package["license"].as_str() {
            None => findings.push(Finding::new(place(), "names no licence")),
            Some(expression) if !is_allowed(expression, &allowed) => {
                findings.push(Finding::new(
                    place(),
                    format!("the licence `{expression}` is not allowed by deny.toml"),
                ));
            }
            Some(_) => {}
        }
    }
    findings
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// The strings of `allow = […]` in the section `[licenses]`.
fn allowed(deny: &str) -> Vec<String> {
    let section = deny.split("[licenses]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let list = section.split("allow = [").nth(1).unwrap_or_default();
    let list = list.split(']').next().unwrap_or_default();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = expression.split_whitespace().collect();
    let mut parser = Parser { words: &words, at: 0, allowed };
    parser.or() == Some(true) && parser.at == words.len()
}

struct Parser<'a> {
    words: &'a [&'a str],
    at: usize,
    allowed: &'a [String],
}

impl Parser<'_> {
    fn takes(&mut self, word: &str) -> bool {
        let found = self.words.get(self.at).is_some_and(|next| next.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    /// Whether it is allowed; `None` when it is no expression.
    fn or(&mut self) -> Option<bool> {
        let mut ok = self.and()?;
        while self.takes("OR") {
            ok |= self.and()?;
        }
        Some(ok)
    }

    fn and(&mut self) -> Option<bool> {
        let mut ok = self.one()?;
        while self.takes("AND") {
            ok &= self.one()?;
        }
        Some(ok)
    }

    fn one(&mut self) -> Option<bool> {
        if self.takes("(") {
            let ok = self.or()?;
            return self.takes(")").then_some(ok);
        }
        let mut name = (*self.words.get(self.at)?).to_owned();
        self.at += 1;
        if self.takes("WITH") {
            name = format!("{name} WITH {}", self.words.get(self.at)?);
            self.at += 1;
        }
        Some(self.allowed.contains(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DENY: &str = "[graph]\nallow = [\"GPL-3.0\"]\n[licenses]\nallow = [\n  \"MIT\",\n  \"Apache-2.0 WITH LLVM-exception\",\n  \"ISC\",\n]\n[bans]\ndeny = [\"x\"]\n";

    #[test]
    fn expressions_are_evaluated() {
        let allowed = allowed(DENY);
        assert_eq!(allowed, ["MIT", "Apache-2.0 WITH LLVM-exception", "ISC"]);
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "MIT AND ISC",
            "(GPL-3.0 OR MIT) AND ISC",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "Apache-2.0",
            "",
            "MIT OR",
            "(MIT",
            "ISC AND (GPL-3.0 OR LGPL-3.0)",
        ] {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn foreign_packages_are_checked_and_own_ones_not() {
        let metadata = json!({"packages": [
            {"name": "own", "version": "1", "source": null, "license": "Secret"},
            {"name": "good", "version": "1", "source": "registry", "license": "MIT"},
            {"name": "bad", "version": "2", "source": "registry", "license": "AGPL-3.0"},
            {"name": "none", "version": "3", "source": "registry", "license": null},
        ]});
        let places: Vec<String> = check(&metadata, DENY).into_iter().map(|finding| finding.place).collect();
        assert_eq!(places, ["bad 2", "none 3"]);
        assert_eq!(check(&json!({"packages": []}), "").len(), 1, "an unreadable list is a finding");
    }
}
