//! Tokens to a tree. The grammar is that of Go's `text/template/parse`, without named templates.

use serde_json::Value;

use super::TemplateError;
use super::lex::{Placed, Token};

/// One part of a template.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Copied to the output.
    Text(String),
    /// `{{pipeline}}`; prints unless it declares or assigns.
    Action(Pipeline),
    /// `if` or `with` and their `else` chains.
    Branch(Branch),
    /// `range`.
    Range(Branch),
    /// `break`, at an offset.
    Break,
    /// `continue`, at an offset.
    Continue,
}

/// A condition or collection with its two bodies.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    /// What is tested or walked.
    pub(super) pipeline: Pipeline,
    /// `with` and `range` move the dot, `if` does not.
    pub(super) moves_dot: bool,
    /// When true, or per element.
    pub(super) body: Vec<Node>,
    /// When false, or for an empty collection.
    pub(super) otherwise: Vec<Node>,
}

/// `[$a[, $b] :=] command | command …`
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    /// Where it begins, for errors.
    pub(super) offset: usize,
    /// Variables that receive the result.
    pub(super) variables: Vec<String>,
    /// `:=` makes new variables, `=` changes old ones.
    pub(super) declares: bool,
    /// At least one.
    pub(super) commands: Vec<Command>,
}

/// An operand with arguments.
#[derive(Clone, Debug)]
pub(super) struct Command {
    /// Where it begins, for errors.
    pub(super) offset: usize,
    /// At least one; the first is a function, or the only one.
    pub(super) operands: Vec<Operand>,
}

/// A value or a function's name.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// A constant.
    Constant(Value),
    /// `.`, `$x`, `(pipeline)`, followed by fields.
    Path { base: Base, fields: Vec<String> },
    /// The name of a function.
    Function(String),
}

/// Where a path begins.
#[derive(Clone, Debug)]
pub(super) enum Base {
    /// `.`
    Dot,
    /// `$` (empty) or `$name`.
    Variable(String),
    /// `(pipeline)`
    Pipeline(Box<Pipeline>),
}

type Result<T> = std::result::Result<T, TemplateError>;

/// Parses a whole template.
pub(super) fn parse(tokens: Vec<Placed>) -> Result<Vec<Node>> {
    let mut parser = Parser { tokens, next: 0, variables: vec![String::new()], loops: 0, depth: 0 };
    let (nodes, end) = parser.nodes()?;
    match end {
        Stop::Input => Ok(nodes),
        Stop::Else(offset) | Stop::End(offset) => {
            Err(TemplateError { offset, reason: "{{end}} or {{else}} without an opening action".into() })
        }
    }
}

/// Whether an action outside every range and `with` reads the dot's field `name`.
pub(super) fn reads_field(nodes: &[Node], name: &str) -> bool {
    nodes.iter().any(|node| match node {
        Node::Action(pipeline) => pipeline_reads(pipeline, name),
        Node::Branch(branch) | Node::Range(branch) => {
            pipeline_reads(&branch.pipeline, name)
                || reads_field(&branch.body, name)
                || reads_field(&branch.otherwise, name)
        }
        Node::Text(_) | Node::Break | Node::Continue => false,
    })
}

fn pipeline_reads(pipeline: &Pipeline, name: &str) -> bool {
    pipeline.commands.iter().flat_map(|command| &command.operands).any(|operand| match operand {
        Operand::Path { base: Base::Pipeline(inner), .. } => pipeline_reads(inner, name),
        Operand::Path { fields, .. } => fields.first().is_some_and(|field| field == name),
        Operand::Constant(_) | Operand::Function(_) => false,
    })
}

/// What ended a list of nodes.
enum Stop {
    Input,
    /// `else`, just after the word.
    Else(usize),
    End(usize),
}

struct Parser {
    tokens: Vec<Placed>,
    next: usize,
    /// Names in scope, so that an unknown one is an error before anything is printed.
    variables: Vec<String>,
    loops: usize,
    depth: usize,
}

/// Deeper nesting than any user writes is refused before it can exhaust the stack.
const DEPTH_MAX: usize = 64;

impl Parser {
    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { self.fail("nested too deeply") } else { Ok(()) }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn offset(&self) -> usize {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(0, |(at, _)| *at)
    }

