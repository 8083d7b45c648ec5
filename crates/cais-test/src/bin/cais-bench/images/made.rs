//! A large image like real ones, made by rule and kept packed in a folder: six layers, 58,500 entries, 1.1 GB of tar.
//!
//! Layers: a system, compilers, interpreters' packages, many small files, an application, its configuration; each once by
//! gzip -6 and once by zstd -3. A second configuration layer makes the next version of the image. What is in the folder
//! already is used again.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use cais_oci::{Digest, Hasher};
use cais_test::layer::{Entry, EntryKind};
use serde_json::{Value, json};

use super::content::{Random, Vocabulary, kind_of};

/// Part of the folder's name: another number for every change of what is made.
const RECIPE: u32 = 1;
/// Numbers of [`LAYERS`] that make the two versions of the image.
const VERSIONS: [[usize; 6]; 2] = [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 6]];

/// Where a layer has its files, how many, and how many bytes.
const LAYERS: [(&str, u64, u64); 7] = [
    ("usr/lib", 6579, 128_000_000),
    ("usr/local", 8600, 350_000_000),
    ("opt/packages", 17_000, 424_000_000),
    ("srv/modules", 25_700, 178_000_000),
    ("srv/app", 600, 1_200_000),
    ("etc/app", 36, 180_000),
    ("etc/app", 36, 181_000),
];

/// How layers are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// gzip -6.
    Gzip,
    /// zstd -3.
    Zstd,
}

impl Packing {
    /// The tag of the image and the end of files' names.
    pub fn name(self) -> &'static str {
        match self {
            Packing::Gzip => "gzip",
            Packing::Zstd => "zstd",
        }
    }
}

/// A packed layer.
#[derive(Clone, Debug)]
pub struct Blob {
    pub file: PathBuf,
    pub digest: String,
    pub size_bytes: u64,
    pub diff_id: String,
}

/// The packed layers of all versions.
#[derive(Debug)]
pub struct Made {
    gzip: Vec<Blob>,
    zstd: Vec<Blob>,
    pub tar_bytes: u64,
    pub entries: u64,
}

impl Made {
    /// Makes the layers in `cache`, on two threads, unless they are there; `part`: one of so many entries and bytes.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn prepare(cache: &Path, part: u64) -> io::Result<Made> {
        let folder = cache.join(format!("recipe-{RECIPE}-part-{part}"));
        let list = folder.join("layers.json");
        if !list.exists() {
            eprintln!("making the layers in {}", folder.display());
            fs::create_dir_all(&folder)?;
            // The largest first.
            let queue = Mutex::new(vec![6, 5, 4, 0, 3, 1, 2]);
            let layers = Mutex::new(vec![Value::Null; LAYERS.len()]);
            std::thread::scope(|scope| {
                let work = || {
                    while let Some(number) = queue.lock().expect("no panic").pop() {
                        let layer = make_layer(&folder, number, part)?;
                        layers.lock().expect("no panic")[number] = layer;
                    }
                    Ok(())
                };
                let other = scope.spawn(work);
                work().and(other.join().expect("no panic"))
            })
            .map_err(|error: io::Error| error)?;
            let layers = layers.into_inner().expect("no panic");
            fs::write(&list, serde_json::to_vec(&layers)?)?;
        }
        let layers: Vec<Value> = serde_json::from_slice(&fs::read(list)?)?;
        Made::read(&folder, &layers)
    }

    fn read(folder: &Path, layers: &[Value]) -> io::Result<Made> {
        let bad = || io::Error::other("layers.json: not as it was written");
        let mut made = Made { gzip: Vec::new(), zstd: Vec::new(), tar_bytes: 0, entries: 0 };
        for (number, layer) in layers.iter().enumerate() {
            for (packing, blobs) in [(Packing::Gzip, &mut made.gzip), (Packing::Zstd, &mut made.zstd)] {
                let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(bad);
                blobs.push(Blob {
                    file: folder.join(format!("{number}.{}", packing.name())),
                    digest: text(&layer[packing.name()])?,
                    size_bytes: layer[format!("{}_bytes", packing.name())].as_u64().ok_or_else(bad)?,
                    diff_id: text(&layer["diff_id"])?,
                });
            }
            if VERSIONS[0].contains(&number) {
                made.tar_bytes += layer["tar_bytes"].as_u64().ok_or_else(bad)?;
                made.entries += layer["entries"].as_u64().ok_or_else(bad)?;
            }
        }
        Ok(made)
    }

    /// The layers of a version (0 or 1) of the image, lowest first.
    pub fn layers(&self, packing: Packing, version: usize) -> Vec<&Blob> {
        let blobs = if packing == Packing::Gzip { &self.gzip } else { &self.zstd };
        VERSIONS[version].iter().map(|number| &blobs[*number]).collect()
    }

    /// Config and manifest of a version.
    pub fn documents(&self, packing: Packing, version: usize) -> (Vec<u8>, Vec<u8>) {
        let layers = self.layers(packing, version);
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let history: Vec<Value> =
            diff_ids.iter().map(|id| json!({"created_by": format!("COPY {id} /")})).collect();
        let config = json!({
            "created": format!("2026-01-0{}T03:04:05Z", version + 2),
            "architecture": cais_test::image::host_architecture(),
            "os": "linux",
            "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "Cmd": ["true"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": history,
        });
        let config = config.to_string().into_bytes();
        let described: Vec<Value> = layers
            .iter()
            .map(|layer| {
                let kind = format!("application/vnd.oci.image.layer.v1.tar+{}", packing.name());
                json!({"mediaType": kind, "digest": layer.digest, "size": layer.size_bytes})
            })
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": Digest::sha256(&config).to_string(),
                "size": config.len(),
            },
            "layers": described,
        });
        (config, manifest.to_string().into_bytes())
    }
}

