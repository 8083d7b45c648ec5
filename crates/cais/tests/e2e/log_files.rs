//! The files of a log: docker's format on disk, when they are full, how they are read meanwhile.

use cais_test::e2e;
use serde_json::{Value, json};

/// The lines of a log file, each an object without its time.
fn objects(text: &str) -> Vec<Value> {
    let parse = |line: &str| {
        let mut object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let time = object.as_object_mut().unwrap().remove("time").unwrap();
        time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        object
    };
    text.lines().map(parse).collect()
}

fn out(text: &str) -> Value {
    json!({"log": text, "stream": "stdout"})
}

#[test]
fn the_file_is_what_docker_writes() {
    e2e(|cais| {
        let script = r#"printf 'one\n\n"<&>"\ttab\\\r\n\303\274 \377\n'; printf 'no newline'"#;
        cais.cmd("run --name j1 busybox sh -c").arg(script).ok();
        assert_eq!(cais.inspect("j1", "{{.HostConfig.LogConfig.Type}}"), "json-file");
        let path = cais.inspect("j1", "{{.LogPath}}");
        let text = std::fs::read_to_string(&path).unwrap();
        let second = text.lines().nth(2).unwrap();
        let start = r#"{"log":"\"\u003c\u0026\u003e\"\u0009tab\\\r\n","stream":"stdout","time":""#;
        assert!(second.starts_with(start), "{second}");
        let expected = ["one\n", "\n", "\"<&>\"\ttab\\\r\n", "ü \u{fffd}\n", "no newline"];
        assert_eq!(objects(&text), expected.map(out));
        let finished = cais.cmd("logs j1").output().code(0);
        assert_eq!(finished.stdout, expected.concat().as_bytes());

        // Written in pieces, and longer than docker's 16 KiB, the second at the boundary of a character.
        let script = "printf a; sleep 0.2; echo b; printf err >&2; head -c 40000 /dev/zero | tr '\\0' x; echo; \
                      head -c 16383 /dev/zero | tr '\\0' y; echo ü; head -c 16384 /dev/zero | tr '\\0' z; echo";
        cais.cmd("run --name j2 busybox sh -c").arg(script).ok();
        let text = std::fs::read_to_string(cais.inspect("j2", "{{.LogPath}}")).unwrap();
        let mut found = objects(&text);
        let err = found.iter().position(|line| line["stream"] == "stderr").unwrap();
        assert_eq!(found.remove(err)["log"], "err");
        let x = |count| "x".repeat(count);
        let expected = [
            "ab\n".to_owned(),
            x(16384),
            x(16384),
            x(40000 - 2 * 16384) + "\n",
            "y".repeat(16383),
            "ü\n".to_owned(),
            "z".repeat(16384),
            "\n".to_owned(),
        ];
        assert_eq!(found, expected.clone().map(|text| out(&text)));
        assert_eq!(cais.cmd("logs j2").output().code(0).stdout, expected.concat().as_bytes());
        cais.cmd("run --name j3 busybox sh -c")
            .arg("echo first; head -c 16384 /dev/zero | tr '\\0' z; echo")
            .ok();
        assert_eq!(cais.cmd("logs --tail 1 j3").output().code(0).stdout, expected[6..].concat().as_bytes());
        cais.ok("rm j1 j2 j3");
    });
}

#[test]
fn lines_have_the_attributes_that_were_asked_for() {
    e2e(|cais| {
        cais.ok(
            "run --name a1 -l tier=front -l other=x -e A=1,2 -e B=3 --log-opt labels=tier,none --log-opt env=A \
             --log-opt tag={{.Name}}/{{.ID}} busybox echo x",
        );
        let id = cais.inspect("a1", "{{.Id}}");
        let text = std::fs::read_to_string(cais.inspect("a1", "{{.LogPath}}")).unwrap();
        let tag = format!("a1/{}", &id[..12]);
        let attrs = json!({"A": "1,2", "tag": tag, "tier": "front"});
        assert_eq!(objects(&text), [json!({"log": "x\n", "stream": "stdout", "attrs": attrs})]);
        assert_eq!(cais.ok("logs a1"), "x");
        assert_eq!(
            cais.ok("logs --details --tail 1 a1"),
            format!("A=1%2C2,tag=a1%2F{},tier=front x", &id[..12])
        );
        cais.fails(125, "run --log-opt tag={{.Nmae}} busybox true").one_clear_error().says("{{.Nmae}}");
    });
}

