//! `pull`: an image from a registry.

use std::ffi::OsString;

use cais_engine::view::ImageView;
use cais_oci::Reference;
use clap::Args;

use crate::door::{Door, print_stdout};
use crate::failure::Outcome;
use crate::parse::parse;
use crate::progress;

#[derive(Debug, Args)]
struct PullArgs {
    /// Platform of the image (os/arch[/variant]).
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Print nothing but the name of the image.
    #[arg(short, long)]
    quiet: bool,
    image: String,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: PullArgs = parse(door.spec, argv)?;
    let platform = args.platform.as_deref().or(door.surroundings.default_platform.as_deref());
    let engine = door.engine()?;
    let view = engine.pull(&args.image, platform, &*progress::choose(door, args.quiet))?;
    print_stdout(&format!("{}\n", pulled_name(&view, &args.image)))?;
    Ok(0)
}

/// The canonical name under which the image is stored now: what was typed, unless an alias made another of it.
fn pulled_name(view: &ImageView, typed: &str) -> String {
    let names = || view.names.iter().chain(&view.digests);
    let Ok(typed_reference) = Reference::parse(typed) else { return view.id.to_string() };
    let canonical = typed_reference.to_string();
    if names().any(|name| *name == canonical) {
        return canonical;
    }
    // An alias or a search registry has led elsewhere, which is seldom Docker Hub.
    let place = |name: &&String| {
        let found = Reference::parse(name).ok()?;
        let same = (&found.tag, &found.digest) == (&typed_reference.tag, &typed_reference.digest);
        same.then_some(found.registry == typed_reference.registry)
    };
    let led_to = names()
        .filter_map(|name| Some((place(&name)?, name)))
        .min_by_key(|(same_registry, _)| *same_registry);
    led_to.map_or(canonical, |(_, name)| name.clone())
}

#[cfg(test)]
mod tests {
    use cais_oci::{Digest, Platform};

    use super::*;

    #[test]
    fn names_what_was_pulled() {
        let digest = Digest::sha256(b"m");
        let view = ImageView {
            id: Digest::sha256(b"c"),
            names: ["docker.io/library/a:1", "docker.io/library/b:latest", "registry.test:5000/x/a:latest"]
                .map(Into::into)
                .into(),
            digests: vec![format!("docker.io/library/a@{digest}")],
            created: None,
            size_bytes: 0,
            platform: Platform::new("linux", "amd64", None),
            labels: Default::default(),
        };
        assert_eq!(pulled_name(&view, "a:1"), "docker.io/library/a:1");
        assert_eq!(pulled_name(&view, &format!("a@{digest}")), format!("docker.io/library/a@{digest}"));
        assert_eq!(pulled_name(&view, "short"), "registry.test:5000/x/a:latest");
    }
}
