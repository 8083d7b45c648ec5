//! `images`, `image inspect`, and how every verb finds an image by what was typed.

use std::path::{Path, PathBuf};

use cais_oci::{Platform, ProcessConfig, Reference};
use cais_registry::{Client, Settings};
use cais_store::{FoundImage, Image, ImageOutline, ImageRecord, StoreError};
use serde_json::{Map, Value, json};

use crate::error::chain;
use crate::view::ImageView;
use crate::{Engine, Error, ErrorKind, Result};

impl Engine {
    /// All images, newest first, dangling ones too.
    ///
    /// # Errors
    /// When the store is unreadable.
    pub fn images(&self) -> Result<Vec<ImageView>> {
        Ok(self.store.image_outlines()?.into_iter().map(outline_view).collect())
    }

    /// One image by name, id, id prefix or `name@digest`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], or [`ErrorKind::Invalid`] when an id prefix is ambiguous.
    pub fn image(&self, name: &str) -> Result<ImageView> {
        let record = self.image_record(name)?;
        self.image_view(record)
    }

    /// What `docker image inspect` prints for one image, with its keys.
    ///
    /// # Errors
    /// As [`Engine::image`].
    pub fn image_inspect(&self, name: &str) -> Result<Value> {
        let record = self.image_record(name)?;
        let references = self.store.references_of(&record.id)?;
        let image = Image { record, tags: references.tags, digests: references.digests };
        Ok(self.inspection(&image))
    }

    /// The record of an image by what was typed.
    pub(crate) fn image_record(&self, name: &str) -> Result<ImageRecord> {
        Ok(self.find_image(name)?.record)
    }

    pub(crate) fn image_view(&self, record: ImageRecord) -> Result<ImageView> {
        let references = self.store.references_of(&record.id)?;
        Ok(view(Image { record, tags: references.tags, digests: references.digests }))
    }

    /// Finds an image: by full id, by name as Docker completes it, by the names that `registries.conf` gives a short
    /// name, by `localhost/` before it (Podman's prefix for local images), by a prefix of an id.
    pub(crate) fn find_image(&self, name: &str) -> Result<FoundImage> {
        let plain = Reference::parse(name).ok();
        // The usual case first: it reads no settings.
        if let Some(reference) = &plain
            && let Some(id) = self.store.image_id(reference)?
            && let Some(record) = self.store.load_image(&id)?
        {
            return Ok(FoundImage { record, reference: plain });
        }
        let mut meanings = Vec::new();
        if plain.is_some() && Reference::is_short_name(name) {
            meanings = self.registry_settings()?.registries.candidates(name)?;
            meanings.extend(Reference::parse(&format!("localhost/{name}")));
        }
        self.store.find_image(name, &meanings).map_err(|error| match error {
            StoreError::NoSuch { .. } => {
                Error::new(ErrorKind::NotFound, format!("no such image: {name}")).source(error)
            }
            other => other.into(),
        })
    }

    /// Settings of the registry client, from the machine's files and what the door found in the environment.
    pub(crate) fn registry_settings(&self) -> Result<Settings> {
        let config = &self.config;
        let variable = |name: &str| match name {
            "HOME" => config.home.clone().map(Into::into),
            "XDG_RUNTIME_DIR" => config.runtime_dir.clone().map(Into::into),
            "REGISTRY_AUTH_FILE" => config.auth_file.clone().map(Into::into),
            "DOCKER_CONFIG" => config.docker_config.clone().map(Into::into),
            "DOCKER_AUTH_CONFIG" => config.docker_auth_config.clone().map(|secret| secret.0.into()),
            "SSL_CERT_FILE" => config.ca_bundle.clone().map(Into::into),
            "HTTP_PROXY" => config.proxies.http.clone().map(Into::into),
            "HTTPS_PROXY" => config.proxies.https.clone().map(Into::into),
            "NO_PROXY" => config.proxies.no_proxy.clone().map(Into::into),
            _ => None,
        };
        let mut settings = Settings::standard(Path::new("/etc"), &variable)?;
        settings.credentials.helper_dirs.clone_from(&config.path);
        if let Some(file) = self.roots_login_file() {
            settings.credentials.files.insert(0, file);
        }
        Ok(settings)
    }

    /// Where podman keeps root's logins when there is no `XDG_RUNTIME_DIR`.
    fn roots_login_file(&self) -> Option<PathBuf> {
        let config = &self.config;
        let is_meant = !config.rootless && config.runtime_dir.is_none() && config.auth_file.is_none();
        is_meant.then(|| PathBuf::from("/run/containers/0/auth.json"))
    }

    pub(crate) fn registry_client(&self) -> Result<Client> {
        Ok(Client::new(&self.registry_settings()?)?)
    }