#[test]
fn a_log_lies_where_it_was_asked_for() {
    e2e(|cais| {
        let folder = cais.folder().join("elsewhere");
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("x.log");
        cais.cmd("run --name p1 --log-opt max-size=1k --log-opt max-file=2 --log-opt")
            .arg(format!("path={}", path.display()))
            .args("busybox seq 1 100")
            .ok();
        assert_eq!(cais.inspect("p1", "{{.LogPath}}"), path.to_str().unwrap());
        assert!(folder.join("x.log.1").exists() && !folder.join("x.log.2").exists());
        assert!(cais.ok("logs p1").ends_with("\n99\n100"));
        cais.ok("rm p1");
        assert!(path.exists(), "it is not ours to remove");
        cais.fails(125, "run --log-opt path=/no/such/folder/x busybox true")
            .one_clear_error()
            .says("/no/such");
    });
}

#[test]
fn full_files_are_compressed_and_read() {
    e2e(|cais| {
        let go = cais.folder().join("go");
        std::fs::create_dir(&go).unwrap();
        cais.cmd("run -d --name c1 --log-opt max-size=100k --log-opt max-file=4 --log-opt compress=true -v")
            .arg(format!("{}:/go", go.display()))
            .args("busybox sh -c")
            .arg("i=0; while [ ! -e /go/end ]; do i=$((i+1)); echo $i; [ $((i % 1000)) -gt 0 ] || sleep 0.1; done")
            .ok();
        let follower = cais.cmd("logs -f c1").timeout_secs(120).spawn();
        let names = || files_of(cais, "c1").into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        cais_test::wait_until("three files are compressed, and some are gone", || {
            let last = cais.ok("logs --tail 1 c1").parse::<u32>().unwrap_or_default();
            names().iter().filter(|name| name.ends_with(".gz")).count() == 3 && last > 8000
        });
        std::fs::write(go.join("end"), "").unwrap();
        let followed = follower.wait().code(0).stdout_text();
        let last: u32 = followed.lines().last().unwrap().parse().unwrap();
        let numbers = |first: u32| (first..=last).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
        assert_eq!(followed.trim_end(), numbers(1), "nothing twice, nothing missed");

        let kept = cais.ok("logs c1");
        let first: u32 = kept.lines().next().unwrap().parse().unwrap();
        assert!(first > 1 && last - first > 3000, "{first} {last}");
        assert_eq!(kept, numbers(first));
        assert_eq!(cais.ok("logs --tail 3000 c1"), numbers(last - 2999));
        let files = names();
        assert!(files.len() <= 4 && files.iter().all(|name| !name.contains("part")), "{files:?}");
        for (name, _) in files_of(cais, "c1").iter().filter(|(name, _)| name.ends_with(".gz")) {
            let path = std::path::PathBuf::from(cais.inspect("c1", "{{.LogPath}}")).with_file_name(name);
            let text = cais_test::process::Invocation::new("gzip", "-dc").arg(path).ok();
            assert!(!objects(&text).is_empty());
        }
        cais.ok("rm c1");
    });
}

/// Numbered lines from a container, and what is left of them on the disk.
fn files_of(cais: &cais_test::Cais, name: &str) -> Vec<(String, u64)> {
    let folder = cais.root().join("containers").join(cais.inspect(name, "{{.Id}}"));
    let mut files: Vec<(String, u64)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
        .filter(|(name, _)| name.starts_with("log"))
        .collect();
    files.sort();
    files
}

#[test]
fn full_files_make_way_and_are_read_in_order() {
    e2e(|cais| {
        cais.ok("run --name l1 --log-opt max-size=10k --log-opt max-file=3 --log-driver k8s-file busybox seq 1 3000");
        let files = files_of(cais, "l1");
        assert_eq!(
            files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["log", "log.1", "log.2"]
        );
        assert!(files.iter().all(|(_, bytes)| *bytes <= 10 << 10), "{files:?}");
        let all = cais.ok("logs l1");
        let first: u32 = all.lines().next().unwrap().parse().unwrap();
        assert!(first > 1, "the oldest lines are gone");
        assert_eq!(all, (first..=3000).map(|n| n.to_string()).collect::<Vec<_>>().join("\n"));
        for count in [1, 10, 400] {
            let last: Vec<String> = (3001 - count..=3000).map(|n| n.to_string()).collect();
            assert_eq!(cais.ok(&format!("logs --tail {count} l1")), last.join("\n"), "{count}");
        }
        assert_eq!(cais.ok("logs --since 1h l1"), all);
        assert_eq!(
            cais.inspect("l1", "{{json .HostConfig.LogConfig.Config}}"),
            r#"{"max-file":"3","max-size":"10k"}"#
        );
        cais.ok("run --name l2 --log-opt max-size=10k --log-opt max-file=1 busybox seq 1 3000");
        assert_eq!(files_of(cais, "l2").len(), 1);
        cais.ok("rm l1 l2");
    });
}

