//! Where a container's output goes: the file or the journal, and what `--log-opt` puts into every line.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cais_plan::{Bytes, Setup};

use crate::attach::short;
use crate::{ContainerRecord, Engine, Error, ErrorKind, LogDriver, LogOptions, Result};

/// Docker's words in `--log-opt tag=`, and what they stand for.
type Word = (&'static str, fn(&ContainerRecord) -> &str);
const TAG_WORDS: [Word; 7] = [
    ("{{.ID}}", |record| short(&record.id)),
    ("{{.FullID}}", |record| &record.id),
    ("{{.Name}}", |record| &record.name),
    ("{{.ImageID}}", |record| record.image_id.as_ref().map_or("", |id| short(id.hex()))),
    ("{{.ImageFullID}}", |record| record.image_id.as_ref().map_or("", |id| id.hex())),
    ("{{.ImageName}}", |record| &record.image_name),
    ("{{.DaemonName}}", |_| "cais"),
];

/// What the monitor gets of it.
#[derive(Default)]
pub(crate) struct LogSink {
    fd: Option<OwnedFd>,
    /// The directory of a file that does not lie beside the container's record, and its name.
    directory: Option<File>,
    name: Vec<u8>,
    attrs: Vec<u8>,
    journal: Vec<u8>,
}

impl LogSink {
    pub(crate) fn descriptors(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [self.fd.as_ref().map(AsFd::as_fd), self.directory.as_ref().map(AsFd::as_fd)]
    }

    /// The setup with what concerns the log; `fds` are the numbers of [`LogSink::descriptors`] in the monitor.
    pub(crate) fn setup<'a>(&'a self, record: &ContainerRecord, fds: [i32; 2]) -> Setup<'a> {
        let options = &record.request.log_options;
        Setup {
            log_fd: fds[0],
            log_dir_fd: fds[1],
            log_name: Bytes(&self.name),
            log_max_bytes: u64::try_from(options.max_bytes.unwrap_or(LogOptions::MAX_BYTES)).unwrap_or(0),
            log_files: options.max_files.unwrap_or(LogOptions::MAX_FILES),
            log_compress: options.compress,
            log_json: record.request.log == LogDriver::JsonFile,
            log_attrs: Bytes(&self.attrs),
            log_journal: Bytes(&self.journal),
            ..Setup::NONE
        }
    }
}

impl Engine {
    /// The file that a container's output goes to, if it goes to one.
    pub(crate) fn log_path(&self, record: &ContainerRecord) -> PathBuf {
        let own = || self.store.paths().container_log(&record.id);
        record.request.log_options.path.clone().unwrap_or_else(own)
    }

    /// Opens what a container's output goes to.
    ///
    /// The file beside the record is made in any case: after a reboot nothing else tells that the container was running.
    pub(crate) fn open_log(&self, record: &ContainerRecord) -> Result<LogSink> {
        let own = make_log_file(&self.store.paths().container_log(&record.id))?;
        match record.request.log {
            LogDriver::None => Ok(LogSink::default()),
            LogDriver::Journald => {
                let journal = crate::journal::fields(record);
                Ok(LogSink { fd: Some(crate::journal::connect()?), journal, ..LogSink::default() })
            }
            LogDriver::JsonFile | LogDriver::K8sFile => self.open_log_file(record, own),
        }
    }

    fn open_log_file(&self, record: &ContainerRecord, own: File) -> Result<LogSink> {
        let mut sink = LogSink::default();
        if let Some(path) = &record.request.log_options.path {
            let failed = |e| Error::caused(ErrorKind::System, format!("open the log {}", path.display()), e);
            sink.fd = Some(make_log_file(path)?.into());
            let parts = path.parent().zip(path.file_name());
            let (parent, name) =
                parts.ok_or_else(|| failed(std::io::Error::from(std::io::ErrorKind::IsADirectory)))?;
            sink.directory = Some(File::open(parent).map_err(failed)?);
            sink.name = name.as_bytes().to_vec();
        } else {
            sink.fd = Some(own.into());
        }
        let attributes = attributes(record);
        if record.request.log == LogDriver::JsonFile && !attributes.is_empty() {
            sink.attrs = format!(",\"attrs\":{}", serde_json::json!(attributes)).into_bytes();
        }
        Ok(sink)
    }
}

fn make_log_file(path: &Path) -> Result<File> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    file.map_err(|e| Error::caused(ErrorKind::System, format!("open the log {}", path.display()), e))
}

/// What `--log-opt labels=…`, `env=…` and `tag=…` ask for.
fn attributes(record: &ContainerRecord) -> BTreeMap<String, String> {
    let mut attributes = chosen(record);
    if let Some(tag) = tag(record) {
        attributes.insert("tag".to_owned(), tag);
    }
    attributes
}

/// The labels and variables that were chosen.
pub(crate) fn chosen(record: &ContainerRecord) -> BTreeMap<String, String> {
    let options = &record.request.log_options;
    let labels = options.labels.iter().filter_map(|name| record.labels.get_key_value(name));
    let labels = labels.map(|(name, value)| (name.clone(), value.clone()));
    let variables = record.env.iter().filter_map(|variable| variable.split_once('='));
    let variables = variables.filter(|(name, _)| options.env.iter().any(|chosen| chosen == name));
    labels.chain(variables.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

/// `--log-opt tag=` with its words replaced.
pub(crate) fn tag(record: &ContainerRecord) -> Option<String> {
    let template = record.request.log_options.tag.as_ref()?;
    let mut tag = template.clone();
    for (word, value) in TAG_WORDS {
        tag = tag.replace(word, value(record));
    }
    Some(tag)
}

/// The first word in a tag that stands for nothing.
#[must_use]
pub fn unknown_tag_word(template: &str) -> Option<&str> {
    let start = template
        .match_indices("{{")
        .map(|(at, _)| at)
        .find(|at| TAG_WORDS.iter().all(|(word, _)| !template[*at..].starts_with(word)))?;
    let end = template[start..].find("}}").map_or(template.len(), |length| start + length + 2);
    Some(&template[start..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_words() {
        assert_eq!(unknown_tag_word("a {{.Name}}-{{.FullID}}"), None);
        assert_eq!(unknown_tag_word("{{.Name}} {{ .ID }} x"), Some("{{ .ID }}"));
        assert_eq!(unknown_tag_word("{{"), Some("{{"));
    }
}
