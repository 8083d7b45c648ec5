//! Writes to procfs that end somewhere else: CVE-2025-52881.

use std::fs;
use std::os::unix::fs::symlink;

use cais_test::e2e;
use cais_test::isolation::isolated;
use serde_json::{Value, json};

use super::{Exchange, foreign_in_proc, load_image, run_often};
use crate::bed::Bed;

/// A parameter of the network namespace: its folder and name below /proc/sys.
const FOLDER: &str = "net/ipv4";
const NAME: &str = "ip_unprivileged_port_start";
const VALUE: &str = "77";

/// CVE-2025-52881. The runtime writes labels and kernel parameters into files of /proc. The attacker shares a volume, and
/// puts into it a link to a directory of procfs when a mount's target is there: a file of the attacker's, or another one of
/// procfs (`sysrq-trigger`, `core_pattern`), stands where the runtime writes. Seen must be: no mount lands in procfs, and what is written arrives in the kernel.
#[test]
fn cve_2025_52881_sysctl_by_a_mount_in_procfs() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let (volume, fake) = (bed.folder().join("volume"), bed.folder().join("fake"));
        fs::create_dir_all(volume.join("x")).unwrap();
        fs::create_dir(&fake).unwrap();
        fs::write(fake.join(NAME), "fake").unwrap();
        symlink(format!("/proc/sys/{FOLDER}"), volume.join("link")).unwrap();
        let script = format!("cat /proc/sys/{FOLDER}/{NAME} /proc/self/mountinfo");
        bed.bundle("c1", &["sh", "-c", &script]).change(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            let bind = |source, to| json!({"destination": to, "type": "bind", "source": source, "options": ["rbind"]});
            mounts.extend([bind(&volume, "/vol"), bind(&fake, "/vol/x")]);
            let key = format!("{}.{NAME}", FOLDER.replace('/', "."));
            config["linux"]["sysctl"] = json!({key: VALUE});
        });
        let look = |finished: &cais_test::Finished| {
            assert_eq!(
                fs::read_to_string(fake.join(NAME)).unwrap(),
                "fake",
                "written to the attacker's file"
            );
            let said = finished.stdout_text();
            assert_eq!(foreign_in_proc(&said), Vec::<&str>::new());
            if finished.status() == 0 {
                assert_eq!(said.lines().next(), Some(VALUE), "it did not arrive: {said}");
            }
            finished.status() == 0
        };
        assert!(look(&bed.run("c1")), "without an attack");
        let mut started = 0;
        let exchange = Exchange::begin(volume.join("x"), volume.join("link"));
        run_often(&bed, "c1", |finished| started += usize::from(look(finished)));
        exchange.end();
        assert!(started > 0, "it always failed: nothing was seen");
        fs::remove_dir(volume.join("x")).or_else(|_| fs::remove_file(volume.join("x"))).unwrap();
        symlink(format!("/proc/sys/{FOLDER}"), volume.join("x")).unwrap();
        assert!(!look(&bed.run("c1")), "a link that stays is refused");
    });
}

