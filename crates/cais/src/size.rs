//! Sizes as people write and read them: docker's units (`512m`, `1.09MB`).

/// Parses bytes as docker does: a decimal number and `b`, `k`, `m`, `g`, `t`, `p`, powers of 1024; `kb`, `KiB` too.
///
/// # Errors
/// A reason, without the name of the flag.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let fail = || format!("invalid size {text:?}: expected a number with an optional unit b, k, m or g");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "ki" | "kib" => 10,
        "m" | "mb" | "mi" | "mib" => 20,
        "g" | "gb" | "gi" | "gib" => 30,
        "t" | "tb" | "ti" | "tib" => 40,
        "p" | "pb" | "pi" | "pib" => 50,
        _ => return Err(fail()),
    };
    if let Ok(whole) = digits.parse::<u64>() {
        let limit = u64::try_from(i64::MAX).unwrap_or(u64::MAX) >> shift;
        return if whole <= limit { Ok(whole << shift) } else { Err(format!("size {text:?} is too large")) };
    }
    let (whole, fraction) = digits.split_once('.').ok_or_else(fail)?;
    if whole.is_empty() || fraction.is_empty() {
        return Err(fail());
    }
    let number: f64 = digits.parse().map_err(|_| fail())?;
    let bytes = number * (1u64 << shift) as f64;
    // Beyond this a float no longer counts in bytes, and i64 is near.
    if bytes < 9.0e18 { Ok(bytes as u64) } else { Err(format!("size {text:?} is too large")) }
}

/// `1.09MB`, `72.8MB`, `0B`: three significant digits, powers of 1000.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 999.5 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let decimals = match size {
        s if unit == 0 || s >= 99.95 => 0,
        s if s >= 9.995 => 1,
        _ => 2,
    };
    let digits = format!("{size:.decimals$}");
    let digits = if decimals > 0 { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{digits}{}", UNITS[unit])
}

/// `1.5MiB`, `0B`: four significant digits, powers of 1024.
pub fn human_binary(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let decimals = match size {
        _ if unit == 0 => 0,
        s if s >= 999.95 => 0,
        s if s >= 99.995 => 1,
        s if s >= 9.9995 => 2,
        _ => 3,
    };
    let digits = format!("{size:.decimals$}");
    let digits = if decimals > 0 { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{digits}{}", UNITS[unit])
}

/// Parses a decimal number of CPUs into billionths, as docker's `--cpus`.
///
/// # Errors
/// A reason, without the name of the flag.
pub fn parse_cpus(text: &str) -> Result<u64, String> {
    let fail = || format!("{text:?} is not a number of CPUs (such as 1.5)");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) {
        return Err(fail());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 {
        return Err(format!("{text:?} is too precise: at most nine digits follow the point"));
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| fail())? };
    let nano: u64 = format!("{fraction:0<9}").parse().map_err(|_| fail())?;
    whole.checked_mul(1_000_000_000).and_then(|n| n.checked_add(nano)).ok_or_else(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_dockers_sizes() {
        let cases = [
            ("0", 0),
            ("42", 42),
            ("42b", 42),
            ("1k", 1024),
            ("1K", 1024),
            ("1kb", 1024),
            ("1 KiB", 1024),
            ("64m", 64 << 20),
            ("1.5g", 3 << 29),
            ("2T", 2 << 40),
            ("32.5kB", 33_280),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_bytes(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "m",
            "-1",
            "1x",
            "1.g",
            ".5g",
            "1..5g",
            "0x10",
            "1mm",
            "99999999999999p",
            "9223372036854775808",
        ] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn prints_three_digits() {
        let cases = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_090_000, "1.09MB"),
            (72_800_000, "72.8MB"),
            (999_600, "1MB"),
            (124_400_000, "124MB"),
            (1_234_000_000, "1.23GB"),
            (u64::MAX, "18.4EB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(human(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn prints_four_binary_digits() {
        let cases = [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1KiB"),
            (1536, "1.5KiB"),
            (1_433_600, "1.367MiB"),
            (64 << 20, "64MiB"),
            (16_720_000_000, "15.57GiB"),
            (1000 << 20, "1000MiB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(human_binary(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn parses_cpus() {
        for (text, expected) in
            [("1", 1_000_000_000), ("0.5", 500_000_000), (".25", 250_000_000), ("1.", 1_000_000_000)]
        {
            assert_eq!(parse_cpus(text), Ok(expected), "{text}");
        }
        for text in ["", ".", "-1", "1e3", "1.0000000001", "x", "99999999999999999999"] {
            assert!(parse_cpus(text).is_err(), "{text}");
        }
    }
}
