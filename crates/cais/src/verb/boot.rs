//! `system boot`, and `boot enable|disable|status`.

use std::ffi::OsString;

use cais_engine::verb::BootUnit;
use clap::Args;

use crate::door::{Door, print_stderr, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;

#[derive(Debug, Args)]
struct NoArgs {}

/// Prints the names of what was started; the exit code is 1 when something could not be.
pub(super) fn system_boot(door: &Door, argv: Vec<OsString>) -> Outcome {
    let NoArgs {} = parse(door.spec, argv)?;
    let mut code = 0;
    for booted in door.engine()?.boot()? {
        match booted.error {
            None => print_stdout(&format!("{}\n", booted.name))?,
            Some(error) => {
                let mut failure = Failure::from(error);
                failure.message = format!("container {}: {}", booted.name, failure.message);
                door.complain(&failure);
                code = 1;
            }
        }
    }
    Ok(code)
}

pub(super) fn enable(door: &Door, argv: Vec<OsString>) -> Outcome {
    let NoArgs {} = parse(door.spec, argv)?;
    tell(&door.engine()?.boot_enable()?)
}

pub(super) fn disable(door: &Door, argv: Vec<OsString>) -> Outcome {
    let NoArgs {} = parse(door.spec, argv)?;
    tell(&door.engine()?.boot_disable()?)
}

/// The exit code is 1 when the unit is not called at boot.
pub(super) fn status(door: &Door, argv: Vec<OsString>) -> Outcome {
    let NoArgs {} = parse(door.spec, argv)?;
    let unit = door.engine()?.boot_status()?;
    tell(&unit)?;
    Ok(u8::from(!unit.enabled))
}

fn tell(unit: &BootUnit) -> Outcome {
    let word = if unit.enabled { "enabled" } else { "disabled" };
    print_stdout(&format!("{word} {}\n", unit.path.display()))?;
    if let Some(hint) = &unit.hint {
        print_stderr(&format!("hint: {hint}\n"));
    }
    Ok(0)
}
