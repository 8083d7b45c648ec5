//! `cais cp`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use cais_test::{Cais, Image, Invocation, Layer, e2e};

/// What docker does, row by row.
const DOCKER: &str = include_str!("cp/docker.txt");

/// Where docker stumbles over its own rules: the content of a directory goes into the directory that a link with a slash means.
const KINDER: [(&str, &str, &str); 2] =
    [("/dir/.", "edl/", "+ed/inner +ed/sub"), ("/dlink/.", "edl/", "+ed/inner +ed/sub")];

fn rows(direction: &str) -> Vec<[&'static str; 3]> {
    let rows = DOCKER.lines().filter_map(|line| {
        let mut cells = line.strip_prefix(direction)?.strip_prefix('|')?.split('|');
        Some([cells.next()?, cells.next()?, cells.next()?])
    });
    let rows: Vec<_> = rows.collect();
    assert!(rows.len() > 100);
    rows
}

/// The image whose paths the table names; false without busybox.
fn load_image(cais: &Cais) -> bool {
    let Some(layer) = cais_test::rootfs::busybox_layer() else { return false };
    let layer = layer
        .entry(cais_test::Entry::new("dir", cais_test::EntryKind::Directory).owner(7, 8))
        .file("dir/inner", "d\n")
        .dir("dir/sub")
        .file("file", "f\n")
        .symlink("dlink", "dir")
        .symlink("flink", "file")
        .symlink("dangling", "/nowhere");
    let archive = cais.folder().join("cp.tar");
    Image::new()
        .layer(layer)
        .set("Cmd", serde_json::json!(["sh"]))
        .build()
        .write_docker_archive(&archive, &["cp:1"])
        .unwrap();
    cais.cmd("load -q -i").arg(&archive).ok();
    true
}

fn make_sources(folder: &Path) {
    fs::create_dir_all(folder.join("hd/hs")).unwrap();
    fs::write(folder.join("hf"), "hello\n").unwrap();
    fs::write(folder.join("hd/hi"), "x\n").unwrap();
    for (link, target) in [("hdl", "hd"), ("hfl", "hf"), ("hdang", "nope")] {
        symlink(target, folder.join(link)).unwrap();
    }
}

