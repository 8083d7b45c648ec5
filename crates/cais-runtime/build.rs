//! Compiles the programs that are embedded: the shim, and the one of the image `hello`. Both are no_std and without
//! libc, so rustc is called directly: cargo cannot build a dependency for another panic strategy and linker line.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let crates = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let target = env::var("TARGET").expect("cargo sets it");
    for name in ["cais-plan", "cais-shim", "cais-hello"] {
        println!("cargo::rerun-if-changed={}", crates.join(name).join("src").display());
    }
    let build = Build { crates: &crates, out: &out, target: &target };
    build.library("cais_plan", "cais-plan", &[]);
    build.library("cais_shim", "cais-shim", &["cais_plan"]);
    build.program("cais-shim", &["cais_shim"]);
    build.library("cais_hello", "cais-hello", &["cais_shim"]);
    build.program("cais-hello", &["cais_hello", "cais_shim"]);
}

struct Build<'a> {
    crates: &'a Path,
    out: &'a Path,
    target: &'a str,
}

impl Build<'_> {
    fn rustc(&self) -> Command {
        let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        command.args(["--edition", "2024", "--target", self.target, "--cap-lints", "warn"]);
        for setting in ["opt-level=s", "panic=abort", "relocation-model=static", "codegen-units=1"] {
            command.args(["-C", setting]);
        }
        command.arg("-L").arg(self.out);
        command
    }

    fn library(&self, name: &str, package: &str, needs: &[&str]) {
        let mut command = self.rustc();
        command.args(["--crate-type", "rlib", "--crate-name", name]);
        for need in needs {
            command.arg("--extern").arg(format!("{need}={}/lib{need}.rlib", self.out.display()));
        }
        command.arg("--out-dir").arg(self.out).arg(self.crates.join(package).join("src/lib.rs"));
        run(command);
    }

    /// `src/start.rs` of the package, linked with libraries into a static program.
    fn program(&self, package: &str, libraries: &[&str]) {
        let mut command = self.rustc();
        command.args([
            "--crate-type",
            "bin",
            "--crate-name",
            "start",
            "-C",
            "lto=fat",
            "-C",
            "strip=symbols",
        ]);
        for argument in
            ["-nostdlib", "-nostartfiles", "-static", "-Wl,--build-id=none,-z,noseparate-code,--gc-sections"]
        {
            command.arg("-C").arg(format!("link-arg={argument}"));
        }
        for library in libraries {
            command.arg("--extern").arg(format!("{library}={}/lib{library}.rlib", self.out.display()));
        }
        command.arg("-o").arg(self.out.join(package)).arg(self.crates.join(package).join("src/start.rs"));
        run(command);
    }
}

fn run(mut command: Command) {
    let status = command.status().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
    assert!(status.success(), "failed: {command:?}");
}