    /// How layers are unpacked for this caller.
    pub(crate) fn layer_options(&self) -> cais_layer::Options {
        cais_layer::Options {
            rootless: self.config.rootless,
            squash_ids: self.config.single_id,
            ..cais_layer::Options::default()
        }
    }

    fn inspection(&self, image: &Image) -> Value {
        let record = &image.record;
        let config = &record.config;
        let familiar =
            |references: &[Reference]| references.iter().map(Reference::familiar).collect::<Vec<_>>();
        let comment = config.history.last().map(|history| history.comment.clone()).unwrap_or_default();
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
        put("Id", json!(record.id));
        put("RepoTags", json!(familiar(&image.tags)));
        put("RepoDigests", json!(familiar(&image.digests)));
        put("Parent", json!(""));
        put("Comment", json!(comment));
        put("Created", json!(config.created));
        put("DockerVersion", json!(""));
        put("Author", json!(config.author));
        put("Config", process_config(&config.config));
        put("Architecture", json!(config.architecture));
        if let Some(variant) = &config.variant {
            put("Variant", json!(variant));
        }
        put("Os", json!(config.os));
        put("Size", json!(record.size_bytes));
        put("GraphDriver", self.graph_driver(record));
        put("RootFS", json!({ "Type": "layers", "Layers": config.rootfs.diff_ids }));
        put("Metadata", json!({ "LastTagTime": record.stored }));
        Value::Object(object)
    }

    /// The directories that a container's root is mounted from, top first as overlayfs takes them.
    fn graph_driver(&self, record: &ImageRecord) -> Value {
        let mut directories = record.layers.iter().rev().map(|layer| self.store.paths().layer_fs(layer));
        let upper = directories.next();
        let lower: Vec<String> = directories.map(|path| path.display().to_string()).collect();
        let mut data = Map::new();
        if !lower.is_empty() {
            data.insert("LowerDir".into(), json!(lower.join(":")));
        }
        data.insert("UpperDir".into(), json!(upper));
        json!({ "Name": "overlay", "Data": data })
    }
}

/// Docker's `Config` object: every key is there, absent lists are null, because templates index them blindly.
fn process_config(config: &ProcessConfig) -> Value {
    let null_if_empty = |value: Value, empty: bool| if empty { Value::Null } else { value };
    let mut object = json!({
        "Hostname": "",
        "Domainname": "",
        "User": config.user,
        "AttachStdin": false,
        "AttachStdout": false,
        "AttachStderr": false,
        "Tty": false,
        "OpenStdin": false,
        "StdinOnce": false,
        "Env": null_if_empty(json!(config.env), config.env.is_empty()),
        "Cmd": config.cmd,
        "Image": "",
        "Volumes": null_if_empty(json!(config.volumes), config.volumes.is_empty()),
        "WorkingDir": config.working_dir,
        "Entrypoint": config.entrypoint,
        "OnBuild": null_if_empty(json!(config.on_build), config.on_build.is_empty()),
        "Labels": null_if_empty(json!(config.labels), config.labels.is_empty()),
    });
    let mut put =
        |key: &str, value: Value| object.as_object_mut().map(|object| object.insert(key.to_owned(), value));
    // Keys that Docker leaves out when they are not set.
    if !config.exposed_ports.is_empty() {
        put("ExposedPorts", json!(config.exposed_ports));
    }
    if let Some(signal) = &config.stop_signal {
        put("StopSignal", json!(signal));
    }
    if let Some(seconds) = config.stop_timeout {
        put("StopTimeout", json!(seconds));
    }
    if let Some(healthcheck) = &config.healthcheck {
        put("Healthcheck", json!(healthcheck));
    }
    if !config.shell.is_empty() {
        put("Shell", json!(config.shell));
    }
    object
}

pub(super) fn outline_view(image: ImageOutline) -> ImageView {
    ImageView {
        id: image.id,
        names: texts(&image.tags),
        digests: texts(&image.digests),
        created: image.created,
        size_bytes: image.size_bytes,
        platform: image.platform,
        labels: image.labels,
    }
}

fn texts(references: &[Reference]) -> Vec<String> {
    references.iter().map(Reference::to_string).collect()
}

fn view(image: Image) -> ImageView {
    let record = image.record;
    ImageView {
        id: record.id,
        names: texts(&image.tags),
        digests: texts(&image.digests),
        created: record.config.created,
        size_bytes: record.size_bytes,
        platform: record.platform,
        labels: record.config.config.labels,
    }
}

/// `--platform`, or the machine's.
pub(crate) fn wanted_platform(text: Option<&str>) -> Result<Platform> {
    match text {
        None => Ok(Platform::host()),
        Some(text) => {
            text.parse().map_err(|error| Error::new(ErrorKind::Invalid, chain(&error)).source(error))
        }
    }
}
