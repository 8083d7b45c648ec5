//! What is told, line by line: the sight of the container turned into plain words.

use crate::NAMESPACES;
use crate::drawing::{self, Cargo};
use crate::page::Page;
use crate::proc::{self, CAPABILITIES, Limit};

/// Column at which the right side begins.
const INDENT: usize = 16;

/// What the program saw: contents of the kernel's files, empty when unreadable.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sight<'a> {
    /// The program's own number.
    pub pid: u64,
    /// `/proc/sys/kernel/hostname`.
    pub hostname: &'a [u8],
    /// `/proc/self/status`.
    pub status: &'a [u8],
    /// `/proc/self/uid_map`.
    pub uid_map: &'a [u8],
    /// `/proc/self/mountinfo`.
    pub mountinfo: &'a [u8],
    /// `/proc/net/dev`.
    pub net_dev: &'a [u8],
    /// `/proc/sys/kernel/cap_last_cap`.
    pub cap_last_cap: &'a [u8],
    /// Links of `/proc/self/ns`, in the order of [`NAMESPACES`].
    pub namespaces: [&'a [u8]; NAMESPACES.len()],
    /// `mnt=4026531841,pid=…`: the host's namespaces, told by the engine.
    pub host_namespaces: &'a [u8],
    /// `memory.max` or `memory.limit_in_bytes`.
    pub memory: &'a [u8],
    /// `pids.max`.
    pub pids: &'a [u8],
    /// `cpu.max`, or quota and period one after the other.
    pub cpu: &'a [u8],
    /// What came of writing into `/`.
    pub write_test: WriteTest,
}

/// Name of the file that the program writes, without the slash.
pub const WRITTEN_FILE: &str = "cais-was-here";

/// What came of writing [`WRITTEN_FILE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteTest {
    /// Written and read back.
    #[default]
    Written,
    /// The root is read-only.
    ReadOnly,
    /// Another error, by number.
    Failed(i32),
}

/// What the root of the file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root<'a> {
    /// A stack of so many image layers.
    Overlay(usize),
    /// Some other file system, by its type.
    Other(&'a [u8]),
}

/// Writes the whole page.
pub fn report(sight: &Sight<'_>, page: &mut Page<'_>) {
    let root = match proc::root_mount(sight.mountinfo) {
        Some((b"overlay", layers)) => Root::Overlay(layers),
        Some((other, _)) => Root::Other(other),
        None => Root::Other(b""),
    };
    let layers = if let Root::Overlay(layers) = root { layers } else { 0 };
    page.text("Hello from inside a container.").end().end();
    let writable = layers > 0 && sight.write_test == WriteTest::Written;
    drawing::draw(page, Cargo { layers, writable });
    process(sight, page);
    user(sight, page);
    namespaces(sight, page);
    limits(sight, page);
    file_system(sight, root, page);
    privileges(sight, page);
    network(sight, page);
    page.end().text("Next:").end();
    page.text("  cais run --rm -it docker.io/library/alpine sh").end();
    page.text("  cais ps -a").end();
}

/// Begins a line with its title.
fn title<'p, 'b>(page: &'p mut Page<'b>, title: &str) -> &'p mut Page<'b> {
    page.text("  ").text(title).column(INDENT)
}

fn process(sight: &Sight<'_>, page: &mut Page<'_>) {
    title(page, "process").text("PID ").number(sight.pid);
    if sight.pid == 1 {
        page.text(": the first process in here");
    } else {
        page.text(": somebody else is PID 1 in here");
    }
    page.end();
    let hostname = sight.hostname.trim_ascii();
    let hostname = &hostname[..hostname.len().min(crate::page::WIDTH - INDENT)];
    title(page, "host name").foreign(if hostname.is_empty() { b"unknown" } else { hostname }).end();
}

fn user(sight: &Sight<'_>, page: &mut Page<'_>) {
    let (Some(uid), Some(gid)) = (proc::real_id(sight.status, "Uid"), proc::real_id(sight.status, "Gid"))
    else {
        return;
    };
    title(page, "user").text("uid ").number(uid).text(", gid ").number(gid).text("; ");
    match proc::host_id_of_root(sight.uid_map) {
        Some((_, true)) => page.text("ids are the host's own"),
        Some((outside, false)) => {
            page.text("uid 0 in here is uid ").number(outside).text(" on the host (rootless)")
        }
        None => page.text("uid 0 does not exist in here"),
    };
    page.end();
}

