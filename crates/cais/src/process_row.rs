//! A process as a row of `top`: the keywords of ps(1), which show what the host sees, and podman's descriptors, which
//! show what the container sees.
//!
//! Values are those of procps: ages in whole seconds, CPU shares of a process's lifetime.

use std::collections::BTreeMap;

use cais_engine::verb::ProcessView;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// What the rows have in common.
pub struct Machine {
    /// Clock ticks of a second.
    pub ticks_per_second: u64,
    /// Seconds since the machine was started.
    pub uptime_seconds: f64,
    /// Its memory.
    pub memory_bytes: u64,
    /// Names of the host's users, /etc/passwd.
    pub users: Names,
    /// Names of the host's groups.
    pub groups: Names,
    /// Names of the container's users.
    pub inner_users: Names,
    /// Names of the container's groups.
    pub inner_groups: Names,
    /// The container's pids by the host's.
    pub inner_pids: BTreeMap<i32, i32>,
    /// Now.
    pub now: Timestamp,
    /// Where the user is.
    pub zone: TimeZone,
}

/// Names by number.
#[derive(Debug, Default)]
pub struct Names(BTreeMap<u32, String>);

impl Names {
    /// From the text of passwd(5) or group(5): the first name of a number counts.
    pub fn parse(text: &str) -> Names {
        let mut names = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split(':');
            if let (Some(name), _, Some(Ok(number))) =
                (words.next(), words.next(), words.next().map(str::parse))
            {
                names.entry(number).or_insert_with(|| name.to_owned());
            }
        }
        Names(names)
    }

    fn of(&self, number: u32) -> String {
        self.0.get(&number).cloned().unwrap_or_else(|| number.to_string())
    }

    /// At most eight characters, as ps cuts them.
    fn short(&self, number: u32) -> String {
        let name = self.of(number);
        if name.chars().count() <= 8 { name } else { name.chars().take(7).chain(['+']).collect() }
    }
}

/// A column: its title and what it shows.
#[derive(Clone, Debug)]
pub struct Column {
    /// First line.
    pub title: String,
    show: fn(&ProcessView, &Machine) -> String,
}

type Known = (&'static [&'static str], &'static str, fn(&ProcessView, &Machine) -> String);

/// Keywords of `ps -o`.
const KEYWORDS: &[Known] = &[
    (&["pid", "tgid"], "PID", |p, _| p.pid.to_string()),
    (&["ppid"], "PPID", |p, _| p.ppid.to_string()),
    (&["pgid", "pgrp"], "PGID", |p, _| p.pgid.to_string()),
    (&["sid", "sess", "session"], "SID", |p, _| p.sid.to_string()),
    (&["tpgid"], "TPGID", |p, _| p.foreground.to_string()),
    (&["uid", "euid"], "UID", |p, _| p.uid.to_string()),
    (&["gid", "egid"], "GID", |p, _| p.gid.to_string()),
    (&["user", "euser", "uname"], "USER", |p, m| m.users.short(p.uid)),
    (&["group", "egroup"], "GROUP", |p, m| m.groups.short(p.gid)),
    (&["comm", "ucmd", "ucomm"], "COMMAND", |p, _| name(p)),
    (&["args", "command"], "COMMAND", |p, _| line(p)),
    (&["cmd"], "CMD", |p, _| line(p)),
    (&["c"], "C", |p, m| p_percent(p, m).min(99.0).floor().to_string()),
    (&["pcpu", "%cpu"], "%CPU", |p, m| format!("{:.1}", p_percent(p, m))),
    (&["pmem", "%mem"], "%MEM", |p, m| format!("{:.1}", memory_percent(p, m))),
    (&["vsz", "vsize"], "VSZ", |p, _| (p.virtual_bytes / 1024).to_string()),
    (&["rss", "rssize", "rsz"], "RSS", |p, _| (p.resident_bytes / 1024).to_string()),
    (&["tty", "tname"], "TTY", |p, _| terminal(p.tty)),
    (&["tt"], "TT", |p, _| terminal(p.tty)),
    (&["stat"], "STAT", |p, _| states(p)),
    (&["s", "state"], "S", |p, _| p.state.to_string()),
    (&["stime"], "STIME", |p, m| start(p, m, false)),
    (&["start_time", "bsdstart"], "START", |p, m| start(p, m, true)),
    (&["start"], "STARTED", |p, m| started(p, m).strftime("%H:%M:%S").to_string()),
    (&["lstart"], "STARTED", |p, m| started(p, m).strftime("%a %b %e %H:%M:%S %Y").to_string()),
    (&["etime"], "ELAPSED", |p, m| clock(elapsed(p, m), false)),
    (&["etimes"], "ELAPSED", |p, m| elapsed(p, m).to_string()),
    (&["time", "cputime"], "TIME", |p, m| clock(p.ticks / m.ticks_per_second, true)),
    (&["bsdtime"], "TIME", |p, m| {
        let seconds = p.ticks / m.ticks_per_second;
        format!("{}:{:02}", seconds / 60, seconds % 60)
    }),
    (&["ni", "nice"], "NI", |p, _| p.nice.to_string()),
    (&["nlwp", "thcount"], "NLWP", |p, _| p.threads.to_string()),
    (&["wchan"], "WCHAN", |p, _| if p.waits_in.len() < 2 { "-".into() } else { p.waits_in.clone() }),
    (&["label"], "LABEL", |p, _| label(p)),
];

