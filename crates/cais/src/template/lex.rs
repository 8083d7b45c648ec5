//! Template text to tokens: text outside `{{ }}`, and the words within. Trimming (`{{-`, `-}}`) and comments end here.

use super::TemplateError;

/// One word of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// Text between actions, trimmed.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// `.` alone.
    Dot,
    /// `.Name`
    Field(String),
    /// `$` (empty) or `$name`.
    Variable(String),
    /// A function, a keyword, `true`, `false`, `nil`.
    Word(String),
    /// A quoted or raw string, unescaped.
    Quoted(String),
    /// A whole number, or a character's code.
    Integer(i64),
    /// A number with a fraction or exponent.
    Float(f64),
    /// `|`
    Pipe,
    /// `(`
    LeftParen,
    /// `)`
    RightParen,
    /// `,`
    Comma,
    /// `=`
    Assign,
    /// `:=`
    Declare,
    /// Blanks; they separate operands.
    Space,
}

/// A token and the byte offset where it begins.
pub(super) type Placed = (usize, Token);

/// Splits a template into tokens.
pub(super) fn lex(text: &str) -> Result<Vec<Placed>, TemplateError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    let mut trim_left = false;
    while at < text.len() {
        let open = text[at..].find("{{").map(|n| at + n);
        let mut piece = &text[at..open.unwrap_or(text.len())];
        if trim_left {
            piece = piece.trim_start_matches(is_space);
        }
        let Some(open) = open else {
            push_text(&mut tokens, at, piece);
            break;
        };
        let mut inner = open + 2;
        if trims_after_open(&text[inner..]) {
            piece = piece.trim_end_matches(is_space);
            inner += 1;
        }
        push_text(&mut tokens, at, piece);
        (at, trim_left) = match comment_end(text, inner)? {
            Some(end) => end,
            None => {
                tokens.push((open, Token::Open));
                lex_action(text, inner, &mut tokens)?
            }
        };
    }
    Ok(tokens)
}

