//! `--log-driver` and `--log-opt`.

use std::path::PathBuf;

use cais_engine::{LogDriver, LogOptions, unknown_tag_word};

use crate::failure::Failure;
use crate::size::parse_bytes;

/// docker's and podman's names; `local` is a format of docker's own that only docker reads.
pub(super) fn driver(text: Option<&str>) -> Result<LogDriver, Failure> {
    match text {
        None | Some("" | "json-file") => Ok(LogDriver::JsonFile),
        Some("k8s-file" | "local") => Ok(LogDriver::K8sFile),
        Some("journald") => Ok(LogDriver::Journald),
        Some("none") => Ok(LogDriver::None),
        Some(other) => Err(Failure::usage(format!(
            "--log-driver {other}: there are json-file, k8s-file, local, journald and none"
        ))),
    }
}

/// docker's and podman's options; what would change something that is not there is refused.
pub(super) fn options(driver: LogDriver, texts: &[String]) -> Result<LogOptions, Failure> {
    let mut options = LogOptions::default();
    for text in texts {
        let refuse = |reason: &str| Failure::usage(format!("--log-opt {text}: {reason}"));
        let (key, value) = text.split_once('=').ok_or_else(|| refuse("expected name=value"))?;
        option(driver, &mut options, key, value).map_err(|reason| refuse(&reason))?;
        options.given.insert(key.to_owned(), value.to_owned());
    }
    if options.compress && (options.max_bytes == Some(-1) || options.max_files == Some(1)) {
        return Err(Failure::usage(
            "--log-opt compress=true: without further files there is nothing to compress",
        ));
    }
    Ok(options)
}

/// One option; or why it is refused.
fn option(driver: LogDriver, options: &mut LogOptions, key: &str, value: &str) -> Result<(), String> {
    let words = || value.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    match key {
        "max-size" | "max-file" | "compress" | "path" if !driver.is_file() => {
            return Err("is an option of files only".to_owned());
        }
        "labels" | "env" | "tag" if !matches!(driver, LogDriver::JsonFile | LogDriver::Journald) => {
            return Err("is an option of json-file and journald only".to_owned());
        }
        "max-size" if value == "-1" => options.max_bytes = Some(-1),
        "max-size" => {
            let bytes = i64::try_from(parse_bytes(value)?).ok().filter(|bytes| *bytes > 0);
            options.max_bytes = Some(bytes.ok_or("is no size")?);
        }
        "max-file" => {
            let files = value.parse().ok().filter(|files| (1..=1000).contains(files));
            options.max_files = Some(files.ok_or("is no number from 1 to 1000")?);
        }
        "compress" => options.compress = value.parse().map_err(|_| "expected true or false")?,
        "path" => {
            let path = PathBuf::from(value);
            let is_file = path.is_absolute() && path.file_name().is_some() && !value.ends_with('/');
            options.path = Some(is_file.then_some(path).ok_or("expected the absolute path of a file")?);
        }
        "labels" => options.labels = words(),
        "env" => options.env = words(),
        "tag" => {
            if let Some(word) = unknown_tag_word(value) {
                return Err(format!(
                    "{word} stands for nothing; there are {{{{.Name}}}}, {{{{.ID}}}}, {{{{.ImageName}}}} and docker's others"
                ));
            }
            options.tag = Some(value.to_owned());
        }
        "labels-regex" | "env-regex" => return Err("patterns are not supported: list the names".to_owned()),
        "mode" if value == "blocking" => {}
        "mode" => return Err("output is never dropped: the mode is always blocking".to_owned()),
        _ => return Err("there are max-size, max-file, compress, path, labels, env and tag".to_owned()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_files() {
        let of = |driver, texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
            options(driver, &texts)
                .map(|options| (options.max_bytes, options.max_files))
                .map_err(|failure| failure.message)
        };
        assert_eq!(
            of(LogDriver::JsonFile, &["max-size=10m", "max-file=3"]).unwrap(),
            (Some(10 << 20), Some(3))
        );
        assert_eq!(
            of(LogDriver::JsonFile, &["max-size=-1", "compress=false", "mode=blocking"]).unwrap(),
            (Some(-1), None)
        );
        for bad in [
            "max-size",
            "max-size=0",
            "max-size=x",
            "max-file=0",
            "compress=maybe",
            "mode=non-blocking",
            "path=x",
            "path=/",
            "tag={{.Nmae}}",
            "labels-regex=x",
            "nonsense=1",
        ] {
            assert!(of(LogDriver::JsonFile, &[bad]).is_err(), "{bad}");
        }
        assert!(of(LogDriver::JsonFile, &["compress=true", "max-file=1"]).is_err());
        assert!(of(LogDriver::None, &["max-size=1m"]).is_err());
        assert!(of(LogDriver::K8sFile, &["labels=a"]).is_err());
        assert!(of(LogDriver::Journald, &["path=/x"]).is_err());
        let texts =
            ["compress=true", "path=/x/y.log", "labels=a,b", "env=C", "tag={{.Name}}"].map(str::to_owned);
        let all = options(LogDriver::JsonFile, &texts).unwrap();
        assert!(all.compress && all.path == Some("/x/y.log".into()) && all.labels == ["a", "b"]);
        assert_eq!(
            (all.env, all.tag.as_deref(), all.given.len()),
            (vec!["C".to_owned()], Some("{{.Name}}"), 5)
        );
    }

    #[test]
    fn drivers() {
        assert_eq!(driver(None).unwrap(), LogDriver::JsonFile);
        assert_eq!(driver(Some("json-file")).unwrap(), LogDriver::JsonFile);
        assert_eq!(driver(Some("k8s-file")).unwrap(), LogDriver::K8sFile);
        assert_eq!(driver(Some("journald")).unwrap(), LogDriver::Journald);
        assert!(driver(Some("syslog")).is_err());
    }
}
