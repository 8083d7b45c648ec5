//! `cargo xtask test`: everything that must hold, in one command.
//!
//! Steps run in order and all of them, whatever fails before; the last line is `N passed, N failed, N skipped`. A step
//! that is no test run counts as one. Skipped tests print `skipped: REASON`; they are taken from the passed ones.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{debian, guest, shell, tidy};

/// What a step found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: Vec<String>,
}

impl Count {
    fn of_step(ok: bool) -> Count {
        Count { passed: usize::from(ok), failed: usize::from(!ok), skipped: Vec::new() }
    }
}

type Step = (&'static str, fn() -> Result<Count>);

const STEPS: &[Step] = &[
    ("packages", packages),
    ("fmt", || cargo("fmt --all --check")),
    ("clippy", || cargo("clippy --workspace --all-targets --locked -- -D warnings")),
    ("tidy", || tidy::run().map(Count::of_step)),
    ("build", || cargo("build --locked -p cais")),
    ("test", tests),
    ("doctest", || cargo("test --doc --workspace --locked --quiet")),
    ("doc", documentation),
    ("hello", hello),
];

/// Only what is needed to build is worth a failure; what is tested less is told.
fn packages() -> Result<Count> {
    let ok = debian::install()?;
    guest::fetch();
    Ok(Count::of_step(ok))
}

/// The README's main command, with its state in a folder of its own that goes away again.
fn hello() -> Result<Count> {
    let folder = std::env::temp_dir().join(format!("hello-{}", std::process::id()));
    let mut command = shell::cargo("run --release --locked -- run --rm hello");
    command.env("CAIS_ROOT", folder.join("lib")).env("CAIS_RUN_ROOT", folder.join("run"));
    let outcome = shell::succeeds(&mut command).map(Count::of_step);
    // Missing when the build failed.
    let _ = std::fs::remove_dir_all(&folder);
    outcome
}

/// Runs the steps, or those after `--only`; true when nothing failed.
pub(crate) fn run(args: &[&str]) -> Result<bool> {
    let chosen = chosen(args)?;
    let mut total = Count::default();
    let mut failed_steps = Vec::new();
    for (name, step) in chosen {
        println!("== {name}");
        let began = Instant::now();
        let count = step().unwrap_or_else(|error| {
            eprintln!("xtask: {error:#}");
            Count::of_step(false)
        });
        println!(
            "== {name}: {} in {:.1} s",
            if count.failed == 0 { "ok" } else { "FAILED" },
            began.elapsed().as_secs_f64()
        );
        if count.failed > 0 {
            failed_steps.push(*name);
        }
        total.passed += count.passed;
        total.failed += count.failed;
        total.skipped.extend(count.skipped);
    }
    for reason in &total.skipped {
        println!("skipped: {reason}");
    }
    if !failed_steps.is_empty() {
        println!("failed steps: {}", failed_steps.join(" "));
    }
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped.len());
    Ok(total.failed == 0)
}

fn chosen(args: &[&str]) -> Result<Vec<&'static Step>> {
    let only = match args {
        [] => return Ok(STEPS.iter().collect()),
        ["--only", list] => *list,
        [one] if one.starts_with("--only=") => &one["--only=".len()..],
        _ => bail!("unknown arguments: {}", args.join(" ")),
    };
    let find = |name: &str| {
        STEPS.iter().find(|(known, _)| *known == name).with_context(|| format!("no step `{name}`"))
    };
    only.split(',').map(find).collect()
}

fn cargo(line: &str) -> Result<Count> {
    shell::succeeds(&mut shell::cargo(line)).map(Count::of_step)
}

fn documentation() -> Result<Count> {
    let mut command = shell::cargo("doc --no-deps --workspace --locked --document-private-items --quiet");
    command.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links");
    shell::succeeds(&mut command).map(Count::of_step)
}

fn tests() -> Result<Count> {
    let has_nextest = shell::cargo("nextest --version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if has_nextest.is_ok_and(|status| status.success()) {
        let mut command = shell::cargo("nextest run --workspace --locked --no-fail-fast");
        let report = report();
        // A report of an earlier run must not be taken for this one's.
        drop(std::fs::remove_file(&report));
        let ok = shell::succeeds(command.env("NEXTEST_HIDE_PROGRESS_BAR", "1"))?;
        let text =
            std::fs::read_to_string(&report).with_context(|| format!("reading {}", report.display()))?;
        return Ok(count_report(&text, ok));
    }
    println!("cargo-nextest is not installed: cargo test instead");
    let mut command = shell::cargo("test --workspace --locked --no-fail-fast -- --nocapture");
    let (text, ok) = shown_and_kept(&mut command)?;
    Ok(count_output(&text, ok))
}

