//! `cais container|image|volume|system prune`.

use cais_test::e2e;

const SURE: &str = "Are you sure you want to continue? [y/N] ";

#[test]
fn containers() {
    e2e(|cais| {
        cais.ok("run -d --name up busybox sleep 1000");
        let one = cais.ok("create --name one -l keep=1 busybox");
        let two = cais.ok("create --name two -v /data busybox");
        let asked = cais.cmd("container prune").stdin("n\n").output().code(0);
        assert_eq!(
            asked.stdout_text(),
            format!("WARNING! This will remove all stopped containers.\n{}", SURE.trim_end())
        );
        assert_eq!(cais.cmd("container prune").stdin("").output().code(0).stdout_text().lines().count(), 2);
        let gone = cais.ok("container prune -f --filter label!=keep");
        assert!(
            gone.starts_with(&format!("Deleted Containers:\n{two}\n\nTotal reclaimed space: ")),
            "{gone}"
        );
        assert_eq!(cais.ok("container prune -f --filter until=1h"), "Total reclaimed space: 0B");
        let gone = cais.cmd("container prune").stdin("y\n").ok();
        assert!(gone.contains(&one), "{gone}");
        assert_eq!(cais.ok("ps -a --format {{.Names}}"), "up");
        assert_eq!(cais.ok("volume ls -q").lines().count(), 1, "volumes stay");
        cais.fails(1, "container prune -f --filter colour=red").one_clear_error().says("colour");
    });
}

#[test]
fn images() {
    e2e(|cais| {
        cais.ok("run --name c1 busybox sh -c 'echo 1 >/x'");
        let dangling = cais.ok("commit -c 'LABEL a=1' c1");
        cais.ok("commit c1 named:1");
        assert_eq!(cais.ok("image prune -f --filter label=b"), "Total reclaimed space: 0B");
        let gone = cais.cmd("image prune").stdin("y\n").ok();
        assert!(gone.starts_with("WARNING! This will remove all dangling images.\n"), "{gone}");
        assert!(
            gone.contains(&format!("Deleted Images:\ndeleted: {dangling}\n\nTotal reclaimed space: ")),
            "{gone}"
        );
        let gone = cais.cmd("image prune -a").stdin("yes\n").ok();
        let warning =
            "WARNING! This will remove all images without at least one container associated to them.\n";
        assert!(gone.starts_with(warning) && gone.contains("untagged: named:1\ndeleted: sha256:"), "{gone}");
        assert_eq!(cais.ok("images --format {{.Repository}}"), "busybox", "used by a container");
        cais.ok("rm c1");
        let gone = cais.ok("image prune -a -f");
        assert!(gone.contains("untagged: busybox:latest") && !gone.ends_with(" 0B"), "{gone}");
        assert_eq!(cais.ok("images -aq") + &cais.ok("system check"), "");
    });
}

#[test]
fn volumes() {
    e2e(|cais| {
        cais.ok("volume create --label a=1 named");
        let anonymous = cais.ok("volume create");
        cais.ok("run --name c1 -v used:/d -v /e busybox sh -c 'echo 1 >/d/x'");
        let gone = cais.cmd("volume prune").stdin("y\n").ok();
        let warning =
            "WARNING! This will remove anonymous local volumes not used by at least one container.\n";
        assert!(gone.starts_with(warning), "{gone}");
        assert!(
            gone.contains(&format!("Deleted Volumes:\n{anonymous}\n\nTotal reclaimed space: ")),
            "{gone}"
        );
        assert_eq!(cais.ok("volume prune -a -f --filter label=b"), "Total reclaimed space: 0B");
        let gone = cais.cmd("volume prune --all").stdin("Y\n").ok();
        assert!(gone.starts_with(
            "WARNING! This will remove all local volumes not used by at least one container.\n"
        ));
        assert!(gone.contains("\nnamed\n"), "{gone}");
        assert_eq!(cais.ok("volume ls -q").lines().count(), 2, "those of a container stay");
        cais.ok("rm c1");
        cais.ok("volume prune -f --filter all=1");
        assert_eq!(cais.ok("volume ls -q"), "");
    });
}

#[test]
fn all_at_once() {
    e2e(|cais| {
        cais.ok("run --name c1 -v /e -v keep:/k busybox sh -c 'echo 1 >/x'");
        cais.ok("commit c1");
        let asked = cais.cmd("system prune -a --volumes --filter label!=x").stdin("n\n").output().code(0);
        assert_eq!(
            asked.stdout_text(),
            format!(
                "WARNING! This will remove:\n  - all stopped containers\n  - all anonymous volumes not used by at least one container\n  \
                 - all images without at least one container associated to them\n\n  Items to be pruned will be filtered with:\n  \
                 - label!=x\n\n{}",
                SURE.trim_end()
            )
        );
        let gone = cais.ok("system prune -f");
        assert!(gone.contains("Deleted Containers:") && gone.contains("Deleted Images:"), "{gone}");
        assert!(!gone.contains("Deleted Volumes:"), "{gone}");
        assert_eq!(cais.ok("images -q").lines().count(), 1);
        let gone = cais.ok("system prune -a -f --volumes");
        assert!(gone.contains("Deleted Volumes:") && gone.contains("untagged: busybox:latest"), "{gone}");
        assert_eq!(cais.ok("volume ls -q"), "keep");
        let refused = cais.fails(1, "system prune -f --volumes --filter until=1h");
        refused.one_clear_error().says("not supported with \"--volumes\"");
        assert_eq!(cais.ok("system check"), "");
    });
}