fn push_text(tokens: &mut Vec<Placed>, at: usize, piece: &str) {
    if !piece.is_empty() {
        tokens.push((at, Token::Text(piece.to_owned())));
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn trims_after_open(rest: &str) -> bool {
    let mut chars = rest.chars();
    chars.next() == Some('-') && chars.next().is_some_and(is_space)
}

/// Where an action closes at `rest`: length of the delimiter and whether it trims.
fn closing(rest: &str) -> Option<(usize, bool)> {
    if rest.starts_with("}}") {
        return Some((2, false));
    }
    let trimmed = rest.trim_start_matches(is_space);
    let blanks = rest.len() - trimmed.len();
    (blanks > 0 && trimmed.starts_with("-}}")).then_some((blanks + 3, true))
}

/// Skips a comment that begins at `at`; returns where text goes on and whether it is trimmed.
fn comment_end(text: &str, at: usize) -> Result<Option<(usize, bool)>, TemplateError> {
    let rest = &text[at..];
    let body = rest.trim_start_matches(is_space);
    if !body.starts_with("/*") {
        return Ok(None);
    }
    let fail = |reason: &str| TemplateError { offset: at, reason: reason.to_owned() };
    let end = body.find("*/").ok_or_else(|| fail("unclosed comment"))?;
    let after = at + (rest.len() - body.len()) + end + 2;
    match closing(&text[after..]) {
        Some((length, trim)) => Ok(Some((after + length, trim))),
        None => Err(fail("a comment must fill its whole action")),
    }
}

fn lex_action(text: &str, start: usize, tokens: &mut Vec<Placed>) -> Result<(usize, bool), TemplateError> {
    let mut at = start;
    loop {
        let rest = &text[at..];
        if let Some((length, trim)) = closing(rest) {
            tokens.push((at, Token::Close));
            return Ok((at + length, trim));
        }
        let Some(first) = rest.chars().next() else {
            return Err(TemplateError { offset: start.saturating_sub(2), reason: "unclosed action".into() });
        };
        let (token, length) =
            lex_word(rest, first).map_err(|(skip, reason)| TemplateError { offset: at + skip, reason })?;
        tokens.push((at, token));
        at += length;
    }
}

type Word = Result<(Token, usize), (usize, String)>;

fn lex_word(rest: &str, first: char) -> Word {
    let one = |token| Ok((token, 1));
    match first {
        c if is_space(c) => Ok((Token::Space, rest.len() - rest.trim_start_matches(is_space).len())),
        '|' => one(Token::Pipe),
        '(' => one(Token::LeftParen),
        ')' => one(Token::RightParen),
        ',' => one(Token::Comma),
        '=' => one(Token::Assign),
        ':' if rest.starts_with(":=") => Ok((Token::Declare, 2)),
        '"' => quoted(rest, '"').map(|(text, n)| (Token::Quoted(text), n)),
        '`' => match rest[1..].find('`') {
            Some(end) => Ok((Token::Quoted(rest[1..1 + end].to_owned()), end + 2)),
            None => Err((0, "unterminated raw string".into())),
        },
        '\'' => character(rest),
        '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => number(rest),
        '.' => {
            let name = identifier(&rest[1..]);
            match name.len() {
                0 => one(Token::Dot),
                n => Ok((Token::Field(name.to_owned()), n + 1)),
            }
        }
        '$' => {
            let name = identifier(&rest[1..]);
            Ok((Token::Variable(name.to_owned()), name.len() + 1))
        }
        '0'..='9' | '+' | '-' => number(rest),
        c if c.is_alphabetic() || c == '_' => {
            let name = identifier(rest);
            Ok((Token::Word(name.to_owned()), name.len()))
        }
        c => Err((0, format!("unexpected {c:?} in an action"))),
    }
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn number(rest: &str) -> Word {
    let mut end = 0;
    for (at, c) in rest.char_indices() {
        let sign = matches!(c, '+' | '-') && (at == 0 || rest[..at].ends_with(['e', 'E']));
        if !(sign || c.is_ascii_alphanumeric() || matches!(c, '.' | '_')) {
            break;
        }
        end = at + c.len_utf8();
    }
    let word = &rest[..end];
    let digits = word.replace('_', "");
    let (negative, bare) = match digits.strip_prefix('-') {
        Some(bare) => (true, bare),
        None => (false, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let lower = bare.to_ascii_lowercase();
    let whole = match lower.get(..2) {
        Some("0x") => i64::from_str_radix(&lower[2..], 16).ok(),
        Some("0o") => i64::from_str_radix(&lower[2..], 8).ok(),
        Some("0b") => i64::from_str_radix(&lower[2..], 2).ok(),
        _ => lower.parse().ok(),
    };
    if let Some(value) = whole {
        return Ok((Token::Integer(if negative { -value } else { value }), end));
    }
    match lower.parse::<f64>() {
        Ok(value) if lower.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            Ok((Token::Float(if negative { -value } else { value }), end))
        }
        _ => Err((0, format!("bad number {word:?}"))),
    }
}

fn character(rest: &str) -> Word {
    let (text, length) = quoted(rest, '\'')?;
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => Ok((Token::Integer(i64::from(u32::from(c))), length)),
        _ => Err((0, "a character constant holds exactly one character; strings take double quotes".into())),
    }
}

/// Unescapes a Go string that begins with `quote`; returns it and the length of its source.
fn quoted(rest: &str, quote: char) -> Result<(String, usize), (usize, String)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\n' => break,
            c if c == quote => return Ok((text, at + 1)),
            '\\' => {
                let (_, escape) = chars.next().ok_or((0, "unterminated quoted string".to_owned()))?;
                let code_digits = match escape {
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    _ => 0,
                };
                if code_digits > 0 {
                    let hex: String = chars.by_ref().take(code_digits).map(|(_, c)| c).collect();
                    let code = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32);
                    text.push(code.ok_or((at, format!("bad escape \\{escape}{hex}")))?);
                } else {
                    text.push(simple_escape(escape).ok_or((at, format!("unknown escape \\{escape}")))?);
                }
            }
            c => text.push(c),
        }
    }
    Err((0, "unterminated quoted string".into()))
}

fn simple_escape(c: char) -> Option<char> {
    Some(match c {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'v' => '\x0b',
        '0' => '\0',
        '\\' | '"' | '\'' => c,
        _ => return None,
    })
}
