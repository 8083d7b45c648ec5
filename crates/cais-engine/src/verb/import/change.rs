//! `--change`: one Dockerfile instruction applied to an image's config.

use cais_oci::{Healthcheck, Present, ProcessConfig};

use crate::{Error, ErrorKind, Result};

const KNOWN: &str = "CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR";

/// Applies one instruction; the config is unchanged when it is malformed.
pub(in crate::verb) fn apply(config: &mut ProcessConfig, line: &str) -> Result<()> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let bad = |reason: &str| Error::new(ErrorKind::Invalid, format!("change {line:?}: {reason}"));
    let instruction = word.to_ascii_uppercase();
    if rest.is_empty() && instruction != "CMD" && instruction != "ENTRYPOINT" {
        return Err(bad("needs an argument"));
    }
    match instruction.as_str() {
        "CMD" => config.cmd = Some(command(rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(rest)),
        "ENV" => {
            for (key, value) in pairs(rest).ok_or_else(|| bad("expected KEY=VALUE"))? {
                let prefix = format!("{key}=");
                config.env.retain(|entry| !entry.starts_with(&prefix));
                config.env.push(format!("{prefix}{value}"));
            }
        }
        "LABEL" => config.labels.extend(pairs(rest).ok_or_else(|| bad("expected KEY=VALUE"))?),
        "EXPOSE" => {
            for word in words(rest) {
                for port in ports(&word).ok_or_else(|| bad("expected PORT[-PORT][/tcp|udp|sctp]"))? {
                    config.exposed_ports.insert(port, Present);
                }
            }
        }
        "VOLUME" => {
            let paths = json_list(rest).unwrap_or_else(|| words(rest));
            config.volumes.extend(paths.into_iter().map(|path| (path, Present)));
        }
        "USER" => config.user = single(rest).ok_or_else(|| bad("expected one USER[:GROUP]"))?,
        "WORKDIR" => {
            let path = single(rest).ok_or_else(|| bad("expected one path"))?;
            config.working_dir = if path.starts_with('/') {
                path
            } else {
                format!("{}/{path}", config.working_dir.trim_end_matches('/'))
            };
        }
        "STOPSIGNAL" => config.stop_signal = Some(single(rest).ok_or_else(|| bad("expected one signal"))?),
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(rest).map_err(|reason| bad(&reason))?),
        "" => return Err(bad("is empty")),
        _ => return Err(bad(&format!("{instruction} is not possible here (known: {KNOWN})"))),
    }
    Ok(())
}

/// The exec form `["a", "b"]`, or the shell form.
fn command(text: &str) -> Vec<String> {
    match json_list(text) {
        Some(list) => list,
        None if text.is_empty() => Vec::new(),
        None => vec!["/bin/sh".into(), "-c".into(), text.into()],
    }
}

