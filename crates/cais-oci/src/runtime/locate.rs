//! Where in a JSON document an error is: from line and column to a path such as `process.args[2]`.
//!
//! Works on any bytes, never fails and never recurses: a wrong document gives the path as far as it makes sense.

/// The place that a value or a key is at.
enum Frame {
    Object { key: Option<String>, key_next: bool },
    Array { index: usize },
}

/// The path of what stands right before `line` and `column` (both from 1, as serde_json counts); empty at the top.
pub(super) fn path_at(json: &[u8], line: usize, column: usize) -> String {
    let start = match line.checked_sub(2) {
        None => 0,
        Some(nth) => {
            let newline = json.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(nth);
            newline.map_or(json.len(), |(at, _)| at + 1)
        }
    };
    path_before(json, start.saturating_add(column))
}

/// The path of what stands right before the byte `end`; empty at the top.
pub(super) fn path_before(json: &[u8], end: usize) -> String {
    render(&frames(&json[..json.len().min(end)]))
}

fn frames(json: &[u8]) -> Vec<Frame> {
    let mut stack = Vec::new();
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        at += 1;
        match byte {
            b'{' => stack.push(Frame::Object { key: None, key_next: true }),
            b'[' => stack.push(Frame::Array { index: 0 }),
            b'}' | b']' => {
                stack.pop();
            }
            b',' => match stack.last_mut() {
                Some(Frame::Object { key_next, .. }) => *key_next = true,
                Some(Frame::Array { index }) => *index += 1,
                None => {}
            },
            b'"' => {
                let end = end_of_string(json, at);
                if let Some(Frame::Object { key, key_next }) = stack.last_mut()
                    && *key_next
                {
                    *key = Some(String::from_utf8_lossy(&json[at..end]).into_owned());
                    *key_next = false;
                }
                at = end + 1;
            }
            _ => {}
        }
    }
    stack
}

/// The index of the closing quote of the string that starts at `at`, or the end.
fn end_of_string(json: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = json.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

fn render(stack: &[Frame]) -> String {
    let mut path = String::new();
    for frame in stack {
        match frame {
            Frame::Object { key: Some(key), .. } => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            Frame::Object { key: None, .. } => {}
            Frame::Array { index } => path.push_str(&format!("[{index}]")),
        }
    }
    path
}
