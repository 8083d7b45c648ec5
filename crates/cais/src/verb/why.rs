//! `why`: how a container ended or why it does not start, with the evidence and the fix.

use std::ffi::OsString;
use std::fmt::Write;

use cais_engine::verb::why::{Certainty, Explanation};
use clap::Args;

use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;
use crate::template::Template;

#[derive(Debug, Args)]
struct WhyArgs {
    /// json, or a Go template.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    #[arg(required = true)]
    containers: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: WhyArgs = parse(door.spec, argv)?;
    let format_failure = |error| Failure::usage(format!("--format: {error}"));
    let text = match args.format.as_deref() {
        Some("json") => Some("{{json .}}"),
        other => other.filter(|text| !text.is_empty()),
    };
    let template = text.map(Template::parse).transpose().map_err(format_failure)?;
    let engine = door.engine()?;
    let mut first = true;
    Ok(door.each(&args.containers, |name| {
        let explanation = engine.why(name)?;
        let text = match &template {
            Some(template) => {
                let document = serde_json::to_value(&explanation).unwrap_or_default();
                format!("{}\n", template.render(&document).map_err(format_failure)?)
            }
            None => format!("{}{}", if first { "" } else { "\n" }, told(&explanation)),
        };
        first = false;
        print_stdout(&text)
    }))
}

/// A head line, then each finding with what was seen and the fix.
fn told(explanation: &Explanation) -> String {
    let state = serde_json::to_value(explanation.state).unwrap_or_default();
    let state = state.as_str().unwrap_or_default().to_owned();
    let mut text = match explanation.exit_code {
        Some(code) => format!("{}: {state}, exit code {code}\n", explanation.name),
        None => format!("{}: {state}\n", explanation.name),
    };
    for finding in &explanation.findings {
        let certainty = match finding.certainty {
            Certainty::Certain => "certain",
            Certainty::Likely => "likely",
            Certainty::Hint => "hint",
        };
        // Writing into a string cannot fail.
        let _ = writeln!(text, "\n{certainty:<8} {}", finding.summary);
        for seen in &finding.evidence {
            let _ = writeln!(text, "  seen   {}: {}", seen.place, seen.what);
        }
        if let Some(fix) = &finding.fix {
            let _ = writeln!(text, "  fix    {fix}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use cais_engine::verb::why::{Cause, Finding, Seen};
    use cais_engine::view::State;

    use super::*;

    #[test]
    fn findings_are_told_with_their_evidence() {
        let explanation = Explanation {
            id: "ab".into(),
            name: "web".into(),
            state: State::Exited,
            exit_code: Some(137),
            findings: vec![Finding {
                cause: Cause::OutOfMemory,
                certainty: Certainty::Certain,
                summary: "too much".into(),
                evidence: vec![Seen { what: "oom=1".into(), place: "exit record".into() }],
                fix: Some("-m 64m".into()),
            }],
        };
        assert_eq!(
            told(&explanation),
            "web: exited, exit code 137\n\ncertain  too much\n  seen   exit record: oom=1\n  fix    -m 64m\n"
        );
    }
}