/// Podman's descriptors.
const DESCRIPTORS: &[Known] = &[
    (&["pid", "%p"], "PID", |p, _| p.inner_pid.to_string()),
    (&["ppid", "%P"], "PPID", |p, m| inner(p.ppid, m)),
    (&["pgid", "%r"], "PGID", |p, m| inner(p.pgid, m)),
    (&["hpid"], "HPID", |p, _| p.pid.to_string()),
    (&["user", "ruser", "%U", "%u"], "USER", |p, m| m.inner_users.of(p.inner_uid)),
    (&["group", "rgroup", "%G", "%g"], "GROUP", |p, m| m.inner_groups.of(p.inner_gid)),
    (&["huser"], "HUSER", |p, m| m.users.of(p.uid)),
    (&["hgroup"], "HGROUP", |p, m| m.groups.of(p.gid)),
    (&["pcpu", "%C"], "%CPU", |p, m| format!("{:.3}", p_percent(p, m))),
    (&["etime", "%t"], "ELAPSED", |p, m| go_duration(elapsed(p, m))),
    (&["time", "%x"], "TIME", |p, m| go_duration(p.ticks / m.ticks_per_second)),
    (&["stime"], "STIME", |p, m| started(p, m).strftime("%a %b %e %H:%M:%S %Y").to_string()),
    (&["tty", "%y"], "TTY", |p, _| terminal(p.tty)),
    (&["args", "%a"], "COMMAND", |p, _| line(p)),
    (&["comm", "%c"], "COMMAND", |p, _| p.comm.clone()),
    (&["nice", "%n"], "NI", |p, _| p.nice.to_string()),
    (&["rss"], "RSS", |p, _| (p.resident_bytes / 1024).to_string()),
    (&["vsz", "%z"], "VSZ", |p, _| (p.virtual_bytes / 1024).to_string()),
    (&["state"], "STATE", |p, _| p.state.to_string()),
    (&["seccomp"], "SECCOMP", |p, _| match p.seccomp {
        0 => "disabled".into(),
        1 => "strict".into(),
        _ => "filter".into(),
    }),
    (&["label"], "LABEL", |p, _| label(p)),
    (&["capeff"], "EFFECTIVE CAPS", |p, _| p.capabilities[0].clone()),
    (&["capprm"], "PERMITTED CAPS", |p, _| p.capabilities[1].clone()),
    (&["capinh"], "INHERITED CAPS", |p, _| p.capabilities[2].clone()),
    (&["capbnd"], "BOUNDING CAPS", |p, _| p.capabilities[3].clone()),
    (&["capamb"], "AMBIENT CAPS", |p, _| p.capabilities[4].clone()),
];

/// A column by a keyword of ps, with the title that was asked for.
pub fn keyword(word: &str, title: Option<&str>) -> Option<Column> {
    find(KEYWORDS, word, title)
}

/// A column by podman's descriptor.
pub fn descriptor(word: &str) -> Option<Column> {
    find(DESCRIPTORS, word, None)
}

/// All words that mean a column.
pub fn known(descriptors: bool) -> String {
    let table = if descriptors { DESCRIPTORS } else { KEYWORDS };
    table.iter().filter_map(|(words, _, _)| words.first().copied()).collect::<Vec<_>>().join(", ")
}

fn find(table: &[Known], word: &str, title: Option<&str>) -> Option<Column> {
    let (_, usual, show) = table.iter().find(|(words, _, _)| words.contains(&word))?;
    Some(Column { title: title.unwrap_or(usual).to_owned(), show: *show })
}

