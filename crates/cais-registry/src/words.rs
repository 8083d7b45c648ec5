//! Text from a server, made fit for a terminal.

/// Longest piece of server text that is kept, in characters.
const SERVER_TEXT_MAX: usize = 300;

/// Makes text from a server fit for a terminal: no control characters, one line, not long.
pub(crate) fn clean(text: &str) -> String {
    let mut words = text
        .split_whitespace()
        .map(|word| word.chars().filter(|c| !c.is_control() && !is_direction_mark(*c)).collect::<String>());
    let mut line = words.next().unwrap_or_default();
    for word in words {
        line.push(' ');
        line.push_str(&word);
    }
    match line.char_indices().nth(SERVER_TEXT_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Characters that turn the direction of the text around them.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_text_cannot_reach_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\r\n\tc \u{202e}d"), "a[2Jb c d");
        assert_eq!(clean(&"x".repeat(1000)).chars().count(), SERVER_TEXT_MAX + 1);
    }
}
