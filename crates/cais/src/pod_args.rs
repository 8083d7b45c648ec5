//! Flags of `pod create`, as podman names them.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the comments are help texts: brackets mean optional parts"
)]

use clap::Args;

use crate::parse::parse_bool;

/// See the module's page.
#[derive(Clone, Debug, Default, Args)]
pub struct PodArgs {
    /// Add a custom host-to-IP mapping (host:ip).
    #[arg(long, value_name = "HOST:IP")]
    pub add_host: Vec<String>,
    /// Set name servers.
    #[arg(long, value_name = "IP")]
    pub dns: Vec<String>,
    /// Set options of the resolver.
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    pub dns_option: Vec<String>,
    /// Set search domains.
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// What happens when the last container has ended: continue or stop.
    #[arg(long, value_name = "POLICY", default_value = "continue")]
    pub exit_policy: String,
    /// Host name of its containers.
    #[arg(short = 'h', long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Make a container that holds what is shared.
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "true",
        default_missing_value = "true", value_parser = parse_bool)]
    pub infra: bool,
    /// Name of that container.
    #[arg(long, value_name = "NAME")]
    pub infra_name: Option<String>,
    /// Set a label.
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub label: Vec<String>,
    /// Read labels from a file.
    #[arg(long, value_name = "FILE")]
    pub label_file: Vec<String>,
    /// MAC address on the bridge (92:d0:c6:0a:29:33).
    #[arg(long, value_name = "ADDRESS")]
    pub mac_address: Option<String>,
    /// Name of the pod.
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<String>,
    /// Network: bridge, none, host, container:ID, pasta.
    #[arg(long, alias = "net", value_name = "NETWORK")]
    pub network: Vec<String>,
    /// PID namespace of the container that holds what is shared: private, host, container:NAME.
    #[arg(long, value_name = "MODE")]
    pub pid: Option<String>,
    /// Write the pod's id to a file that must not exist.
    #[arg(long, value_name = "FILE")]
    pub pod_id_file: Option<String>,
    /// Publish a port on the host ([ip:][host:]container[/protocol]).
    #[arg(short, long, value_name = "PORT")]
    pub publish: Vec<String>,
    /// Stop and remove a pod that has the name already.
    #[arg(long)]
    pub replace: bool,
    /// Whether its containers run again when they have ended: no, on-failure[:max], always, unless-stopped.
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<String>,
    /// What its containers share: ipc, net, pid, uts, none; +NAME adds to the usual ipc,net,uts.
    #[arg(long, value_name = "LIST")]
    pub share: Option<String>,
    /// Size of /dev/shm.
    #[arg(long, value_name = "BYTES")]
    pub shm_size: Option<String>,
    /// Set a kernel parameter of what is shared (net.ipv4.ip_forward=1).
    #[arg(long, value_name = "NAME=VALUE")]
    pub sysctl: Vec<String>,
    /// The name, as with --name.
    #[arg(value_name = "NAME")]
    pub word: Option<String>,
}