fn namespaces(sight: &Sight<'_>, page: &mut Page<'_>) {
    const MINE: usize = INDENT + 9;
    const HOSTS: usize = MINE + 13;
    const VERDICT: usize = HOSTS + 13;
    let told = !sight.host_namespaces.is_empty();
    title(page, "namespaces").column(MINE).text("mine");
    if told {
        page.column(HOSTS).text("the host's");
    }
    page.end();
    for (name, link) in NAMESPACES.iter().zip(sight.namespaces) {
        let Some(mine) = proc::namespace_number(link) else { continue };
        page.column(INDENT).text(name).column(MINE).number(mine);
        if let Some(host) = proc::host_namespace(sight.host_namespaces, name) {
            let verdict = if host == mine { "shared with the host" } else { "own" };
            page.column(HOSTS).number(host).column(VERDICT).text(verdict);
        }
        page.end();
    }
}

fn limits(sight: &Sight<'_>, page: &mut Page<'_>) {
    let unseen = "not to be seen from in here";
    title(page, "memory");
    match proc::limit(sight.memory) {
        Some(Limit::Some(bytes)) => size(page.text("at most "), bytes),
        Some(Limit::None) => page.text("no limit"),
        None => page.text(unseen),
    };
    page.end();
    title(page, "processes");
    match proc::limit(sight.pids) {
        Some(Limit::Some(count)) => page.text("at most ").number(count),
        Some(Limit::None) => page.text("no limit"),
        None => page.text(unseen),
    };
    page.end();
    title(page, "processors");
    match proc::cpu_limit(sight.cpu) {
        Some(Limit::Some(thousandths)) => {
            page.text("at most ").number(thousandths / 1000);
            let digits = [100, 10, 1].map(|unit| b'0' + (thousandths / unit % 10) as u8);
            let used = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
            if used > 0 {
                page.text(".").foreign(&digits[..used]);
            }
            page.text(" of them at a time")
        }
        Some(Limit::None) => page.text("no limit"),
        None => page.text(unseen),
    };
    page.end();
}

/// Bytes in the largest unit that divides them.
fn size<'p, 'b>(page: &'p mut Page<'b>, bytes: u64) -> &'p mut Page<'b> {
    for (unit, shift) in [(" GiB", 30), (" MiB", 20), (" KiB", 10)] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return page.number(bytes >> shift).text(unit);
        }
    }
    page.number(bytes).text(" bytes")
}

fn file_system(sight: &Sight<'_>, root: Root<'_>, page: &mut Page<'_>) {
    title(page, "file system");
    match root {
        Root::Overlay(layers) => {
            page.text("overlay of ").number(layers as u64);
            page.text(if layers == 1 { " read-only image layer" } else { " read-only image layers" });
            if sight.write_test == WriteTest::Written {
                page.text(" and a writable one");
            }
        }
        Root::Other(b"") => {
            page.text("cannot tell what the root is");
        }
        Root::Other(kind) => {
            page.text("no overlay: the root is a plain ").foreign(kind);
        }
    }
    page.end().column(INDENT);
    match sight.write_test {
        WriteTest::Written => {
            page.text("I wrote /").text(WRITTEN_FILE).text(":");
            let place = match root {
                Root::Overlay(_) => "it lies in the writable layer and goes away with this container",
                Root::Other(_) => "it stays in that file system",
            };
            page.words(place, INDENT);
        }
        WriteTest::ReadOnly => {
            page.words("I cannot write to it: this container was asked to be read-only", INDENT);
        }
        WriteTest::Failed(errno) => {
            page.text("writing /")
                .text(WRITTEN_FILE)
                .text(" failed with error ")
                .number(errno.unsigned_abs().into());
        }
    }
    page.end();
}

fn privileges(sight: &Sight<'_>, page: &mut Page<'_>) {
    title(page, "seccomp");
    match proc::status_field(sight.status, "Seccomp") {
        Some(b"0") => page.text("off: any system call is allowed"),
        Some(b"2") => page.text("on: a filter refuses dangerous system calls"),
        Some(b"1") => page.text("strict"),
        _ => page.text("cannot tell"),
    };
    page.end();
    let Some(effective) = proc::capability_set(sight.status, "CapEff") else { return };
    let last = proc::decimal(sight.cap_last_cap).unwrap_or(CAPABILITIES.len() as u64 - 1).min(63);
    let known = u64::MAX >> (63 - last);
    let kept = u64::from((effective & known).count_ones());
    title(page, "capabilities").number(kept).text(" of ").number(last + 1).text(" kept, ");
    page.number(last + 1 - kept).text(" dropped").end();
    // The shorter list says more.
    let dropped = known & !effective;
    let (listed, what) =
        if dropped.count_ones() < 16 { (dropped, "dropped:") } else { (effective & known, "kept:") };
    if listed == 0 {
        return;
    }
    page.column(INDENT).text(what);
    for (number, name) in CAPABILITIES.iter().enumerate() {
        if listed & (1 << number) != 0 {
            page.word(name.as_bytes(), INDENT);
        }
    }
    page.end();
}

