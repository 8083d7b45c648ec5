//! Compiles the floor program of the benchmark, as the build script of cais-runtime compiles the shim: no_std, without
//! libc. Does nothing unless the feature `bench` is on.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_BENCH").is_none() {
        return;
    }
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let crates = here.join("..");
    for folder in ["cais-plan/src", "cais-shim/src", "cais-test/floor"] {
        println!("cargo::rerun-if-changed={}", crates.join(folder).display());
    }
    let library = |name: &str, package: &str, needs: &[&str]| {
        let mut command = rustc(&out);
        command.args(["--crate-type", "rlib", "--crate-name", name]);
        link(&mut command, &out, needs);
        command.arg("--out-dir").arg(&out).arg(crates.join(package).join("src/lib.rs"));
        run(command);
    };
    library("cais_plan", "cais-plan", &[]);
    library("cais_shim", "cais-shim", &["cais_plan"]);
    let mut command = rustc(&out);
    command.args(["--crate-type", "bin", "--crate-name", "start", "-C", "lto=fat", "-C", "strip=symbols"]);
    for argument in
        ["-nostdlib", "-nostartfiles", "-static", "-Wl,--build-id=none,-z,noseparate-code,--gc-sections"]
    {
        command.arg("-C").arg(format!("link-arg={argument}"));
    }
    link(&mut command, &out, &["cais_plan", "cais_shim"]);
    command.arg("-o").arg(out.join("cais-floor")).arg(here.join("floor/start.rs"));
    run(command);
}

fn rustc(out: &Path) -> Command {
    let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let target = env::var("TARGET").expect("cargo sets it");
    command.args(["--edition", "2024", "--target", &target, "--cap-lints", "warn"]);
    for setting in ["opt-level=s", "panic=abort", "relocation-model=static", "codegen-units=1"] {
        command.args(["-C", setting]);
    }
    command.arg("-L").arg(out);
    command
}

fn link(command: &mut Command, out: &Path, libraries: &[&str]) {
    for library in libraries {
        command.arg("--extern").arg(format!("{library}={}/lib{library}.rlib", out.display()));
    }
}

fn run(mut command: Command) {
    let status = command.status().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
    assert!(status.success(), "failed: {command:?}");
}
