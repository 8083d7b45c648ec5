//! Executes a parsed template on a value.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::parse::{Base, Branch, Command, Node, Operand, Pipeline};
use super::{TemplateError, function, print};

/// What a template is executed for.
pub(super) enum Mode<'a> {
    /// A value.
    Plain,
    /// A row of a list, with these labels for `{{.Label "x"}}`.
    Row(&'a BTreeMap<String, String>),
    /// The titles of a list's columns: functions pass their last argument through.
    Header,
}

/// The most text that one execution may make.
const OUTPUT_MAX_BYTES: usize = 256 << 20;

/// Executes nodes with `dot` as the value and as `$`.
pub(super) fn execute(nodes: &[Node], dot: &Value, mode: &Mode<'_>) -> Result<String, TemplateError> {
    let root = Answer::Is(Cow::Borrowed(dot));
    let mut machine = Machine { mode, variables: vec![("", root.clone())], out: String::new(), offset: 0 };
    match machine.nodes(nodes, &root) {
        Ok(_) => Ok(machine.out),
        Err(reason) => Err(TemplateError { offset: machine.offset, reason }),
    }
}

/// The value of an operand or a pipeline.
#[derive(Clone)]
enum Answer<'a> {
    /// A value.
    Is(Cow<'a, Value>),
    /// A struct has no such field: an error unless only its truth is asked for.
    NoField(String),
    /// A map has no such key: prints `<no value>`.
    NoKey,
}

impl<'a> Answer<'a> {
    fn own(value: Value) -> Answer<'a> {
        Answer::Is(Cow::Owned(value))
    }

    fn truth(&self) -> bool {
        matches!(self, Answer::Is(value) if function::truth(value))
    }

    fn value(self) -> Result<Cow<'a, Value>, String> {
        match self {
            Answer::Is(value) => Ok(value),
            Answer::NoField(reason) => Err(reason),
            Answer::NoKey => Ok(Cow::Owned(Value::Null)),
        }
    }
}

#[derive(PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

struct Machine<'a, 'm> {
    mode: &'m Mode<'m>,
    variables: Vec<(&'a str, Answer<'a>)>,
    out: String,
    offset: usize,
}

