//! `ps`: process ids as JSON, or the lines of the host's `ps` that are about them.

use std::process::Command;

use super::failure::{Failure, Outcome};
use super::flags::Words;
use super::list::{Shape, shape};
use super::{Door, print, print_json};

pub(super) fn main(door: &Door, words: &Words) -> Outcome {
    let shape = shape(words)?;
    let pids = door.runtime()?.ps(words.id()?)?;
    if shape == Shape::Json {
        print_json(&pids)?;
        return Ok(0);
    }
    let mut command = Command::new("ps");
    match words.arguments.get(1..) {
        Some(options) if !options.is_empty() => command.args(options),
        _ => command.arg("-ef"),
    };
    let output = command.output().map_err(|error| Failure::io("execute ps", &error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::edge(format!("ps ended with {}", output.status), said.trim_end()));
    }
    print(&filtered(&String::from_utf8_lossy(&output.stdout), &pids)?)?;
    Ok(0)
}

/// The heading and the lines of these processes.
fn filtered(listing: &str, pids: &[i32]) -> Result<String, Failure> {
    let mut lines = listing.lines();
    let heading = lines.next().unwrap_or_default();
    let column = heading.split_whitespace().position(|title| title == "PID");
    let column = column.ok_or_else(|| Failure::usage("couldn't find PID field in ps output"))?;
    let mut text = format!("{heading}\n");
    for line in lines {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse::<i32>().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_container_only() {
        let listing =
            "UID          PID    PPID CMD\nroot           7       1 sh 8\nroot           8       7 cat\n\n";
        assert_eq!(
            filtered(listing, &[8, 9]).expect("ok"),
            "UID          PID    PPID CMD\nroot           8       7 cat\n"
        );
        assert_eq!(filtered("  PID CMD\n", &[]).expect("ok"), "  PID CMD\n");
        assert_eq!(
            filtered("CMD\nsh\n", &[1]).expect_err("no column").message,
            "couldn't find PID field in ps output"
        );
        assert!(filtered("", &[1]).is_err());
    }
}
