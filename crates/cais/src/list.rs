//! Output of lists: tables, one JSON object per line, or the user's template (`--format`, `-q`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::table;
use crate::template::Template;
use crate::terminal;

/// What a list can show.
pub struct Columns {
    /// Field and title of every placeholder.
    pub titles: &'static [(&'static str, &'static str)],
    /// The template of `--format table`, without the word.
    pub table: &'static str,
    /// The template of `-q`.
    pub quiet: &'static str,
}

/// One line of a list.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Placeholders and what they show.
    pub fields: BTreeMap<&'static str, String>,
    /// For `{{.Label "name"}}`.
    pub labels: BTreeMap<String, String>,
}

/// How a list is shown.
#[derive(Debug)]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// The template once per row, with a line of titles and aligned, or without.
    Lines { template: Template, titles: bool, fit: bool },
}

impl Format {
    /// Decides by `-q`, `--format`, and docker's configuration file.
    ///
    /// # Errors
    /// When the template cannot be parsed.
    pub fn choose(
        columns: &Columns,
        quiet: bool,
        flag: Option<&str>,
        configured: Option<&str>,
    ) -> Result<Format, Failure> {
        if quiet {
            return parse(columns.quiet, false);
        }
        let text = flag.or(configured).unwrap_or_default().trim_matches(' ');
        match text.strip_prefix("table") {
            _ if text == "json" => Ok(Format::Json),
            _ if text.is_empty() || text == "table" => parse(columns.table, true).map(Format::fitting),
            Some(rest) => parse(&unescape(rest.trim_start_matches(' ')), true),
            None => parse(&unescape(text), false),
        }
    }

    /// The usual table, which is cut to the width of a terminal.
    fn fitting(self) -> Format {
        match self {
            Format::Lines { template, titles, .. } => Format::Lines { template, titles, fit: true },
            other => other,
        }
    }

    /// Nothing is cut (`--no-trunc`).
    #[must_use]
    pub fn whole(self) -> Format {
        match self {
            Format::Lines { template, titles, .. } => Format::Lines { template, titles, fit: false },
            other => other,
        }
    }

    /// Whether the rows need this placeholder's value; what is costly to find out is asked for only then.
    pub fn reads(&self, field: &str) -> bool {
        match self {
            Format::Json => false,
            Format::Lines { template, .. } => template.reads_field(field),
        }
    }

    /// The whole list as text.
    ///
    /// # Errors
    /// When the template asks for what there is not.
    pub fn render(&self, columns: &Columns, rows: &[Row]) -> Result<String, Failure> {
        let (template, titles, fit) = match self {
            Format::Json => {
                return Ok(rows.iter().map(|row| format!("{}\n", row.object())).collect());
            }
            Format::Lines { template, titles, fit } => (template, *titles, *fit),
        };
        let fail = |error: crate::template::TemplateError| Failure::usage(format!("--format: {error}"));
        let mut lines = Vec::with_capacity(rows.len() + 1);
        let header: Map<String, Value> =
            columns.titles.iter().map(|(field, title)| ((*field).to_owned(), (*title).into())).collect();
        // Executed without a table, too: a placeholder that does not exist is an error even when there are no rows.
        let header = template.render_header(&header.into()).map_err(fail)?;
        if titles {
            lines.push(header);
        }
        for row in rows {
            lines.push(template.render_row(&row.object(), &row.labels).map_err(fail)?);
        }
        if titles {
            let width = terminal::width().filter(|_| fit);
            return Ok(table::layout(&match width {
                Some(width) => crate::fit::fit(&lines, width),
                None => lines,
            }));
        }
        Ok(lines.into_iter().map(|line| line + "\n").collect())
    }
}

impl Row {
    /// Sets a placeholder.
    pub fn set(&mut self, field: &'static str, value: impl Into<String>) {
        self.fields.insert(field, value.into());
    }

    /// As the object that templates and `--format json` see.
    pub fn object(&self) -> Value {
        let map: Map<String, Value> =
            self.fields.iter().map(|(field, value)| ((*field).to_owned(), value.as_str().into())).collect();
        map.into()
    }
}

fn parse(text: &str, titles: bool) -> Result<Format, Failure> {
    match Template::parse(text) {
        Ok(template) => Ok(Format::Lines { template, titles, fit: false }),
        Err(error) => Err(Failure::usage(format!("--format: {error}"))),
    }
}

/// Docker lets `\t` and `\n` stand for themselves outside of actions; within strings of actions Go's escapes do.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    loop {
        let open = rest.find("{{").unwrap_or(rest.len());
        out.push_str(&rest[..open].replace("\\t", "\t").replace("\\n", "\n"));
        let close = rest[open..].find("}}").map_or(rest.len(), |at| open + at + 2);
        out.push_str(&rest[open..close]);
        if close == rest.len() {
            return out;
        }
        rest = &rest[close..];
    }
}

/// Shortens to a number of characters, the last of which becomes an ellipsis.
pub fn ellipsis(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// `k=v,k=v`
pub fn labels_text(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: Columns = Columns {
        titles: &[("ID", "THING ID"), ("Name", "NAME")],
        table: "{{.ID}}\t{{.Name}}",
        quiet: "{{.ID}}",
    };

    fn show(quiet: bool, flag: Option<&str>) -> Result<String, String> {
        let mut row = Row::default();
        row.set("Name", "quay");
        row.set("ID", "1");
        let format = Format::choose(&COLUMNS, quiet, flag, None);
        format.and_then(|format| format.render(&COLUMNS, &[row])).map_err(|failure| failure.message)
    }

    #[test]
    fn formats() {
        let table = "THING ID   NAME\n1          quay\n";
        let cases = [
            (false, None, table),
            (false, Some("table"), table),
            (false, Some(" table {{.Name}}\\t{{upper .ID}}"), "NAME      THING ID\nquay      1\n"),
            (true, Some("{{.Name}}"), "1\n"),
            (false, Some("json"), "{\"ID\":\"1\",\"Name\":\"quay\"}\n"),
            (false, Some("{{json .}}"), "{\"ID\":\"1\",\"Name\":\"quay\"}\n"),
            (false, Some("{{.Name}}\\n{{print \"a\\tb\"}}"), "quay\na\tb\n"),
        ];
        for (quiet, flag, expected) in cases {
            assert_eq!(show(quiet, flag).as_deref(), Ok(expected), "{flag:?}");
        }
        assert!(
            show(false, Some("{{.Nope}}"))
                .expect_err("refused")
                .contains("no field Nope; there are ID, Name")
        );
        assert!(show(false, Some("{{.Nope")).is_err());
        let empty = Format::choose(&COLUMNS, false, Some("{{.Nope}}"), None).expect("parses");
        assert!(empty.render(&COLUMNS, &[]).is_err());
    }

    #[test]
    fn shortens() {
        assert_eq!(ellipsis("abcdef", 6), "abcdef");
        assert_eq!(ellipsis("äbcdefg", 6), "äbcde…");
    }
}
