//! `inspect`, `container inspect`, `image inspect`, `volume inspect`: documents in docker's keys.

use std::ffi::OsString;

use cais_engine::verb::DefinitionForm;
use cais_engine::{Engine, ErrorKind};
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::chosen::Chosen;
use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;
use crate::template::Template;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Container,
    Image,
    Volume,
    Pod,
}

#[derive(Debug, Args)]
struct InspectArgs {
    /// Show the definition of containers instead: run, compose, quadlet or kube.
    #[arg(long = "as", value_name = "FORM")]
    form: Option<String>,
    /// json, or a Go template.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// The container that was created last.
    #[arg(short, long)]
    latest: bool,
    /// Measure containers; takes time.
    #[arg(short, long)]
    size: bool,
    /// Look only for container, image, volume or pod.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    names: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: InspectArgs = parse(door.spec, argv)?;
    if let Some(form) = &args.form {
        let other = args.kind.as_deref().is_some_and(|kind| !matches!(kind, "" | "container"));
        if args.format.is_some() || args.size || other {
            return Err(Failure::usage("conflicting options: --as and --format, --size or another --type"));
        }
        return define(door, &args.names, form);
    }
    let kinds: &[Kind] = match args.kind.as_deref() {
        None | Some("") => &[Kind::Container, Kind::Image, Kind::Volume, Kind::Pod],
        Some("container") => &[Kind::Container],
        Some("image") => &[Kind::Image],
        Some("volume") => &[Kind::Volume],
        Some("pod") => &[Kind::Pod],
        Some(other) => {
            return Err(Failure::usage(format!("--type {other}: use container, image, volume or pod")));
        }
    };
    let chosen = Chosen { latest: args.latest, ..Chosen::default() };
    let names = chosen.names(door, &args.names, &[], |_| false)?;
    show(door, &names, args.format.as_deref(), args.size, kinds)
}

/// `--as`.
fn define(door: &Door, names: &[String], form: &str) -> Outcome {
    let form = match form {
        "run" => DefinitionForm::Run,
        "compose" => DefinitionForm::Compose,
        "quadlet" => DefinitionForm::Quadlet,
        "kube" => DefinitionForm::Kube,
        other => return Err(Failure::usage(format!("--as {other}: use run, compose, quadlet or kube"))),
    };
    let definition = door.engine()?.definition(names, form)?;
    door.warn(&definition.notes);
    print_stdout(&definition.text)?;
    Ok(0)
}

#[derive(Debug, Args)]
struct KindArgs {
    /// json, or a Go template.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Measure containers; takes time.
    #[arg(short, long)]
    size: bool,
    #[arg(required = true)]
    names: Vec<String>,
}

pub(super) fn containers(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: InspectArgs = parse(door.spec, argv)?;
    if args.kind.as_deref().is_some_and(|kind| !matches!(kind, "" | "container")) {
        return Err(Failure::usage("--type: these are containers"));
    }
    match &args.form {
        Some(_) if args.format.is_some() || args.size => {
            Err(Failure::usage("conflicting options: --as and --format or --size"))
        }
        Some(form) => define(door, &args.names, form),
        None => show(door, &args.names, args.format.as_deref(), args.size, &[Kind::Container]),
    }
}

pub(super) fn images(door: &Door, argv: Vec<OsString>) -> Outcome {
    one_kind(door, argv, Kind::Image)
}

pub(super) fn volumes(door: &Door, argv: Vec<OsString>) -> Outcome {
    one_kind(door, argv, Kind::Volume)
}

fn one_kind(door: &Door, argv: Vec<OsString>, kind: Kind) -> Outcome {
    let args: KindArgs = parse(door.spec, argv)?;
    show(door, &args.names, args.format.as_deref(), args.size, &[kind])
}

fn show(door: &Door, names: &[String], format: Option<&str>, size: bool, kinds: &[Kind]) -> Outcome {
    let format_failure = |error| Failure::usage(format!("--format: {error}"));
    let text = match format {
        Some("json") => Some("{{json .}}"),
        other => other.filter(|text| !text.is_empty()),
    };
    let template = text.map(Template::parse).transpose().map_err(format_failure)?;
    let engine = door.engine()?;
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for name in names {
        match look(engine, name, size, kinds) {
            Ok(document) => found.push(document),
            Err(failure) => failures.push(failure),
        }
    }
    match &template {
        None => print_stdout(&pretty(&Value::Array(found)))?,
        Some(template) => {
            for document in &found {
                let line = template.render(document).map_err(format_failure)?;
                print_stdout(&format!("{line}\n"))?;
            }
        }
    }
    for failure in &failures {
        door.complain(failure);
    }
    Ok(u8::from(!failures.is_empty()))
}

fn look(engine: &Engine, name: &str, size: bool, kinds: &[Kind]) -> Result<Value, Failure> {
    let mut missing = None;
    for kind in kinds {
        let result = match kind {
            Kind::Container => engine.container_inspect(name, size),
            Kind::Image => engine.image_inspect(name),
            Kind::Pod => engine.pod(name).map(|view| crate::pod_row::document(&view)),
            Kind::Volume => engine.volume(name).map(|view| serde_json::to_value(view).unwrap_or_default()),
        };
        match result {
            Ok(document) => return Ok(document),
            // What cannot be a name of this kind may be one of the next.
            Err(error)
                if matches!(error.kind, ErrorKind::NotFound)
                    || kinds.len() > 1 && error.kind == ErrorKind::Invalid =>
            {
                missing.get_or_insert(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    match missing {
        Some(error) if kinds.len() == 1 => Err(error.into()),
        _ => Err(Failure::usage(format!("no such object: {name}"))),
    }
}

/// Docker indents by four blanks.
pub(super) fn pretty(document: &Value) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    "));
    // Writing JSON values into memory cannot fail.
    let _ = document.serialize(&mut serializer);
    bytes.push(b'\n');
    String::from_utf8(bytes).unwrap_or_default()
}
