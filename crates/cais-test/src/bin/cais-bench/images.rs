//! `cais-bench images`: getting images, keeping many, taking them away; beside docker, podman, containerd and a floor.
//!
//! A pull counts until what it wrote is on the disk, whether the tool cared for that or not.

mod content;
mod floor;
mod made;
mod spent;

use std::fs;
use std::path::Path;
use std::time::Duration;

use cais_test::image::{Built, Image};
use cais_test::layer::Layer;
use cais_test::registry::{Doors, Registry};
use cais_test::rootfs::busybox_layer;
use serde_json::json;

use crate::Effort;
use crate::contender::Contender;
use crate::sample::{Times, alternate_by, once};
use crate::table::{Cell, Table};
use made::{Blob, Made, Packing};
use spent::{Spent, spend};

const REPOSITORY: &str = "bench/large";
const NOT: &str = "–";

/// Where the images are, and who gets them.
struct Scene<'a> {
    contenders: &'a [Contender],
    registry: Registry,
    made: Made,
    folder: &'a Path,
    rounds: usize,
}

/// All rows; `cache` is where the large image is made once.
///
/// # Panics
/// Without docker-registry, or when the image cannot be made.
pub fn rows(contenders: &[Contender], effort: Effort, folder: &Path, cache: &Path, table: &mut Table) {
    let made = Made::prepare(cache, effort.image_part).expect("room for the large image");
    let registry = Registry::start(&Doors::default()).expect("docker-registry is needed");
    let scene = Scene { contenders, registry, made, folder, rounds: effort.pulls };
    let megabytes = |packing| {
        let layers = scene.made.layers(packing, 0);
        layers.iter().map(|layer| layer.size_bytes).sum::<u64>() / 1_000_000
    };
    table.note(format!(
        "the large image: 6 layers, {} entries, {} MB of tar, {} MB by gzip, {} MB by zstd",
        scene.made.entries,
        scene.made.tar_bytes / 1_000_000,
        megabytes(Packing::Gzip),
        megabytes(Packing::Zstd)
    ));
    for packing in [Packing::Gzip, Packing::Zstd] {
        for version in [0, 1] {
            scene.push(packing, version);
        }
        scene.cold(packing, table);
    }
    scene.changed_layer(table);
    many_images(&scene, effort, table);
    starts(&scene, effort, table);
}

fn tag(packing: Packing, version: usize) -> String {
    format!("{}-{version}", packing.name())
}