impl<'a> Machine<'a, '_> {
    fn nodes(&mut self, nodes: &'a [Node], dot: &Answer<'a>) -> Result<Flow, String> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    self.print(text)?;
                    Flow::Next
                }
                Node::Action(pipeline) => {
                    let answer = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        self.print_answer(answer)?;
                    }
                    Flow::Next
                }
                Node::Branch(branch) => self.branch(branch, dot)?,
                Node::Range(range) => self.range(range, dot)?,
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn print(&mut self, text: &str) -> Result<(), String> {
        if self.out.len() + text.len() > OUTPUT_MAX_BYTES {
            return Err("the output exceeds 256 MiB".into());
        }
        self.out.push_str(text);
        Ok(())
    }

    fn print_answer(&mut self, answer: Answer<'a>) -> Result<(), String> {
        match answer {
            Answer::NoKey => self.print("<no value>"),
            answer => match answer.value()?.as_ref() {
                Value::Null => self.print("<no value>"),
                Value::String(text) => self.print(text),
                value => self.print(&print::plain(value)),
            },
        }
    }

    fn branch(&mut self, branch: &'a Branch, dot: &Answer<'a>) -> Result<Flow, String> {
        let scope = self.variables.len();
        let answer = self.pipeline(&branch.pipeline, dot)?;
        let flow = if !answer.truth() {
            self.nodes(&branch.otherwise, dot)
        } else if branch.moves_dot {
            self.nodes(&branch.body, &answer)
        } else {
            self.nodes(&branch.body, dot)
        };
        self.variables.truncate(scope);
        flow
    }

    fn range(&mut self, range: &'a Branch, dot: &Answer<'a>) -> Result<Flow, String> {
        let scope = self.variables.len();
        let answer = match self.pipeline_value(&range.pipeline, dot)? {
            Answer::NoKey => Answer::own(Value::Null),
            answer => answer,
        };
        let elements = elements(answer.value()?)?;
        if elements.is_empty() {
            let flow = self.nodes(&range.otherwise, dot);
            self.variables.truncate(scope);
            return flow;
        }
        for (key, element) in elements {
            let names = &range.pipeline.variables;
            let values = match names.len() {
                0 => vec![],
                1 => vec![element.clone()],
                _ => vec![Answer::own(key), element.clone()],
            };
            for (name, value) in names.iter().zip(values) {
                self.store(name, value, range.pipeline.declares);
            }
            let flow = self.nodes(&range.body, &element)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    fn store(&mut self, name: &'a str, value: Answer<'a>, declares: bool) {
        let old = self.variables.iter_mut().rev().find(|(known, _)| *known == name);
        match old {
            Some((_, slot)) if !declares => *slot = value,
            _ => self.variables.push((name, value)),
        }
    }

    fn pipeline(&mut self, pipeline: &'a Pipeline, dot: &Answer<'a>) -> Result<Answer<'a>, String> {
        let answer = self.pipeline_value(pipeline, dot)?;
        for name in &pipeline.variables {
            self.store(name, answer.clone(), pipeline.declares);
        }
        Ok(answer)
    }

    fn pipeline_value(&mut self, pipeline: &'a Pipeline, dot: &Answer<'a>) -> Result<Answer<'a>, String> {
        self.offset = pipeline.offset;
        let mut last = None;
        for command in &pipeline.commands {
            last = Some(self.command(command, dot, last)?);
        }
        last.ok_or_else(|| "empty pipeline".into())
    }

    fn command(
        &mut self,
        command: &'a Command,
        dot: &Answer<'a>,
        piped: Option<Answer<'a>>,
    ) -> Result<Answer<'a>, String> {
        self.offset = command.offset;
        let Some((first, rest)) = command.operands.split_first() else {
            return Err("missing value".into());
        };
        match first {
            Operand::Function(name) => self.call(name, rest, dot, piped),
            Operand::Path { base: Base::Dot, fields } if fields.len() == 1 && fields[0] == "Label" => {
                self.label(rest, dot, piped)
            }
            _ if rest.is_empty() && piped.is_none() => self.operand(first, dot),
            _ => Err("only functions take arguments".into()),
        }
    }

    fn call(
        &mut self,
        name: &str,
        operands: &'a [Operand],
        dot: &Answer<'a>,
        piped: Option<Answer<'a>>,
    ) -> Result<Answer<'a>, String> {
        if matches!(self.mode, Mode::Header) {
            return match (piped, operands.last()) {
                (Some(piped), _) => Ok(piped),
                (None, Some(_)) => {
                    let titles = operands.iter().rev().find(|o| matches!(o, Operand::Path { .. }));
                    titles.map_or_else(|| Ok(Answer::own("".into())), |operand| self.operand(operand, dot))
                }
                (None, None) => Ok(Answer::own("".into())),
            };
        }
        if name == "and" || name == "or" {
            return self.logic(name, operands, dot, piped);
        }
        let lenient = matches!(name, "not" | "eq" | "ne");
        let mut arguments = Vec::with_capacity(operands.len() + 1);
        for operand in operands {
            let answer = self.operand(operand, dot)?;
            arguments.push(settle(answer, lenient)?);
        }
        if let Some(answer) = piped {
            arguments.push(settle(answer, lenient)?);
        }
        function::call(name, &arguments).map(Answer::own)
    }

    /// `and` gives the first argument that is not true, `or` the first that is; both else the last.
    fn logic(
        &mut self,
        name: &str,
        operands: &'a [Operand],
        dot: &Answer<'a>,
        piped: Option<Answer<'a>>,
    ) -> Result<Answer<'a>, String> {
        let stop_at = name == "or";
        let mut answer = None;
        for operand in operands {
            let found = self.operand(operand, dot)?;
            if found.truth() == stop_at {
                return Ok(found);
            }
            answer = Some(found);
        }
        piped.or(answer).ok_or_else(|| format!("{name}: wrong number of arguments (0)"))
    }

    /// `.Label "name"`: the one method of docker's list rows.
    fn label(
        &mut self,
        operands: &'a [Operand],
        dot: &Answer<'a>,
        piped: Option<Answer<'a>>,
    ) -> Result<Answer<'a>, String> {
        let name = match (operands, piped) {
            ([operand], None) => self.operand(operand, dot)?,
            ([], Some(piped)) => piped,
            ([], None) => return field(dot.clone(), "Label"),
            _ => return Err(".Label takes one name".into()),
        };
        let name = name.value()?;
        let name = name.as_str().ok_or("the name of a label is a string")?;
        match self.mode {
            Mode::Row(labels) => Ok(Answer::own(labels.get(name).cloned().unwrap_or_default().into())),
            Mode::Header => {
                Ok(Answer::own(name.rsplit('.').next().unwrap_or(name).replace(['-', '_'], " ").into()))
            }
            Mode::Plain => Err(".Label exists in lists only; use {{index .Config.Labels \"x\"}}".into()),
        }
    }

    fn operand(&mut self, operand: &'a Operand, dot: &Answer<'a>) -> Result<Answer<'a>, String> {
        let (base, fields) = match operand {
            Operand::Constant(value) => return Ok(Answer::Is(Cow::Borrowed(value))),
            Operand::Function(name) => return self.call(name, &[], dot, None),
            Operand::Path { base, fields } => (base, fields),
        };
        let mut answer = match base {
            Base::Dot => dot.clone(),
            Base::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                known.map(|(_, value)| value.clone()).ok_or_else(|| format!("undefined variable ${name}"))?
            }
            Base::Pipeline(inner) => {
                let offset = self.offset;
                let answer = self.pipeline(inner, dot)?;
                self.offset = offset;
                answer
            }
        };
        for name in fields {
            answer = field(answer, name)?;
        }
        Ok(answer)
    }
}

