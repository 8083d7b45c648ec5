//! The engines that take part: how each is started, configured and called.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cais_test::process::{Invocation, Running};

/// Name of the image in every engine.
pub const IMAGE: &str = "bench/busybox:latest";

/// An engine and the words that every call of it begins with.
#[derive(Debug)]
pub struct Contender {
    /// Column title.
    pub name: &'static str,
    /// Version and what it needed to start.
    pub about: String,
    /// Folders whose files count as left over.
    pub folders: Vec<PathBuf>,
    /// How a container is removed by force and at once.
    pub remove: &'static str,
    /// How an image is removed with all that only it needs.
    pub remove_image: &'static str,
    /// How images are listed.
    pub list_images: &'static str,
    pull: &'static str,
    program: PathBuf,
    flags: Vec<String>,
    env: Vec<(&'static str, String)>,
    daemon: Option<Running>,
}

impl Contender {
    /// A command of this engine, streams not yet set.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.flags).args(line.split_whitespace()).stdin(Stdio::null());
        for (key, value) in &self.env {
            command.env(key, value);
        }
        command
    }

    /// Runs it and returns its standard output, or what it complained about.
    pub fn try_run(&self, line: &str) -> Result<String, String> {
        let output = self.command(line).output().map_err(|error| format!("{}: {error}", self.name))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let words: String = line.chars().take(60).collect();
        let error = String::from_utf8_lossy(&output.stderr);
        Err(format!(
            "{} {words}: {}",
            self.name,
            error.lines().next_back().unwrap_or("failed without a word")
        ))
    }

    /// Runs it and returns its standard output; on failure says so and returns nothing.
    pub fn run(&self, line: &str) -> String {
        self.try_run(line).unwrap_or_else(|error| {
            eprintln!("{error}");
            String::new()
        })
    }

    /// The words that pull an image from a registry without TLS on the loopback.
    pub fn pull(&self, name: &str) -> String {
        format!("{} {name}", self.pull)
    }

    /// The process that works for the client; `None` for engines without one.
    pub fn daemon_pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Running::pid)
    }

    /// Loads the image and runs it once.
    pub fn load(&self, archive: &Path) -> Result<(), String> {
        self.try_run(&format!("load -i {}", archive.display()))?;
        self.try_run(&format!("run --rm {IMAGE} true"))?;
        Ok(())
    }

    /// Removes every container.
    pub fn clear(&self) {
        let ids = self.run("ps -aq").replace('\n', " ");
        if !ids.is_empty() {
            self.run(&format!("{} {ids}", self.remove));
        }
    }
}

fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

/// The binary under test.
pub fn cais(folder: &Path, binary: PathBuf) -> Result<Contender, String> {
    let about =
        first_line(&binary.to_string_lossy(), &["--version"]).ok_or("cais: the binary does not run")?;
    let (root, run) = (folder.join("cais"), PathBuf::from("/run/bench-cais"));
    let flags = ["--root".into(), root.display().to_string(), "--run-root".into(), run.display().to_string()];
    Ok(Contender {
        name: "cais",
        about,
        folders: vec![root, run],
        remove: "rm -f",
        remove_image: "rmi -f",
        list_images: "images",
        pull: "pull -q",
        program: binary,
        flags: flags.to_vec(),
        env: Vec::new(),
        daemon: None,
    })
}

/// dockerd by hand on a socket of its own.
pub fn docker(folder: &Path) -> Result<Contender, String> {
    for program in ["docker", "dockerd", "containerd"] {
        if first_line(program, &["--version"]).is_none() {
            return Err(format!("docker: not measured, {program} is missing (apt-get install docker.io)"));
        }
    }
    let root = folder.join("docker");
    let daemon = Invocation::new("dockerd", "--exec-root /run/bench-docker -H unix:///run/bench-docker.sock")
        .args("--pidfile /run/bench-docker.pid --data-root")
        .arg(&root)
        .spawn();
    let mut contender = Contender {
        name: "docker",
        about: String::new(),
        folders: vec![root],
        remove: "rm -f",
        remove_image: "rmi -f",
        list_images: "images",
        pull: "pull -q",
        program: "docker".into(),
        flags: vec!["-H".into(), "unix:///run/bench-docker.sock".into()],
        env: Vec::new(),
        daemon: Some(daemon),
    };
    wait_for(&mut contender, "info")?;
    let versions = contender.run("version --format {{.Client.Version}}/{{.Server.Version}}");
    contender.about = format!("client/daemon {versions}, the daemon's memory is not counted");
    Ok(contender)
}

