//! Tests: images.

use std::io::{self, Read};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use cais_oci::Digest;
use cais_store::{LayerInput, LayerWanted, StoreError};

use crate::sample::{Sample, container, home, reference, sample, tar_of};

#[test]
fn an_image_is_found_by_name_id_and_prefix() {
    let home = home();
    let sample = sample("one");
    let record = sample.store_as(&home.store, &["busybox", "quay.io/a/b:1"]);
    assert_eq!(record.id, sample.id());
    let id = record.id.clone();
    let find = |text: &str, meanings: &[&str]| {
        let meanings: Vec<_> = meanings.iter().map(|text| reference(text)).collect();
        home.store.find_image(text, &meanings).map(|found| found.record.id)
    };
    assert_eq!(find("busybox", &["localhost/busybox", "busybox"]).unwrap(), id);
    assert_eq!(find(id.as_str(), &[]).unwrap(), id);
    assert_eq!(find(id.hex(), &[]).unwrap(), id);
    assert_eq!(find(&id.hex()[..1], &[]).unwrap(), id);
    assert_eq!(find(&format!("sha256:{}", id.short()), &[]).unwrap(), id);
    for missing in ["nothing", "", "sha256:", "x/y"] {
        assert!(matches!(find(missing, &[]), Err(StoreError::NoSuch { .. })), "{missing:?}");
    }
    // A name beats an id prefix.
    let other = crate::sample::sample("two").store_as(&home.store, &[id.short()]);
    assert_eq!(find(id.short(), &[id.short()]).unwrap(), other.id);

    let images = home.store.images().unwrap();
    assert_eq!(images.len(), 2);
    let of_first = images.iter().find(|image| image.record.id == id).unwrap();
    let tags: Vec<String> = of_first.tags.iter().map(|tag| tag.familiar()).collect();
    assert_eq!(tags, ["busybox:latest", "quay.io/a/b:1"]);
    assert_eq!(record.size_bytes, 70_000 + 12 + 3);
    let layer = home.store.paths().layer_fs(&record.layers[0]);
    assert_eq!(std::fs::read_to_string(layer.join("etc/os-release")).unwrap(), "NAME=sample\n");
    assert_eq!(home.store.read_blob(&id).unwrap(), sample.new.config);
    assert_eq!(std::fs::read(home.store.paths().blob(&record.blobs[1].digest)).unwrap(), sample.layers[1]);
    assert_eq!(home.store.check(false).unwrap(), []);
}

#[test]
fn an_ambiguous_prefix_lists_its_candidates() {
    let home = home();
    let ids: Vec<Digest> = (0..17).map(|n| sample(&n.to_string()).store_as(&home.store, &[]).id).collect();
    // 17 ids, 16 digits: two begin alike.
    let shared = ids
        .iter()
        .map(|id| &id.hex()[..1])
        .find(|digit| ids.iter().filter(|id| id.hex().starts_with(*digit)).count() > 1);
    let Err(StoreError::Ambiguous { candidates, .. }) = home.store.find_image(shared.unwrap(), &[]) else {
        panic!()
    };
    assert!(candidates.len() > 1);
}

#[test]
fn a_tag_moves_and_what_nobody_names_dangles() {
    let home = home();
    let (one, two) = (sample("one"), sample("two"));
    let first = one.store_as(&home.store, &["app"]);
    let pulled = reference("app").with_digest(first.manifest.digest.clone());
    home.store.tag(&pulled, &first.id, &home.store.hold().unwrap()).unwrap();
    let second = two.store_as(&home.store, &["app"]);
    assert_eq!(home.store.image_id(&reference("app")).unwrap(), Some(second.id.clone()));
    assert_eq!(home.store.image_id(&pulled).unwrap(), Some(first.id.clone()));
    // With tag and digest the digest counts.
    let both = reference(&format!("app:latest@{}", first.manifest.digest));
    assert_eq!(home.store.image_id(&both).unwrap(), Some(first.id.clone()));
    let references = home.store.references_of(&first.id).unwrap();
    assert!(references.tags.is_empty() && references.digests == [pulled]);
    let missing = home.store.tag(&reference("x"), &Digest::sha256(b"no"), &home.store.hold().unwrap());
    assert!(matches!(missing, Err(StoreError::NoSuch { .. })));
}

