//! `checkpoint` and `restore`, through the criu program.

use std::path::PathBuf;

use cais_bundle::{CheckpointRequest, RestoreRequest};

use super::failure::{Failure, Outcome};
use super::flags::Words;
use super::{Door, create, run};

pub(super) fn checkpoint(door: &Door, words: &Words) -> Outcome {
    let request = CheckpointRequest {
        id: words.id()?.to_owned(),
        image_path: image_path(words),
        work_path: words.path("work-path"),
        parent_path: parent_path(words)?,
        leave_running: words.switch("leave-running"),
        tcp_established: words.switch("tcp-established"),
        tcp_skip_in_flight: words.switch("tcp-skip-in-flight"),
        link_remap: words.switch("link-remap"),
        ext_unix_sk: words.switch("ext-unix-sk"),
        shell_job: words.switch("shell-job"),
        lazy_pages: words.switch("lazy-pages"),
        status_fd: words.number::<i32>("status-fd")?.filter(|fd| *fd >= 0),
        page_server: words.text("page-server")?.map(page_server).transpose()?,
        file_locks: words.switch("file-locks"),
        pre_dump: words.switch("pre-dump"),
        manage_cgroups_mode: cgroups_mode(words)?,
        empty_ns: empty_ns(words)?,
        auto_dedup: words.switch("auto-dedup"),
    };
    door.runtime()?.checkpoint(&request)?;
    Ok(0)
}

pub(super) fn restore(door: &Door, words: &Words) -> Outcome {
    create::keep_root(&door.globals)?;
    let text = |name: &str| Ok::<_, Failure>(words.text(name)?.map(str::to_owned));
    let request = RestoreRequest {
        create: create::request(words)?,
        detach: words.switch("detach"),
        no_subreaper: words.switch("no-subreaper"),
        image_path: image_path(words),
        work_path: words.path("work-path"),
        tcp_established: words.switch("tcp-established"),
        ext_unix_sk: words.switch("ext-unix-sk"),
        shell_job: words.switch("shell-job"),
        file_locks: words.switch("file-locks"),
        manage_cgroups_mode: cgroups_mode(words)?,
        empty_ns: empty_ns(words)?,
        auto_dedup: words.switch("auto-dedup"),
        lazy_pages: words.switch("lazy-pages"),
        lsm_profile: text("lsm-profile")?,
        lsm_mount_context: text("lsm-mount-context")?,
    };
    run::status(door.runtime()?.restore(&request)?)
}

fn image_path(words: &Words) -> PathBuf {
    words.path("image-path").unwrap_or_else(|| PathBuf::from("checkpoint"))
}

fn parent_path(words: &Words) -> Result<Option<PathBuf>, Failure> {
    match words.path("parent-path") {
        Some(path) if path.is_absolute() => Err(Failure::usage("--parent-path must be relative")),
        path => Ok(path),
    }
}

fn page_server(text: &str) -> Result<(String, u16), Failure> {
    let (address, port) = text
        .rsplit_once(':')
        .filter(|(address, port)| !address.is_empty() && !port.is_empty())
        .ok_or_else(|| Failure::usage("use --page-server ADDRESS:PORT to specify page server"))?;
    let port = port.parse().map_err(|_| Failure::usage(format!("invalid port number {port:?}")))?;
    Ok((address.trim_matches(['[', ']']).to_owned(), port))
}

fn cgroups_mode(words: &Words) -> Result<Option<String>, Failure> {
    match words.text("manage-cgroups-mode")? {
        None => Ok(None),
        Some(mode @ ("soft" | "full" | "strict" | "ignore")) => Ok(Some(mode.to_owned())),
        Some(_) => {
            Err(Failure::usage("invalid manage-cgroups-mode value: expected soft, full, strict or ignore"))
        }
    }
}

fn empty_ns(words: &Words) -> Result<Vec<String>, Failure> {
    let kinds = words.texts("empty-ns")?;
    match kinds.iter().find(|kind| *kind != "network") {
        Some(kind) => Err(Failure::usage(format!("namespace {kind:?} is not supported"))),
        None => Ok(kinds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_servers() {
        assert_eq!(page_server("10.0.0.1:27"), Ok(("10.0.0.1".to_owned(), 27)));
        assert_eq!(page_server("[::1]:27"), Ok(("::1".to_owned(), 27)));
        for bad in ["", ":27", "host:", "host", "host:x", "host:70000"] {
            assert!(page_server(bad).is_err(), "{bad}");
        }
    }
}
