//! Whatever the bytes are: no panic, nothing outside touched, nothing left running.

use proptest::prelude::*;

use cais_layer::{Limits, Options};

use crate::bed::Bed;
use crate::forge::{Forge, Header};

/// Small limits, so that a lucky mutation does not fill the disk.
fn options(rootless: bool) -> Options {
    let limits = Limits { max_bytes: 1 << 22, max_file_bytes: 1 << 24, ..Limits::default() };
    Options { rootless, squash_ids: rootless, limits }
}

fn name() -> impl Strategy<Value = String> {
    let component = prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "c", "layer", "outside", "canary", "sub"]),
        1 => prop::sample::select(vec!["..", ".", "", ".wh.a", ".wh.b", ".wh..wh..opq", ".wh.", ".wh..wh.plnk"]),
    ];
    prop::collection::vec(component, 1..5).prop_map(|parts| parts.join("/"))
}

fn target() -> impl Strategy<Value = String> {
    let component =
        prop::sample::select(vec!["a", "b", "c", "..", "..", ".", "", "outside", "canary", "sub"]);
    prop::collection::vec(component, 1..5).prop_map(|parts| parts.join("/"))
}

/// A well-formed archive of entries that get into each other's way.
fn entangled() -> impl Strategy<Value = Vec<u8>> {
    let flag = prop::sample::select(b"000555112226".to_vec());
    prop::collection::vec((flag, name(), target(), 0..0o10000u32), 1..25).prop_map(|entries| {
        let mut forge = Forge::new();
        for (flag, path, target, mode) in entries {
            // What would end the archive early is left out: it is tried elsewhere.
            let hostile = path.split('/').any(|part| matches!(part, ".." | ".wh."));
            if hostile || path.split('/').all(|part| part.is_empty() || part == ".") || target.is_empty() {
                continue;
            }
            let target = if flag == b'1' { "a/b".to_owned() } else { target };
            if flag == b'1' {
                forge.file("a/b", b"target");
            }
            forge.header(Header::new(flag, &path).link(&target).mode(mode).owner(7, 7));
        }
        forge.end()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn entangled_entries_never_reach_outside(layer in entangled(), rootless: bool) {
        let bed = Bed::new();
        let result = bed.try_unpack(&layer, &options(rootless));
        // Symlinks may lead in circles, and hard links to what is gone: everything else is legal.
        if let Err(error) = result {
            let text = error.to_string();
            prop_assert!(text.contains("too many symlinks") || text.contains("hard link"), "{}", text);
        }
    }

    #[test]
    fn mutated_archives_never_panic(
        layer in entangled(),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut: prop::sample::Index,
    ) {
        let mut layer = layer;
        for (at, byte) in mutations {
            let at = at.index(layer.len());
            layer[at] = byte;
            fix_checksum(&mut layer, at);
        }
        let _ = Bed::new().try_unpack(&layer, &options(false));
        let _ = Bed::new().try_unpack(&layer[..cut.index(layer.len())], &options(true));
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes: Vec<u8>, magic in 0..4usize, records: Vec<(String, Vec<u8>)>) {
        let prefix: &[u8] = [&b""[..], &[0x1f, 0x8b, 8], &[0x28, 0xb5, 0x2f, 0xfd], &[0; 512]][magic];
        let _ = Bed::new().try_unpack(&[prefix, &bytes].concat(), &options(false));
        // The same bytes where they are read as headers, and as what headers announce.
        let records: Vec<(&str, &[u8])> = records.iter().map(|(key, value)| (key.as_str(), &value[..])).collect();
        let layer = Forge::new().pax(b'x', &records).extended(b'x', &bytes).extended(b'L', &bytes).file("a", b"").end();
        let _ = Bed::new().try_unpack(&layer, &options(false));
        bytes.resize(512, 0);
        fix_checksum(&mut bytes, 0);
        let _ = Bed::new().try_unpack(&bytes, &options(true));
    }
}

/// Makes a forged header pass, so that its fields are looked at.
fn fix_checksum(layer: &mut [u8], at: usize) {
    let start = at / 512 * 512;
    let block = &mut layer[start..start + 512];
    if block.iter().all(|&byte| byte == 0) {
        return;
    }
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
