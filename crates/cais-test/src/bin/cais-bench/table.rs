//! The table that is printed.

use std::fmt;
use std::time::Duration;

use crate::sample::Times;

/// What stands in one place of the table.
#[derive(Clone, Debug)]
pub enum Cell {
    /// Times of a command.
    Times(Times),
    /// Anything else.
    Text(String),
}

/// Rows by what was run, columns by engine.
#[derive(Debug, Default)]
pub struct Table {
    notes: Vec<String>,
    columns: Vec<&'static str>,
    rows: Vec<(String, Vec<Cell>)>,
}

impl Table {
    /// An empty table.
    pub fn new() -> Table {
        Table::default()
    }

    /// Names the engines; the first one is compared with the others.
    pub fn columns(&mut self, columns: Vec<&'static str>) {
        self.columns = columns;
    }

    /// Adds a line below the table.
    pub fn note(&mut self, note: String) {
        eprintln!("{note}");
        self.notes.push(note);
    }

    /// Adds a row.
    pub fn row(&mut self, title: &str, cells: Vec<Cell>) {
        self.rows.push((title.to_owned(), cells));
    }
}

fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if ms < 100.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | {} | {} |", self.columns.join(" | "), ratio_titles(&self.columns).join(" | "))?;
        writeln!(f, "|---{}|", "|---".repeat(self.columns.len() + ratio_titles(&self.columns).len()))?;
        for (title, cells) in &self.rows {
            write!(f, "| {title} |")?;
            for cell in cells {
                match cell {
                    Cell::Text(text) => write!(f, " {text} |")?,
                    Cell::Times(times) => {
                        let [low, mid, high] = [10, 50, 90].map(|percent| ms(times.percentile(percent)));
                        write!(f, " **{mid}** ({low}–{high}) |")?;
                    }
                }
            }
            for other in cells.iter().skip(1) {
                match (cells.first(), other) {
                    (Some(Cell::Times(own)), Cell::Times(other)) => {
                        let ratio = other.percentile(50).as_secs_f64() / own.percentile(50).as_secs_f64();
                        write!(f, " {ratio:.1}× |")?;
                    }
                    _ => write!(f, " |")?,
                }
            }
            writeln!(f)?;
        }
        writeln!(
            f,
            "\nTimes in ms: **median** (10th–90th percentile); ratio: medians of the peer by those of cais.\n"
        )?;
        let cpu = std::thread::available_parallelism().map_or(0, usize::from);
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        writeln!(f, "- machine: {cpu} processors, Linux {}", kernel.trim())?;
        for note in &self.notes {
            writeln!(f, "- {note}")?;
        }
        Ok(())
    }
}

fn ratio_titles(columns: &[&str]) -> Vec<String> {
    columns.iter().skip(1).map(|peer| format!("{peer}/cais")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_as_many_places_as_the_head() {
        let mut table = Table::new();
        table.columns(vec!["cais", "docker"]);
        let times = |ms| Cell::Times(Times::new(vec![Duration::from_millis(ms)]));
        table.row("a", vec![times(10), times(250)]);
        table.row("b", vec![Cell::Text("x".to_owned()), times(1)]);
        let text = table.to_string();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert!(rows.iter().all(|row| row.matches('|').count() == 5), "{text}");
        assert!(rows[2].ends_with("| **10.0** (10.0–10.0) | **250** (250–250) | 25.0× |"), "{text}");
    }
}