/// Counts and digests what goes into a file.
struct Summed {
    file: BufWriter<File>,
    hasher: Hasher,
    bytes: u64,
}

impl Summed {
    fn create(path: &Path) -> io::Result<Summed> {
        Ok(Summed { file: BufWriter::new(File::create(path)?), hasher: Hasher::new(), bytes: 0 })
    }

    fn finish(mut self) -> io::Result<(String, u64)> {
        self.file.flush()?;
        Ok((self.hasher.finish().to_string(), self.bytes))
    }
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Both packings of a layer while its tar is written.
struct Packer {
    gzip: flate2::write::GzEncoder<Summed>,
    zstd: zstd::Encoder<'static, Summed>,
    hasher: Hasher,
    bytes: u64,
    entries: u64,
    buffer: Vec<u8>,
}

impl Packer {
    fn add(&mut self, entry: &Entry) -> io::Result<()> {
        self.buffer.clear();
        entry.encode(&mut self.buffer);
        self.entries += 1;
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        self.gzip.write_all(&self.buffer)?;
        self.zstd.write_all(&self.buffer)?;
        self.hasher.update(&self.buffer);
        self.bytes += self.buffer.len() as u64;
        Ok(())
    }
}

fn make_layer(folder: &Path, number: usize, part: u64) -> io::Result<Value> {
    let sink = |packing: Packing| Summed::create(&folder.join(format!("{number}.{}", packing.name())));
    let mut packer = Packer {
        gzip: flate2::write::GzEncoder::new(sink(Packing::Gzip)?, flate2::Compression::new(6)),
        zstd: zstd::Encoder::new(sink(Packing::Zstd)?, 3)?,
        hasher: Hasher::new(),
        bytes: 0,
        entries: 0,
        buffer: Vec::new(),
    };
    let (root, entries, bytes) = LAYERS[number];
    write_tree(&mut packer, number as u64, root, (entries / part).max(8), bytes / part)?;
    packer.buffer = vec![0; 1024];
    packer.write()?;
    let (gzip, gzip_bytes) = packer.gzip.finish()?.finish()?;
    let (zstd, zstd_bytes) = packer.zstd.finish()?.finish()?;
    Ok(json!({
        "diff_id": packer.hasher.finish().to_string(), "tar_bytes": packer.bytes, "entries": packer.entries,
        "gzip": gzip, "gzip_bytes": gzip_bytes, "zstd": zstd, "zstd_bytes": zstd_bytes,
    }))
}

/// Directories of about eight files, up to six levels deep, one in 25 entries a symlink, a few hard links.
fn write_tree(packer: &mut Packer, seed: u64, root: &str, entries: u64, bytes: u64) -> io::Result<()> {
    let mut random = Random::new(seed);
    let vocabulary = Vocabulary::new();
    let sizes = sizes(entries, bytes, &mut random);
    let mut path = String::new();
    for component in root.split('/') {
        path = if path.is_empty() { component.to_owned() } else { format!("{path}/{component}") };
        packer.add(&stamped(&path, EntryKind::Directory, &mut random))?;
    }
    let mut last_file = None;
    let mut number = 0;
    while packer.entries < entries {
        number += 1;
        let size = sizes[packer.entries as usize];
        match random.below(1000) {
            0..110 => {
                let depth = path.split('/').count();
                let base = if depth >= 7 || random.below(3) == 0 { root } else { &path };
                path = format!("{base}/directory{number}");
                packer.add(&stamped(&path, EntryKind::Directory, &mut random))?;
            }
            110..150 => {
                let kind = EntryKind::Symlink(b"../share/somewhere.so.1".to_vec());
                packer.add(&stamped(&format!("{path}/link{number}"), kind, &mut random))?;
            }
            150..153 if last_file.is_some() => {
                let target: String = last_file.clone().unwrap_or_default();
                let kind = EntryKind::HardLink(target.into_bytes());
                packer.add(&stamped(&format!("{path}/same{number}"), kind, &mut random))?;
            }
            _ => {
                let name = format!("{path}/file{number}.js");
                let kind = kind_of(size, &mut random);
                let content = vocabulary.write(kind, size, &mut random);
                packer.add(&stamped(&name, EntryKind::File(content), &mut random))?;
                last_file = Some(name);
            }
        }
    }
    Ok(())
}

fn stamped(path: &str, kind: EntryKind, random: &mut Random) -> Entry {
    let is_file = matches!(kind, EntryKind::File(_));
    let mut entry = Entry::new(path, kind);
    entry.mtime = 1_700_000_000 + random.below(50_000_000);
    if is_file && random.below(10) == 0 {
        entry.mode = 0o755;
    }
    if random.below(100) == 0 {
        (entry.uid, entry.gid) = (33, 33);
    }
    entry
}

/// Log-normal, as file sizes are, scaled so that all of them together are `bytes`.
fn sizes(count: u64, bytes: u64, random: &mut Random) -> Vec<usize> {
    let raw: Vec<f64> = (0..count).map(|_| (2.0 * random.normal()).exp().min(2000.0)).collect();
    // 85 in 100 entries are files.
    let scale = bytes as f64 / (raw.iter().sum::<f64>() * 0.85);
    raw.iter().map(|size| (size * scale) as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_once_is_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let made = Made::prepare(folder.path(), 1000).unwrap();
        let layers = made.layers(Packing::Gzip, 0);
        for layer in &layers {
            let bytes = fs::read(&layer.file).unwrap();
            assert_eq!(Digest::sha256(&bytes).to_string(), layer.digest);
        }
        let written = fs::metadata(&layers[0].file).unwrap().modified().unwrap();
        let again = Made::prepare(folder.path(), 1000).unwrap();
        assert_eq!(fs::metadata(&layers[0].file).unwrap().modified().unwrap(), written);
        assert_eq!(made.documents(Packing::Zstd, 1), again.documents(Packing::Zstd, 1));
        let [first, second] = [0, 1].map(|version| made.layers(Packing::Gzip, version));
        let same = first.iter().zip(&second).filter(|(a, b)| a.digest == b.digest).count();
        assert_eq!(same, 5);
        assert!((1_000_000..1_400_000).contains(&made.tar_bytes), "{}", made.tar_bytes);
    }
}
