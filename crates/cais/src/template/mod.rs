//! Go's `text/template` over JSON values: the language of `--format`.
//!
//! What docker's users write works: fields, pipelines, `range`, `if`, `with`, variables, comments, trimming, the
//! built-in functions and docker's own (`json`, `join`, `split`, `upper`, `lower`, `title`, `pad`, `truncate`).
//! `define`, `template` and `block` are refused. Values are `serde_json` ones: a JSON object stands for Go's struct
//! as well as for its map. An object whose keys all begin with an upper-case letter is taken for a struct, so that
//! asking it for a field that it does not have is an error; any other object answers `<no value>`, as Go's maps do.
//! Knows nothing of containers; reads and prints nothing.

mod eval;
mod function;
mod lex;
mod parse;
mod print;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// Why a template cannot be parsed or executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// Byte offset in the template's text.
    pub offset: usize,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "template, column {}: {}", self.offset + 1, self.reason)
    }
}

impl std::error::Error for TemplateError {}

/// A parsed template, to be executed any number of times.
#[derive(Debug)]
pub struct Template {
    nodes: Vec<parse::Node>,
}

impl Template {
    /// Parses the text of a template.
    ///
    /// # Errors
    /// With the place and the reason, when it is not in the language.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        Ok(Template { nodes: parse::parse(lex::lex(text)?)? })
    }

    /// Executes the template on a value.
    ///
    /// # Errors
    /// When a field does not exist or a function refuses its arguments.
    pub fn render(&self, dot: &Value) -> Result<String, TemplateError> {
        eval::execute(&self.nodes, dot, &eval::Mode::Plain)
    }

    /// Executes the template on a row of a list, which has labels beside its fields (`{{.Label "x"}}`).
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn render_row(
        &self,
        dot: &Value,
        labels: &BTreeMap<String, String>,
    ) -> Result<String, TemplateError> {
        eval::execute(&self.nodes, dot, &eval::Mode::Row(labels))
    }

    /// Executes the template on a list's column titles: functions pass their last argument through.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn render_header(&self, titles: &Value) -> Result<String, TemplateError> {
        eval::execute(&self.nodes, titles, &eval::Mode::Header)
    }

    /// Names of the fields of the dot at the outermost level that the template reads, such as `Size`.
    pub fn reads_field(&self, name: &str) -> bool {
        parse::reads_field(&self.nodes, name)
    }
}

#[cfg(test)]
mod tests;