/// nextest keeps its reports in the project, whatever the target folder is.
fn report() -> PathBuf {
    shell::project().join("target/nextest/default/junit.xml")
}

fn shown_and_kept(command: &mut Command) -> Result<(String, bool)> {
    use std::io::{BufRead, BufReader};
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("running {}", shell::name(command)))?;
    let mut text = String::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            println!("{line}");
            text.push_str(&line);
            text.push('\n');
        }
    }
    Ok((text, child.wait()?.success()))
}

/// Reads nextest's JUnit report: `<testsuites … tests="N" failures="N" errors="N">` and the captured output.
fn count_report(report: &str, ok: bool) -> Count {
    let head = report.lines().find(|line| line.contains("<testsuites")).unwrap_or_default();
    let number = |name: &str| -> usize {
        let value = head.split(&format!(" {name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    finish(number("tests"), number("failures") + number("errors"), skipped(report), ok)
}

/// Reads what `cargo test` says: `test result: ok. 5 passed; 0 failed; …`.
fn count_output(text: &str, ok: bool) -> Count {
    let sum = |word: &str| -> usize {
        let lines = text.lines().filter(|line| line.starts_with("test result:"));
        let numbers = lines.filter_map(|line| {
            line.split(word).next()?.split_whitespace().next_back()?.parse::<usize>().ok()
        });
        numbers.sum()
    };
    let (passed, failed) = (sum(" passed;"), sum(" failed;"));
    finish(passed + failed, failed, skipped(text), ok)
}

/// A run that failed without a failed test (it did not compile) is one failure.
fn finish(run: usize, failed: usize, skipped: Vec<String>, ok: bool) -> Count {
    let failed = if ok { failed } else { failed.max(1) };
    Count { passed: run.saturating_sub(failed).saturating_sub(skipped.len()), failed, skipped }
}

/// The reasons, one for each test: the runner may put its own `test name ... ` before the first line.
fn skipped(text: &str) -> Vec<String> {
    let mut reasons = Vec::new();
    for line in text.lines() {
        let line = line.rsplit("... ").next().unwrap_or(line);
        let line = line.rsplit("<system-out>").next().unwrap_or(line);
        if let Some(reason) = line.trim_start().strip_prefix("skipped: ") {
            reasons.push(reason.trim_end_matches("</system-out>").to_owned());
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_counted() {
        let report = "<?xml?>\n<testsuites name=\"nextest-run\" tests=\"10\" failures=\"2\" errors=\"0\" time=\"1\">\n\
            <system-out>running 1 test\nskipped: no pasta\ntest a ... ok</system-out>\n\
            <system-out>test b ... skipped: no nft\nok</system-out>\n";
        let count = count_report(report, false);
        assert_eq!((count.passed, count.failed), (6, 2));
        assert_eq!(count.skipped, ["no pasta", "no nft"]);
    }

    #[test]
    fn the_output_of_cargo_test_is_counted() {
        let text = "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured\nskipped: x\n\
            test result: FAILED. 1 passed; 2 failed; 0 ignored\n";
        let count = count_output(text, false);
        assert_eq!((count.passed, count.failed, count.skipped.len()), (5, 2, 1));
    }

    #[test]
    fn a_run_that_did_not_compile_is_a_failure() {
        assert_eq!(count_output("", false).failed, 1);
        assert_eq!(count_report("", false).failed, 1);
    }

    #[test]
    fn steps_can_be_chosen() {
        let names =
            |args: &[&str]| chosen(args).map(|steps| steps.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        assert_eq!(names(&["--only", "fmt,tidy"]).unwrap(), ["fmt", "tidy"]);
        assert_eq!(names(&["--only=doc"]).unwrap(), ["doc"]);
        assert_eq!(names(&[]).unwrap().len(), STEPS.len());
        assert!(names(&["--only", "nonsense"]).is_err());
        assert!(names(&["--faster"]).is_err());
    }
}