impl Scene<'_> {
    fn push(&self, packing: Packing, version: usize) {
        let (config, manifest) = self.made.documents(packing, version);
        for Blob { file, digest, size_bytes, .. } in self.made.layers(packing, version) {
            self.registry.push_file(REPOSITORY, file, digest, *size_bytes);
        }
        self.registry.push_blob(REPOSITORY, &config);
        let kind = "application/vnd.oci.image.manifest.v1+json";
        self.registry.push_manifest(REPOSITORY, &tag(packing, version), kind, &manifest);
    }

    fn name(&self, packing: Packing, version: usize) -> String {
        format!("{}/{REPOSITORY}:{}", self.registry.address(), tag(packing, version))
    }

    /// Pull and removal of the large image, the floor between them.
    fn cold(&self, packing: Packing, table: &mut Table) {
        let name = self.name(packing, 0);
        let mut pulls: Vec<Vec<Spent>> = vec![Vec::new(); self.contenders.len()];
        let mut removals: Vec<Vec<Duration>> = vec![Vec::new(); self.contenders.len()];
        let mut floors = Vec::new();
        for round in 0..self.rounds {
            let floor = floor::run(&self.registry.address(), REPOSITORY, &self.made.layers(packing, 0));
            eprintln!("floor, {}: {:.1?}, {:.1?} of processors", packing.name(), floor.0, floor.1);
            floors.push(floor);
            for (index, contender) in self.contenders.iter().enumerate() {
                let spent = spend(contender, &contender.pull(&name), self.folder);
                let removal = once(contender, &format!("{} {name}", contender.remove_image));
                let what = format!("cold pull, {}, round {}", packing.name(), round + 1);
                eprintln!("{what}: {} {spent:.1?}, removed in {removal:.1?}", contender.name);
                pulls[index].extend(spent);
                removals[index].extend(removal);
            }
        }
        floors.sort();
        let (floor, floor_cpu) = floors[floors.len() / 2];
        for (contender, spent) in self.contenders.iter().zip(&pulls).filter(|(_, it)| it.len() < self.rounds)
        {
            let failed = self.rounds - spent.len();
            table.note(format!(
                "{}: {failed} of {} pulls by {} failed",
                contender.name,
                self.rounds,
                packing.name()
            ));
        }
        let durable = |spent: &Vec<Spent>| times(spent.iter().map(|spent| spent.durable).collect());
        table
            .row(&format!("cold pull, {}, on the disk", packing.name()), pulls.iter().map(durable).collect());
        let by_floor = |spent: &Vec<Spent>| {
            let durable = Times::new(spent.iter().map(|spent| spent.durable).collect()).percentile(50);
            text(spent, format!("{:.2}×", durable.as_secs_f64() / floor.as_secs_f64()))
        };
        let title = format!("… by the floor ({:.0} ms)", floor.as_secs_f64() * 1e3);
        table.row(&title, pulls.iter().map(by_floor).collect());
        let cpu = |spent: &Vec<Spent>| {
            let cpu = Times::new(spent.iter().map(|spent| spent.cpu).collect()).percentile(50);
            text(spent, format!("{:.1} s", cpu.as_secs_f64()))
        };
        let title = format!("… processor time (floor {:.1} s)", floor_cpu.as_secs_f64());
        table.row(&title, pulls.iter().map(cpu).collect());
        let peak = |spent: &Vec<Spent>| {
            let peak = spent.iter().map(|spent| spent.peak_bytes).max().unwrap_or(0);
            text(spent, format!("{} MiB", peak >> 20))
        };
        table.row("… peak memory of the largest process", pulls.iter().map(peak).collect());
        if packing == Packing::Gzip {
            table.row("`rmi` of it", removals.into_iter().map(times).collect());
        }
    }

    /// The next version, of which only the last layer is new.
    fn changed_layer(&self, table: &mut Table) {
        let [old, new] = [0, 1].map(|version| self.name(Packing::Gzip, version));
        let mut pulls: Vec<Vec<Spent>> = vec![Vec::new(); self.contenders.len()];
        for contender in self.contenders {
            contender.run(&contender.pull(&old));
        }
        for _ in 0..self.rounds.max(3) {
            for (index, contender) in self.contenders.iter().enumerate() {
                pulls[index].extend(spend(contender, &contender.pull(&new), self.folder));
                contender.run(&format!("{} {new}", contender.remove_image));
            }
        }
        let layer = self.made.layers(Packing::Gzip, 1)[5].size_bytes;
        let title = format!("pull with one layer of {} kB changed, on the disk", layer / 1000);
        let durable = pulls.iter().map(|spent| times(spent.iter().map(|spent| spent.durable).collect()));
        table.row(&title, durable.collect());
        let moved = |spent: &Vec<Spent>| {
            let moved = spent.iter().map(|spent| spent.moved_bytes).min().unwrap_or(0);
            text(spent, format!("{} kB", moved / 1000))
        };
        table.row("… bytes over the loopback", pulls.iter().map(moved).collect());
    }
}

fn times(took: Vec<Duration>) -> Cell {
    if took.is_empty() { Cell::Text(NOT.to_owned()) } else { Cell::Times(Times::new(took)) }
}

fn text(spent: &[Spent], text: String) -> Cell {
    Cell::Text(if spent.is_empty() { NOT.to_owned() } else { text })
}

