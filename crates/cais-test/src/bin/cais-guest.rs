//! `cais-guest [--apparmor|--selinux] [--systemd] [--user] [--limit=SECONDS] COMMAND [ARG…]`: one command in a throw-away guest
//! of [`cais_test::vm`], for looking around by hand. Exits with the command's status; 125 when there can be no guest.

use std::process::ExitCode;

use cais_test::process::Invocation;
use cais_test::vm::{Guest, Init, Profile, Security, as_tester};

fn main() -> ExitCode {
    let mut profile = Profile::default();
    let mut as_user = false;
    let mut args = std::env::args_os().skip(1).peekable();
    while let Some(flag) = args.next_if(|arg| arg.to_string_lossy().starts_with("--")) {
        match flag.to_string_lossy().as_ref() {
            "--apparmor" => profile.security = Security::AppArmor,
            "--selinux" => profile.security = Security::SeLinux,
            "--systemd" => profile.init = Init::Systemd,
            "--user" => as_user = true,
            other => match other.strip_prefix("--limit=").and_then(|text| text.parse().ok()) {
                Some(limit) => profile.limit_secs = limit,
                None => {
                    eprintln!("cais-guest: unknown flag {other}");
                    return ExitCode::from(125);
                }
            },
        }
    }
    let Some(program) = args.next() else {
        eprintln!(
            "usage: cais-guest [--apparmor|--selinux] [--systemd] [--user] [--limit=SECONDS] COMMAND [ARG...]"
        );
        return ExitCode::from(125);
    };
    let Some(guest) = Guest::find() else { return ExitCode::from(125) };
    let command =
        if as_user { as_tester(program.as_ref()) } else { Invocation::new(program, "").folder("/") };
    let output = guest.boot(&profile, &args.fold(command, Invocation::arg));
    print!("{}", output.stdout);
    eprint!("{}", output.stderr);
    eprintln!(
        "Linux {}: {:.1} s to the command, {:.1} s in all",
        output.release,
        output.boot_time.as_secs_f64(),
        output.total_time.as_secs_f64()
    );
    ExitCode::from(u8::try_from(output.status).unwrap_or(125))
}