#[test]
fn sweeping_keeps_what_images_and_containers_need() {
    let home = home();
    let (one, two) = (sample("one"), sample("two"));
    let first = one.store_as(&home.store, &["one"]);
    let second = two.store_as(&home.store, &["two"]);
    let mut user = container(&cais_store::random_id(), "user");
    user.layers = first.layers.clone();
    user.image_id = Some(first.id.clone());
    home.store.put_container(&user, &home.store.hold().unwrap()).unwrap();
    assert_eq!(home.store.containers_using_image(&first.id).unwrap(), [user.id.clone()]);

    let remove = |id: &Digest, name: &str| {
        let mut exclusive = home.store.exclusive().unwrap();
        assert!(exclusive.untag(&reference(name)).unwrap());
        assert!(!exclusive.untag(&reference(name)).unwrap());
        exclusive.remove_image(id).unwrap();
        let swept = exclusive.sweep().unwrap();
        exclusive.finish().unwrap();
        swept
    };
    let swept = remove(&first.id, "one");
    assert!(swept.layers.is_empty(), "the container needs them");
    assert_eq!(swept.blobs, 2, "manifest and config");
    let swept = remove(&second.id, "two");
    assert_eq!(swept.layers, [second.layers[1].clone()]);
    home.store.remove_container(&user.id).unwrap();
    let swept = home.store.sweep().unwrap();
    assert_eq!(swept.layers.len(), 2);
    assert_eq!(std::fs::read_dir(home.store.paths().layers()).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(home.store.paths().blobs()).unwrap().count(), 0);
    assert_eq!(home.store.check(false).unwrap(), []);
}

#[test]
fn lies_about_content_are_refused_and_leave_nothing() {
    let home = home();
    let sample = sample("one");
    let ingest = home.store.ingest().unwrap();
    let add = |wanted: LayerWanted, bytes: &[u8]| {
        let opened = || Ok::<_, StoreError>(LayerInput::Stream(io::Cursor::new(bytes.to_vec())));
        ingest.add_layer(&wanted, &Default::default(), opened).map(|_| ())
    };
    let (good, other) = (&sample.layers[0], &sample.layers[1]);
    let wanted = || sample.wanted(0);
    assert!(matches!(add(wanted(), other), Err(StoreError::WrongSize { .. })));
    let mut long = good.clone();
    long.extend([0; 100_000]);
    assert!(matches!(add(wanted(), &long), Err(StoreError::WrongSize { .. })));
    let mut changed = good.clone();
    let end = changed.len() - 2000;
    changed[end] ^= 1;
    assert!(matches!(add(wanted(), &changed), Err(StoreError::WrongDigest { what: "blob", .. })));
    changed = good.clone();
    changed[0] ^= 1;
    let broken_header = add(wanted(), &changed);
    assert!(matches!(broken_header, Err(StoreError::WrongDigest { what: "blob", .. })), "{broken_header:?}");
    let mut other_diff = wanted();
    other_diff.diff_id = Some(Digest::sha256(b"something else"));
    assert!(matches!(add(other_diff, good), Err(StoreError::WrongDigest { what: "unpacked layer", .. })));
    let sha512: Digest = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
    let unsupported = LayerWanted { diff_id: Some(sha512), blob: None };
    assert!(matches!(add(unsupported, good), Err(StoreError::UnsupportedDigest { .. })));
    assert_eq!(std::fs::read_dir(ingest.scratch()).unwrap().count(), 0);
    assert!(ingest.find_layer(&sample.new.parsed.rootfs.diff_ids[0]).unwrap().is_none());
    add(wanted(), good).unwrap();
    drop(ingest);
    assert!(home.store.images().unwrap().is_empty());
}

#[test]
fn a_second_attempt_uses_what_the_first_completed() {
    let home = home();
    let sample = sample("one");
    struct Cut(usize);
    impl Read for Cut {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::ConnectionReset)?;
            buffer.fill(0);
            Ok(buffer.len().min(512))
        }
    }
    let first = home.store.ingest().unwrap();
    first
        .add_layer(&sample.wanted(0), &Default::default(), || {
            Ok::<_, StoreError>(LayerInput::Stream(io::Cursor::new(&sample.layers[0])))
        })
        .unwrap();
    let cut = first.add_layer(&sample.wanted(1), &Default::default(), || {
        Ok::<_, StoreError>(LayerInput::Stream(Cut(1)))
    });
    assert!(matches!(cut, Err(StoreError::Layer { .. })), "{cut:?}");
    drop(first);
    let second = home.store.ingest().unwrap();
    assert_eq!(sample.add_layers(&second).unwrap(), 1);
    second.commit(&sample.new, &[reference("one")]).unwrap();
    drop(second);
    assert_eq!(home.store.check(false).unwrap(), []);
}