#[test]
fn a_log_does_not_grow_without_limit() {
    e2e(|cais| {
        // Twice what is kept by default: five files of 20 MiB.
        cais.ok("run --name l1 busybox sh -c 'yes 0123456789012345678901234567890123456789 | head -c 120m'");
        let files = files_of(cais, "l1");
        let bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(files.len(), 5);
        assert!((80 << 20..=100 << 20).contains(&bytes), "{files:?}");
        cais.ok("rm l1");
    });
}

#[test]
fn a_follower_misses_nothing_of_a_writer_in_a_hurry() {
    e2e(|cais| {
        // As fast as the pipe takes it, in files that are full every few milliseconds.
        const LINES: u64 = 3_000_000;
        let go = cais.folder().join("go");
        std::fs::create_dir(&go).unwrap();
        cais.cmd("run -d --name l1 --log-opt max-size=4m -v")
            .arg(format!("{}:/go", go.display()))
            .args("busybox sh -c")
            .arg(format!("echo up; until [ -e /go/now ]; do sleep 0.01; done; seq 1 {LINES}"))
            .ok();
        let out = cais.folder().join("out");
        let follower =
            cais.cmd("logs -f l1").timeout_secs(240).piped_into(&format!("cat >{}", out.display())).spawn();
        cais_test::wait_until("the follower has begun", || {
            std::fs::read(&out).is_ok_and(|text| text.starts_with(b"up\n"))
        });
        std::fs::write(go.join("now"), "").unwrap();
        follower.wait().code(0);
        let text = std::fs::read(&out).unwrap();
        let mut expected = 0_u64;
        for line in text.split(|byte| *byte == b'\n').skip(1).filter(|line| !line.is_empty()) {
            expected += 1;
            assert_eq!(std::str::from_utf8(line).unwrap(), expected.to_string());
        }
        assert_eq!(expected, LINES);
        // Far more than is kept went through: about ten times the five files.
        assert!(files_of(cais, "l1").iter().map(|(_, bytes)| bytes).sum::<u64>() <= 20 << 20);
    });
}

#[test]
fn after_a_full_disk_the_log_goes_on_with_a_new_line() {
    e2e(|cais| {
        let go = cais.folder().join("go");
        std::fs::create_dir(&go).unwrap();
        let id = cais
            .cmd("create --name l1 -v")
            .arg(format!("{}:/go", go.display()))
            .args("busybox sh -c")
            .arg(
                "head -c 3000000 /dev/zero | tr '\\0' x; echo; touch /go/full; \
                 until [ -e /go/now ]; do sleep 0.01; done; echo last",
            )
            .ok();
        // The container's folder on a disk of its own, which its first words fill.
        let folder = cais.root().join("containers").join(&id);
        let copy = cais.folder().join("copy");
        cais_test::process::Invocation::new("cp", "-a").arg(&folder).arg(&copy).ok();
        cais_test::process::Invocation::new("mount", "-t tmpfs -o size=1m tmpfs").arg(&folder).ok();
        cais_test::process::Invocation::new("cp", "-aT").arg(&copy).arg(&folder).ok();
        cais.ok("start l1");
        let log = folder.join("log");
        cais_test::wait_until("more is written than there is room for", || go.join("full").exists());
        cais_test::process::Invocation::new("mount", "-o remount,size=8m").arg(&folder).ok();
        std::fs::write(go.join("now"), "").unwrap();
        cais.wait_for_log("l1", "last");
        let text = String::from_utf8(std::fs::read(&log).unwrap()).unwrap();
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["log"], "last\n");
        cais.ok("stop -t 0 l1");
        cais_test::process::Invocation::new("umount", "-l").arg(&folder).ok();
    });
}