/// The value of an argument; `lenient` functions see nil for a field that does not exist.
fn settle(answer: Answer<'_>, lenient: bool) -> Result<Value, String> {
    match answer {
        Answer::NoField(_) if lenient => Ok(Value::Null),
        answer => answer.value().map(Cow::into_owned),
    }
}

/// One field of a value. Go's field names and JSON's differ in case here and there (`ID`, `Id`): both are found.
fn field<'a>(answer: Answer<'a>, name: &str) -> Result<Answer<'a>, String> {
    let value = match answer {
        Answer::Is(value) => value,
        Answer::NoField(reason) => return Err(reason),
        Answer::NoKey => return Err(format!("nil has no field {name}")),
    };
    let Value::Object(map) = value.as_ref() else {
        return Err(format!("{} has no field {name}", print::go_type(&value)));
    };
    let folded = || map.keys().find(|key| key.eq_ignore_ascii_case(name)).map(String::as_str);
    let key = if map.contains_key(name) { Some(name) } else { folded() };
    match (key.map(str::to_owned), value) {
        (Some(key), Cow::Borrowed(Value::Object(map))) => {
            Ok(map.get(&key).map_or(Answer::NoKey, |value| Answer::Is(Cow::Borrowed(value))))
        }
        (Some(key), Cow::Owned(Value::Object(mut map))) => {
            Ok(map.shift_remove(&key).map_or(Answer::NoKey, Answer::own))
        }
        (_, value) => Ok(missing(&value, name)),
    }
}

/// A struct (all keys begin with an upper-case letter) has no such field; a map merely no such key.
fn missing<'a>(value: &Value, name: &str) -> Answer<'a> {
    let Value::Object(map) = value else { return Answer::NoKey };
    let is_struct =
        !map.is_empty() && map.keys().all(|key| key.starts_with(|c: char| c.is_ascii_uppercase()));
    if !is_struct {
        return Answer::NoKey;
    }
    let known: Vec<_> = map.keys().map(String::as_str).collect();
    Answer::NoField(format!("no field {name}; there are {}", known.join(", ")))
}

type Elements<'a> = Vec<(Value, Answer<'a>)>;

fn elements(value: Cow<'_, Value>) -> Result<Elements<'_>, String> {
    Ok(match value {
        Cow::Borrowed(Value::Array(items)) => {
            items.iter().enumerate().map(|(at, item)| (at.into(), Answer::Is(Cow::Borrowed(item)))).collect()
        }
        Cow::Owned(Value::Array(items)) => {
            items.into_iter().enumerate().map(|(at, item)| (at.into(), Answer::own(item))).collect()
        }
        Cow::Borrowed(Value::Object(map)) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| *key);
            pairs
                .into_iter()
                .map(|(key, item)| (key.clone().into(), Answer::Is(Cow::Borrowed(item))))
                .collect()
        }
        Cow::Owned(Value::Object(map)) => {
            let mut pairs: Vec<_> = map.into_iter().collect();
            pairs.sort_by(|left, right| left.0.cmp(&right.0));
            pairs.into_iter().map(|(key, item)| (key.into(), Answer::own(item))).collect()
        }
        value if value.is_null() => Vec::new(),
        value => match value.as_i64() {
            Some(count @ ..=1_000_000) => (0..count).map(|n| (n.into(), Answer::own(n.into()))).collect(),
            _ => return Err(format!("range cannot walk {}", print::go_type(&value))),
        },
    })
}