/// CVE-2025-52881 in `exec`: the container is there already, has CAP_SYS_ADMIN, and has covered its /proc with files of its
/// own when the runtime comes to write `oom_score_adj` (and labels). Seen must be: the runtime's own procfs is written to,
/// the files in front of it are not.
#[test]
fn cve_2025_52881_exec_in_a_container_without_procfs() {
    isolated(|| {
        let Some(bed) = Bed::new() else { return };
        let admin = |config: &mut Value| {
            for set in ["bounding", "effective", "permitted"] {
                config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SYS_ADMIN"));
            }
            config["linux"]["maskedPaths"] = json!([]);
            config["linux"]["readonlyPaths"] = json!([]);
        };
        let prepare = "mkdir -p /fake/self/attr /fake/thread-self/attr
            for d in self thread-self 1; do mkdir -p /fake/$d/attr; touch /fake/$d/oom_score_adj /fake/$d/attr/exec; done";
        let covers = [
            ("tmpfs over it", "mount -o bind /fake /proc"),
            (
                "another file of procfs",
                "mount -o bind /proc/sys/kernel/hostname /proc/1/oom_score_adj; touch /fake/self/oom_score_adj",
            ),
            ("a moved procfs", "mkdir -p /moved; mount -o bind /proc /moved; mount -o bind /fake /proc"),
        ];
        for (number, (what, cover)) in covers.into_iter().enumerate() {
            let id = format!("c{number}");
            bed.bundle(&id, &["sleep", "1000"]).change(admin);
            bed.run_detached(&id);
            bed.cmd("exec").arg(&id).args("sh -ec").arg(format!("{prepare}\n{cover}")).ok();
            let process = bed.folder().join("process.json");
            let text = json!({
                "args": ["sleep", "1001"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}, "oomScoreAdj": 77,
            });
            fs::write(&process, text.to_string()).unwrap();
            let pid_file = bed.folder().join("pid");
            let exec = bed
                .detached("exec --detach --pid-file")
                .arg(&pid_file)
                .arg("--process")
                .arg(&process)
                .arg(&id)
                .output();
            for folder in ["self", "thread-self", "1"] {
                let fake = bed.folder().join("rootfs/fake").join(folder).join("oom_score_adj");
                assert_eq!(fs::read_to_string(fake).unwrap(), "", "{what}: written to the container's file");
            }
            if exec.status() == 0 {
                let pid = fs::read_to_string(&pid_file).unwrap();
                let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
                assert_eq!(score.trim(), "77", "{what}: it did not arrive");
            } else {
                assert!(!bed.is_ours(), "{what}: {exec}");
            }
            bed.ok(&format!("delete --force {id}"));
        }
    });
}

/// CVE-2025-52881 against `cais run`: volumes in the way of parameters and `oom_score_adj`.
#[test]
fn cve_2025_52881_the_engine() {
    e2e(|cais| {
        let (volume, fake) = (cais.folder().join("volume"), cais.folder().join("fake"));
        fs::create_dir_all(volume.join("x")).unwrap();
        fs::create_dir(&fake).unwrap();
        fs::write(fake.join(NAME), "fake").unwrap();
        symlink(format!("/proc/sys/{FOLDER}"), volume.join("link")).unwrap();
        load_image(cais, "evil", |image, layer| {
            image.layer(layer.symlink("way", "/proc/sys/net/ipv4").symlink("me", "proc/self"))
        });
        let run = |flags: &[String]| {
            let run = cais
                .cmd("run --rm --network none --oom-score-adj 77 --sysctl")
                .arg(format!("net.ipv4.{NAME}={VALUE}"));
            let run = flags.iter().fold(run, |run, flag| run.arg(flag));
            let finished = run
                .args("evil cat")
                .arg(format!("/proc/sys/net/ipv4/{NAME}"))
                .args("/proc/self/oom_score_adj /proc/self/mountinfo")
                .output();
            assert_eq!(
                fs::read_to_string(fake.join(NAME)).unwrap(),
                "fake",
                "written to the attacker's file"
            );
            let said = finished.stdout_text();
            assert_eq!(foreign_in_proc(&said), Vec::<&str>::new());
            if finished.status() == 0 {
                assert_eq!(
                    said.lines().take(2).collect::<Vec<_>>(),
                    [VALUE, "77"],
                    "it did not arrive: {said}"
                );
            }
            finished.status() == 0
        };
        let bind = |to: &str| format!("-v={}:{to}", fake.display());
        assert!(run(&[bind("/plain")]), "without an attack");
        assert!(
            !run(&[bind("/way")]) && !run(&[bind("/me")]) && !run(&[bind("/me/attr")]),
            "links of the image"
        );
        let shared = format!("-v={}:/vol", volume.display());
        let exchange = Exchange::begin(volume.join("x"), volume.join("link"));
        (0..20).for_each(|_| _ = run(&[shared.clone(), bind("/vol/x")]));
        exchange.end();
    });
}
