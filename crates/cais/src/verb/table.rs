//! All commands.

mod hidden;
mod pods;
mod registries;

pub use hidden::HIDDEN;
use pods::PODS;
use registries::REGISTRIES;

use crate::failure::Codes;
use crate::refused;
use crate::spec::Spec;
use crate::verb::{
    attach, boot, checkpoint, commit, completion, container_clone, container_exists, container_restore, cp,
    create, debug, diff, events, exec, export, healthcheck, history, images, import, info, inspect, kill,
    load, logs, pause, port, prune, ps, pull, rename, restart, rm, rmi, run, start, stats, stop,
    system_check, system_df, tag, top, update, version, volume, wait, why,
};

/// What most commands are like.
pub(super) const PLAIN: Spec = Spec {
    names: &[],
    usage: "",
    about: "",
    examples: &[],
    codes: Codes::Plain,
    needs_ids: true,
    refused: &[],
    main: |_, _| Ok(0),
};

/// A command that only reads.
pub(super) const READER: Spec = Spec { needs_ids: false, ..PLAIN };

/// The commands, in the order in which management commands list them.
pub static COMMANDS: &[Spec] = &ALL;
static ALL: [Spec; MOST.len() + PODS.len() + REGISTRIES.len()] = joined(&[MOST, PODS, REGISTRIES]);

const fn joined<const N: usize>(parts: &[&[Spec]]) -> [Spec; N] {
    let mut all = [PLAIN; N];
    let (mut part, mut within, mut at) = (0, 0, 0);
    while at < N {
        while within == parts[part].len() {
            (part, within) = (part + 1, 0);
        }
        all[at] = parts[part][within];
        (within, at) = (within + 1, at + 1);
    }
    all
}

