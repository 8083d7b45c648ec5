//! `--log-driver` and `--log-opt`.

use cais_engine::{LogDriver, LogOptions};

use crate::failure::Failure;
use crate::size::parse_bytes;

/// Every name that means a file on this machine means ours; where others read that file themselves, they are told.
pub(super) fn driver(text: Option<&str>) -> Result<(LogDriver, Option<String>), Failure> {
    match text {
        None | Some("" | "k8s-file" | "local") => Ok((LogDriver::File, None)),
        Some("json-file") => Ok((
            LogDriver::File,
            Some("--log-driver json-file: the log is a file, but in the format of k8s-file".into()),
        )),
        Some("journald") => Ok((LogDriver::Journald, None)),
        Some("none") => Ok((LogDriver::None, None)),
        Some(other) => Err(Failure::usage(format!(
            "--log-driver {other}: there are json-file, k8s-file, local, journald and none"
        ))),
    }
}

/// docker's options of files; what would change something that is not there is refused.
pub(super) fn options(driver: LogDriver, texts: &[String]) -> Result<LogOptions, Failure> {
    let mut options = LogOptions::default();
    for text in texts {
        let refuse = |reason: &str| Failure::usage(format!("--log-opt {text}: {reason}"));
        let (key, value) = text.split_once('=').ok_or_else(|| refuse("expected name=value"))?;
        let is_file = driver == LogDriver::File;
        match key {
            "max-size" if is_file && value == "-1" => options.max_bytes = Some(-1),
            "max-size" if is_file => {
                let bytes = parse_bytes(value).map_err(|reason| refuse(&reason))?;
                let bytes = i64::try_from(bytes).ok().filter(|bytes| *bytes > 0);
                options.max_bytes = Some(bytes.ok_or_else(|| refuse("is no size"))?);
            }
            "max-file" if is_file => {
                let files = value.parse().ok().filter(|files| (1..=1000).contains(files));
                options.max_files = Some(files.ok_or_else(|| refuse("is no number from 1 to 1000"))?);
            }
            "max-size" | "max-file" => return Err(refuse("is an option of files only")),
            "compress" if value == "false" => {}
            "compress" => return Err(refuse("full files are not compressed")),
            "mode" if value == "blocking" => {}
            "mode" => return Err(refuse("output is never dropped: the mode is always blocking")),
            "path" => {
                return Err(refuse("the log lies beside the container: see inspect --format '{{.LogPath}}'"));
            }
            _ => return Err(refuse("there are max-size and max-file")),
        }
        options.given.insert(key.to_owned(), value.to_owned());
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_files() {
        let of = |driver, texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
            options(driver, &texts).map(|options| (options.max_bytes, options.max_files))
        };
        assert_eq!(of(LogDriver::File, &["max-size=10m", "max-file=3"]).unwrap(), (Some(10 << 20), Some(3)));
        assert_eq!(
            of(LogDriver::File, &["max-size=-1", "compress=false", "mode=blocking"]).unwrap(),
            (Some(-1), None)
        );
        for bad in [
            "max-size",
            "max-size=0",
            "max-size=x",
            "max-file=0",
            "compress=true",
            "mode=non-blocking",
            "path=/x",
            "tag=x",
        ] {
            assert!(of(LogDriver::File, &[bad]).is_err(), "{bad}");
        }
        assert!(of(LogDriver::None, &["max-size=1m"]).is_err());
    }

    #[test]
    fn drivers() {
        assert_eq!(driver(None).unwrap(), (LogDriver::File, None));
        assert_eq!(driver(Some("journald")).unwrap().0, LogDriver::Journald);
        assert!(driver(Some("json-file")).unwrap().1.is_some());
        assert!(driver(Some("syslog")).is_err());
    }
}
