//! Which system call a seccomp filter denied: the kernel's log has a record of each process that it killed for one.
//!
//! `audit: type=1326 audit(1795169845.123:7): … pid=12 comm="sh" exe="/bin/sh" sig=31 arch=c000003e syscall=170 …`
//! (audit.h, AUDIT_SECCOMP). A call that only fails leaves no trace there.

use cais_runtime::seccomp::syscall_name;
use jiff::Timestamp;

use super::evidence::DeniedCall;
use crate::{ExitRecord, kernel_log};

const SIGSYS: i32 = 31;
/// The start is noted when the monitor has seen it, and the log's clock is coarse.
const EARLY_MS: i64 = 5000;
const LATE_MS: i64 = 100;

/// The call for which a process was killed in the time of a run, the last one; that of the first process before others.
///
/// The log has pids of the machine's own namespace: from within another one the first process is not recognised.
pub(super) fn find(exit: &ExitRecord) -> Option<DeniedCall> {
    let time = |text: &str| text.parse::<Timestamp>().ok().map(|time| time.as_millisecond());
    let (from, to) = (time(&exit.started)? - EARLY_MS, time(&exit.finished)? + LATE_MS);
    let within = |line: &str| parse(line).filter(|(at, _)| (from..=to).contains(at)).map(|(_, call)| call);
    let own = kernel_log::last(|line| within(line).filter(|call| exit.pid > 0 && call.pid == exit.pid));
    match own {
        Some(call) => Some(DeniedCall { own: true, ..call }),
        None => kernel_log::last(within),
    }
}

/// Time in milliseconds since 1970 and the call.
fn parse(line: &str) -> Option<(i64, DeniedCall)> {
    let (_, line) = line.split_once("type=1326 audit(")?;
    let (time, rest) = line.split_once(':')?;
    let (seconds, fraction) = time.split_once('.')?;
    let at = seconds.parse::<i64>().ok()? * 1000 + fraction.parse::<i64>().ok()?;
    let field =
        |key: &str| rest.split_ascii_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    if field("sig")?.parse() != Ok(SIGSYS) {
        return None;
    }
    let number = field("syscall")?.parse().ok()?;
    let arch = u32::from_str_radix(field("arch")?, 16).ok()?;
    let name = syscall_name(arch, number).map_or_else(|| format!("number {number}"), str::to_owned);
    let comm = field("comm").unwrap_or_default().trim_matches('"').to_owned();
    Some((at, DeniedCall { name, number, pid: field("pid")?.parse().ok()?, comm, own: false }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let line = "5,99,123,-;audit: type=1326 audit(1795169845.123:7): auid=4294967295 uid=0 gid=0 ses=4294967295 \
             pid=4711 comm=\"hostname\" exe=\"/bin/busybox\" sig=31 arch=c000003e syscall=170 compat=0 ip=0x4 code=0x80000000\n";
        let call = DeniedCall {
            name: "sethostname".into(),
            number: 170,
            pid: 4711,
            comm: "hostname".into(),
            own: false,
        };
        assert_eq!(parse(line), Some((1_795_169_845_123, call)));
        assert_eq!(parse(&line.replace("sig=31", "sig=0")), None);
        assert_eq!(
            parse(&line.replace("170", "9999")).map(|(_, call)| call.name),
            Some("number 9999".into())
        );
        assert_eq!(parse("6,1,2,-;usb 1-1: new device"), None);
    }
}
