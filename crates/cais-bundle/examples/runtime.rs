//! The runtime in one page: does one operation that a JSON object on the command line describes, and exits with its code.
//! The tests start it where an operation needs a process of its own: to be killed, to have other descriptors or signals.
//!
//! `runtime '{"root": "/run/x", "operation": "run", "id": "c1", "bundle": "/bundles/one"}'`

use std::path::PathBuf;
use std::process::ExitCode;

use cais_bundle::{Config, CreateRequest, ExecRequest, Result, RunRequest, Runtime};
use cais_oci::runtime::Process;
use serde_json::Value;

fn main() -> ExitCode {
    let text = std::env::args().nth(1).unwrap_or_default();
    let Ok(asked) = serde_json::from_str::<Value>(&text) else {
        eprintln!("usage: runtime JSON");
        return ExitCode::from(254);
    };
    match operate(&asked) {
        Ok(code) => ExitCode::from(code as u8),
        Err(error) => {
            println!("failed: {error}");
            ExitCode::from(255)
        }
    }
}

fn operate(asked: &Value) -> Result<i32> {
    let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
    let path = |name: &str| asked[name].as_str().map(PathBuf::from);
    let number = |name: &str| asked[name].as_u64().unwrap_or(0) as u32;
    let flag = |name: &str| asked[name].as_bool().unwrap_or(false);
    let runtime = Runtime::new(Config { root: text("root").into(), ..Config::default() })?;
    let create = CreateRequest {
        id: text("id"),
        bundle: text("bundle").into(),
        pid_file: path("pid_file"),
        preserve_fds: number("preserve_fds"),
        listen_fds: number("listen_fds"),
        notify_socket: path("notify_socket"),
        ..CreateRequest::default()
    };
    match text("operation").as_str() {
        "create" => runtime.create(&create).map(|_| 0),
        "start" => runtime.start(&create.id).map(|()| 0),
        "delete" => runtime.delete(&create.id, flag("force")).map(|()| 0),
        "exec" => runtime.exec(&ExecRequest {
            id: create.id,
            process: Process::parse(asked["process"].to_string().as_bytes())?,
            preserve_fds: create.preserve_fds,
            detach: flag("detach"),
            ..ExecRequest::default()
        }),
        _ => runtime.run(&RunRequest {
            create,
            detach: flag("detach"),
            keep: flag("keep"),
            no_subreaper: false,
        }),
    }
}
