//! Layers that try to get out, or to break the unpacker on the way.

use std::fs;
use std::os::unix::fs::MetadataExt;

use cais_layer::{Fault, LayerError, LinkFault, Options};

use crate::bed::Bed;
use crate::forge::{Forge, Header};

#[test]
fn absolute_paths_stay_inside() {
    let bed = Bed::new();
    let canary = bed.outside().join("canary");
    let canary = canary.to_str().unwrap();
    bed.unpack(&Forge::new().file(canary, b"evil").file("//etc///passwd", b"root").end());
    assert_eq!(bed.read(canary.trim_start_matches('/')), "evil");
    assert_eq!(bed.read("etc/passwd"), "root");
}

#[test]
fn parent_components_are_refused() {
    for path in [
        "../outside/canary",
        "a/../../outside/canary",
        "/..",
        "a/..",
        "./../x",
        "../layer/.wh.x",
        "a/../.wh.b",
    ] {
        for header in [Header::new(b'0', path), Header::new(b'5', path), Header::new(b'1', path).clone()] {
            let bed = Bed::new();
            let layer = Forge::new().dir("a", 0o755).header(header.clone().link("a")).end();
            assert!(matches!(bed.refuse(&layer), LayerError::ParentComponent { .. }), "{path}");
        }
    }
    // The same by way of the extensions.
    let bed = Bed::new();
    let layer = Forge::new().pax(b'x', &[("path", b"../outside/canary")]).file("a", b"evil").end();
    assert!(matches!(bed.refuse(&layer), LayerError::ParentComponent { .. }));
    let bed = Bed::new();
    let layer = Forge::new().extended(b'L', b"../outside/canary\0").file("a", b"evil").end();
    assert!(matches!(bed.refuse(&layer), LayerError::ParentComponent { .. }));
}

#[test]
fn writing_through_a_symlink_that_leads_out_ends_inside() {
    for target in ["../outside", "/outside", "../../../../outside", "./.././outside/"] {
        let bed = Bed::new();
        let mut forge = Forge::new();
        forge.symlink("link", target).file("link/canary", b"evil").dir("link/sub", 0o700);
        forge.symlink("link/other", "x").file("link/.wh.hidden", b"").file("link/.wh..wh..opq", b"");
        bed.unpack(&forge.end());
        assert_eq!(bed.read("outside/canary"), "evil");
        assert!(bed.is_whiteout("outside/hidden"));
        assert!(bed.is_opaque("outside"));
        assert_eq!(fs::read_link(bed.path("link")).unwrap().to_str(), Some(target));
    }
}

#[test]
fn writing_through_an_absolute_symlink_to_the_real_outside_ends_inside() {
    let bed = Bed::new();
    let outside = bed.outside();
    let outside = outside.to_str().unwrap();
    bed.unpack(&Forge::new().symlink("link", outside).file("link/canary", b"evil").end());
    assert_eq!(bed.read(&format!("{}/canary", outside.trim_start_matches('/'))), "evil");
}

#[test]
fn a_file_replaces_a_final_symlink_and_is_not_written_through_it() {
    let bed = Bed::new();
    let canary = bed.outside().join("canary");
    let layer = Forge::new()
        .symlink("link", canary.to_str().unwrap())
        .file("link", b"evil")
        .symlink("again", "../outside/canary")
        .header(Header::new(b'5', "again").mode(0o777).owner(1, 1))
        .symlink("fifo", "../outside/canary")
        .header(Header::new(b'6', "fifo").mode(0o777))
        .end();
    bed.unpack(&layer);
    assert_eq!(bed.read("link"), "evil");
    assert!(bed.stat("again").is_dir());
    assert_eq!(bed.stat("fifo").mode(), 0o010_777);
}

#[test]
fn metadata_of_a_symlink_does_not_reach_its_target() {
    let bed = Bed::new();
    let canary = bed.outside().join("canary");
    let layer = Forge::new()
        .pax(b'x', &[("SCHILY.xattr.trusted.mark", b"x"), ("SCHILY.xattr.user.mark", b"x")])
        .header(Header::new(b'2', "link").link(canary.to_str().unwrap()).mode(0o777).owner(7, 8))
        .end();
    bed.unpack(&layer);
    assert_eq!((bed.stat("link").uid(), bed.stat("link").gid()), (7, 8));
    assert_eq!(bed.stat("link").mtime(), 1_000_000_000);
    assert_eq!(bed.xattr("link", "trusted.mark").as_deref(), Some(&b"x"[..]));
}

