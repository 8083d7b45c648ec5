//! Times as people write and read them: docker's ages ("About an hour"), Go's durations (`1h30m`), `--since`.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// docker's `HumanDuration`: "5 seconds", "About an hour", "3 weeks".
pub fn human_duration(elapsed: SignedDuration) -> String {
    let seconds = elapsed.as_secs().max(0);
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".into(),
        () if seconds == 1 => "1 second".into(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".into(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".into(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// "2 minutes ago"; "N/A" for a text that is no RFC 3339 time.
pub fn ago(rfc3339: &str, now: Timestamp) -> String {
    match rfc3339.parse::<Timestamp>() {
        Ok(time) => format!("{} ago", human_duration(now.duration_since(time))),
        Err(_) => "N/A".into(),
    }
}

/// `2006-01-02 15:04:05 -0700 MST` in the given zone; the text itself when it is no RFC 3339 time.
pub fn long(rfc3339: &str, zone: &TimeZone) -> String {
    match rfc3339.parse::<Timestamp>() {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string(),
        Err(_) => rfc3339.to_owned(),
    }
}

/// Parses Go's duration (`300ms`, `-1.5h`, `1h30m`).
pub fn parse_duration(text: &str) -> Option<SignedDuration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    let mut nanos: f64 = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let scale = match &tail[..unit] {
            "h" => 3600e9,
            "m" => 60e9,
            "s" => 1e9,
            "ms" => 1e6,
            "us" | "µs" | "μs" => 1e3,
            "ns" => 1.0,
            _ => return None,
        };
        nanos += number.parse::<f64>().ok()? * scale;
        rest = &tail[unit..];
    }
    // Go's durations end at 2^63 nanoseconds.
    (nanos < 9.2e18).then(|| SignedDuration::from_nanos(if negative { -nanos } else { nanos } as i64))
}

/// Parses `--since` and `--until`: a duration before `now`, unix seconds, RFC 3339, or a local date and time.
///
/// # Errors
/// A reason, without the name of the flag.
pub fn parse_instant(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let fail = || {
        format!(
            "{text:?} is no time: expected a duration (10m), unix seconds, or RFC 3339 (2026-01-02T15:04:05Z)"
        )
    };
    if let Some(duration) = parse_duration(text).filter(|_| text != "0") {
        return now.checked_sub(duration).map_err(|_| fail());
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if let (Ok(seconds), true) = (seconds.parse::<i64>(), fraction.bytes().all(|b| b.is_ascii_digit())) {
        let nanos = format!("{fraction:0<9}").get(..9).and_then(|n| n.parse().ok()).unwrap_or(0);
        return Timestamp::new(seconds, nanos).map_err(|_| fail());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let civil = match text.strip_suffix('Z') {
        Some(text) => (text, TimeZone::UTC),
        None => (text, zone.clone()),
    };
    let time: jiff::civil::DateTime = civil.0.parse().map_err(|_| fail())?;
    time.to_zoned(civil.1).map(|zoned| zoned.timestamp()).map_err(|_| fail())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_ages_as_docker() {
        let cases = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 24 * 3600, "2 weeks"),
            (60 * 24 * 3600, "2 months"),
            (800 * 24 * 3600, "2 years"),
            (-5, "Less than a second"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(human_duration(SignedDuration::from_secs(seconds)), expected, "{seconds}");
        }
        let now = "2026-01-02T00:02:00Z".parse().expect("a time");
        assert_eq!(ago("2026-01-02T00:00:00.5Z", now), "About a minute ago");
        assert_eq!(ago("", now), "N/A");
        assert_eq!(long("2026-01-02T03:04:05.678Z", &TimeZone::UTC), "2026-01-02 03:04:05 +0000 UTC");
    }

    #[test]
    fn parses_go_durations() {
        let cases = [
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("300ms", 300),
            ("-2s", -2000),
            ("0", 0),
        ];
        for (text, millis) in cases {
            assert_eq!(parse_duration(text), Some(SignedDuration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "m", "1x", "h1", "1.2.3s", "-", "99999999999h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn parses_instants() {
        let now: Timestamp = "2026-01-02T12:00:00Z".parse().expect("a time");
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let cases = [
            ("10m", "2026-01-02T11:50:00Z"),
            ("1767312000", "2026-01-02T00:00:00Z"),
            ("1767312000.5", "2026-01-02T00:00:00.5Z"),
            ("1767312000.123456789", "2026-01-02T00:00:00.123456789Z"),
            ("0", "1970-01-01T00:00:00Z"),
            ("2026-01-02T01:02:03Z", "2026-01-02T01:02:03Z"),
            ("2026-01-02T01:02:03.5+01:00", "2026-01-02T00:02:03.5Z"),
            ("2026-01-02T01:02:03", "2026-01-01T23:02:03Z"),
            ("2026-01-02T01:02", "2026-01-01T23:02:00Z"),
            ("2026-01-02", "2026-01-01T22:00:00Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(
                parse_instant(text, now, &zone).map(|t| t.to_string()).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
        for text in ["", "yesterday", "1.x", "2026-13-01", "12:00"] {
            assert!(parse_instant(text, now, &zone).is_err(), "{text}");
        }
    }
}
