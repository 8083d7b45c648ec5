//! `--network`, `--dns`, `--add-host`, and what excludes what.

use std::net::IpAddr;

use cais_engine::NetworkRequest;

use super::Result;
use crate::container_args::ContainerArgs;
use crate::failure::Failure;

/// Where the network comes from.
pub(super) fn parse(texts: &[String]) -> Result<NetworkRequest> {
    let text = match texts {
        [] => return Ok(NetworkRequest::Default),
        [text] => text.as_str(),
        _ => return Err(Failure::usage("--network: a container in several networks is not supported yet")),
    };
    let name = text.strip_prefix("name=").unwrap_or(text);
    if let Some((_, options)) = name.split_once(',') {
        return Err(Failure::usage(format!(
            "--network: options of a network are not supported yet: {options}"
        )));
    }
    match name {
        "" | "default" => Ok(NetworkRequest::Default),
        "bridge" => Ok(NetworkRequest::Bridge),
        "none" => Ok(NetworkRequest::None),
        "host" => Ok(NetworkRequest::Host),
        "pasta" => Ok(NetworkRequest::Pasta),
        name => match name.split_once(':') {
            Some(("container", "")) => Err(Failure::usage("--network: the container after \"container:\" is missing")),
            Some(("container", id)) => Ok(NetworkRequest::Container(id.to_owned())),
            Some((mode, _)) if mode == "pasta" || mode == "bridge" => {
                Err(Failure::usage(format!("--network: options of {mode} are not supported yet")))
            }
            _ => Err(Failure::usage(format!("--network: network {name} not found"))
                .hint("there are bridge, none, host, container:NAME and pasta; user-defined networks are not supported yet")),
        },
    }
}

/// Docker's rules on what a shared network excludes; answers warnings about what has no effect.
pub(super) fn conflicts(args: &ContainerArgs, network: &NetworkRequest) -> Result<Vec<String>> {
    let given = [
        ("--hostname", args.hostname.is_some()),
        ("--dns", !args.dns.is_empty()),
        ("--dns-search", !args.dns_search.is_empty()),
        ("--dns-option", !args.dns_option.is_empty()),
        ("--add-host", !args.add_host.is_empty()),
        ("--publish", !args.publish.is_empty()),
        ("--publish-all", args.publish_all),
        ("--expose", !args.expose.is_empty()),
    ];
    if let (NetworkRequest::Container(_), Some((name, _))) = (network, given.iter().find(|(_, given)| *given))
    {
        return Err(Failure::usage(format!(
            "conflicting options: {name} and the network of another container"
        )));
    }
    let published = !args.publish.is_empty() || args.publish_all;
    Ok(match network {
        NetworkRequest::Host if published => vec!["published ports are discarded with --network host".into()],
        NetworkRequest::None if published => vec!["published ports are discarded with --network none".into()],
        _ => Vec::new(),
    })
}

/// Name servers.
pub(super) fn servers(texts: &[String]) -> Result<Vec<IpAddr>> {
    texts
        .iter()
        .map(|text| text.parse().map_err(|_| Failure::usage(format!("--dns: {text:?} is not an IP address"))))
        .collect()
}

/// `name:address` or `name=address`; the address may be `host-gateway`, IPv6 may stand in brackets.
pub(super) fn hosts(texts: &[String]) -> Result<Vec<(String, String)>> {
    texts.iter().map(|text| host(text)).collect()
}

fn host(text: &str) -> Result<(String, String)> {
    let cut = text.find(['=', ':']).map(|at| (&text[..at], &text[at + 1..]));
    let (name, address) =
        cut.filter(|(name, address)| !name.is_empty() && !address.is_empty()).ok_or_else(|| {
            Failure::usage(format!("--add-host: invalid entry {text:?}: expected name:address"))
        })?;
    if name.contains(char::is_whitespace) {
        return Err(Failure::usage(format!("--add-host: the name {name:?} holds blanks")));
    }
    if address == "host-gateway" {
        return Ok((name.to_owned(), address.to_owned()));
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    match bare.parse::<IpAddr>() {
        Ok(ip) => Ok((name.to_owned(), ip.to_string())),
        Err(_) => {
            Err(Failure::usage(format!("--add-host: {address:?} is not an IP address nor host-gateway")))
        }
    }
}