#[test]
fn hard_links_reach_files_of_this_layer_only() {
    let bed = Bed::new();
    let canary = bed.outside().join("canary");
    let canary = canary.to_str().unwrap();
    for (target, fault) in [
        (canary, LinkFault::Missing),
        ("../outside/canary", LinkFault::ParentComponent),
        ("dir/../../outside/canary", LinkFault::ParentComponent),
        ("out/canary", LinkFault::Missing),
        ("abs/canary", LinkFault::Missing),
        ("nothing", LinkFault::Missing),
        ("file/below", LinkFault::Missing),
        ("hidden", LinkFault::Missing),
        ("hidden/below", LinkFault::Missing),
        ("dir", LinkFault::Directory),
        ("/", LinkFault::Directory),
        ("out", LinkFault::Missing),
    ] {
        let bed = Bed::new();
        let mut forge = Forge::new();
        forge.dir("dir", 0o755).file("file", b"").file(".wh.hidden", b"");
        forge.symlink("out", "../outside").symlink("abs", bed.outside().to_str().unwrap());
        forge.hard_link("link", target);
        if target == "out" {
            // A link to a symlink is a second symlink, which leads no further than the first.
            forge.file("link/canary", b"evil").hard_link("evil", "link/nothing");
        }
        let Err(LayerError::HardLink { fault: found, .. }) =
            bed.try_unpack(&forge.end(), &Options::default())
        else {
            panic!("{target} must be refused");
        };
        assert_eq!(found, fault, "{target}");
    }
}

#[test]
fn a_hard_link_to_a_symlink_is_followed_like_the_symlink() {
    let bed = Bed::new();
    let mut forge = Forge::new();
    forge.symlink("a", "../outside").hard_link("b", "a").file("b/canary", b"evil");
    forge.hard_link("c", "a/canary");
    bed.unpack(&forge.end());
    assert!(bed.stat("b").is_symlink());
    assert_eq!(bed.read("c"), "evil");
}

#[test]
fn a_hard_link_over_its_own_target_changes_nothing() {
    let bed = Bed::new();
    let mut forge = Forge::new();
    forge.file("a/f", b"x").hard_link("a/f", "./a/f").symlink("s", "a").hard_link("s/f", "a/f");
    bed.unpack(&forge.end());
    assert_eq!(bed.read("a/f"), "x");
    let bed = Bed::new();
    let layer = Forge::new().file("d/f", b"x").hard_link("d", "d/f").end();
    assert!(matches!(bed.refuse(&layer), LayerError::HardLink { .. }));
}

#[test]
fn symlink_loops_end() {
    let bed = Bed::new();
    let layer = Forge::new().symlink("a", "b").symlink("b", "a").file("a/x", b"").end();
    assert!(matches!(bed.refuse(&layer), LayerError::SymlinkLoop { .. }));
    let bed = Bed::new();
    let layer = Forge::new().symlink("a", "a/a/a").file("a/x", b"").end();
    assert!(matches!(bed.refuse(&layer), LayerError::SymlinkLoop { .. }));
    // A symlink to where it is itself leads to its directory.
    let bed = Bed::new();
    bed.unpack(&Forge::new().symlink("d/self", "../d").file("d/self/self/x", b"x").end());
    assert_eq!(bed.read("d/x"), "x");
}

#[test]
fn a_parent_that_changes_between_entries_is_looked_up_again() {
    let bed = Bed::new();
    let mut forge = Forge::new();
    forge.file("p/f", b"1").symlink("p", "../outside").file("p/f", b"2");
    forge.file("q/s/f", b"1").symlink("q/s", "../q").file("q/s/s", b"3").file("q/s/f", b"4");
    bed.unpack(&forge.end());
    assert!(bed.stat("p").is_symlink());
    assert_eq!(bed.read("outside/f"), "2");
    // "q/s/s" replaced the symlink "q/s" by a file, "q/s/f" that file by a directory.
    assert_eq!(bed.read("q/s/f"), "4");
}

