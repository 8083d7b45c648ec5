//! The flags by which a registry is reached in another way than the machine's files say.

use std::path::PathBuf;

use cais_engine::verb::RegistryAccess;
use clap::Args;

use crate::parse::parse_bool;

/// `--authfile`, `--cert-dir`, `--tls-verify`.
#[derive(Debug, Default, Args)]
pub struct RegistryFlags {
    /// File of logins (else REGISTRY_AUTH_FILE, docker's config.json, auth.json).
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Directory with certificates (*.crt) and keys for the registry.
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Verify certificates and refuse plain HTTP (else as registries.conf says).
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = parse_bool)]
    tls_verify: Option<bool>,
}

impl RegistryFlags {
    /// As the engine wants them.
    pub fn access(self) -> RegistryAccess {
        RegistryAccess { auth_file: self.authfile, tls_verify: self.tls_verify, cert_dir: self.cert_dir }
    }
}
