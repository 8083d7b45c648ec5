//! Rules for one Rust file: length, module page, homes of unsafe code, silence of libraries.

use super::Finding;

/// Lines a file may have without its tests.
const LENGTH_LIMIT: usize = 500;

/// Longer files, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Where unsafe code may be.
const UNSAFE_HOMES: &[&str] = &[
    "crates/cais-sys/src/",
    "crates/cais-shim/src/",
    "crates/cais-hello/src/sys.rs",
    "crates/cais-hello/src/start.rs",
    "crates/cais-test/floor/start.rs",
];

/// Libraries of the product neither print nor read the environment nor end the process.
const LOUD: &[&str] = &[
    "println!(",
    "print!(",
    "eprintln!(",
    "eprint!(",
    "env::var(",
    "env::var_os(",
    "env::vars(",
    "process::exit(",
];

/// Crates that may: the binary and what never ships.
const LOUD_HOMES: &[&str] = &["crates/cais/", "crates/cais-test/", "xtask/"];

/// Checks one Rust file.
pub(super) fn check(path: &str, content: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !content.starts_with("//!") {
        findings.push(Finding::at(path, 1, "the first line is not the module page (`//!`)"));
    }
    let code = blank(content);
    let product = without_tests(&code);
    let is_test = path.contains("/tests/") || path.ends_with("/tests.rs") || path.contains("/examples/");
    let length = product.lines().count();
    if length > LENGTH_LIMIT && !is_test && !LONG_FILES.iter().any(|(long, _)| *long == path) {
        findings.push(Finding::new(
            path,
            format!("{length} lines without tests, at most {LENGTH_LIMIT} are allowed"),
        ));
    }
    findings.extend(unsafe_code(path, content, &code));
    let is_build_script = path.ends_with("/build.rs");
    if !is_test && !is_build_script && !LOUD_HOMES.iter().any(|home| path.starts_with(home)) {
        findings.extend(loud(path, &product));
    }
    findings
}

fn unsafe_code(path: &str, content: &str, code: &str) -> Vec<Finding> {
    let allowed = UNSAFE_HOMES.iter().any(|home| path.starts_with(home));
    let lines: Vec<&str> = content.lines().collect();
    let mut findings = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let Some(kind) = unsafe_kind(line) else { continue };
        if !allowed {
            findings.push(Finding::at(
                path,
                index + 1,
                "unsafe code outside its homes (cais-sys, cais-shim)",
            ));
        }
        // What a private unsafe function may do is said at the blocks inside; a public one tells its callers.
        if kind == "fn" && !line.trim_start().starts_with("pub ") {
            continue;
        }
        // A statement may begin some lines above its block, the page of a function is longer.
        let (reach, wanted) = if kind == "fn" { (25, "# Safety") } else { (8, "SAFETY:") };
        let above = &lines[index.saturating_sub(reach)..=index];
        if !above.iter().any(|line| line.contains(wanted) || line.contains("SAFETY:")) {
            findings.push(Finding::at(
                path,
                index + 1,
                format!("unsafe without a `{wanted}` sentence above it"),
            ));
        }
    }
    findings
}

/// What follows the word `unsafe`, when it opens something that needs a reason.
fn unsafe_kind(line: &str) -> Option<&'static str> {
    let at = line.match_indices("unsafe").find(|(at, word)| {
        let before = line[..*at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !part(before) && !part(after)
    })?;
    // The ABI's name is blanked as every literal.
    let rest = line[at.0 + "unsafe".len()..].split_whitespace().collect::<Vec<_>>().join(" ");
    let is_pointer = rest.starts_with("extern fn(") || rest.starts_with("fn(");
    let is_attribute = rest.starts_with('(');
    match rest.as_str() {
        _ if is_pointer || is_attribute => None,
        _ if rest.starts_with("fn") || rest.starts_with("extern") => {
            // A block of foreign declarations needs its reason at each call, not here.
            rest.contains("fn").then_some("fn")
        }
        _ => Some("block"),
    }
}

fn loud(path: &str, code: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(code.lines()) {
        for word in LOUD {
            let found = line
                .match_indices(word)
                .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
            if found {
                findings.push(Finding::at(
                    path,
                    number,
                    format!("`{word}` in a library: the binary does that"),
                ));
            }
        }
    }
    findings
}

