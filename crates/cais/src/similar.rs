//! What was probably meant: the nearest of some names, by edit distance. Only ever a hint: nothing acts on a guess.

/// The longest text that is compared.
const LENGTH_MAX: usize = 64;

/// The name that differs least from a word, if it differs by little.
pub fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.map(|name| (distance(word, name), name)).min_by_key(|(distance, _)| *distance)?;
    let allowed = if word.chars().count() > 3 { 2 } else { 1 };
    (near.0 <= allowed && near.0 < word.chars().count()).then_some(near.1)
}

/// Insertions, deletions, replacements and swaps of neighbours that make one word of another (optimal string alignment).
fn distance(left: &str, right: &str) -> usize {
    let characters = |text: &str| text.chars().take(LENGTH_MAX).collect::<Vec<char>>();
    let (left, right) = (characters(left), characters(right));
    let width = right.len() + 1;
    let mut rows: Vec<Vec<usize>> = vec![(0..width).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i; width];
        for j in 1..width {
            let differs = usize::from(left[i - 1] != right[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + differs);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row[j] = best;
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (left, right, expected) in
            [("run", "run", 0), ("rnu", "run", 1), ("", "ps", 2), ("images", "image", 1), ("kill", "ill", 1)]
        {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn only_what_is_near_is_meant() {
        let names = || ["web", "database", "x"].into_iter();
        assert_eq!(nearest("wbe", names()), Some("web"));
        assert_eq!(nearest("databsae", names()), Some("database"));
        assert_eq!(nearest("frobnicate", names()), None);
        assert_eq!(nearest("y", names()), None, "nothing of it is the same");
        assert_eq!(nearest("", names()), None);
    }
}
