//! What a registry says when it refuses: the distribution specification's error document, `Retry-After`, rate limits.

use serde::Deserialize;

use crate::error::Failure;
use crate::http::Response;
use crate::registries::Source;
use crate::words::clean;

const ERROR_ANSWER_MAX: u64 = 16 << 10;

/// The failure behind a status that is no success.
pub(crate) fn refusal(source: &Source, response: Response, logged_in: bool, pushing: bool) -> Failure {
    let registry = source.registry.clone();
    let repository = source.repository.clone();
    let host = response.host.clone();
    let status = response.status;
    let retry_after_s = retry_after(&response);
    let limit =
        response.header("ratelimit-limit").or(response.header("x-ratelimit-limit")).map(limit_in_words);
    let redirected = response.redirected;
    let message = response.read_small(ERROR_ANSWER_MAX).ok().and_then(|body| message(&body));
    match status {
        401 if !redirected => Failure::Unauthorized { registry, repository, logged_in, pushing, message },
        403 if !redirected => Failure::Forbidden { registry, repository, message },
        404 => Failure::NotFound { registry, message },
        429 => Failure::RateLimited { registry: host, retry_after_s, limit, message },
        _ => Failure::Status { host, status, message },
    }
}

/// `Retry-After` in seconds, whether the server gave a number or a date; else the reset of the rate limit.
fn retry_after(response: &Response) -> Option<u64> {
    if let Some(text) = response.header("retry-after") {
        let text = text.trim();
        if let Ok(seconds) = text.parse() {
            return Some(seconds);
        }
        let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        return Some(u64::try_from(date.duration_since(jiff::Timestamp::now()).as_secs()).unwrap_or(0));
    }
    let reset: u64 =
        response.header("ratelimit-reset").or(response.header("x-ratelimit-reset"))?.trim().parse().ok()?;
    // Some registries give a point in time, others a span.
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
    Some(if reset > now { reset - now } else { reset })
}

/// `100;w=21600` as `100 requests in 6 h`.
fn limit_in_words(text: &str) -> String {
    match text.split_once(";w=").map(|(count, seconds)| (count, seconds.parse::<u64>())) {
        Some((count, Ok(seconds))) if seconds % 3600 == 0 => {
            format!("{} requests in {} h", clean(count), seconds / 3600)
        }
        Some((count, Ok(seconds))) => format!("{} requests in {seconds} s", clean(count)),
        _ => clean(text),
    }
}

/// What the registry says about itself: the first message of the specification's error document, if it is one.
fn message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        errors: Vec<Item>,
        #[serde(default)]
        details: Option<String>,
        #[serde(default)]
        message: Option<String>,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let document: Document = serde_json::from_slice(body).ok()?;
    let first = document
        .errors
        .into_iter()
        .next()
        .map(|item| if item.message.is_empty() { item.code } else { item.message });
    first.or(document.details).or(document.message).map(|text| clean(&text)).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_limits() {
        let text = |body: &str| message(body.as_bytes());
        assert_eq!(
            text(r#"{"errors":[{"code":"DENIED","message":"go \u001b[31maway"}]}"#).as_deref(),
            Some("go [31maway")
        );
        assert_eq!(text(r#"{"errors":[{"code":"DENIED"}]}"#).as_deref(), Some("DENIED"));
        assert_eq!(
            text(r#"{"details":"incorrect username or password"}"#).as_deref(),
            Some("incorrect username or password")
        );
        assert_eq!(text("<html>"), None);
        assert_eq!(limit_in_words("100;w=21600"), "100 requests in 6 h");
        assert_eq!(limit_in_words("5;w=90"), "5 requests in 90 s");
        assert_eq!(limit_in_words("7"), "7");
    }
}
