//! The option `idmap=…` of a mount, in crun's words: whose owners become whose.

use super::IdMapping;

/// `uids=0-1000-10#…;gids=…`: triples of id in the file system, id of the host, count; `@` in front of a triple says that
/// its second number is one of the container, which its maps turn into one of the host.
///
/// `None` when it says something else.
#[must_use]
pub fn idmap_option(
    option: &str,
    container: (&[IdMapping], &[IdMapping]),
) -> Option<(Vec<IdMapping>, Vec<IdMapping>)> {
    let (mut uids, mut gids) = (Vec::new(), Vec::new());
    for part in option.split(';').filter(|part| !part.is_empty()) {
        if let Some(triples) = part.strip_prefix("uids=") {
            uids = parse_triples(triples, container.0)?;
        } else {
            gids = parse_triples(part.strip_prefix("gids=")?, container.1)?;
        }
    }
    Some((uids, gids))
}

fn parse_triples(triples: &str, container: &[IdMapping]) -> Option<Vec<IdMapping>> {
    triples
        .split('#')
        .filter(|triple| !triple.is_empty())
        .map(|triple| parse_triple(triple, container))
        .collect()
}

fn parse_triple(triple: &str, container: &[IdMapping]) -> Option<IdMapping> {
    let (relative, numbers) = match triple.strip_prefix('@') {
        Some(numbers) => (true, numbers),
        None => (false, triple),
    };
    let numbers: Vec<u32> = numbers.split('-').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    let &[container_id, mut host_id, size] = numbers.as_slice() else { return None };
    if relative {
        host_id = container.iter().find_map(|map| {
            let offset = host_id.checked_sub(map.container_id).filter(|offset| *offset < map.size)?;
            map.host_id.checked_add(offset)
        })?;
    }
    Some(IdMapping { container_id, host_id, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(container_id: u32, host_id: u32, size: u32) -> IdMapping {
        IdMapping { container_id, host_id, size }
    }

    #[test]
    fn the_option_of_crun() {
        let container = [map(0, 100_000, 1000)];
        let parse = |option| idmap_option(option, (&container, &container));
        assert_eq!(
            parse("uids=0-1000-10;gids=5-6-7#8-9-10"),
            Some((vec![map(0, 1000, 10)], vec![map(5, 6, 7), map(8, 9, 10)]))
        );
        assert_eq!(
            parse("uids=@0-1-10;gids=@0-0-10"),
            Some((vec![map(0, 100_001, 10)], vec![map(0, 100_000, 10)]))
        );
        for wrong in
            ["uids=0-1", "uids=a-1-1", "users=0-0-1", "uids=@0-1000-1", "uids=0-0-1-1", "uids=-1-0-1"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
