//! Columns of text as Go's `text/tabwriter` lays them out for docker: cells are at least ten wide, three blanks apart.
//!
//! Every line but the last cell is padded; a column is as wide as its widest cell over all lines.

/// Columns of the narrowest cell, its blanks included; the last cell is not padded.
pub const CELL_MIN: usize = 10;
/// Blanks between columns.
pub const GAP: usize = 3;

/// Lays out lines whose cells are separated by tabs; each line of the result ends with a line feed.
pub fn layout(lines: &[String]) -> String {
    layout_at_least(CELL_MIN, lines)
}

/// As [`layout`], with cells that are at least so wide.
pub fn layout_at_least(cell_min: usize, lines: &[String]) -> String {
    let rows: Vec<Vec<&str>> = lines.iter().map(|line| line.split('\t').collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![0; columns];
    for row in &rows {
        let padded = row.len().saturating_sub(1);
        for (cell, width) in row[..padded].iter().zip(&mut widths) {
            *width = cell_min.max(*width).max(cell.chars().count() + GAP);
        }
    }
    let mut out = String::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if at + 1 < row.len() {
                let blanks = widths[at].saturating_sub(cell.chars().count());
                out.extend(std::iter::repeat_n(' ', blanks));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_as_docker() {
        let lines = ["ID\tNAMES\tPORTS", "0123456789ab\tquay\t", "1\tü\tx"].map(str::to_owned);
        assert_eq!(
            layout(&lines),
            "ID             NAMES     PORTS\n0123456789ab   quay      \n1              ü         x\n"
        );
        assert_eq!(layout(&[]), "");
    }
}