#[test]
fn into_a_container_by_dockers_table() {
    e2e(|cais| {
        if !load_image(cais) {
            return;
        }
        let folder = cais.folder().join("src");
        make_sources(&folder);
        let mut wrong = Vec::new();
        for [source, target, expected] in rows("into") {
            let id = cais.ok("create cp:1");
            let done = cais.cmd("cp").arg(source).arg(format!("{id}:{target}")).folder(&folder).output();
            let mut found: Vec<String> = Vec::new();
            for line in cais.cmd("diff").arg(&id).ok().lines() {
                match line.split_once(' ').unwrap() {
                    ("A", path) => found.push(format!("+{path}")),
                    ("C", "/dir") => {}
                    ("C", path) => found.push(format!("~{path}")),
                    (kind, path) => found.push(format!("{kind}{path}")),
                }
            }
            let outcome = if done.status() == 0 { found.join(" ") } else { format!("!{}", found.join(" ")) };
            if outcome != expected {
                wrong.push(format!(
                    "{source} -> {target}: {outcome}, docker {expected}; {}",
                    done.stderr_text()
                ));
            } else if done.status() != 0 {
                done.one_clear_error();
            }
            cais.cmd("rm").arg(&id).ok();
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(cais.ok("system check"), "");
    });
}

/// Paths below a folder, and what each is.
fn below(folder: &Path) -> BTreeMap<String, String> {
    let list =
        Invocation::new("find", ". -mindepth 1 -type f -printf").arg("%P %i-%s\\n").folder(folder).ok();
    let others =
        Invocation::new("find", ". -mindepth 1 ! -type f -printf").arg("%P %y\\n").folder(folder).ok();
    let lines = list.lines().chain(others.lines());
    lines.filter_map(|line| line.split_once(' ')).map(|(path, what)| (path.into(), what.into())).collect()
}

#[test]
fn out_of_a_container_by_dockers_table() {
    e2e(|cais| {
        if !load_image(cais) {
            return;
        }
        cais.ok("create --name ref cp:1");
        let mut wrong = Vec::new();
        for (number, [source, target, docker]) in rows("outof").into_iter().enumerate() {
            let folder = cais.folder().join(format!("dst{number}"));
            fs::create_dir_all(folder.join("ed")).unwrap();
            fs::write(folder.join("ef"), "old").unwrap();
            for (link, to) in [("edl", "ed"), ("efl", "ef"), ("dang", "nn")] {
                symlink(to, folder.join(link)).unwrap();
            }
            let kinder = KINDER.iter().find(|(s, t, _)| (*s, *t) == (source, target));
            let expected = kinder.map_or(docker, |(_, _, ours)| *ours);
            let before = below(&folder);
            let done = cais.cmd("cp").arg(format!("ref:{source}")).arg(target).folder(&folder).output();
            let after = below(&folder);
            let mut found = Vec::new();
            for (path, what) in &after {
                match before.get(path) {
                    None => found.push(format!("+{path}")),
                    Some(old) if old != what => found.push(format!("~{path}")),
                    Some(_) => {}
                }
            }
            let outcome = if done.status() == 0 { found.join(" ") } else { format!("!{}", found.join(" ")) };
            if outcome != expected {
                wrong.push(format!(
                    "{source} -> {target}: {outcome}, docker {expected}; {}",
                    done.stderr_text()
                ));
            }
            fs::remove_dir_all(&folder).unwrap();
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn looks_are_kept() {
    e2e(|cais| {
        let folder = cais.folder().join("src");
        make_sources(&folder);
        let file = folder.join("hd/hi");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o4750)).unwrap();
        chown(&file, Some(1000), Some(1500)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o4750)).unwrap();
        fs::hard_link(&file, folder.join("hd/zz")).unwrap();
        Invocation::new("touch", "-d 2001-02-03T04:05:06Z").arg(&file).arg(folder.join("hd")).ok();
        let sparse = fs::File::create(folder.join("hd/sparse")).unwrap();
        sparse.set_len(64 << 20).unwrap();
        let attribute = rustix::fs::setxattr(&file, "user.k", b"v", rustix::fs::XattrFlags::empty()).is_ok();
        for (name, starts) in [("up", true), ("down", false)] {
            cais.ok(&format!("create --name {name} busybox sleep 1000"));
            if starts {
                cais.ok(&format!("start {name}"));
            }
            cais.cmd("cp").arg(folder.join("hd")).arg(format!("{name}:/opt")).ok();
            let back = cais.folder().join(name);
            cais.cmd("cp -a").arg(format!("{name}:/opt")).arg(&back).ok();
            let (one, other) =
                (fs::metadata(back.join("hi")).unwrap(), fs::metadata(back.join("zz")).unwrap());
            assert_eq!(
                (one.mode() & 0o7777, one.uid(), one.gid(), one.mtime()),
                (0o4750, 1000, 1500, 981_173_106)
            );
            assert_eq!((one.ino(), one.nlink()), (other.ino(), 2), "hard links are links");
            let holes = fs::metadata(back.join("sparse")).unwrap();
            assert!(holes.len() == 64 << 20 && holes.blocks() < 2048, "{} blocks", holes.blocks());
            if attribute {
                let mut value = [0; 8];
                assert_eq!(rustix::fs::getxattr(back.join("hi"), "user.k", &mut value[..]).unwrap(), 1);
            }
            cais.cmd("cp").arg(format!("{name}:/opt/hi")).arg(cais.folder().join("mine")).ok();
            let mine = fs::metadata(cais.folder().join("mine")).unwrap();
            assert_eq!((mine.uid(), mine.gid(), mine.mode() & 0o777), (0, 0, 0o750), "it is the caller's");
        }
        assert_eq!(cais.ok("exec up stat -c '%a %u %g' /opt/hi"), "4750 1000 1500");
    });
}

#[test]
fn archives_both_ways() {
    e2e(|cais| {
        if !load_image(cais) {
            return;
        }
        cais.ok("create --name c1 cp:1");
        let list = |path: &str| cais.cmd("cp").arg(format!("c1:{path}")).arg("-").piped_into("tar -t").ok();
        assert_eq!(list("/dir"), "dir/\ndir/inner\ndir/sub/");
        assert_eq!(list("/dir/."), "./\n./inner\n./sub/");
        assert_eq!(list("/file"), "file");
        assert_eq!(list("/dlink/"), "dlink/\ndlink/inner\ndlink/sub/");
        assert_eq!(list("/dlink"), "dlink");
        let layer = Layer::new()
            .dir("a")
            .file("a/b", "1")
            .hard_link("a/c", "a/b")
            .symlink("l", "/dir")
            .file("l/through", "2")
            .file("deep/er/x", "3");
        for (input, target) in [(layer.tar(), "/tmp"), (layer.tar(), "/dlink/sub")] {
            cais.cmd("cp -").arg(format!("c1:{target}")).stdin(input).ok();
        }
        let read = |path: &str| cais.cmd("cp").arg(format!("c1:{path}")).arg("-").piped_into("tar -xO").ok();
        assert_eq!(read("/tmp/a/c") + &read("/dir/sub/a/b") + &read("/tmp/deep/er/x"), "113");
        assert_eq!(
            read("/dir/through"),
            "2",
            "a link of the archive leads to where the container's root says"
        );
        let gzipped =
            Invocation::new("gzip", "-c").stdin(Layer::new().file("zipped", "4").tar()).output().stdout;
        cais.cmd("cp - c1:/tmp/").stdin(gzipped).ok();
        assert_eq!(read("/tmp/zipped"), "4");
        cais.cmd("cp - c1:/file")
            .stdin(layer.tar())
            .output()
            .code(1)
            .one_clear_error()
            .says("must be a directory");
        cais.cmd("cp - c1:/none")
            .stdin(layer.tar())
            .output()
            .code(1)
            .one_clear_error()
            .says("must be a directory");
        cais.cmd("cp - c1:/tmp").stdin("no archive at all").output().code(1).one_clear_error();
        let evil = Layer::new().file("../../../evil", "x").tar();
        cais.cmd("cp - c1:/tmp").stdin(evil).output().code(1).one_clear_error().says("..");
        assert!(!Path::new("/evil").exists());
    });
}

#[test]
fn volumes_and_binds_as_the_container_sees_them() {
    e2e(|cais| {
        let bind = cais.folder().join("bind");
        fs::create_dir(&bind).unwrap();
        fs::write(bind.join("f"), "bound").unwrap();
        let binds = format!("-v vol:/data -v {0}:/b -v {0}/f:/etc/one -v {0}:/ro:ro", bind.display());
        for (name, starts) in [("up", true), ("down", false)] {
            cais.ok(&format!("create --name {name} {binds} busybox sleep 1000"));
            if starts {
                cais.ok(&format!("start {name}"));
            }
            let file = cais.folder().join(format!("{name}-file"));
            fs::write(&file, name).unwrap();
            let to = |target: &str| cais.cmd("cp").arg(&file).arg(format!("{name}:{target}")).output();
            to(&format!("/data/{name}")).code(0);
            to(&format!("/b/{name}")).code(0);
            assert_eq!(fs::read_to_string(bind.join(name)).unwrap(), name);
            to("/ro/x").code(1).one_clear_error().says("read-only");
            to("/etc/one").code(0);
            assert_eq!(fs::read_to_string(bind.join("f")).unwrap(), name, "a mounted file keeps its place");
            let back = cais.folder().join(format!("{name}-back"));
            cais.cmd("cp").arg(format!("{name}:/data/up")).arg(&back).ok();
            assert_eq!(fs::read_to_string(&back).unwrap(), "up");
            assert_eq!(cais.ok(&format!("diff {name}")), "", "nothing of that is the container's own");
        }
        assert_eq!(cais.ok("run --rm -v vol:/d busybox ls /d"), "down\nup");
        cais.ok("exec up sh -c 'mkdir /tmp/m; echo x >/tmp/m/x'");
        cais.ok("stop -t 0 up");
        cais.cmd("cp up:/tmp/m/x").arg(cais.folder().join("x")).ok();
        assert_eq!(cais.ok("ps -a --filter name=down --format {{.State}}"), "created");
        cais.ok("start down");
        assert_eq!(cais.ok("system check"), "");
    });
}

#[test]
fn links_of_a_container_lead_nowhere_else() {
    e2e(|cais| {
        let outside = cais.folder().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "secret").unwrap();
        let way = outside.display();
        cais.cmd("run -d --name c1 busybox sh -c")
            .arg(format!(
                "ln -s {way} /way; ln -s {way}/secret /leaf; ln -s ../../../../../../../{way} /up; ln -s /proc/1/root /pr; \
                 mkdir -p /real; ln -s /way/made /into; sleep 1000"
            ))
            .ok();
        cais_test::wait_until("links are there", || cais.cmd("exec c1 test -L /into").output().status() == 0);
        let file = cais.folder().join("file");
        fs::write(&file, "x").unwrap();
        for running in [true, false] {
            for target in ["/way/x", "/up/x", "/leaf", "/into", "/way", "/up/"] {
                cais.cmd("cp").arg(&file).arg(format!("c1:{target}")).output();
            }
            for source in ["/way/secret", "/up/secret", "/way/.", "/up/."] {
                let got = cais.cmd("cp").arg(format!("c1:{source}")).arg("-").output();
                assert!(!String::from_utf8_lossy(&got.stdout).contains("secret"), "{source}");
            }
            for source in ["/leaf", "/way/secret"] {
                let got = cais.cmd("cp -L").arg(format!("c1:{source}")).arg("-").output();
                assert!(!String::from_utf8_lossy(&got.stdout).contains("secret"), "{source}");
            }
            assert_eq!(
                fs::read_dir(&outside).unwrap().count(),
                1,
                "nothing was made outside, running: {running}"
            );
            assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");
            if running {
                cais.ok("stop -t 0 c1");
            }
        }
    });
}

/// A container that swaps a directory for a link to the host's, again and again, while we copy in and out.
#[test]
fn a_race_with_the_container() {
    e2e(|cais| {
        let outside = cais.folder().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "secret").unwrap();
        let script = format!(
            "mkdir -p /a/d; echo 1 >/a/d/f; ln -s {} /l; while :; do mv /a/d /a/e; mv /l /a/d; mv /a/d /l; mv /a/e /a/d; done",
            outside.display()
        );
        cais.cmd("run -d --name c1 busybox sh -c").arg(script).ok();
        let source = cais.folder().join("d");
        fs::create_dir_all(source.join("d")).unwrap();
        fs::write(source.join("d/evil"), "x").unwrap();
        for _ in 0..30 {
            cais.cmd("cp").arg(source.join("d")).arg("c1:/a").output();
            cais.cmd("cp").arg(source.join("d/evil")).arg("c1:/a/d/evil2").output();
            let got = cais.cmd("cp c1:/a -").output();
            assert!(!String::from_utf8_lossy(&got.stdout).contains("secret\0"), "read outside");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "nothing was made outside");
    });
}

