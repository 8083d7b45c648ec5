//! `cais system df`.

use cais_test::{Cais, Invocation, e2e};

/// Bytes of a size in docker's units.
fn bytes(text: &str) -> f64 {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap();
    let unit = match &text[end..] {
        "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        other => panic!("{other}"),
    };
    text[..end].parse::<f64>().unwrap() * unit
}

fn rows(cais: &Cais) -> Vec<serde_json::Value> {
    let lines = cais.ok("system df --format json");
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn adds_up_to_what_du_sees() {
    e2e(|cais| {
        cais.ok("run -d --name up -v vol:/v busybox sh -c 'head -c 3000000 /dev/urandom >/v/x; head -c 5000000 /dev/urandom >/x; touch /ready; sleep 1000'");
        cais_test::wait_until("it has written", || cais.cmd("exec up test -e /ready").output().status() == 0);
        cais.ok("run --name down busybox sh -c 'head -c 2000000 /dev/urandom >/x'");
        cais.ok("commit down made:1");
        Invocation::new("sync", "").ok();
        let sum: f64 = rows(cais).iter().map(|row| bytes(row["Size"].as_str().unwrap())).sum();
        let du = Invocation::new("du", "-s --block-size=1").arg(cais.root()).ok();
        let du: f64 = du.split_whitespace().next().unwrap().parse().unwrap();
        assert!((sum - du).abs() < du * 0.01 + 100_000.0, "df {sum}, du {du}");
        let verbose = cais.ok("system df -v");
        let all = verbose.lines().find_map(|line| line.strip_prefix("All of it, as du sees it: ")).unwrap();
        assert!((bytes(all) - du).abs() < du * 0.01, "{all}, du {du}");
    });
}

#[test]
fn what_is_used_and_what_is_not() {
    e2e(|cais| {
        let empty = rows(cais);
        let names: Vec<&str> = empty.iter().map(|row| row["Type"].as_str().unwrap()).collect();
        assert_eq!(names, ["Images", "Containers", "Local Volumes", "Build Cache"]);
        assert_eq!((&empty[0]["TotalCount"], &empty[0]["Active"]), (&"1".into(), &"0".into()));
        cais.ok("run -d --name up -v vol:/v busybox sleep 1000");
        cais.ok("run --name down busybox sh -c 'head -c 2000000 /dev/urandom >/x'");
        cais.ok("volume create idle");
        cais.ok("commit down made:1");
        let counts: Vec<(String, String)> = rows(cais)
            .iter()
            .map(|row| (row["TotalCount"].as_str().unwrap().into(), row["Active"].as_str().unwrap().into()))
            .collect();
        let pair = |total: &str, active: &str| (total.to_owned(), active.to_owned());
        assert_eq!(counts, [pair("2", "1"), pair("2", "1"), pair("2", "1"), pair("0", "0")]);
        let reclaimable = bytes(rows(cais)[0]["Reclaimable"].as_str().unwrap().split(' ').next().unwrap());
        assert!((2_000_000.0..2_200_000.0).contains(&reclaimable), "{reclaimable}");
        let table = cais.ok("system df");
        assert!(table.starts_with("TYPE            TOTAL     ACTIVE    SIZE"), "{table}");
        let verbose = cais.ok("system df -v");
        for part in [
            "Images space usage:\n\nREPOSITORY",
            "SHARED SIZE",
            "Containers space usage:\n\nCONTAINER ID",
            "Local Volumes space usage:\n\nVOLUME NAME",
            "Build cache usage: 0B",
        ] {
            assert!(verbose.contains(part), "{part} in {verbose}");
        }
        let whole: serde_json::Value = serde_json::from_str(&cais.ok("system df -v --format json")).unwrap();
        assert_eq!(whole["Volumes"].as_array().unwrap().len(), 2);
        let names = cais.ok("system df -v --format '{{range .Containers}}{{.Names}} {{end}}'");
        assert_eq!(names.trim_end(), "down up");
        let gained = cais.ok("system prune -a -f");
        let gained = bytes(gained.lines().last().unwrap().rsplit(' ').next().unwrap());
        assert!(gained > 4_000_000.0, "{gained}");
        assert_eq!(
            cais.ok("system df --format '{{.Type}} {{.TotalCount}}'").lines().next().unwrap(),
            "Images 1"
        );
    });
}