const MOST: &[Spec] = &[
    Spec {
        names: &["run", "container run"],
        usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        about: "Create a container from an image and run it",
        examples: &[
            "cais run --rm -it debian bash",
            "cais run -d --name web -p 8080:80 -v data:/srv nginx",
            "cais run --rm -v ./src:/src:ro -w /src -m 512m --cpus 1.5 gcc make",
        ],
        codes: Codes::Program,
        refused: refused::CONTAINER,
        main: run::main,
        ..PLAIN
    },
    Spec {
        names: &["exec", "container exec"],
        usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
        about: "Run a command in a running container",
        examples: &["cais exec -it web sh", "cais exec -u 0 -w /etc web cat passwd"],
        codes: Codes::Program,
        refused: refused::EXEC,
        // The monitor joins the container's own user namespace, which only works from outside of ours.
        needs_ids: false,
        main: exec::main,
    },
    Spec {
        names: &["ps", "container ls", "container ps", "container list"],
        usage: "[OPTIONS]",
        about: "List containers",
        examples: &["cais ps -a --filter status=exited", "cais ps --format 'table {{.Names}}\\t{{.Ports}}'"],
        main: ps::main,
        ..READER
    },
    Spec {
        names: &["logs", "container logs"],
        usage: "[OPTIONS] CONTAINER",
        about: "Show what a container wrote",
        examples: &["cais logs -f --tail 20 web", "cais logs -t --since 10m web"],
        main: logs::main,
        ..READER
    },
    Spec {
        names: &["create", "container create"],
        usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        about: "Create a container without starting it",
        codes: Codes::Create,
        refused: refused::CONTAINER,
        main: create::main,
        ..PLAIN
    },
    Spec {
        names: &["start", "container start"],
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Start containers that do not run",
        main: start::main,
        ..PLAIN
    },
    Spec {
        names: &["stop", "container stop"],
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Stop containers: their stop signal, and after a while SIGKILL",
        main: stop::main,
        ..PLAIN
    },
    Spec {
        names: &["restart", "container restart"],
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Stop containers, if they run, and start them",
        main: restart::main,
        ..PLAIN
    },
    Spec {
        names: &["pause", "container pause"],
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Stop all processes of containers where they are",
        main: pause::pause,
        ..PLAIN
    },
    Spec {
        names: &["unpause", "container unpause"],
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Let the processes of paused containers go on",
        main: pause::unpause,
        ..PLAIN
    },
    Spec {
        names: &["kill", "container kill"],
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Send a signal to containers (SIGKILL unless told otherwise)",
        main: kill::main,
        ..PLAIN
    },
    Spec {
        names: &["rm", "container rm", "container remove"],
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Remove containers",
        refused: refused::RM,
        main: rm::main,
        ..PLAIN
    },
    Spec {
        names: &["attach", "container attach"],
        usage: "[OPTIONS] CONTAINER",
        about: "Attach this terminal to a running container",
        main: attach::main,
        ..PLAIN
    },
    Spec {
        names: &["wait", "container wait"],
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Wait until containers end, then print their exit codes",
        examples: &["cais wait web", "cais wait --condition running web"],
        main: wait::main,
        ..PLAIN
    },
    Spec {
        names: &["top", "container top"],
        usage: "[OPTIONS] CONTAINER [PS OPTIONS | DESCRIPTOR...]",
        about: "Show the processes of a container",
        examples: &["cais top web", "cais top web -o pid,etime,args", "cais top web pid hpid user capeff"],
        main: top::main,
        ..READER
    },
    Spec {
        names: &["stats", "container stats"],
        usage: "[OPTIONS] [CONTAINER...]",
        about: "Show what containers use, again and again",
        examples: &["cais stats --no-stream", "cais stats --format '{{.Name}} {{.MemUsage}}' web"],
        main: stats::main,
        ..READER
    },
    Spec {
        names: &["update", "container update"],
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Change limits and variables of containers; limits reach running ones at once",
        examples: &["cais update -m 512m --cpus 2 web"],
        refused: refused::UPDATE,
        main: update::main,
        ..PLAIN
    },
    Spec {
        names: &["rename", "container rename"],
        usage: "CONTAINER NEW_NAME",
        about: "Give a container another name",
        main: rename::main,
        ..PLAIN
    },
    Spec {
        names: &["container clone"],
        usage: "[OPTIONS] CONTAINER [NAME [IMAGE]]",
        about: "Create a container with the definition of another one",
        examples: &["cais container clone --run web web2 nginx:1.29"],
        refused: refused::CLONE,
        main: container_clone::main,
        ..PLAIN
    },
    Spec {
        names: &["container exists"],
        usage: "CONTAINER",
        about: "Tell by the exit code whether there is such a container (0) or not (1)",
        main: container_exists::main,
        ..READER
    },
    Spec {
        names: &["debug", "container debug"],
        usage: "[OPTIONS] CONTAINER [COMMAND] [ARG...]",
        about: "Run a shell with tools of another image in a container's namespaces",
        examples: &[
            "cais debug web",
            "cais debug --image alpine web netstat -tln",
            "cais debug web ls /container/etc",
        ],
        codes: Codes::Program,
        // As for exec.
        needs_ids: false,
        main: debug::main,
        ..PLAIN
    },
    Spec {
        names: &["why", "container why"],
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Explain how a container ended or why it does not start",
        examples: &["cais why web", "cais why --format '{{(index .findings 0).cause}}' web"],
        main: why::main,
        ..READER
    },
    Spec {
        names: &["inspect"],
        usage: "[OPTIONS] NAME|ID [NAME|ID...]",
        about: "Show containers, images, volumes and pods in detail",
        examples: &[
            "cais inspect --format '{{.State.Status}}' web",
            "cais inspect --format '{{range .Mounts}}{{.Source}} {{end}}' web",
            "cais inspect --as compose web db",
        ],
        main: inspect::main,
        ..READER
    },
    Spec {
        names: &["container inspect"],
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Show containers in detail",
        main: inspect::containers,
        ..READER
    },
    Spec {
        names: &["healthcheck run"],
        usage: "CONTAINER",
        about: "Probe a container's health now: exit status 0 when it is healthy, 1 when not",
        codes: Codes::Program,
        // As exec.
        needs_ids: false,
        main: healthcheck::run,
        ..PLAIN
    },
    Spec {
        names: &["port", "container port"],
        usage: "CONTAINER [PORT[/PROTOCOL]]",
        about: "Show published ports",
        main: port::main,
        ..READER
    },
    Spec {
        names: &["cp", "container cp"],
        usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|- or SRC_PATH|- CONTAINER:DEST_PATH",
        about: "Copy files between a container and the host, or between containers",
        examples: &[
            "cais cp web:/etc/nginx/. ./conf",
            "cais cp index.html web:/srv/",
            "cais cp web:/var/log - | tar -t",
        ],
        // A running container's files are reached from within its own user namespace.
        needs_ids: false,
        main: cp::main,
        ..PLAIN
    },
    Spec {
        names: &["diff", "container diff"],
        usage: "[OPTIONS] CONTAINER",
        about: "Show what a container has added (A), changed (C) and deleted (D) in its files",
        main: diff::main,
        ..PLAIN
    },
    Spec {
        names: &["export", "container export"],
        usage: "[OPTIONS] CONTAINER",
        about: "Write a container's files as a tar archive",
        examples: &["cais export -o web.tar web", "cais export web | tar -t"],
        main: export::main,
        ..PLAIN
    },
    Spec {
        names: &["commit", "container commit"],
        usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
        about: "Make an image of a container as it is",
        examples: &[
            "cais commit web web:patched",
            "cais commit -m 'with config' -c 'CMD [\"serve\"]' web web:2",
        ],
        refused: refused::COMMIT,
        main: commit::main,
        ..PLAIN
    },
    checkpoint::CONTAINER,
    container_restore::SPEC,
    checkpoint::CREATE,
    checkpoint::LS,
    checkpoint::RM,
    Spec {
        names: &["container prune"],
        usage: "[OPTIONS]",
        about: "Remove all containers that do not run",
        examples: &["cais container prune -f --filter until=24h"],
        main: prune::containers,
        ..PLAIN
    },
    Spec {
        names: &["pull", "image pull"],
        usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
        about: "Fetch an image from a registry",
        refused: refused::PULL,
        main: pull::main,
        ..PLAIN
    },
    Spec {
        names: &["load", "image load"],
        usage: "[OPTIONS]",
        about: "Load images from an archive or an OCI layout",
        examples: &["cais load -i images.tar", "zcat images.tar.gz | cais load"],
        main: load::main,
        ..PLAIN
    },
    Spec {
        names: &["import", "image import"],
        usage: "[OPTIONS] FILE|- [REPOSITORY[:TAG]]",
        about: "Make an image from a tar archive of a file system",
        main: import::main,
        ..PLAIN
    },
    Spec {
        names: &["images", "image ls", "image list"],
        usage: "[OPTIONS] [REPOSITORY[:TAG]]",
        about: "List images",
        main: images::main,
        ..READER
    },
    Spec {
        names: &["image inspect"],
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        about: "Show images in detail",
        main: inspect::images,
        ..READER
    },
    Spec {
        names: &["history", "image history"],
        usage: "[OPTIONS] IMAGE",
        about: "Show how an image came to be",
        main: history::main,
        ..READER
    },
    Spec {
        names: &["image prune"],
        usage: "[OPTIONS]",
        about: "Remove images without a name, or all that no container uses (-a)",
        examples: &["cais image prune -a --filter until=240h"],
        main: prune::images,
        ..PLAIN
    },
    Spec {
        names: &["tag", "image tag"],
        usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        about: "Give an image another name",
        main: tag::main,
        ..PLAIN
    },
    Spec {
        names: &["rmi", "image rm", "image remove"],
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        about: "Remove images",
        main: rmi::main,
        ..PLAIN
    },
    Spec {
        names: &["volume create"],
        usage: "[OPTIONS] [VOLUME]",
        about: "Create a volume",
        main: volume::create,
        ..PLAIN
    },
    Spec {
        names: &["volume ls", "volume list"],
        usage: "[OPTIONS]",
        about: "List volumes",
        main: volume::ls,
        ..READER
    },
    Spec {
        names: &["volume inspect"],
        usage: "[OPTIONS] VOLUME [VOLUME...]",
        about: "Show volumes in detail",
        main: inspect::volumes,
        ..READER
    },
    Spec {
        names: &["volume rm", "volume remove"],
        usage: "[OPTIONS] VOLUME [VOLUME...]",
        about: "Remove volumes",
        main: volume::rm,
        ..PLAIN
    },
    Spec {
        names: &["events", "system events"],
        usage: "[OPTIONS]",
        about: "Show what happens to containers, images and volumes",
        examples: &[
            "cais events --filter container=web --filter event=die",
            "cais events --since 1h --stream=false --format '{{.Time}} {{.Action}} {{.Actor.Attributes.name}}'",
        ],
        main: events::main,
        ..READER
    },
    Spec {
        names: &["volume prune"],
        usage: "[OPTIONS]",
        about: "Remove anonymous volumes, or all (-a), that no container uses",
        main: prune::volumes,
        ..PLAIN
    },
    Spec {
        names: &["info", "system info"],
        usage: "[OPTIONS]",
        about: "Show what this machine offers and what is stored",
        main: info::main,
        ..READER
    },
    Spec { names: &["version"], usage: "[OPTIONS]", about: "Show versions", main: version::main, ..READER },
    Spec {
        names: &["completion"],
        usage: "bash|zsh|fish",
        about: "Print a script that lets the shell complete command lines",
        examples: &["source <(cais completion bash)", "cais completion fish | source"],
        main: completion::main,
        ..READER
    },
    Spec {
        names: &["system df"],
        usage: "[OPTIONS]",
        about: "Show what is stored takes on the disk",
        main: system_df::main,
        // Layers hold files that only their owners may read.
        ..PLAIN
    },
    Spec {
        names: &["system prune"],
        usage: "[OPTIONS]",
        about: "Remove what nobody uses: containers, images, and volumes if asked",
        main: prune::system,
        ..PLAIN
    },
    Spec {
        names: &["system boot"],
        about: "After a boot: start what should run, by its restart policy",
        main: boot::system_boot,
        ..PLAIN
    },
    Spec {
        names: &["boot enable"],
        about: "Have systemd call `system boot` when the machine comes up",
        main: boot::enable,
        ..READER
    },
    Spec { names: &["boot disable"], about: "Take the unit of systemd away", main: boot::disable, ..READER },
    Spec {
        names: &["boot status"],
        about: "Show whether containers come back after a boot: exit status 0 when they do",
        main: boot::status,
        ..READER
    },
    Spec {
        names: &["system check"],
        usage: "[OPTIONS]",
        about: "Compare what is stored with what is real, and repair it",
        main: system_check::main,
        ..PLAIN
    },
];
