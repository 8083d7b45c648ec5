//! Patterns of paths, by the rules of Go's `path.Match`: `*`, `?` and `[a-z]` stand for anything but a slash, a backslash
//! takes the meaning from what follows it.

/// Whether the whole `path` is what `pattern` describes; a malformed pattern describes nothing.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<char>, Vec<char>) = (pattern.chars().collect(), path.chars().collect());
    matches_from(&pattern, &path)
}

fn matches_from(pattern: &[char], path: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return path.is_empty() };
    let next = path.split_first().filter(|(next, _)| **next != '/');
    match first {
        '*' => {
            let reach = path.iter().position(|c| *c == '/').unwrap_or(path.len());
            (0..=reach).any(|skipped| matches_from(rest, &path[skipped..]))
        }
        '?' => next.is_some_and(|(_, left)| matches_from(rest, left)),
        '[' => match (next, rest.iter().skip(1).position(|c| *c == ']')) {
            (Some((next, left)), Some(end)) => {
                let (class, rest) = (&rest[..=end], &rest[end + 2..]);
                in_class(class, *next) && matches_from(rest, left)
            }
            _ => false,
        },
        '\\' => match (rest.split_first(), path.split_first()) {
            (Some((literal, rest)), Some((next, left))) => literal == next && matches_from(rest, left),
            _ => false,
        },
        literal => path.split_first().is_some_and(|(next, left)| next == literal && matches_from(rest, left)),
    }
}

/// What stands between the brackets.
fn in_class(class: &[char], wanted: char) -> bool {
    let (negated, mut class) = match class {
        ['^', rest @ ..] => (true, rest),
        class => (false, class),
    };
    let mut found = false;
    loop {
        class = match class {
            [low, '-', high, rest @ ..] => {
                found |= (*low..=*high).contains(&wanted);
                rest
            }
            [one, rest @ ..] => {
                found |= *one == wanted;
                rest
            }
            [] => return found != negated,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, path) in [
            ("/proc/kcore", "/proc/kcore"),
            ("/proc/*", "/proc/kcore"),
            ("/proc/k*e", "/proc/kcore"),
            ("/proc/?core", "/proc/kcore"),
            ("/proc/[a-k]core", "/proc/kcore"),
            ("/proc/[^x]core", "/proc/kcore"),
            ("/proc/\\*", "/proc/*"),
            ("/*/*", "/sys/firmware"),
            ("", ""),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/proc/*", "/proc/a/b"),
            ("/proc", "/proc/kcore"),
            ("/proc/?", "/proc/"),
            ("/proc?kcore", "/proc/kcore"),
            ("/proc/[l-z]core", "/proc/kcore"),
            ("/proc/[k", "/proc/k"),
            ("/proc/\\", "/proc/"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }
}