fn json_list(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

fn single(text: &str) -> Option<String> {
    let mut words = words(text).into_iter();
    words.next().filter(|word| !word.is_empty() && words.next().is_none())
}

/// `KEY=VALUE …`, or the old form `KEY VALUE` with the rest of the line as value.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let words = words(text);
    if !words.first()?.contains('=') {
        let (key, value) = text.split_once(char::is_whitespace)?;
        return Some(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    words
        .into_iter()
        .map(|word| {
            let (key, value) = word.split_once('=')?;
            (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
        })
        .collect()
}

/// Words as a Dockerfile splits them: at white space, with single and double quotes and backslashes.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// `80`, `80/udp`, `8000-8010/tcp` as the keys of `ExposedPorts`.
fn ports(text: &str) -> Option<Vec<String>> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    let valid = first > 0 && first <= last && matches!(protocol.as_str(), "tcp" | "udp" | "sctp");
    valid.then(|| (first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// `NONE`, or `[--interval=…] … CMD command`.
fn healthcheck(text: &str) -> std::result::Result<Healthcheck, String> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).ok_or("expected CMD or NONE")?;
        rest = after.trim_start();
        let (key, value) =
            option.split_once('=').ok_or_else(|| format!("option --{option} needs a value"))?;
        let duration = || duration_ns(value).ok_or_else(|| format!("--{key}: {value:?} is no duration"));
        match key {
            "interval" => check.interval = duration()?,
            "timeout" => check.timeout = duration()?,
            "start-period" => check.start_period = duration()?,
            "start-interval" => check.start_interval = duration()?,
            "retries" => {
                check.retries = value.parse().map_err(|_| format!("--retries: {value:?} is no number"))?
            }
            _ => return Err(format!("unknown option --{key}")),
        }
    }
    let (word, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    check.test = match (word.to_ascii_uppercase().as_str(), command.trim()) {
        ("NONE", "") => vec!["NONE".into()],
        ("CMD", command) if !command.is_empty() => match json_list(command) {
            Some(list) => [vec!["CMD".to_owned()], list].concat(),
            None => vec!["CMD-SHELL".into(), command.into()],
        },
        _ => return Err("expected CMD command, or NONE".into()),
    };
    Ok(check)
}

/// Go's durations: `1m30s`, `500ms`, `1.5h`.
fn duration_ns(text: &str) -> Option<i64> {
    let mut total = 0.0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit_end =
            rest[end..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |at| end + at);
        let unit_ns = match &rest[end..unit_end] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * unit_ns;
        rest = &rest[unit_end..];
    }
    Some(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(lines: &[&str]) -> ProcessConfig {
        let mut config = ProcessConfig::default();
        for line in lines {
            apply(&mut config, line).unwrap();
        }
        config
    }

    fn list(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn instructions() {
        let config = changed(&[
            r#"CMD ["a", "b c"]"#,
            "entrypoint echo $X",
            r#"ENV A=1 B="two words" C=x\ y"#,
            "ENV A 2 and more",
            "EXPOSE 80 53/UDP 9000-9001/tcp",
            "USER app:app",
            r#"VOLUME ["/a", "/b c"]"#,
            "VOLUME /d /e",
            "WORKDIR /srv",
            "WORKDIR data",
            r#"LABEL k=v "with space"='single quoted'"#,
            "STOPSIGNAL SIGINT",
            "HEALTHCHECK --interval=1m30s --timeout=500ms --retries=3 CMD curl -f http://x",
        ]);
        assert_eq!(config.cmd, Some(list(&["a", "b c"])));
        assert_eq!(config.entrypoint, Some(list(&["/bin/sh", "-c", "echo $X"])));
        assert_eq!(config.env, list(&["B=two words", "C=x y", "A=2 and more"]));
        let ports: Vec<&str> = config.exposed_ports.keys().map(String::as_str).collect();
        assert_eq!(ports, ["53/udp", "80/tcp", "9000/tcp", "9001/tcp"]);
        assert_eq!(config.user, "app:app");
        let volumes: Vec<&str> = config.volumes.keys().map(String::as_str).collect();
        assert_eq!(volumes, ["/a", "/b c", "/d", "/e"]);
        assert_eq!(config.working_dir, "/srv/data");
        assert_eq!(config.labels["with space"], "single quoted");
        assert_eq!(config.stop_signal.as_deref(), Some("SIGINT"));
        let check = config.healthcheck.unwrap();
        assert_eq!((check.interval, check.timeout, check.retries), (90_000_000_000, 500_000_000, 3));
        assert_eq!(check.test, list(&["CMD-SHELL", "curl -f http://x"]));
        assert_eq!(changed(&["HEALTHCHECK NONE"]).healthcheck.unwrap().test, list(&["NONE"]));
        assert_eq!(changed(&["CMD"]).cmd, Some(Vec::new()));
    }

    #[test]
    fn what_cannot_be_changed_is_refused() {
        for line in [
            "",
            "RUN make",
            "COPY a b",
            "FROM x",
            "ONBUILD RUN x",
            "ENV",
            "ENV A",
            "EXPOSE 0",
            "EXPOSE 70000",
            "EXPOSE x",
            "EXPOSE 80/icmp",
            "USER",
            "USER a b",
            "LABEL =x",
            "HEALTHCHECK CMD",
            "HEALTHCHECK --interval=x CMD y",
            "HEALTHCHECK --foo=1 CMD y",
            "STOPSIGNAL",
        ] {
            let error = apply(&mut ProcessConfig::default(), line).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid);
            assert!(error.message.starts_with("change "), "{error}");
        }
    }
}
