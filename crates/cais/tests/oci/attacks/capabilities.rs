//! Capabilities that nobody asked for: CVE-2022-29162.

use cais_test::e2e;
use cais_test::isolation::isolated;
use serde_json::{Value, json};

use crate::bed::Bed;

const LOOK: &str = "grep Cap /proc/self/status";

/// One of the sets that [`LOOK`] shows.
#[track_caller]
fn set(status: &str, name: &str) -> u64 {
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{status}"));
    u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap()
}

/// CVE-2022-29162. `runc exec --cap` made capabilities inheritable: a program with inheritable file capabilities, which
/// the attacker has in the image, gets them although its user has none. Seen must be: an empty inheritable set, for root
/// and for others, whatever is asked by `--cap`.
#[test]
fn cve_2022_29162_exec_inherits_nothing() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        bed.sleeper("c1");
        for flags in
            ["", "--cap CAP_NET_RAW", "--cap CAP_KILL --cap CAP_CHOWN", "--user 1000 --cap CAP_NET_RAW"]
        {
            let status = bed.cmd("exec").args(flags).arg("c1").args(LOOK).ok();
            assert_eq!(set(&status, "CapInh"), 0, "exec {flags}: {status}");
        }
        const NET_RAW: u64 = 1 << 13;
        let status = bed.cmd("exec --cap CAP_NET_RAW c1").args(LOOK).ok();
        assert_ne!(set(&status, "CapPrm") & NET_RAW, 0, "what was asked for is there: {status}");
        let status = bed.cmd("exec --user 1000 c1").args(LOOK).ok();
        assert_eq!((set(&status, "CapPrm"), set(&status, "CapEff"), set(&status, "CapAmb")), (0, 0, 0));
    });
}

/// CVE-2022-29162, the other half: the configuration that `spec` writes made them inheritable, too; and what
/// a configuration does not list is not inheritable.
#[test]
fn cve_2022_29162_the_template_and_run() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let folder = bed.folder().join("template");
        std::fs::create_dir(&folder).unwrap();
        bed.cmd("spec").folder(&folder).ok();
        let text = std::fs::read(folder.join("config.json")).unwrap();
        let config: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(config["process"]["capabilities"].get("inheritable"), None, "{config}");

        let bundle = bed.bundle("c1", &["sh", "-c", LOOK]);
        let status = bed.run("c1").code(0).stdout_text();
        assert_eq!(set(&status, "CapInh"), 0, "{status}");
        bundle.change(|config| config["process"]["capabilities"]["inheritable"] = json!(["CAP_KILL"]));
        let status = bed.run("c1").code(0).stdout_text();
        assert_eq!(set(&status, "CapInh"), 1 << 5, "exactly what is listed: {status}");
    });
}

/// CVE-2022-29162 against the engine: nothing is inheritable in `run` and `exec`, privileged or not.
#[test]
fn cve_2022_29162_the_engine() {
    e2e(|cais| {
        cais.ok("run -d --name c1 --cap-add SYS_ADMIN busybox sleep 1000");
        cais.ok("run -d --name c2 --privileged busybox sleep 1000");
        for line in [
            "run --rm busybox",
            "run --rm --privileged busybox",
            "run --rm --cap-add ALL -u 1000 busybox",
            "exec c1",
            "exec -u 1000 c1",
            "exec --privileged c1",
            "exec c2",
        ] {
            let status = cais.cmd(line).args(LOOK).ok();
            assert_eq!((set(&status, "CapInh"), set(&status, "CapAmb")), (0, 0), "{line}: {status}");
        }
    });
}
