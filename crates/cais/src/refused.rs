//! Flags of docker and podman that cais does not have: each is refused by name, with the reason.
//!
//! The parser knows them, so that none is ever "unexpected", takes the next word as its value where it has one, and
//! is offered by "did you mean". A value that asks for what happens anyway is accepted.

/// One refused flag.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// Without the dashes.
    pub long: &'static str,
    /// Takes a value.
    pub valued: bool,
    /// Values that change nothing, accepted.
    pub harmless: &'static [&'static str],
    /// Completes "--flag: ".
    pub reason: &'static str,
}

const fn valued(long: &'static str, harmless: &'static [&'static str], reason: &'static str) -> Refused {
    Refused { long, valued: true, harmless, reason }
}

const fn switch(long: &'static str, reason: &'static str) -> Refused {
    Refused { long, valued: false, harmless: &["false"], reason }
}

const NAMESPACES: &str = "choosing another namespace of this kind is not supported yet";
const ADDRESS: &str = "fixed addresses need user-defined networks, which are not supported yet";
const LIMIT: &str = "this limit is not supported yet";
const POD_LIMIT: &str = "limits of a pod as a whole are not supported yet; limit its containers";
const DEVICE_RATE: &str = "per-device limits are not supported yet";

/// Of `run` and `create`.
pub const CONTAINER: &[Refused] = &[
    valued("chrootdirs", &[], "it is for files of engines that chroot into the root; ours has none"),
    valued("conmon-pidfile", &[], "there is no conmon"),
    valued("cpu-count", &["0"], "this limit exists on Windows only"),
    valued("cpu-percent", &["0"], "this limit exists on Windows only"),
    valued("decryption-key", &[], "encrypted images are not supported"),
    Refused { harmless: &["true", "false"], ..switch("disable-content-trust", "content trust is retired") },
    valued("gpus", &[], "GPUs are not supported yet"),
    valued("init-path", &[], "the init is built in"),
    valued("io-maxbandwidth", &["0"], "this limit exists on Windows only"),
    valued("io-maxiops", &["0"], "this limit exists on Windows only"),
    valued("ip", &[], ADDRESS),
    valued("ip6", &[], ADDRESS),
    valued("isolation", &["default", "process", ""], "only isolation by namespaces is supported yet"),
    valued("kernel-memory", &["0"], "the kernel has no such limit any more"),
    valued("link", &[], "links need user-defined networks, which are not supported yet"),
    valued("link-local-ip", &[], ADDRESS),
    valued("net-alias", &[], "aliases need user-defined networks, which are not supported yet"),
    valued("network-alias", &[], "aliases need user-defined networks, which are not supported yet"),
    valued("os", &["linux"], "only linux containers run here; use --platform"),
    valued("preserve-fd", &[], "passing file descriptors is not supported"),
    valued("preserve-fds", &["0"], "passing file descriptors is not supported"),
    valued("rdt-class", &[], "groups of resctrl are not supported by run; the runtime has them"),
    valued("retry", &[], "how often a registry is asked again is not to be chosen yet"),
    valued("retry-delay", &[], "how often a registry is asked again is not to be chosen yet"),
    valued("runtime", &["cais", ""], "there is no other runtime than cais itself"),
    valued("seccomp-policy", &["default"], "use --security-opt seccomp="),
    valued("secret", &[], "secrets are not supported yet"),
    valued("storage-opt", &[], "options of the writable layer are not supported yet"),
    valued("tls-verify", &["true"], "set insecure registries in registries.conf"),
    switch("use-api-socket", "there is no API socket"),
    valued("volume-driver", &["local", ""], "there is no other volume driver than local"),
    valued("authfile", &[], "set REGISTRY_AUTH_FILE"),
    valued("cert-dir", &[], "put certificates into /etc/containers/certs.d"),
    valued("creds", &[], "put credentials into the docker config or auth.json"),
    valued(
        "init-ctr",
        &[],
        "init containers of pods are not supported yet; order containers with --requires",
    ),
    valued("signature-policy", &[], "signatures are not verified yet"),
];

/// Of `exec`.
pub const EXEC: &[Refused] = &[
    Refused { harmless: &["true", "false"], ..switch("no-session", "no session is ever kept") },
    valued("preserve-fd", &[], "passing file descriptors is not supported"),
    valued("preserve-fds", &["0"], "passing file descriptors is not supported"),
];

/// Of `container checkpoint`.
pub const CHECKPOINT: &[Refused] = &[
    valued("create-image", &[], "checkpoints are not kept in images; --export writes an archive"),
    switch("pre-checkpoint", "memory is dumped at once, not in advance"),
    switch("with-previous", "memory is dumped at once, not in advance"),
];

/// Of `container restore`.
pub const RESTORE: &[Refused] = &[
    valued("import-previous", &[], "memory is dumped at once, not in advance"),
    valued("pod", &[], "pods cannot be restored into"),
];

/// Of `rm`.
pub const RM: &[Refused] = &[switch("link", "there are no links")];

/// Of `update`.
pub const UPDATE: &[Refused] = &[
    valued("blkio-weight-device", &[], DEVICE_RATE),
    valued("cpu-rt-period", &["0"], LIMIT),
    valued("cpu-rt-runtime", &["0"], LIMIT),
    valued("device-read-bps", &[], DEVICE_RATE),
    valued("device-read-iops", &[], DEVICE_RATE),
    valued("device-write-bps", &[], DEVICE_RATE),
    valued("device-write-iops", &[], DEVICE_RATE),
    valued("kernel-memory", &["0"], "the kernel has no such limit any more"),
];

/// Of `container clone`.
pub const CLONE: &[Refused] = &[
    valued("blkio-weight-device", &[], DEVICE_RATE),
    valued("cpu-rt-period", &["0"], LIMIT),
    valued("cpu-rt-runtime", &["0"], LIMIT),
    valued("device-read-bps", &[], DEVICE_RATE),
    valued("device-write-bps", &[], DEVICE_RATE),
    valued("pod", &[], "a clone stays in the pod of its original; make it anew with run --pod"),
];

/// Of `pod create`.
pub const POD_CREATE: &[Refused] = &[
    valued("blkio-weight", &["0"], POD_LIMIT),
    valued("blkio-weight-device", &[], POD_LIMIT),
    valued("cgroup-parent", &[""], "the containers of a pod have groups of their own below cais's"),
    valued("cpu-shares", &["0"], POD_LIMIT),
    valued("cpus", &["0"], POD_LIMIT),
    valued("cpuset-cpus", &[""], POD_LIMIT),
    valued("cpuset-mems", &[""], POD_LIMIT),
    valued("device", &[], "give devices to the containers of the pod"),
    valued("device-read-bps", &[], POD_LIMIT),
    valued("device-write-bps", &[], POD_LIMIT),
    valued("gidmap", &[], NAMESPACES),
    valued("gpus", &[], "GPUs are not supported yet"),
    valued("infra-command", &[], "the container that holds the namespaces executes nothing"),
    valued("infra-conmon-pidfile", &[], "there is no conmon"),
    valued("infra-image", &[], "the container that holds the namespaces needs no image"),
    valued("ip", &[], ADDRESS),
    valued("ip6", &[], ADDRESS),
    valued("memory", &["0"], POD_LIMIT),
    valued("memory-swap", &["0"], POD_LIMIT),
    valued("network-alias", &[], "aliases need user-defined networks, which are not supported yet"),
    valued("security-opt", &[], "give it to the containers of the pod"),
    switch("share-parent", "the containers of a pod have groups of their own below cais's"),
    valued("shm-size-systemd", &[], "systemd mode is not supported yet"),
    valued("subgidname", &[], NAMESPACES),
    valued("subuidname", &[], NAMESPACES),
    valued("uidmap", &[], NAMESPACES),
    valued("userns", &["host", ""], NAMESPACES),
    valued("uts", &["private", ""], "choose it with --share"),
    valued("volume", &[], "give volumes to the containers of the pod"),
    valued("volumes-from", &[], "give volumes to the containers of the pod"),
];

/// Of `commit`.
pub const COMMIT: &[Refused] = &[
    valued("format", &["oci", ""], "images are always made in the OCI format"),
    valued("config", &[], "merging a whole config is not supported; use --change"),
    switch("include-volumes", "volumes belong to no image"),
    switch("squash", "one layer for all is not supported; use export and import"),
];

/// Of `pull`.
pub const PULL: &[Refused] = &[
    switch("all-tags", "pulling every tag of a repository is not supported yet"),
    valued("arch", &[], "use --platform os/arch"),
    valued("authfile", &[], "set REGISTRY_AUTH_FILE"),
    valued("cert-dir", &[], "put certificates into /etc/containers/certs.d"),
    valued("creds", &[], "put credentials into the docker config or auth.json"),
    valued("os", &["linux"], "use --platform os/arch"),
    valued("policy", &["always"], "pull always asks the registry"),
    valued("tls-verify", &["true"], "set insecure registries in registries.conf"),
    Refused { harmless: &["true", "false"], ..switch("disable-content-trust", "content trust is retired") },
];

/// Of `login`.
pub const LOGIN: &[Refused] = &[
    valued("compat-auth-file", &[], "use the global flag --config for the directory of docker's config.json"),
    valued("secret", &[], "there are no secrets yet; use --password-stdin"),
];

/// Of `logout`.
pub const LOGOUT: &[Refused] = &[valued(
    "compat-auth-file",
    &[],
    "use the global flag --config for the directory of docker's config.json",
)];

/// Of `search`.
pub const SEARCH: &[Refused] = &[valued("creds", &[], "log in first: cais login")];

/// Of `push`.
pub const PUSH: &[Refused] = &[
    valued("authfile", &[], "set REGISTRY_AUTH_FILE"),
    valued("cert-dir", &[], "put certificates into /etc/containers/certs.d"),
    valued("compression-level", &[], "each compression has one level"),
    valued("creds", &[], "put credentials into the docker config or auth.json"),
    valued("encrypt-layer", &[], "encrypted images are not supported"),
    valued("encryption-key", &[], "encrypted images are not supported"),
    valued("retry", &[], "how often a registry is asked again is not to be chosen yet"),
    valued("retry-delay", &[], "how often a registry is asked again is not to be chosen yet"),
    valued("sign-by", &[], "signing is not supported yet"),
    valued("sign-by-sigstore", &[], "signing is not supported yet"),
    valued("sign-by-sigstore-private-key", &[], "signing is not supported yet"),
    valued("sign-passphrase-file", &[], "signing is not supported yet"),
    valued("tls-verify", &["true"], "set insecure registries in registries.conf"),
    Refused { harmless: &["true", "false"], ..switch("disable-content-trust", "content trust is retired") },
    Refused {
        harmless: &["true", "false"],
        ..switch("remove-signatures", "signatures are never sent along")
    },
];

/// Of `save`.
pub const SAVE: &[Refused] = &[
    switch("compress", "layers are written as they are here"),
    switch("uncompressed", "layers are written as they are here"),
    valued("signature-policy", &[], "signatures are not part of an archive"),
];

impl Refused {
    /// Why a value (or the bare switch, as `true`) is refused; `None` when it changes nothing.
    pub fn objection(&self, value: &str) -> Option<String> {
        (!self.harmless.contains(&value)).then(|| format!("--{}: {}", self.long, self.reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::Door;
    use crate::verb::table::COMMANDS;

    fn objection(long: &str, value: &str) -> Option<String> {
        CONTAINER.iter().find(|flag| flag.long == long).expect("in the table").objection(value)
    }

    #[test]
    fn refuses_by_name_unless_harmless() {
        assert_eq!(objection("gpus", "all").as_deref(), Some("--gpus: GPUs are not supported yet"));
        assert_eq!(objection("isolation", "default"), None);
        assert_eq!(objection("use-api-socket", "false"), None);
        assert!(objection("use-api-socket", "true").is_some());
    }

    #[test]
    fn every_flag_once_with_a_reason() {
        for table in [
            CONTAINER, EXEC, CHECKPOINT, RESTORE, RM, UPDATE, CLONE, POD_CREATE, COMMIT, PULL, PUSH, SAVE,
            LOGIN, LOGOUT, SEARCH,
        ] {
            for (at, flag) in table.iter().enumerate() {
                assert!(!table[..at].iter().any(|other| other.long == flag.long), "--{} twice", flag.long);
                assert!(!flag.reason.is_empty(), "--{} without reason", flag.long);
            }
        }
    }

    /// Rows of a part of the table in docs/coverage: flag, short letter, whether it says that the flag is there.
    fn documented(part: &str) -> Vec<(String, Option<char>, bool)> {
        let text = include_str!("../../../docs/coverage/cli-flags.md");
        let part = text.split("\n## ").find(|section| section.starts_with(part)).expect("a part");
        let rows = part.lines().filter(|line| line.starts_with("| `--"));
        rows.map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            let mut names = cells[0].split('`').filter(|name| name.starts_with('-'));
            let long = names.next().and_then(|name| name.strip_prefix("--")).expect(row);
            let short = names.next().and_then(|name| name.chars().nth(1));
            let state = cells[3];
            assert!(state == "there" || state.starts_with("refused: "), "{row}");
            (long.to_owned(), short, state == "there")
        })
        .collect()
    }

    #[test]
    fn every_flag_of_docker_and_podman_is_there_or_refused_by_name() {
        for (part, commands) in [("`run` and", &["run", "create"][..]), ("`exec`", &["exec"])] {
            let rows = documented(part);
            assert!(rows.len() > 10, "{part}");
            for command in commands {
                let spec = COMMANDS.iter().find(|spec| spec.name() == *command).expect("a command");
                let parser = spec.flags(&Door::for_tests(spec)).expect("flags");
                for (long, short, there) in &rows {
                    // What only `run` has.
                    let of_run = ["detach", "detach-keys", "sig-proxy", "rmi"].contains(&long.as_str());
                    if of_run && *command == "create" {
                        continue;
                    }
                    let named = |arg: &&clap::Arg| {
                        let aliases = arg.get_all_aliases().unwrap_or_default();
                        arg.get_long() == Some(long) || aliases.contains(&long.as_str())
                    };
                    let known = parser.get_arguments().find(named);
                    let known =
                        known.unwrap_or_else(|| panic!("{command} --{long}: neither there nor refused"));
                    let refused = spec.refused.iter().any(|flag| flag.long == long);
                    assert_eq!(
                        *there, !refused,
                        "{command} --{long}: docs/coverage/cli-flags.md says otherwise"
                    );
                    if *there && short.is_some() {
                        assert_eq!(known.get_short(), *short, "{command} --{long}");
                    }
                }
                let undocumented: Vec<_> = spec
                    .refused
                    .iter()
                    .filter(|flag| !rows.iter().any(|(long, ..)| long == flag.long))
                    .map(|flag| flag.long)
                    .collect();
                assert!(
                    undocumented.is_empty(),
                    "{command}: not in docs/coverage/cli-flags.md: {undocumented:?}"
                );
            }
        }
    }
}