/// podman with the least configuration that lets it start here.
pub fn podman(folder: &Path) -> Result<Contender, String> {
    let Some(version) = first_line("podman", &["--version"]) else {
        return Err("podman: not measured, it is missing (apt-get install podman crun runc)".to_owned());
    };
    let root = folder.join("podman");
    // Where limits may not be raised the default of "as many as possible" is refused by the runtimes.
    let limits = "[containers]\ndefault_ulimits=[\"nofile=1024:1024\",\"nproc=1024:1024\"]\n";
    let configurations = [
        ("its own configuration", String::new()),
        ("limits of 1024", limits.to_owned()),
        ("limits of 1024 and runc", format!("{limits}[engine]\nruntime=\"runc\"\n")),
    ];
    let probe = folder.join("probe.tar");
    cais_test::rootfs::busybox()
        .ok_or("no busybox")?
        .build()
        .write_docker_archive(&probe, &["probe:1"])
        .map_err(|e| e.to_string())?;
    let mut last = String::new();
    for (number, (what, text)) in configurations.into_iter().enumerate() {
        let file = folder.join(format!("containers-{number}.conf"));
        fs::write(&file, &text).map_err(|error| error.to_string())?;
        let flags =
            ["--root", &root.display().to_string(), "--runroot", "/run/bench-podman"].map(str::to_owned);
        let contender = Contender {
            name: "podman",
            about: format!(
                "{version}, with {what}; removed by `rm -f -t 0`, since it waits ten seconds otherwise"
            ),
            folders: vec![root.clone()],
            remove: "rm -f -t 0",
            remove_image: "rmi -f",
            list_images: "images",
            pull: "pull -q --tls-verify=false",
            program: "podman".into(),
            flags: flags.to_vec(),
            env: if text.is_empty() {
                Vec::new()
            } else {
                vec![("CONTAINERS_CONF", file.display().to_string())]
            },
            daemon: None,
        };
        let tried = contender.try_run(&format!("load -i {}", probe.display()));
        match tried.and_then(|_| contender.try_run("run --rm localhost/probe:1 true")) {
            Ok(_) => return Ok(contender),
            Err(error) => last = error,
        }
    }
    Err(format!("podman: not measured, it does not start: {last}"))
}

/// containerd by hand, called by its own client; for images only.
pub fn containerd(folder: &Path) -> Result<Contender, String> {
    let version = first_line("ctr", &["--version"]).and(first_line("containerd", &["--version"]));
    let Some(about) = version else {
        return Err("containerd: not measured, it is missing (apt-get install containerd)".to_owned());
    };
    let root = folder.join("containerd");
    let socket = "/run/bench-containerd/socket";
    let daemon = Invocation::new("containerd", "--state /run/bench-containerd/state -a")
        .arg(socket)
        .args("-l error --root")
        .arg(&root)
        .spawn();
    let mut contender = Contender {
        name: "containerd",
        about,
        folders: vec![root],
        remove: "containers rm",
        remove_image: "images rm --sync",
        list_images: "images ls",
        pull: "images pull --plain-http --snapshotter overlayfs",
        program: "ctr".into(),
        flags: ["-a", socket, "-n", "bench"].map(str::to_owned).to_vec(),
        env: Vec::new(),
        daemon: Some(daemon),
    };
    wait_for(&mut contender, "version")?;
    Ok(contender)
}

/// Waits until the daemon answers.
fn wait_for(contender: &mut Contender, question: &str) -> Result<(), String> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while let Err(error) = contender.try_run(question) {
        let alive = contender.daemon.as_mut().is_some_and(Running::is_running);
        if !alive || std::time::Instant::now() > deadline {
            return Err(format!("{}: not measured, its daemon does not start: {error}", contender.name));
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Ok(())
}