/// The text with its test modules blanked: from `#[cfg(test)]` over `mod` to the brace in the same column.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut lines = code.lines().peekable();
    while let Some(line) = lines.next() {
        let opens = line.trim() == "#[cfg(test)]"
            && lines.peek().is_some_and(|next| next.trim_start().starts_with("mod "));
        if opens {
            let indent = line.len() - line.trim_start().len();
            let end = format!("{}}}", " ".repeat(indent));
            if !lines.peek().is_some_and(|next| next.trim_end().ends_with(';')) {
                for inner in lines.by_ref() {
                    if inner == end {
                        break;
                    }
                }
            }
            continue;
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// The text with comments and literals blanked, every line kept.
fn blank(content: &str) -> String {
    let chars: Vec<char> = content.chars().collect();
    let mut out = String::with_capacity(content.len());
    let mut at = 0;
    while at < chars.len() {
        let next = chars.get(at + 1).copied();
        let end = match chars[at] {
            '/' if next == Some('/') => position(&chars, at, |rest| rest[0] == '\n'),
            '/' if next == Some('*') => position(&chars, at + 2, |rest| rest.starts_with(&['*', '/'])) + 2,
            '"' => string_end(&chars, at),
            'r' if matches!(next, Some('"' | '#')) && !is_word(chars.get(at.wrapping_sub(1))) => {
                raw_end(&chars, at)
            }
            '\'' => char_end(&chars, at),
            _ => at,
        };
        if end <= at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        let end = end.min(chars.len());
        out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

fn is_word(c: Option<&char>) -> bool {
    c.is_some_and(|c| c.is_alphanumeric() || *c == '_')
}

fn position(chars: &[char], from: usize, found: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|&at| found(&chars[at..])).unwrap_or(chars.len())
}

fn string_end(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The end of `r"…"` or `r#"…"#`; `start` when it is a raw identifier.
fn raw_end(chars: &[char], start: usize) -> usize {
    let hashes = chars[start + 1..].iter().take_while(|&&c| c == '#').count();
    if chars.get(start + 1 + hashes) != Some(&'"') {
        return start;
    }
    let mut close = vec!['"'];
    close.extend(std::iter::repeat_n('#', hashes));
    position(chars, start + 2 + hashes, |rest| rest.starts_with(&close)) + close.len()
}

/// The end of a character literal; `start` when it is a lifetime.
fn char_end(chars: &[char], start: usize) -> usize {
    match (chars.get(start + 1), chars.get(start + 2)) {
        (Some('\\'), _) => position(chars, start + 3, |rest| rest[0] == '\'') + 1,
        (Some(_), Some('\'')) => start + 3,
        _ => start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "crates/cais-sys/src/x.rs";
    const AWAY: &str = "crates/cais-net/src/x.rs";

    fn problems(path: &str, content: &str) -> Vec<String> {
        check(path, content).into_iter().map(|finding| finding.problem).collect()
    }

    #[test]
    fn the_module_page_is_the_first_line() {
        assert!(problems(AWAY, "//! Page.\n").is_empty());
        assert_eq!(problems(AWAY, "use x;\n").len(), 1);
    }

    #[test]
    fn length_counts_without_tests() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    x;\n".repeat(600));
        assert!(problems(AWAY, &format!("//! P\n{}{tests}", "x;\n".repeat(499))).is_empty());
        assert_eq!(problems(AWAY, &format!("//! P\n{}{tests}", "x;\n".repeat(500))).len(), 1);
        // What comes after the tests counts again.
        assert_eq!(problems(AWAY, &format!("//! P\n{tests}{}", "x;\n".repeat(500))).len(), 1);
        assert!(problems("crates/cais/tests/e2e/x.rs", &format!("//! P\n{}", "x;\n".repeat(900))).is_empty());
    }

    #[test]
    fn unsafe_has_its_homes_and_its_reasons() {
        let good = "//! P\n// SAFETY: it is.\nunsafe { f() }\n";
        assert!(problems(HOME, good).is_empty());
        assert_eq!(problems(AWAY, good).len(), 1);
        assert_eq!(problems(HOME, "//! P\nunsafe { f() }\n").len(), 1);
        assert_eq!(problems(HOME, "//! P\nunsafe impl Send for X {}\n").len(), 1);
        assert_eq!(problems(HOME, "//! P\npub unsafe fn f() {}\n").len(), 1);
        assert!(problems(HOME, "//! P\n/// # Safety\n/// so.\npub unsafe fn f() {}\n").is_empty());
        assert!(
            problems(AWAY, "//! P\n// unsafe { }\nlet a = \"unsafe { }\";\nallow(unsafe_code)\n").is_empty()
        );
        assert!(
            problems(HOME, "//! P\n#[unsafe(no_mangle)]\nlet p: unsafe extern \"C\" fn(i32);\n").is_empty()
        );
        assert!(problems("crates/cais-hello/src/sys.rs", good).is_empty());
        assert_eq!(problems("crates/cais-hello/src/lib.rs", good).len(), 1);
    }

    #[test]
    fn libraries_are_silent() {
        for word in LOUD {
            assert_eq!(problems(AWAY, &format!("//! P\nlet x = std::{word}1);\n")).len().min(1), 1, "{word}");
        }
        assert!(problems(AWAY, "//! P\nwriteln!(f); // println!(\nlet a = \"println!(\";\n").is_empty());
        assert!(problems(AWAY, "//! P\n#[cfg(test)]\nmod tests {\n    println!(1);\n}\n").is_empty());
        assert!(problems("crates/cais/src/x.rs", "//! P\nprintln!(1);\n").is_empty());
        assert!(problems("crates/cais-shim/build.rs", "//! P\nprintln!(1);\n").is_empty());
    }

    #[test]
    fn literals_and_comments_are_blanked_and_lines_kept() {
        let text = "a \"x\\\"y\" 'c' '\\'' b /* c\n d */ r#\"e\"f\"# 'life r#type // end\ng";
        let blanked = blank(text);
        assert_eq!(blanked.lines().count(), text.lines().count());
        let words: Vec<&str> = blanked.split_whitespace().collect();
        assert_eq!(words, ["a", "b", "'life", "r#type", "g"]);
    }
}
