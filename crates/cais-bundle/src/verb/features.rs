//! `features` and `spec`: what this runtime can do, and a configuration to begin with.

use cais_oci::runtime::{Features, Spec};
use cais_runtime::cgroup::oci::Trees;
use cais_runtime::oci_features::{Build, features};
use cais_runtime::oci_template;
use rustix::process::{getegid, geteuid};

use crate::plan::mount_options;
use crate::runtime::Runtime;

impl Runtime {
    /// What this build can do on this kernel.
    #[must_use]
    pub fn features(&self) -> Features {
        let options: Vec<&str> = mount_options().collect();
        features(&Build {
            version: env!("CARGO_PKG_VERSION"),
            commit: None,
            checkpoint: self.config.criu.is_some(),
            mount_options: &options,
        })
    }
}

/// A configuration to begin with; `rootless`: for the calling user without rights.
#[must_use]
pub fn template(rootless: bool) -> Spec {
    // Where nothing is mounted, either will do.
    let unified = Trees::detect().is_ok_and(|trees| trees.version == 2);
    if rootless {
        oci_template::rootless_template(unified, geteuid().as_raw(), getegid().as_raw())
    } else {
        oci_template::template(unified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Config;

    #[test]
    fn templates_are_valid() {
        for rootless in [false, true] {
            let spec = template(rootless);
            spec.validate().unwrap();
            assert_eq!(spec.oci_version, crate::SPEC_VERSION);
        }
        let features = Runtime::new(Config::default()).unwrap().features();
        assert_eq!(features.oci_version_max, crate::SPEC_VERSION);
        assert!(features.mount_options.unwrap().iter().any(|option| option == "rbind"));
    }
}
