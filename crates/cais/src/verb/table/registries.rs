//! The commands on registries, on what they say of images, and on the ways of images to other places.

use super::{PLAIN, READER};
use crate::refused;
use crate::spec::Spec;
use crate::verb::{login, logout, push, save, search, sign, tags};

pub(super) const REGISTRIES: &[Spec] = &[
    Spec {
        names: &["save", "image save"],
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        about: "Write images to an archive or an OCI layout",
        examples: &[
            "cais save -o web.tar web:1 web:2",
            "cais save web | ssh host cais load",
            "cais save --format oci-dir -o layout web",
        ],
        refused: refused::SAVE,
        main: save::main,
        ..PLAIN
    },
    Spec {
        names: &["push", "image push"],
        usage: "[OPTIONS] IMAGE [DESTINATION]",
        about: "Send an image to a registry",
        examples: &[
            "cais push registry.example.com/team/web:1",
            "cais push web docker://registry.example.com/team/web:1",
            "cais push --compression-format zstd -a registry.example.com/team/web",
        ],
        refused: refused::PUSH,
        main: push::main,
        ..PLAIN
    },
    Spec {
        names: &["login"],
        usage: "[OPTIONS] [REGISTRY]",
        about: "Log in to a registry (docker.io unless told otherwise)",
        examples: &[
            "cais login quay.io",
            "cais login -u robot --password-stdin registry.example.com < token",
            "cais login --get-login quay.io",
        ],
        refused: refused::LOGIN,
        main: login::main,
        ..READER
    },
    Spec {
        names: &["logout"],
        usage: "[OPTIONS] [REGISTRY]",
        about: "Forget the login for a registry (docker.io unless told otherwise), or all of them",
        examples: &["cais logout quay.io", "cais logout --all"],
        refused: refused::LOGOUT,
        main: logout::main,
        ..READER
    },
    Spec {
        names: &["search"],
        usage: "[OPTIONS] TERM",
        about: "Look for images at registries",
        examples: &[
            "cais search --filter is-official=true nginx",
            "cais search quay.io/prometheus",
            "cais search --list-tags docker.io/library/debian",
        ],
        refused: refused::SEARCH,
        main: search::main,
        ..READER
    },
    Spec {
        names: &["image tags"],
        usage: "[OPTIONS] REPOSITORY",
        about: "List the tags that a registry has of a repository",
        examples: &["cais image tags quay.io/prometheus/prometheus"],
        main: tags::main,
        ..READER
    },
    Spec {
        names: &["image sign"],
        usage: "[OPTIONS] IMAGE",
        about: "Sign an image at its registry, as cosign does",
        examples: &["cais image sign --key image.key registry.example.com/team/web:1"],
        main: sign::sign,
        ..READER
    },
    Spec {
        names: &["image verify"],
        usage: "[OPTIONS] IMAGE",
        about: "Tell whether an image at its registry is signed by a key",
        examples: &["cais image verify --key image.pub registry.example.com/team/web:1"],
        main: sign::verify,
        ..READER
    },
];