#[test]
fn the_root_is_a_directory_and_stays_one() {
    for flag in [b'0', b'1', b'2', b'3', b'6'] {
        for path in ["/", "./", ".", "/./"] {
            let bed = Bed::new();
            let layer = Forge::new().header(Header::new(flag, path).link("x").device(1, 3)).end();
            assert!(matches!(bed.refuse(&layer), LayerError::ReplacesRoot { .. }), "{path}");
        }
    }
}

#[test]
fn empty_names_and_targets_are_refused() {
    for (flag, path, link) in [(b'0', "", "x"), (b'2', "a", ""), (b'1', "a", "")] {
        let bed = Bed::new();
        let layer = Forge::new().header(Header::new(flag, path).link(link)).end();
        assert!(matches!(bed.refuse(&layer), LayerError::Malformed { fault: Fault::EmptyPath, .. }));
    }
    let bed = Bed::new();
    let layer = Forge::new().pax(b'x', &[("path", b"a\0b")]).file("a", b"").end();
    assert!(matches!(bed.refuse(&layer), LayerError::Malformed { fault: Fault::NulByte, .. }));
}

#[test]
fn unknown_types_are_refused_by_name() {
    let bed = Bed::new();
    let layer = Forge::new().header(&Header::new(b'V', "label")).end();
    assert_eq!(bed.refuse(&layer).to_string(), "layer entry \"label\" has the unknown type 'V'");
}

#[test]
fn control_characters_of_names_do_not_reach_the_terminal() {
    let bed = Bed::new();
    let layer = Forge::new().file("\x1b[2J/../x", b"").end();
    let text = bed.refuse(&layer).to_string();
    assert!(!text.contains('\x1b') && text.contains("\\u{1b}"), "{text}");
}

#[test]
fn a_destination_that_is_not_empty_is_refused() {
    let bed = Bed::new();
    std::os::unix::fs::symlink(bed.outside(), bed.path("link")).unwrap();
    let layer = Forge::new().file("link/canary", b"evil").end();
    assert!(matches!(bed.refuse(&layer), LayerError::NotEmpty));
}

#[test]
fn very_deep_trees_are_made_and_replaced() {
    let bed = Bed::new();
    let deep = "d/".repeat(2000);
    let mut forge = Forge::new();
    forge.pax(b'x', &[("path", format!("{deep}f").as_bytes())]).file("x", b"deep");
    // By symlinks a path can become longer than any path may be.
    forge.pax(b'x', &[("linkpath", deep.as_bytes())]).symlink("s", "x");
    let layer = forge.clone().file("d", b"flat").end();
    bed.unpack(&layer);
    assert_eq!(bed.read("d"), "flat");

    let bed = Bed::new();
    let layer = forge.pax(b'x', &[("path", format!("s/{deep}f").as_bytes())]).file("x", b"deep").end();
    assert!(matches!(bed.refuse(&layer), LayerError::Io { .. }));
}

#[test]
fn truncated_archives_are_errors_wherever_they_stop() {
    let mut forge = Forge::new();
    forge.pax(b'x', &[("mtime", b"1.5")]).file("file", &[7; 3000]).dir("dir", 0o755);
    let layer = forge.open_end();
    let whole_at = [0, 512 * 3 + 3072, layer.len()];
    for cut in (0..=layer.len()).step_by(64) {
        let bed = Bed::new();
        let result = bed.try_unpack(&layer[..cut], &Options::default());
        if whole_at.contains(&cut) {
            result.unwrap();
        } else {
            assert!(matches!(result, Err(LayerError::Truncated { .. })), "at {cut}");
        }
    }
}

#[test]
fn what_is_no_tar_is_refused() {
    let bed = Bed::new();
    let layer = b"<html>not found</html>".repeat(100);
    assert!(matches!(bed.refuse(&layer), LayerError::Malformed { fault: Fault::Checksum, offset: 0 }));
    let bed = Bed::new();
    let layer = Forge::new().file("a", b"").raw(&[0; 512]).file("b", b"").end();
    assert!(matches!(bed.refuse(&layer), LayerError::Malformed { fault: Fault::LoneZeroBlock, offset: 512 }));
}