#[test]
fn unknown_layers_are_named_by_their_content() {
    let home = home();
    let tar = tar_of(&[("a", b"b")]);
    let ingest = home.store.ingest().unwrap();
    let wanted = LayerWanted::default();
    for expected_new in [true, true] {
        let opened = || Ok::<_, StoreError>(LayerInput::Stream(io::Cursor::new(&tar)));
        let (meta, new) = ingest.add_layer(&wanted, &Default::default(), opened).unwrap();
        assert_eq!(
            (meta.diff_id, meta.blob, new),
            (Digest::sha256(&tar), Digest::sha256(&tar), expected_new)
        );
    }
    let image = Sample::new(vec![tar], "imported");
    ingest.commit(&image.new, &[]).unwrap();
    drop(ingest);
    assert_eq!(home.store.check(false).unwrap(), []);
}

#[test]
fn a_layer_swept_before_the_commit_is_asked_for_again() {
    let home = home();
    let (one, two) = (sample("one"), sample("two"));
    let first = one.store_as(&home.store, &["one"]);
    let ingest = home.store.ingest().unwrap();
    assert_eq!(two.add_layers(&ingest).unwrap(), 1, "the lower layer is there");
    let mut exclusive = home.store.exclusive().unwrap();
    exclusive.untag(&reference("one")).unwrap();
    exclusive.remove_image(&first.id).unwrap();
    exclusive.sweep().unwrap();
    exclusive.finish().unwrap();
    let Err(StoreError::LayersVanished { layers, .. }) = ingest.commit(&two.new, &[]) else { panic!() };
    assert_eq!(layers, [first.layers[0].clone()]);
    assert!(home.store.images().unwrap().is_empty());
    assert_eq!(two.add_layers(&ingest).unwrap(), 1);
    ingest.commit(&two.new, &[reference("two")]).unwrap();
    drop(ingest);
    assert_eq!(home.store.check(false).unwrap(), []);
}

#[test]
fn twenty_at_once_fetch_each_layer_once() {
    let home = home();
    let fetched = AtomicUsize::new(0);
    let barrier = Barrier::new(20);
    let samples: Vec<Sample> = (0..4).map(|n| sample(&n.to_string())).collect();
    std::thread::scope(|scope| {
        for thread in 0..20 {
            let (sample, store, barrier, fetched) = (&samples[thread % 4], &home.store, &barrier, &fetched);
            scope.spawn(move || {
                barrier.wait();
                let ingest = store.ingest().unwrap();
                fetched.fetch_add(sample.add_layers(&ingest).unwrap(), Ordering::Relaxed);
                ingest.commit(&sample.new, &[reference(&format!("app:{}", thread % 4))]).unwrap();
            });
        }
    });
    assert_eq!(fetched.load(Ordering::Relaxed), 5, "one shared layer and four others");
    assert_eq!(home.store.images().unwrap().len(), 4);
    assert_eq!(home.store.check(false).unwrap(), []);
}

#[test]
fn five_hundred_images_are_listed() {
    let home = home();
    let base = tar_of(&[("base", b"x")]);
    for number in 0..500 {
        let image = Sample::new(vec![base.clone()], &number.to_string());
        let ingest = home.store.ingest().unwrap();
        image.add_layers(&ingest).unwrap();
        ingest.commit(&image.new, &[reference(&format!("app:{number}"))]).unwrap();
    }
    let begin = std::time::Instant::now();
    assert_eq!(home.store.images().unwrap().len(), 500);
    println!("listing 500 images: {:?}", begin.elapsed());
}

#[test]
fn layers_that_are_hidden_or_repeated_are_kept_but_not_mounted() {
    let home = home();
    let tar = |name: &str| tar_of(&[(name, b"x")]);
    let opaque = tar_of(&[(".wh..wh..opq", b""), ("c", b"x")]);
    let layers = vec![tar("a"), tar("b"), opaque.clone(), tar("d"), tar("e"), tar("d")];
    let image = Sample::new(layers.clone(), "odd");
    let record = image.store_as(&home.store, &["odd"]);
    let expected: Vec<Digest> = [&opaque, &layers[4], &layers[5]].map(|tar| Digest::sha256(tar)).into();
    assert_eq!(record.layers, expected);
    assert_eq!(home.store.check(false).unwrap(), []);
    assert!(home.store.sweep().unwrap().layers.is_empty());
    assert!(home.store.layer(&Digest::sha256(&layers[0])).unwrap().is_some());
}
