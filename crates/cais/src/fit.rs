//! Tables that fit the terminal: the widest columns are cut in their middle until all of a line is seen.
//!
//! Pure. Cells are separated by tabs, laid out later by [`crate::table`], whose gap is counted here. The last column
//! (a name, as a rule) is cut only when nothing else is left to cut, and no column below [`CELL_LEAST`].

use crate::table::{CELL_MIN, GAP};

/// A column that is no wider is left alone.
const CELL_LEAST: usize = 15;

/// Shortens cells of lines so that the table is at most `width` columns wide, if that can be.
pub fn fit(lines: &[String], width: usize) -> Vec<String> {
    let rows: Vec<Vec<&str>> = lines.iter().map(|line| line.split('\t').collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![0; columns];
    for row in &rows {
        for (cell, widest) in row.iter().zip(&mut widths) {
            *widest = cell.chars().count().max(*widest);
        }
    }
    let but_last = columns.saturating_sub(1);
    let total = |widths: &[usize]| {
        let padded = widths[..but_last].iter().map(|width| CELL_MIN.max(width + GAP));
        padded.sum::<usize>() + widths.last().copied().unwrap_or(0)
    };
    while total(&widths) > width {
        // Of equally wide ones the first: an image's name says much before its end.
        let widest = (0..but_last).rev().max_by_key(|at| widths[*at]).filter(|at| widths[*at] > CELL_LEAST);
        let Some(at) = widest.or((columns > 0 && widths[but_last] > CELL_LEAST).then_some(but_last)) else {
            break;
        };
        widths[at] -= 1;
    }
    let short = |row: &Vec<&str>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| middle_out(cell, *width));
        cells.collect::<Vec<_>>().join("\t")
    };
    rows.iter().map(short).collect()
}

/// Begin and end of a text with an ellipsis between: of an image its registry and its tag are still seen.
fn middle_out(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let head = (most - 1) / 2;
    let tail = most - 1 - head;
    text.chars().take(head).chain(['…']).chain(text.chars().skip(length - tail)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::layout;

    #[test]
    fn wide_columns_give_way_to_names() {
        let lines = [
            "CONTAINER ID\tIMAGE\tPORTS\tNAMES".to_owned(),
            "0123456789ab\tregistry.example.org/team/project/server:1.2.3\t0.0.0.0:80->80/tcp, 0.0.0.0:443->443/tcp\tquay".to_owned(),
        ];
        for width in [60, 80, 100] {
            let table = layout(&fit(&lines, width));
            let widest = table.lines().map(|line| line.chars().count()).max().unwrap_or(0);
            assert!(widest <= width, "{width}: {widest}\n{table}");
            assert!(
                table.contains("0123456789ab") && table.contains("quay") && table.contains(".2.3"),
                "{table}"
            );
        }
        assert_eq!(fit(&lines, 500), lines, "nothing is cut without need");
        assert_eq!(fit(&[], 10), Vec::<String>::new());
        assert_eq!(fit(&lines, 1).len(), 2, "what cannot fit is shown as short as may be");
        assert_eq!(middle_out("abcdefgh", 5), "ab…gh");
    }
}