/// One line, its cells separated by tabs.
pub fn row(columns: &[Column], process: &ProcessView, machine: &Machine) -> String {
    let cells: Vec<String> = columns.iter().map(|column| (column.show)(process, machine)).collect();
    cells.iter().map(|cell| on_one_line(cell)).collect::<Vec<_>>().join("\t")
}

/// What a container writes into its arguments must not move the terminal.
fn on_one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// ps tells zombies.
fn name(process: &ProcessView) -> String {
    let dead = if process.state == 'Z' { " <defunct>" } else { "" };
    format!("{}{dead}", process.comm)
}

fn line(process: &ProcessView) -> String {
    match (process.args.is_empty(), process.state) {
        (true, 'Z') => format!("[{}] <defunct>", process.comm),
        (true, _) => format!("[{}]", process.comm),
        // Docker's blanks between words are single ones.
        (false, _) => process.args.join(" ").split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

fn label(process: &ProcessView) -> String {
    if process.label.is_empty() { "-".into() } else { process.label.clone() }
}

fn inner(pid: i32, machine: &Machine) -> String {
    machine.inner_pids.get(&pid).copied().unwrap_or(0).to_string()
}

/// Seconds since the process was started.
fn elapsed(process: &ProcessView, machine: &Machine) -> u64 {
    let started = process.started_ticks as f64 / machine.ticks_per_second as f64;
    (machine.uptime_seconds - started).max(0.0) as u64
}

/// Share of one CPU over the process's lifetime.
fn p_percent(process: &ProcessView, machine: &Machine) -> f64 {
    let seconds = elapsed(process, machine);
    let used = process.ticks as f64 / machine.ticks_per_second as f64;
    if seconds == 0 { 0.0 } else { used / seconds as f64 * 100.0 }
}

fn memory_percent(process: &ProcessView, machine: &Machine) -> f64 {
    process.resident_bytes as f64 / machine.memory_bytes.max(1) as f64 * 100.0
}

fn started(process: &ProcessView, machine: &Machine) -> Zoned {
    let age = jiff::SignedDuration::from_secs(elapsed(process, machine) as i64);
    machine.now.checked_sub(age).unwrap_or(machine.now).to_zoned(machine.zone.clone())
}

/// `HH:MM` of today, `MmmDD` before; after a year `YYYY`, but not with `bsd`, for which a day has 24 hours.
fn start(process: &ProcessView, machine: &Machine, bsd: bool) -> String {
    let (then, now) = (started(process, machine), machine.now.to_zoned(machine.zone.clone()));
    let today = if bsd { elapsed(process, machine) <= 24 * 3600 } else { then.date() == now.date() };
    let form = match (today, !bsd && then.year() != now.year()) {
        (true, _) => "%H:%M",
        (false, true) => "%Y",
        (false, false) => "%b%d",
    };
    then.strftime(form).to_string()
}

/// `[DD-]HH:MM:SS`; without `hours` they and the days appear only when there are some.
fn clock(seconds: u64, hours: bool) -> String {
    let (days, hour, minute, second) =
        (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match (days, hour) {
        (0, 0) if !hours => format!("{minute:02}:{second:02}"),
        (0, _) => format!("{hour:02}:{minute:02}:{second:02}"),
        _ => format!("{days}-{hour:02}:{minute:02}:{second:02}"),
    }
}

/// Whole seconds as Go prints durations: `1h2m3s`.
fn go_duration(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, second) => format!("{second}s"),
        (0, minute, second) => format!("{minute}m{second}s"),
        (hour, minute, second) => format!("{hour}h{minute}m{second}s"),
    }
}

/// Device numbers as the kernel packs them, admin-guide/devices.txt: 136 to 143 are pseudo terminals, 4 the console's.
fn terminal(device: u32) -> String {
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xfff00);
    match major {
        _ if device == 0 => "?".into(),
        136..=143 => format!("pts/{}", minor + (major - 136) * 256),
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        _ => "?".into(),
    }
}