/// Lists and sums with many images present, the large one among them.
fn many_images(scene: &Scene<'_>, effort: Effort, table: &mut Table) {
    let Some(layer) = busybox_layer() else {
        table.note("no busybox-static: nothing about many images".to_owned());
        return;
    };
    let names: Vec<String> = (0..effort.images)
        .map(|number| {
            scene.registry.push("bench/many", &number.to_string(), &usual(&layer, number));
            format!("{}/bench/many:{number}", scene.registry.address())
        })
        .collect();
    for contender in scene.contenders {
        eprintln!("{} images: {}", effort.images, contender.name);
        let failed = names.iter().filter(|name| once(contender, &contender.pull(name)).is_none()).count();
        if failed > 0 {
            table.note(format!("{}: {failed} of {} pulls failed", contender.name, effort.images));
        }
    }
    let title = format!("`images` with {} images", effort.images + 1);
    let rounds = effort.rounds.div_ceil(4);
    alternate_by(scene.contenders, &title, rounds, table, |contender| once(contender, contender.list_images));
    let with_df: Vec<bool> =
        scene.contenders.iter().map(|contender| contender.name != "containerd").collect();
    let mut took: Vec<Vec<Duration>> = vec![Vec::new(); scene.contenders.len()];
    for _ in 0..rounds {
        for (index, contender) in scene.contenders.iter().enumerate().filter(|(index, _)| with_df[*index]) {
            took[index].extend(once(contender, "system df"));
        }
    }
    table.row("`system df` then", took.into_iter().map(times).collect());
}

/// An image with the configuration that images usually have.
fn usual(layer: &Layer, number: usize) -> Built {
    let env: Vec<String> =
        (0..12).map(|index| format!("VARIABLE_{index}=/usr/share/value/{index}")).collect();
    let labels: serde_json::Map<_, _> = (0..10)
        .map(|index| (format!("org.opencontainers.image.label{index}"), json!(format!("value {number}"))))
        .collect();
    let image = Image::new().layer(layer.clone()).set("Env", json!(env)).set("Labels", json!(labels));
    image
        .set("Entrypoint", json!(["/usr/bin/entrypoint.sh"]))
        .set("Cmd", json!([format!("{number}")]))
        .build()
}

/// Containers on a single layer and on forty.
fn starts(scene: &Scene<'_>, effort: Effort, table: &mut Table) {
    let Some(layer) = busybox_layer() else { return };
    let single = Image::new().layer(layer);
    let forty = (1..40).fold(single.clone(), |image, number| {
        image.layer(Layer::new().dir("layers").file(&format!("layers/{number}"), number.to_string()))
    });
    // containerd has no `create` of the same meaning.
    let engines: Vec<&Contender> =
        scene.contenders.iter().filter(|contender| contender.name != "containerd").collect();
    let mut medians = Vec::new();
    for (tag, image) in [("1", single), ("40", forty)] {
        scene.registry.push("bench/layers", tag, &image.build());
        let name = format!("{}/bench/layers:{tag}", scene.registry.address());
        engines.iter().for_each(|contender| drop(contender.run(&contender.pull(&name))));
        let mut row = |title: &str, line: String, clean: bool| {
            let title = format!("{title} from {tag} layer{}", if tag == "1" { "" } else { "s" });
            alternate_by(scene.contenders, &title, effort.rounds.div_ceil(2), table, |contender| {
                if contender.name == "containerd" {
                    return Some(Duration::ZERO);
                }
                let took = once(contender, &line);
                if clean {
                    contender.run(&format!("{} bench-create", contender.remove));
                }
                took
            })
        };
        row("`create`", format!("create --name bench-create --network none {name} true"), true);
        medians.push(row("`run --rm --network none`", format!("run --rm --network none {name} true"), false));
    }
    let ratio = |(forty, single): (&Option<Duration>, &Option<Duration>)| match (forty, single) {
        (Some(forty), Some(single)) if !single.is_zero() => {
            Cell::Text(format!("{:.2}×", forty.as_secs_f64() / single.as_secs_f64()))
        }
        _ => Cell::Text(NOT.to_owned()),
    };
    table.row("… by that from 1 layer", medians[1].iter().zip(&medians[0]).map(ratio).collect());
    let _ = fs::remove_file(scene.folder.join("spent"));
}
