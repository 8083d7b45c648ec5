//! `list` and `state`: what there is, and how it is with one of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cais_bundle::Listed;
use cais_oci::runtime::Status;
use serde::Serialize;

use super::failure::{Failure, Outcome};
use super::flags::Words;
use super::{Door, print, print_json};

/// One container as runc prints it: the specification's state and what runc adds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    oci_version: String,
    id: String,
    /// 0 for none: callers read a number.
    pid: i32,
    status: Status,
    bundle: String,
    rootfs: PathBuf,
    created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    owner: String,
}

impl From<Listed> for Entry {
    fn from(listed: Listed) -> Entry {
        let Listed { state, created, owner, rootfs } = listed;
        Entry {
            oci_version: state.oci_version,
            id: state.id,
            pid: state.pid.unwrap_or(0),
            status: state.status,
            bundle: state.bundle,
            rootfs,
            created,
            annotations: state.annotations,
            owner,
        }
    }
}

pub(super) fn state(door: &Door, words: &Words) -> Outcome {
    let entry = Entry::from(door.runtime()?.look(words.id()?)?);
    let text = serde_json::to_string_pretty(&entry).map_err(|error| Failure::edge("write JSON", error))?;
    print(&format!("{text}\n"))?;
    Ok(0)
}

/// How a list is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Table,
    Json,
}

/// `--format`
///
/// # Errors
/// For other words.
pub(super) fn shape(words: &Words) -> Result<Shape, Failure> {
    match words.text("format")? {
        None | Some("table") => Ok(Shape::Table),
        Some("json") => Ok(Shape::Json),
        Some(other) => {
            Err(Failure::usage(format!("invalid format option {other:?}: expected table or json")))
        }
    }
}

pub(super) fn main(door: &Door, words: &Words) -> Outcome {
    let shape = shape(words)?;
    if door.globals.root_is_given {
        // Whoever names a place means one that is there.
        std::fs::metadata(&door.globals.root)
            .map_err(|error| Failure::io(format!("open {}", door.globals.root.display()), &error))?;
    }
    let entries: Vec<Entry> = door.runtime()?.list()?.into_iter().map(Entry::from).collect();
    if words.switch("quiet") {
        let ids: String = entries.iter().map(|entry| format!("{}\n", entry.id)).collect();
        print(&ids)?;
        return Ok(0);
    }
    match shape {
        Shape::Json => print_json(&entries)?,
        Shape::Table => print(&table(&entries))?,
    }
    Ok(0)
}

/// Cells are at least twelve wide and three blanks apart; the last one is not padded.
fn table(entries: &[Entry]) -> String {
    let heading = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows = entries.iter().map(|entry| {
        let Entry { id, pid, status, bundle, created, owner, .. } = entry;
        [id.clone(), pid.to_string(), status.to_string(), bundle.clone(), created.clone(), owner.clone()]
    });
    let rows: Vec<[String; 6]> = std::iter::once(heading).chain(rows).collect();
    let width = |column: usize| {
        let widest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        12.max(widest + 3)
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(widths) {
            text.push_str(&format!("{cell:<width$}"));
        }
        text.push_str(&row[5]);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            oci_version: "1.2.0".into(),
            id: "box1".into(),
            pid: 4711,
            status: Status::Running,
            bundle: "/bundles/one".into(),
            rootfs: "/bundles/one/rootfs".into(),
            created: "2026-01-02T03:04:05.6Z".into(),
            annotations: BTreeMap::new(),
            owner: "root".into(),
        }
    }

    #[test]
    fn columns_are_runcs() {
        let text = table(&[entry()]);
        let expected = "\
ID          PID         STATUS      BUNDLE         CREATED                  OWNER
box1        4711        running     /bundles/one   2026-01-02T03:04:05.6Z   root
";
        assert_eq!(text, expected);
        assert_eq!(table(&[]).lines().count(), 1);
    }

    #[test]
    fn the_document_is_runcs() {
        let text = serde_json::to_string(&[entry()]).expect("JSON");
        let expected = "[{\"ociVersion\":\"1.2.0\",\"id\":\"box1\",\"pid\":4711,\"status\":\"running\",\
            \"bundle\":\"/bundles/one\",\"rootfs\":\"/bundles/one/rootfs\",\"created\":\"2026-01-02T03:04:05.6Z\",\
            \"owner\":\"root\"}]";
        assert_eq!(text, expected);
    }
}