fn network(sight: &Sight<'_>, page: &mut Page<'_>) {
    title(page, "network");
    let mut count = 0;
    for name in proc::interfaces(sight.net_dev) {
        page.word(name, INDENT);
        count += 1;
    }
    if count == 0 {
        page.text("no interface");
    } else if count == 1 {
        page.text(" only: nobody but me can be reached");
    }
    page.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINKS: [&[u8]; 8] = [
        b"cgroup:[4026532801]",
        b"ipc:[4026532802]",
        b"mnt:[4026532803]",
        b"net:[4026531840]",
        b"pid:[4026532805]",
        b"",
        b"user:[4026531837]",
        b"uts:[4026532807]",
    ];

    fn sight() -> Sight<'static> {
        Sight {
            pid: 1,
            hostname: b"3f2a9c41d0aa\n",
            status: b"Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nCapEff:\t00000000a80425fb\nSeccomp:\t2\n",
            uid_map: b"0 0 4294967295\n",
            mountinfo: b"6 5 0:50 / / rw - overlay overlay rw,lowerdir=/a:/b,upperdir=/u,workdir=/w\n",
            net_dev: b"a\nb\n  lo: 0\neth0: 0\n",
            cap_last_cap: b"40\n",
            namespaces: LINKS,
            host_namespaces: b"net=4026531840,pid=4026531836,user=4026531837",
            memory: b"67108864\n",
            pids: b"max\n",
            cpu: b"150000 100000\n",
            write_test: WriteTest::Written,
        }
    }

    fn told(sight: &Sight<'_>) -> String {
        let mut buffer = [0; 8192];
        let mut page = Page::new(&mut buffer);
        report(sight, &mut page);
        let text = String::from_utf8(page.bytes().to_vec()).unwrap();
        for line in text.lines() {
            assert!(line.len() <= crate::page::WIDTH, "{} columns: {line}", line.len());
            assert_eq!(line, line.trim_end());
        }
        text
    }

    /// The text with runs of blanks and line ends as one blank.
    fn flat(sight: &Sight<'_>) -> String {
        told(sight).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn everything_is_told() {
        let text = flat(&sight());
        for part in [
            "PID 1: the first process",
            "host name 3f2a9c41d0aa",
            "uid 0, gid 0; ids are the host's own",
            "net 4026531840 4026531840 shared with the host",
            "pid 4026532805 4026531836 own",
            "mnt 4026532803 net",
            "memory at most 64 MiB",
            "processes no limit",
            "processors at most 1.5 of them",
            "overlay of 2 read-only image layers and a writable one",
            "I wrote /cais-was-here: it lies in the writable layer and goes away",
            "seccomp on",
            "14 of 41 kept, 27 dropped",
            "kept: chown dac_override fowner",
            "setfcap network lo eth0",
            "cais run --rm -it docker.io/library/alpine sh",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{}", told(&sight()));
        }
    }

    #[test]
    fn other_sights() {
        let other = Sight {
            pid: 7,
            status: b"Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nCapEff:\t000001fffeffffff\nSeccomp:\t0\n",
            uid_map: b"0 1000 1\n",
            mountinfo: b"6 5 0:50 / / rw - tmpfs none rw\n",
            net_dev: b"a\nb\n  lo: 0\n",
            host_namespaces: b"",
            memory: b"1000\n",
            pids: b"",
            cpu: b"200000 100000\n",
            write_test: WriteTest::ReadOnly,
            ..sight()
        };
        let text = flat(&other);
        for part in [
            "somebody else is PID 1",
            "uid 0 in here is uid 1000 on the host (rootless)",
            "namespaces mine cgroup 4026532801 ipc",
            "memory at most 1000 bytes",
            "processes not to be seen",
            "at most 2 of them",
            "no overlay: the root is a plain tmpfs",
            "asked to be read-only",
            "seccomp off",
            "40 of 41 kept, 1 dropped dropped: sys_resource network lo only",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{}", told(&other));
        }
        assert!(!text.contains("shared") && !text.contains("writable layer"));
    }

    #[test]
    fn nothing_readable_is_no_panic() {
        let text = told(&Sight { write_test: WriteTest::Failed(28), ..Sight::default() });
        assert!(text.contains("failed with error 28"));
        let hostile = [0xff_u8; 300];
        told(&Sight { hostname: &hostile, mountinfo: &hostile, cap_last_cap: b"200", ..sight() });
    }
}
