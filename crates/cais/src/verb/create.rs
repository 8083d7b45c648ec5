//! `create`: a container that is described and not started.

use std::env::current_dir;
use std::ffi::OsString;

use cais_engine::ContainerRequest;

use crate::container_args::ContainerArgs;
use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;
use crate::progress;
use crate::request::{Caller, convert};

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: ContainerArgs = parse(door.spec, argv)?;
    let request = request(door, &args)?;
    let engine = door.engine()?;
    let created = engine.create(request, &*progress::choose(door, args.quiet))?;
    door.warn(&created.warnings);
    print_stdout(&format!("{}\n", created.id))?;
    Ok(0)
}

/// The request for the engine; its warnings are told.
pub(super) fn request(door: &Door, args: &ContainerArgs) -> Result<ContainerRequest, Failure> {
    let directory = current_dir().map_err(|error| Failure::edge("find the working directory", error))?;
    let caller = Caller::here(&directory, door.surroundings.default_platform.as_deref());
    let conversion = convert(args, &caller)?;
    if let Some(path) = conversion.request.cidfile.as_deref().filter(|path| path.exists()) {
        let message = format!("--cidfile: {} exists already", path.display());
        return Err(Failure::usage(message)
            .hint("make sure that the other container is not running, or delete the file"));
    }
    door.warn(&conversion.warnings);
    Ok(conversion.request)
}
