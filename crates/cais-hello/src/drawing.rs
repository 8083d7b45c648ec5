//! The drawing: a ship at the quay, loaded with the layers of this container, the writable one on top.

use crate::page::Page;

/// Columns of the drawing.
pub const WIDTH: usize = 58;
/// Boxes that are drawn for image layers; more are told by number.
const LAYERS_MAX: usize = 4;
/// Columns from the left edge to the boxes, and inside a box.
const LEFT: usize = 21;
const INSIDE: usize = 28;

/// What lies on the ship.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cargo {
    /// Image layers; 0 when the root is no stack.
    pub layers: usize,
    /// Whether there is a writable layer on top of them.
    pub writable: bool,
}

/// Draws it, with an empty line behind.
pub fn draw(page: &mut Page<'_>, cargo: Cargo) {
    if cargo.writable {
        lid(page);
        container(page, "writable layer", None, "mine");
    }
    let drawn = cargo.layers.min(LAYERS_MAX);
    for place in 0..drawn {
        lid(page);
        let number = cargo.layers - place;
        if place + 1 == drawn && number > 1 {
            container(page, "more image layers:", Some(number), "");
        } else {
            container(page, "image layer", Some(number), "read-only");
        }
    }
    if cargo.layers == 0 {
        lid(page);
        container(page, "root, not in layers", None, "");
    }
    page.text("            _||__    +").repeat(b'-', INSIDE).text("+").end();
    page.text("     ______|_o_o_|___|").repeat(b'_', INSIDE).text("|______").end();
    page.text("=====+\\               c  a  i  s                         /").end();
    page.text("     | \\________________________________________________/").end();
    page.text("quay |~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~").end();
    page.end();
}

/// The upper edge of a box.
fn lid(page: &mut Page<'_>) {
    page.repeat(b' ', LEFT).text("+").repeat(b'-', INSIDE).text("+").end();
}

/// The middle of a box: words at its left and at its right.
fn container(page: &mut Page<'_>, left: &str, number: Option<usize>, right: &str) {
    page.repeat(b' ', LEFT).text("|  ").text(left);
    if let Some(number) = number {
        page.text(" ").number(number as u64);
    }
    page.column(LEFT + INSIDE - right.len() - 1).text(right).column(LEFT + 1 + INSIDE).text("|").end();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(layers: usize, writable: bool) -> String {
        let mut buffer = [0; 4096];
        let mut page = Page::new(&mut buffer);
        draw(&mut page, Cargo { layers, writable });
        String::from_utf8(page.bytes().to_vec()).unwrap()
    }

    #[test]
    fn boxes_are_closed_and_narrow() {
        for (layers, writable) in [(0, false), (1, true), (4, true), (5, false), (127, true)] {
            let text = drawn(layers, writable);
            for line in text.lines() {
                assert!(line.len() <= WIDTH, "{} columns: {line}", line.len());
            }
            let stack = text.lines().take_while(|line| !line.contains("_||__"));
            for line in stack {
                assert_eq!(line.len(), LEFT + INSIDE + 2, "{text}");
            }
        }
    }

    #[test]
    fn the_writable_layer_lies_on_top() {
        let text = drawn(2, true);
        let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what} in\n{text}"));
        assert!(place("writable layer") < place("image layer 2"));
        assert!(place("image layer 2") < place("image layer 1"));
        assert!(!drawn(2, false).contains("writable"));
        assert!(drawn(9, true).contains("more image layers: 6"));
    }
}