#[test]
fn killed_at_any_point_it_leaves_a_container_that_starts() {
    e2e(|cais| {
        let folder = cais.folder().join("many");
        fs::create_dir(&folder).unwrap();
        for number in 0..300 {
            fs::write(folder.join(number.to_string()), vec![b'x'; 50_000]).unwrap();
        }
        cais.ok("create --rm --name down busybox cat /etc/hostname-of-image");
        for delay_ms in (0..60).step_by(5) {
            let copy = cais.cmd("cp").arg(&folder).arg("down:/tmp").spawn();
            std::thread::sleep(std::time::Duration::from_millis(delay_ms));
            copy.signal(rustix::process::Signal::KILL);
            copy.wait();
            assert_eq!(cais.ok("ps -a --format {{.State}}"), "created", "after {delay_ms} ms");
            cais.ok("system check --repair");
            assert_eq!(cais.ok("system check"), "");
        }
        assert_eq!(cais.ok("ps -a --format {{.Names}}"), "down", "what was only copied into is not removed");
        cais.cmd("cp").arg(&folder).arg("down:/tmp").ok();
        assert_eq!(cais.ok("start -a down"), "image");
    });
}

#[test]
fn between_containers_and_wrong_words() {
    e2e(|cais| {
        cais.ok("run --name aa busybox sh -c 'mkdir /x; echo 1 >/x/y'");
        cais.ok("create --name bb busybox");
        cais.ok("cp aa:/x bb:/tmp/");
        assert_eq!(cais.cmd("cp bb:/tmp/x/y -").piped_into("tar -xO").ok(), "1");
        cais.ok("container cp aa:x/y bb:z");
        assert_eq!(cais.ok("diff bb"), "C /tmp\nA /tmp/x\nA /tmp/x/y\nA /z");
        let here = cais.folder().join("here");
        fs::write(&here, "x").unwrap();
        let told = cais.cmd("cp -q=false").arg(&here).arg("bb:/told").output().code(0);
        assert_eq!(told.stderr_text().trim_end(), "Successfully copied 2.05kB to bb:/told");
        let told = cais.cmd("cp").arg(&here).arg("bb:/told").output().code(0);
        assert_eq!(told.stderr_text(), "", "no terminal");
        cais.fails(1, "cp x y").one_clear_error().says("must specify at least one container source");
        cais.fails(1, "cp - -").one_clear_error();
        cais.fails(1, "cp nosuch:/x .").one_clear_error().says("nosuch");
        cais.fails(1, "cp bb:/nope .")
            .one_clear_error()
            .says("could not find the file /nope in container bb");
        cais.fails(1, "cp ./nope bb:/").one_clear_error().says("nope");
        cais.fails(1, "cp bb:/told").one_clear_error().says("usage");
    });
}
