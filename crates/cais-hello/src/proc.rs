//! Reads the kernel's text files: `/proc/self/status`, `mountinfo`, `uid_map`, `ns/*`, `/proc/net/dev`, cgroup limits.
//!
//! See proc(5), cgroups(7), capabilities(7). Functions over bytes; what cannot be read is `None`.

/// Names of capabilities by number, without `CAP_` (linux/capability.h).
pub const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// A limit by cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The file says that there is none.
    None,
    /// Bytes, processes, or thousandths of a CPU.
    Some(u64),
}

/// Decimal digits, and nothing else but blanks around them.
#[must_use]
pub fn decimal(bytes: &[u8]) -> Option<u64> {
    number(bytes.trim_ascii(), 10)
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = char::from(*digit).to_digit(radix)?;
        value.checked_mul(u64::from(radix))?.checked_add(u64::from(digit))
    })
}

/// The lines of a file.
fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// The words of a line.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// Value of a field of `/proc/self/status`, such as `CapEff`.
#[must_use]
pub fn status_field<'a>(status: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let value = lines(status).find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))?;
    Some(value.trim_ascii())
}

/// A set of capabilities in `/proc/self/status`.
#[must_use]
pub fn capability_set(status: &[u8], name: &str) -> Option<u64> {
    number(status_field(status, name)?, 16)
}

/// The real user or group id in `/proc/self/status` (`Uid`, `Gid`).
#[must_use]
pub fn real_id(status: &[u8], name: &str) -> Option<u64> {
    decimal(words(status_field(status, name)?).next()?)
}

/// The number in `mnt:[4026531841]`.
#[must_use]
pub fn namespace_number(link: &[u8]) -> Option<u64> {
    let from = link.iter().position(|byte| *byte == b'[')?;
    decimal(link[from + 1..].strip_suffix(b"]")?)
}

/// The host's number of a namespace in `mnt=4026531841,pid=…`.
#[must_use]
pub fn host_namespace(variable: &[u8], name: &str) -> Option<u64> {
    variable
        .split(|byte| *byte == b',')
        .find_map(|pair| decimal(pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?))
}

/// The host's id of id 0 in a `uid_map`, and whether all ids are the host's own.
#[must_use]
pub fn host_id_of_root(map: &[u8]) -> Option<(u64, bool)> {
    const ALL_IDS: u64 = 4_294_967_295;
    let mut found = None;
    for line in lines(map) {
        let mut words = words(line).map(decimal);
        let (inside, outside, count) = (words.next()??, words.next()??, words.next()??);
        if inside == 0 {
            found = Some((outside, outside == 0 && count == ALL_IDS));
        }
    }
    found
}

/// What `/proc/self/mountinfo` says of the root: file system and number of lower layers.
#[must_use]
pub fn root_mount(mountinfo: &[u8]) -> Option<(&[u8], usize)> {
    // The last mount at `/` is the one in sight.
    let line = lines(mountinfo).filter(|line| words(line).nth(4) == Some(b"/")).last()?;
    let mut behind = words(line).skip_while(|word| *word != b"-").skip(1);
    let (kind, _source, options) = (behind.next()?, behind.next()?, behind.next()?);
    let mut layers = 0;
    for option in options.split(|byte| *byte == b',') {
        if let Some(list) = option.strip_prefix(b"lowerdir=") {
            layers += layers_of(list);
        } else if option.starts_with(b"lowerdir+=") {
            layers += 1;
        }
    }
    Some((kind, layers))
}

/// Elements of overlay's `lowerdir`: separated by one colon or two; a backslash takes the next byte its meaning.
fn layers_of(list: &[u8]) -> usize {
    let (mut count, mut escaped, mut inside) = (0, false, false);
    for byte in list {
        if *byte == b':' && !escaped {
            inside = false;
        } else if !inside {
            inside = true;
            count += 1;
        }
        escaped = *byte == b'\\' && !escaped;
    }
    count
}

/// Names of the interfaces in `/proc/net/dev`.
pub fn interfaces(dev: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines(dev).skip(2).filter_map(|line| {
        let end = line.iter().position(|byte| *byte == b':')?;
        Some(line[..end].trim_ascii())
    })
}

