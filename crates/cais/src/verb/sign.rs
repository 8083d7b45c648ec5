//! `image sign`, `image verify`: signatures of images at their registries.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use cais_engine::verb::SignRequest;
use clap::Args;

use crate::door::{Door, print_stderr, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;
use crate::registry_access::RegistryFlags;

#[derive(Debug, Args)]
struct SignArgs {
    /// What the signature says beside the digest of the image.
    #[arg(short, long, value_name = "KEY=VALUE")]
    annotations: Vec<String>,
    /// File with the private key (ECDSA P-256, PEM, without a password).
    #[arg(long, value_name = "FILE", required = true)]
    key: PathBuf,
    #[command(flatten)]
    access: RegistryFlags,
    image: String,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// File with the public key (ECDSA P-256, PEM).
    #[arg(long, value_name = "FILE", required = true)]
    key: PathBuf,
    #[command(flatten)]
    access: RegistryFlags,
    image: String,
}

pub(super) fn sign(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: SignArgs = parse(door.spec, argv)?;
    let mut annotations = BTreeMap::new();
    for text in &args.annotations {
        let (key, value) = text
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| Failure::usage(format!("--annotations {text}: expected key=value")))?;
        annotations.insert(key.to_owned(), value.to_owned());
    }
    let request = SignRequest { image: args.image, key: args.key, annotations, access: args.access.access() };
    let signed = door.engine()?.sign(&request)?;
    if signed.was_signed {
        print_stderr("It was signed like this before\n");
    }
    print_stderr(&format!("Signatures are kept as {}\n", signed.place));
    print_stdout(&format!("{}\n", signed.image))?;
    Ok(0)
}

pub(super) fn verify(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: VerifyArgs = parse(door.spec, argv)?;
    let payloads = door.engine()?.verify(&args.image, &args.key, &args.access.access())?;
    // A list, as cosign prints it.
    print_stdout(&format!("[{}]\n", payloads.join(",")))?;
    Ok(0)
}