    fn bump(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.next).map(|(_, token)| token.clone());
        self.next += 1;
        token
    }

    fn accept(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.next += usize::from(found);
        found
    }

    fn blanks(&mut self) {
        while self.accept(&Token::Space) {}
    }

    fn fail<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(TemplateError { offset: self.offset(), reason: reason.into() })
    }

    fn close(&mut self) -> Result<()> {
        self.blanks();
        if self.accept(&Token::Close) { Ok(()) } else { self.fail("unexpected word, expected }}") }
    }

    fn nodes(&mut self) -> Result<(Vec<Node>, Stop)> {
        let mut nodes = Vec::new();
        loop {
            let offset = self.offset();
            match self.bump() {
                None => return Ok((nodes, Stop::Input)),
                Some(Token::Text(text)) => nodes.push(Node::Text(text)),
                Some(_) => {
                    self.blanks();
                    match self.peek() {
                        Some(Token::Word(word)) if word == "end" => {
                            self.next += 1;
                            self.close()?;
                            return Ok((nodes, Stop::End(offset)));
                        }
                        Some(Token::Word(word)) if word == "else" => {
                            self.next += 1;
                            return Ok((nodes, Stop::Else(offset)));
                        }
                        _ => nodes.push(self.action()?),
                    }
                }
            }
        }
    }

    fn action(&mut self) -> Result<Node> {
        let word = match self.peek() {
            Some(Token::Word(word)) => word.clone(),
            _ => String::new(),
        };
        match word.as_str() {
            "if" | "with" | "range" => {
                self.next += 1;
                self.branch(&word)
            }
            "break" | "continue" => {
                if self.loops == 0 {
                    return self.fail(format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                self.next += 1;
                self.close()?;
                Ok(if word == "break" { Node::Break } else { Node::Continue })
            }
            "define" | "template" | "block" => self.fail(format!("{word:?} is not supported in --format")),
            _ => {
                let pipeline = self.pipeline(false)?;
                self.close()?;
                Ok(Node::Action(pipeline))
            }
        }
    }

    fn branch(&mut self, word: &str) -> Result<Node> {
        self.deeper()?;
        let start = self.offset();
        let scope = self.variables.len();
        let ranges = word == "range";
        let pipeline = self.pipeline(ranges)?;
        self.close()?;
        self.loops += usize::from(ranges);
        let (body, end) = self.nodes()?;
        self.loops -= usize::from(ranges);
        let otherwise = match end {
            Stop::Input => {
                return Err(TemplateError {
                    offset: start,
                    reason: format!("{{{{{word}}}}} without {{{{end}}}}"),
                });
            }
            Stop::End(_) => Vec::new(),
            Stop::Else(_) => self.otherwise(word, start)?,
        };
        self.variables.truncate(scope);
        self.depth -= 1;
        let branch = Branch { pipeline, moves_dot: word != "if", body, otherwise };
        Ok(if ranges { Node::Range(branch) } else { Node::Branch(branch) })
    }

    /// What follows `{{else`: a plain body, or another `if` or `with` that shares the `{{end}}`.
    fn otherwise(&mut self, word: &str, start: usize) -> Result<Vec<Node>> {
        self.blanks();
        match self.peek() {
            Some(Token::Word(next)) if next == "if" || next == "with" => {
                if next != word {
                    return self.fail(format!("{{{{else {next}}}}} does not belong to {{{{{word}}}}}"));
                }
                self.next += 1;
                Ok(vec![self.branch(word)?])
            }
            _ => {
                self.close()?;
                match self.nodes()? {
                    (nodes, Stop::End(_)) => Ok(nodes),
                    (_, Stop::Else(offset)) => {
                        Err(TemplateError { offset, reason: "a second {{else}}".into() })
                    }
                    (_, Stop::Input) => Err(TemplateError {
                        offset: start,
                        reason: format!("{{{{{word}}}}} without {{{{end}}}}"),
                    }),
                }
            }
        }
    }

    fn pipeline(&mut self, two_variables: bool) -> Result<Pipeline> {
        self.blanks();
        let offset = self.offset();
        let (variables, declares) = self.assignment(two_variables)?;
        let mut commands = Vec::new();
        loop {
            commands.push(self.command()?);
            self.blanks();
            if !self.accept(&Token::Pipe) {
                break;
            }
        }
        if declares {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipeline { offset, variables, declares, commands })
    }

    /// `$a :=`, `$a, $b :=`, `$a =`; leaves everything else unread.
    fn assignment(&mut self, two_variables: bool) -> Result<(Vec<String>, bool)> {
        let start = self.next;
        let mut names = Vec::new();
        while let Some(Token::Variable(name)) = self.peek().cloned() {
            self.next += 1;
            names.push(name);
            self.blanks();
            match self.peek() {
                Some(Token::Comma) if two_variables && names.len() == 1 => {
                    self.next += 1;
                    self.blanks();
                }
                Some(token @ (Token::Declare | Token::Assign)) => {
                    let declares = *token == Token::Declare;
                    self.next += 1;
                    if let Some(name) = names.iter().find(|name| !declares && !self.variables.contains(name))
                    {
                        return self.fail(format!("undefined variable ${name}"));
                    }
                    return Ok((names, declares));
                }
                _ => break,
            }
        }
        self.next = start;
        Ok((Vec::new(), false))
    }

    fn command(&mut self) -> Result<Command> {
        self.blanks();
        let offset = self.offset();
        let mut operands: Vec<Operand> = Vec::new();
        loop {
            match self.operand()? {
                Some(operand) => operands.push(operand),
                None => break,
            }
            match self.peek() {
                Some(Token::Space) => self.blanks(),
                Some(Token::Pipe | Token::Close | Token::RightParen) => {}
                _ => return self.fail("operands must be separated by blanks"),
            }
        }
        match operands.first() {
            None => self.fail("missing value"),
            Some(Operand::Constant(_)) if operands.len() > 1 => {
                Err(TemplateError { offset, reason: "a constant cannot be called with arguments".into() })
            }
            Some(_) => Ok(Command { offset, operands }),
        }
    }

    fn operand(&mut self) -> Result<Option<Operand>> {
        let Some(token) = self.peek().cloned() else {
            return self.fail("unclosed action");
        };
        if matches!(token, Token::Pipe | Token::Close | Token::RightParen) {
            return Ok(None);
        }
        if matches!(token, Token::Comma | Token::Assign | Token::Declare) {
            return self.fail("unexpected word in a pipeline");
        }
        let offset = self.offset();
        self.next += 1;
        let base = match token {
            Token::Dot => (Base::Dot, Vec::new()),
            Token::Field(name) => (Base::Dot, vec![name]),
            Token::Variable(name) => {
                if !self.variables.contains(&name) {
                    return Err(TemplateError { offset, reason: format!("undefined variable ${name}") });
                }
                (Base::Variable(name), Vec::new())
            }
            Token::LeftParen => {
                self.deeper()?;
                let inner = self.pipeline(false)?;
                self.depth -= 1;
                self.blanks();
                if !self.accept(&Token::RightParen) {
                    return self.fail("unclosed parenthesis");
                }
                (Base::Pipeline(Box::new(inner)), Vec::new())
            }
            Token::Quoted(text) => return Ok(Some(Operand::Constant(text.into()))),
            Token::Integer(number) => return Ok(Some(Operand::Constant(number.into()))),
            Token::Float(number) => return Ok(Some(Operand::Constant(number.into()))),
            Token::Word(word) => return Ok(Some(word_operand(word, offset)?)),
            _ => return Err(TemplateError { offset, reason: "unexpected word in a pipeline".into() }),
        };
        let (base, mut fields) = base;
        while let Some(Token::Field(name)) = self.peek().cloned() {
            self.next += 1;
            fields.push(name);
        }
        Ok(Some(Operand::Path { base, fields }))
    }
}

fn word_operand(word: String, offset: usize) -> Result<Operand> {
    Ok(match word.as_str() {
        "true" => Operand::Constant(Value::Bool(true)),
        "false" => Operand::Constant(Value::Bool(false)),
        "nil" => Operand::Constant(Value::Null),
        name if super::function::exists(name) => Operand::Function(word),
        _ => return Err(TemplateError { offset, reason: format!("function {word:?} is not defined") }),
    })
}
