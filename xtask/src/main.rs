//! `cargo xtask`: what is done with the project beside building it.
//!
//! Each command is a module; none of them needs anything but cargo, the compiler and what [`debian`] lists.

mod bench;
mod debian;
mod dist;
mod elf;
mod guest;
mod layout;
mod shell;
mod test;
mod tidy;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  tidy                     checks of the sources that the compiler does not make
  test [--only STEP,…]     installs what is missing and runs everything; steps: packages fmt clippy
                           tidy build test doctest doc hello
  dist                     the static binary: target/dist/cais
  bench launch [--quick]   cais beside docker and podman; a table for docs/performance.md; others: lifecycle, images,
                           runtime
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.split_first() {
        Some((&"tidy", [])) => tidy::run(),
        Some((&"test", rest)) => test::run(rest),
        Some((&"dist", [])) => dist::run(),
        Some((&"bench", rest)) => bench::run(rest),
        Some((&("help" | "--help" | "-h"), _)) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
