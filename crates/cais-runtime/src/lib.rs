//! From a container's description to a launch plan: cgroups, seccomp, capabilities, devices, mounts.
//!
//! [`plan`] is pure: a [`launch::Launch`] becomes steps. Knows nothing of images, records or registries, never forks.

pub mod capability;
pub mod cgroup;
pub mod device;
pub mod embedded;
pub mod launch;
pub mod oci_features;
pub mod oci_template;
pub mod plan;
pub mod seccomp;