/// ps(1), "PROCESS STATE CODES".
fn states(process: &ProcessView) -> String {
    let mut text = process.state.to_string();
    for (holds, letter) in [
        (process.nice < 0, '<'),
        (process.nice > 0, 'N'),
        (process.locked_bytes > 0, 'L'),
        (process.sid == process.pid, 's'),
        (process.threads > 1, 'l'),
        (process.foreground == process.pgid, '+'),
    ] {
        text.extend(holds.then_some(letter));
    }
    text
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A machine for tests that has been up for 1000 s.
    pub fn machine() -> Machine {
        let passwd = "root:x:0:0::/root:/bin/sh\nsystemd-network:x:998:998::/:/bin/false\n";
        Machine {
            ticks_per_second: 100,
            uptime_seconds: 1000.0,
            memory_bytes: 100 << 20,
            users: Names::parse(passwd),
            groups: Names::parse("root:x:0:\n"),
            inner_users: Names::parse("app:x:7:7::/:\n"),
            inner_groups: Names::default(),
            inner_pids: BTreeMap::from([(42, 1), (43, 8)]),
            now: "2026-01-02T12:00:00Z".parse().expect("a time"),
            zone: TimeZone::UTC,
        }
    }

    /// A process that is 90 s old.
    pub fn process() -> ProcessView {
        ProcessView {
            pid: 43,
            inner_pid: 8,
            ppid: 42,
            pgid: 43,
            sid: 43,
            foreground: 43,
            tty: 34816,
            state: 'S',
            uid: 998,
            inner_uid: 7,
            ticks: 4500,
            started_ticks: 91_000,
            nice: -5,
            threads: 2,
            virtual_bytes: 4 << 20,
            resident_bytes: 1 << 20,
            comm: "sleep".into(),
            args: ["sleep", "a  b"].map(str::to_owned).to_vec(),
            capabilities: ["full", "full", "none", "full", "none"].map(str::to_owned),
            ..ProcessView::default()
        }
    }

    fn shown(column: Option<Column>, process: &ProcessView) -> String {
        row(&[column.expect("known")], process, &machine())
    }

    #[test]
    fn keywords_show_what_ps_shows() {
        let cases = [
            ("pid", "43"),
            ("ppid", "42"),
            ("user", "systemd+"),
            ("gid", "0"),
            ("group", "root"),
            ("cmd", "sleep a b"),
            ("comm", "sleep"),
            ("c", "50"),
            ("pcpu", "50.0"),
            ("pmem", "1.0"),
            ("vsz", "4096"),
            ("rss", "1024"),
            ("tty", "pts/0"),
            ("stat", "S<sl+"),
            ("stime", "11:58"),
            ("lstart", "Fri Jan  2 11:58:30 2026"),
            ("etime", "01:30"),
            ("etimes", "90"),
            ("time", "00:00:45"),
            ("bsdtime", "0:45"),
            ("ni", "-5"),
            ("wchan", "-"),
        ];
        for (word, expected) in cases {
            assert_eq!(shown(keyword(word, None), &process()), expected, "{word}");
        }
        assert_eq!(keyword("pid", Some("HOST")).expect("known").title, "HOST");
        assert!(keyword("hpid", None).is_none());
    }

    #[test]
    fn descriptors_show_what_the_container_sees() {
        let cases = [
            ("pid", "8"),
            ("ppid", "1"),
            ("hpid", "43"),
            ("user", "app"),
            ("huser", "systemd-network"),
            ("%C", "50.000"),
            ("etime", "1m30s"),
            ("time", "45s"),
            ("seccomp", "disabled"),
            ("capeff", "full"),
            ("capinh", "none"),
        ];
        for (word, expected) in cases {
            assert_eq!(shown(descriptor(word), &process()), expected, "{word}");
        }
        let orphan = ProcessView { ppid: 9, ..process() };
        assert_eq!(shown(descriptor("ppid"), &orphan), "0");
        assert!(descriptor("c").is_none());
    }

    #[test]
    fn odd_processes() {
        let zombie = ProcessView { state: 'Z', args: vec![], ..process() };
        assert_eq!(shown(keyword("args", None), &zombie), "[sleep] <defunct>");
        let hostile = ProcessView { comm: "a\u{1b}[2J".into(), ..process() };
        assert_eq!(shown(keyword("comm", None), &hostile), "a?[2J");
        assert_eq!([0, 34817, 1025, 1088, 35072].map(terminal), ["?", "pts/1", "tty1", "ttyS0", "pts/256"]);
        assert_eq!([5, 3661, 90_061].map(|s| clock(s, false)), ["00:05", "01:01:01", "1-01:01:01"]);
        assert_eq!([5, 65, 3661].map(go_duration), ["5s", "1m5s", "1h1m1s"]);
    }
}