/// `memory.max`, `pids.max` (cgroup v2) or `memory.limit_in_bytes`, `pids.max` (v1).
#[must_use]
pub fn limit(file: &[u8]) -> Option<Limit> {
    /// Version 1 says "none" with the greatest number of pages.
    const V1_NONE_BYTES: u64 = 0x7fff_ffff_ffff_0000;
    match file.trim_ascii() {
        b"max" => Some(Limit::None),
        number => decimal(number).map(|n| if n >= V1_NONE_BYTES { Limit::None } else { Limit::Some(n) }),
    }
}

/// `cpu.max`, or `cpu.cfs_quota_us` and `cpu.cfs_period_us` one after the other; in thousandths of a CPU.
#[must_use]
pub fn cpu_limit(file: &[u8]) -> Option<Limit> {
    let mut words = words(file);
    let (quota, period) = (words.next()?, decimal(words.next()?)?);
    if quota == b"max" || quota.starts_with(b"-") {
        return Some(Limit::None);
    }
    decimal(quota)?.checked_mul(1000)?.checked_div(period).map(Limit::Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status() {
        let status = b"Name:\thello\nUid:\t1000\t0\t0\t0\nCapEff:\t00000000a80425fb\nSeccomp:\t2\n";
        assert_eq!(status_field(status, "Name"), Some(&b"hello"[..]));
        assert_eq!(status_field(status, "Nam"), None);
        assert_eq!(real_id(status, "Uid"), Some(1000));
        let set = capability_set(status, "CapEff").unwrap();
        assert_eq!(set.count_ones(), 14);
        assert_eq!(set & (1 << CAPABILITIES.iter().position(|name| *name == "net_raw").unwrap()), 1 << 13);
    }

    #[test]
    fn namespaces() {
        assert_eq!(namespace_number(b"mnt:[4026531841]"), Some(4_026_531_841));
        assert_eq!(namespace_number(b"mnt"), None);
        let host = b"mnt=4026531841,pid_for_children=3,pid=4026531836";
        assert_eq!(host_namespace(host, "mnt"), Some(4_026_531_841));
        assert_eq!(host_namespace(host, "pid"), Some(4_026_531_836));
        assert_eq!(host_namespace(host, "net"), None);
    }

    #[test]
    fn id_maps() {
        assert_eq!(host_id_of_root(b"         0          0 4294967295\n"), Some((0, true)));
        assert_eq!(host_id_of_root(b"0 1000 1\n1 100000 65536\n"), Some((1000, false)));
        assert_eq!(host_id_of_root(b"0 0 1\n"), Some((0, false)));
        assert_eq!(host_id_of_root(b"1000 1000 1\n"), None);
    }

    #[test]
    fn root_mounts() {
        let overlay = b"600 500 0:50 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/a\\:b:/c::/d,upperdir=/u,workdir=/w\n\
            601 600 0:51 / /proc rw - proc proc rw\n";
        assert_eq!(root_mount(overlay), Some((&b"overlay"[..], 3)));
        let newer = b"600 500 0:50 / / rw - overlay overlay rw,lowerdir+=/a,lowerdir+=/b,upperdir=/u\n";
        assert_eq!(root_mount(newer), Some((&b"overlay"[..], 2)));
        let plain = b"1 1 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:5 / / rw - tmpfs none rw\n";
        assert_eq!(root_mount(plain), Some((&b"tmpfs"[..], 0)));
        assert_eq!(root_mount(b"2 1 0:5 / /x rw - tmpfs none rw\n"), None);
    }

    #[test]
    fn network_devices() {
        let dev = b"Inter-|   Receive\n face |bytes\n    lo: 0 0\n  eth0:12 0\n";
        assert_eq!(interfaces(dev).collect::<Vec<_>>(), [&b"lo"[..], b"eth0"]);
    }

    #[test]
    fn limits() {
        assert_eq!(limit(b"max\n"), Some(Limit::None));
        assert_eq!(limit(b"9223372036854771712\n"), Some(Limit::None));
        assert_eq!(limit(b"67108864\n"), Some(Limit::Some(67_108_864)));
        assert_eq!(limit(b""), None);
        assert_eq!(cpu_limit(b"max 100000\n"), Some(Limit::None));
        assert_eq!(cpu_limit(b"-1\n100000\n"), Some(Limit::None));
        assert_eq!(cpu_limit(b"150000 100000\n"), Some(Limit::Some(1500)));
        assert_eq!(cpu_limit(b"150000 0\n"), None);
    }
}
