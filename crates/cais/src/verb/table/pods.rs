//! The commands on pods.

use super::PLAIN;
use crate::failure::Codes;
use crate::refused;
use crate::spec::Spec;
use crate::verb::{logs, pod, stats, top};

/// Failures have podman's exit code.
const DOES: Spec = Spec { codes: Codes::Program, ..PLAIN };
const READS: Spec = Spec { needs_ids: false, ..DOES };

pub(super) const PODS: &[Spec] = &[
    Spec {
        names: &["pod create"],
        usage: "[OPTIONS] [NAME]",
        about: "Create a pod: containers that share a network, IPC and names",
        examples: &[
            "cais pod create --name web -p 8080:80",
            "cais run -d --pod web nginx",
            "cais run -d --pod new:db -p 5432:5432 postgres",
        ],
        refused: refused::POD_CREATE,
        main: pod::create,
        ..DOES
    },
    Spec {
        names: &["pod start"],
        usage: "[OPTIONS] POD [POD...]",
        about: "Start the containers of pods",
        main: pod::start,
        ..DOES
    },
    Spec {
        names: &["pod stop"],
        usage: "[OPTIONS] POD [POD...]",
        about: "Stop the containers of pods",
        main: pod::stop,
        ..DOES
    },
    Spec {
        names: &["pod restart"],
        usage: "[OPTIONS] POD [POD...]",
        about: "Stop the containers of pods and start them",
        main: pod::restart,
        ..DOES
    },
    Spec {
        names: &["pod kill"],
        usage: "[OPTIONS] POD [POD...]",
        about: "Send a signal to the containers of pods (SIGKILL unless told otherwise)",
        main: pod::kill,
        ..DOES
    },
    Spec {
        names: &["pod pause"],
        usage: "[OPTIONS] POD [POD...]",
        about: "Stop all processes of pods where they are",
        main: pod::pause,
        ..DOES
    },
    Spec {
        names: &["pod unpause"],
        usage: "[OPTIONS] POD [POD...]",
        about: "Let the processes of paused pods go on",
        main: pod::unpause,
        ..DOES
    },
    Spec {
        names: &["pod rm", "pod remove"],
        usage: "[OPTIONS] POD [POD...]",
        about: "Remove pods with their containers: 1 when there is no such pod, 2 when it runs",
        main: pod::rm,
        ..DOES
    },
    Spec {
        names: &["pod ps", "pod ls", "pod list"],
        usage: "[OPTIONS]",
        about: "List pods",
        examples: &[
            "cais pod ps --filter status=running",
            "cais pod ps --format '{{.Name}} {{.NumberOfContainers}}'",
        ],
        main: pod::ps,
        ..READS
    },
    Spec {
        names: &["pod inspect"],
        usage: "[OPTIONS] POD [POD...]",
        about: "Show pods in detail",
        main: pod::inspect,
        ..READS
    },
    Spec {
        names: &["pod exists"],
        usage: "POD",
        about: "Tell by the exit code whether there is such a pod (0) or not (1)",
        main: pod::exists,
        ..READS
    },
    Spec {
        names: &["pod prune"],
        usage: "[OPTIONS]",
        about: "Remove the pods of which no container runs any more",
        main: pod::prune,
        ..DOES
    },
    Spec {
        names: &["pod top"],
        usage: "[OPTIONS] POD [PS OPTIONS | DESCRIPTOR...]",
        about: "Show the processes of a pod",
        main: top::pod,
        ..READS
    },
    Spec {
        names: &["pod stats"],
        usage: "[OPTIONS] [POD...]",
        about: "Show what the containers of pods use, again and again",
        main: stats::pods,
        ..READS
    },
    Spec {
        names: &["pod logs"],
        usage: "[OPTIONS] POD",
        about: "Show what the containers of a pod wrote",
        main: logs::pod,
        ..READS
    },
];
