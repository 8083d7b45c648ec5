//! Flags of `pod create`: a request for a pod.

use cais_engine::{PodExitPolicy, PodNamespace, PodRequest};

use super::{Caller, Result, absolute, convert, env};
use crate::container_args::ContainerArgs;
use crate::failure::Failure;
use crate::launch_args::LaunchArgs;
use crate::pod_args::PodArgs;

/// Converts the flags of `pod create`; warnings come beside. `command` are the words as typed.
///
/// # Errors
/// A usage failure that names the flag.
pub fn pod(args: &PodArgs, caller: &Caller<'_>, command: Vec<String>) -> Result<(PodRequest, Vec<String>)> {
    let name = args.name.clone().or_else(|| args.word.clone()).filter(|name| !name.is_empty());
    if args.name.is_some() && args.word.is_some() {
        return Err(Failure::usage("the pod has two names: give one, or --name"));
    }
    if args.replace && name.is_none() {
        return Err(Failure::usage("--replace: needs a name: which pod is to be replaced?"));
    }
    let share = share(args.share.as_deref())?;
    if !args.infra {
        needs_infra(args)?;
    }
    let as_container = ContainerArgs {
        add_host: args.add_host.clone(),
        dns: args.dns.clone(),
        dns_option: args.dns_option.clone(),
        dns_search: args.dns_search.clone(),
        hostname: args.hostname.clone(),
        network: args.network.clone(),
        publish: args.publish.clone(),
        restart: args.restart.clone(),
        shm_size: args.shm_size.clone(),
        sysctl: args.sysctl.clone(),
        launch: LaunchArgs {
            mac_address: args.mac_address.clone(),
            pid: args.pid.clone(),
            ..LaunchArgs::default()
        },
        // It has no image.
        words: vec!["pod".to_owned()],
        ..ContainerArgs::default()
    };
    let mut converted = convert(&as_container, caller)?;
    converted.request.image.clear();
    converted.request.platform = None;
    let request = PodRequest {
        name,
        labels: env::labels(&args.label_file, &args.label, caller)?,
        share,
        no_infra: !args.infra,
        infra_name: args.infra_name.clone().filter(|name| !name.is_empty()),
        exit_policy: match args.exit_policy.as_str() {
            "continue" => PodExitPolicy::Continue,
            "stop" => PodExitPolicy::Stop,
            other => return Err(Failure::usage(format!("--exit-policy {other}: use continue or stop"))),
        },
        infra: converted.request,
        replace: args.replace,
        id_file: args.pod_id_file.as_deref().map(|path| absolute(caller.directory, path)),
        command,
    };
    Ok((request, converted.warnings))
}

/// What belongs to the container that holds the namespaces.
fn needs_infra(args: &PodArgs) -> Result<()> {
    let given = [
        ("--share", args.share.as_deref().is_some_and(|share| !matches!(share, "" | "none"))),
        ("--publish", !args.publish.is_empty()),
        ("--network", !args.network.is_empty()),
        ("--hostname", args.hostname.is_some()),
        ("--infra-name", args.infra_name.is_some()),
        ("--add-host", !args.add_host.is_empty()),
        ("--dns", !args.dns.is_empty()),
        ("--dns-search", !args.dns_search.is_empty()),
        ("--dns-option", !args.dns_option.is_empty()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(Failure::usage(format!("conflicting options: {flag} and --infra=false"))
            .hint("what a pod shares is held by its infra container")),
        None => Ok(()),
    }
}

/// `ipc,net`, `none`, or `+pid` beside the usual ones.
fn share(text: Option<&str>) -> Result<Vec<PodNamespace>> {
    let usual = PodNamespace::DEFAULT.to_vec();
    let Some(text) = text else { return Ok(usual) };
    let (mut all, words) = match text.strip_prefix('+') {
        Some(words) => (usual, words),
        None => (Vec::new(), text),
    };
    if matches!(words, "" | "none") {
        return Ok(all);
    }
    for word in words.split(',').map(|word| word.trim().trim_start_matches('+')) {
        all.push(match word {
            "ipc" => PodNamespace::Ipc,
            "net" => PodNamespace::Net,
            "pid" => PodNamespace::Pid,
            "uts" => PodNamespace::Uts,
            "cgroup" | "user" | "mnt" => {
                let message = format!("--share: sharing {word} in a pod is not supported yet");
                return Err(Failure::usage(message));
            }
            other => {
                let message = format!("--share: unknown namespace {other:?}: use ipc, net, pid, uts or none");
                return Err(Failure::usage(message));
            }
        });
    }
    all.sort();
    all.dedup();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared() {
        use PodNamespace::{Ipc, Net, Pid, Uts};
        let share = |text| share(Some(text)).map_err(|failure| failure.message);
        assert_eq!(share("pid,net"), Ok(vec![Net, Pid]));
        assert_eq!(share("+pid"), Ok(vec![Ipc, Net, Pid, Uts]));
        assert_eq!((share(""), share("none")), (Ok(vec![]), Ok(vec![])));
        assert!(share("user").is_err() && share("odd").is_err());
    }
}
