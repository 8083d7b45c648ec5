//! Names: their grammar, and random ones for containers without.

use crate::error::{Noun, Result, StoreError};

const ADJECTIVES: [&str; 72] = [
    "able", "agile", "amber", "ample", "balmy", "blithe", "bold", "breezy", "bright", "brisk", "calm",
    "candid", "cheery", "clever", "coral", "cosy", "crisp", "curious", "deft", "eager", "early", "earnest",
    "elated", "fair", "fearless", "fleet", "fluent", "frank", "fresh", "gentle", "glad", "golden",
    "graceful", "hale", "handy", "hardy", "hearty", "honest", "jolly", "jovial", "keen", "kind", "lively",
    "lucid", "lucky", "mellow", "merry", "mild", "neat", "nimble", "noble", "patient", "placid", "plucky",
    "polite", "proud", "quick", "quiet", "ready", "salty", "serene", "sharp", "silver", "smooth", "steady",
    "sunny", "swift", "tidy", "upbeat", "vivid", "warm", "witty",
];

/// Navigators, shipbuilders, scientists and engineers.
const SURNAMES: [&str; 72] = [
    "amundsen",
    "archimedes",
    "babbage",
    "bandeira",
    "banks",
    "barents",
    "bell",
    "bering",
    "bougainville",
    "brunel",
    "cabot",
    "cabral",
    "cartier",
    "chagas",
    "champlain",
    "cook",
    "copernicus",
    "correia",
    "curie",
    "darwin",
    "davis",
    "diesel",
    "drake",
    "einstein",
    "euler",
    "faraday",
    "fermat",
    "flinders",
    "franklin",
    "fulton",
    "galileo",
    "gama",
    "gauss",
    "hamilton",
    "harrison",
    "hooke",
    "hopper",
    "hudson",
    "humboldt",
    "johnson",
    "kepler",
    "laplace",
    "leibniz",
    "linnaeus",
    "lovelace",
    "magellan",
    "maxwell",
    "mclean",
    "meitner",
    "mercator",
    "moniz",
    "morse",
    "nansen",
    "newton",
    "noether",
    "nunes",
    "ohm",
    "pascal",
    "pasteur",
    "polo",
    "ross",
    "rutherford",
    "scott",
    "shackleton",
    "tasman",
    "tesla",
    "torricelli",
    "turing",
    "vespucci",
    "volta",
    "watt",
    "zheng",
];

/// A random `adjective_surname`; `attempt` > 0 appends a random digit, as Docker does after a collision.
pub fn random_name(attempt: u32) -> String {
    let random = crate::files::random_hex(6);
    let number =
        |range: std::ops::Range<usize>| usize::from_str_radix(&random[range], 16).unwrap_or_default();
    let adjective = ADJECTIVES[number(0..4) % ADJECTIVES.len()];
    let surname = SURNAMES[number(4..8) % SURNAMES.len()];
    match attempt {
        0 => format!("{adjective}_{surname}"),
        _ => format!("{adjective}_{surname}{}", number(8..10) % 10),
    }
}

/// A new random container id: 64 lower-case hex digits.
///
/// The short form (12 digits) is never all decimal, because it serves as host name and some programs take such a
/// host name for a number.
pub fn random_id() -> String {
    loop {
        let id = crate::files::random_hex(32);
        if id[..12].bytes().any(|b| b.is_ascii_alphabetic()) {
            return id;
        }
    }
}

/// Whether a text is a whole id: 64 lower-case hex digits.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Checks `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, Docker's grammar for containers and volumes.
///
/// # Errors
/// [`StoreError::BadName`].
pub fn check_name(noun: Noun, name: &str) -> Result<()> {
    let valid = (2..=255).contains(&name.len())
        && name.as_bytes()[0].is_ascii_alphanumeric()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if valid { Ok(()) } else { Err(StoreError::BadName { noun, name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn words_are_distinct_and_names_valid() {
        assert_eq!(ADJECTIVES.iter().collect::<BTreeSet<_>>().len(), ADJECTIVES.len());
        assert_eq!(SURNAMES.iter().collect::<BTreeSet<_>>().len(), SURNAMES.len());
        let names: BTreeSet<String> = (0..200).map(|attempt| random_name(attempt % 2)).collect();
        assert!(names.len() > 100, "only {} distinct names", names.len());
        for name in names {
            check_name(Noun::Container, &name).unwrap();
        }
        assert!(is_id(&random_id()));
    }

    #[test]
    fn grammar() {
        for good in ["ab", "a1", "Web-1_x.y", "0a"] {
            check_name(Noun::Volume, good).unwrap();
        }
        for bad in ["", "a", "-a", ".a", "a/b", "a b", "ä1", "..", &"x".repeat(256)] {
            assert!(check_name(Noun::Volume, bad).is_err(), "{bad:?}");
        }
    }
}
