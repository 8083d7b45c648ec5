//! Capabilities: names, sets, and what a container gets of them (`--cap-add`, `--cap-drop`, `--privileged`).
//!
//! Names and numbers are those of capabilities(7). The rules are Docker's: fourteen capabilities by default, `ALL` as
//! a word, inheritable and ambient empty. Whatever the result, it never holds a capability that the caller says is not
//! available: a machine without `CAP_SYS_RESOURCE` runs a privileged container without it. This module changes no
//! process; it only reads sets of its own.

use std::fmt;
use std::str::FromStr;

use rustix::thread::{CapabilitySet, capabilities, capability_is_in_bounding_set};
use serde::{Deserialize, Serialize};

/// Writes the table of names and a constant for each of them, from one list.
macro_rules! capabilities {
    ($($name:ident = $number:literal,)*) => {
        /// Names in the order of their numbers, without `CAP_`.
        const NAMES: [&str; [$($number),*].len()] = [$(stringify!($name)),*];

        impl Capability {
            $(
                #[doc = concat!("`CAP_", stringify!($name), "`.")]
                pub const $name: Self = Self($number);
            )*
        }
    };
}

capabilities! {
    CHOWN = 0,
    DAC_OVERRIDE = 1,
    DAC_READ_SEARCH = 2,
    FOWNER = 3,
    FSETID = 4,
    KILL = 5,
    SETGID = 6,
    SETUID = 7,
    SETPCAP = 8,
    LINUX_IMMUTABLE = 9,
    NET_BIND_SERVICE = 10,
    NET_BROADCAST = 11,
    NET_ADMIN = 12,
    NET_RAW = 13,
    IPC_LOCK = 14,
    IPC_OWNER = 15,
    SYS_MODULE = 16,
    SYS_RAWIO = 17,
    SYS_CHROOT = 18,
    SYS_PTRACE = 19,
    SYS_PACCT = 20,
    SYS_ADMIN = 21,
    SYS_BOOT = 22,
    SYS_NICE = 23,
    SYS_RESOURCE = 24,
    SYS_TIME = 25,
    SYS_TTY_CONFIG = 26,
    MKNOD = 27,
    LEASE = 28,
    AUDIT_WRITE = 29,
    AUDIT_CONTROL = 30,
    SETFCAP = 31,
    MAC_OVERRIDE = 32,
    MAC_ADMIN = 33,
    SYSLOG = 34,
    WAKE_ALARM = 35,
    BLOCK_SUSPEND = 36,
    AUDIT_READ = 37,
    PERFMON = 38,
    BPF = 39,
    CHECKPOINT_RESTORE = 40,
}

/// One capability by its kernel number (0 to 40).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(u8);

impl Capability {
    /// The kernel's number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The name without its prefix: `NET_ADMIN`.
    pub fn short_name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAP_{}", self.short_name())
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Capability {
    type Err = CapabilityError;

    /// Accepts `NET_ADMIN`, `CAP_NET_ADMIN` and any mixture of cases.
    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        let name = match text.get(..4) {
            Some(prefix) if prefix.eq_ignore_ascii_case("CAP_") => &text[4..],
            _ => text,
        };
        NAMES
            .iter()
            .position(|known| known.eq_ignore_ascii_case(name))
            .map(|number| Self(number as u8))
            .ok_or_else(|| CapabilityError::Unknown { name: text.to_owned() })
    }
}

/// A set of capabilities: bit n stands for the capability with number n.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CapSet(u64);

impl CapSet {
    /// No capability.
    pub const EMPTY: Self = Self(0);
    /// Every capability that this program knows by name.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);
    /// What a Docker container has when nothing is asked for: chown, dac_override, fowner, fsetid, kill, setgid,
    /// setuid, setpcap, net_bind_service, net_raw, sys_chroot, mknod, audit_write, setfcap.
    pub const DEFAULT: Self = Self(0xa804_25fb);

    /// The set with exactly these bits; unknown ones are kept out.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// The bits, as capset(2) takes them (low word first).
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Whether `cap` is a member.
    pub fn contains(self, cap: Capability) -> bool {
        self.0 & (1 << cap.0) != 0
    }

    /// Whether nothing is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set with `cap` in it.
    #[must_use]
    pub fn with(self, cap: Capability) -> Self {
        Self(self.0 | 1 << cap.0)
    }

    /// The set without `cap`.
    #[must_use]
    pub fn without(self, cap: Capability) -> Self {
        Self(self.0 & !(1 << cap.0))
    }

    /// Members of both sets.
    #[must_use]
    pub fn intersect(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The members in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0..NAMES.len() as u8).map(Capability).filter(move |&cap| self.contains(cap))
    }
}

impl FromIterator<Capability> for CapSet {
    fn from_iter<I: IntoIterator<Item = Capability>>(caps: I) -> Self {
        caps.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The five sets of a process, as capabilities(7) names them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Capabilities {
    /// What the process and its children may ever have.
    pub bounding: CapSet,
    /// What it has now.
    pub effective: CapSet,
    /// What it may make effective.
    pub permitted: CapSet,
    /// What survives execve of a file with inheritable capabilities.
    pub inheritable: CapSet,
    /// What survives execve of an ordinary file.
    pub ambient: CapSet,
}

impl Capabilities {
    /// The sets of a process that starts as `uid`: anybody but root starts with nothing effective or permitted, as
    /// execve would leave it; the bounding set stays, so that set-user-ID programs work.
    #[must_use]
    pub fn for_uid(self, uid: u32) -> Self {
        if uid == 0 {
            return self;
        }
        Self { effective: self.ambient, permitted: self.ambient, ..self }
    }
}

/// What [`resolve`] decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// The sets of the container's first process when it is root inside.
    pub capabilities: Capabilities,
    /// Asked for by name, but not available here: worth a warning. `ALL` and `--privileged` ask for nothing by name.
    pub missing: Vec<Capability>,
}

/// A capability that cannot be granted as asked.
#[derive(Debug, thiserror::Error)]
pub enum CapabilityError {
    /// No capability has this name.
    #[error("unknown capability {name:?}; capabilities(7) lists the names, `ALL` means all of them")]
    Unknown {
        /// As the user wrote it.
        name: String,
    },
    /// The kernel did not say what a set of ours holds.
    #[error("read the capabilities of this process: {source}")]
    Bounding {
        /// What prctl(2) or capget(2) said.
        source: rustix::io::Errno,
    },
}

/// Decides a container's capabilities from `--cap-add`, `--cap-drop` and `--privileged`.
///
/// Docker's order of precedence: `privileged` gives all that is available and ignores the lists; adding `ALL` gives
/// all but the dropped ones; dropping `ALL` leaves only the added ones; otherwise the default set loses the dropped and
/// gains the added ones, and a capability in both lists is granted. Fails on an unknown name, even where it would
/// not matter. `available` is what a child of this process can be given: [`current_bounding`] when it stays in this
/// user namespace, [`CapSet::ALL`] when it gets its own.
pub fn resolve(
    add: &[String],
    drop: &[String],
    privileged: bool,
    available: CapSet,
) -> Result<Resolved, CapabilityError> {
    let (added, add_all) = parse_list(add)?;
    let (dropped, drop_all) = parse_list(drop)?;
    let wanted = if privileged {
        CapSet::ALL
    } else if add_all {
        CapSet(CapSet::ALL.0 & !dropped.0)
    } else if drop_all {
        added
    } else {
        CapSet(CapSet::DEFAULT.0 & !dropped.0 | added.0)
    };
    let granted = wanted.intersect(available);
    let missing = CapSet(added.0 & wanted.0 & !available.0).iter().collect();
    Ok(Resolved {
        capabilities: Capabilities {
            bounding: granted,
            effective: granted,
            permitted: granted,
            inheritable: CapSet::EMPTY,
            ambient: CapSet::EMPTY,
        },
        missing,
    })
}

/// The named capabilities of a list, and whether it says `ALL`.
fn parse_list(list: &[String]) -> Result<(CapSet, bool), CapabilityError> {
    let mut set = CapSet::EMPTY;
    let mut all = false;
    for name in list {
        if name.eq_ignore_ascii_case("ALL") || name.eq_ignore_ascii_case("CAP_ALL") {
            all = true;
        } else {
            set = set.with(name.parse()?);
        }
    }
    Ok((set, all))
}

/// The bounding set of this thread. Capabilities that the kernel is too old to know are not in it.
pub fn current_bounding() -> Result<CapSet, CapabilityError> {
    let mut set = CapSet::EMPTY;
    for number in 0..NAMES.len() as u8 {
        // One prctl(2) each is several times cheaper than reading /proc/self/status.
        match capability_is_in_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(true) => set = set.with(Capability(number)),
            Ok(false) => {}
            Err(rustix::io::Errno::INVAL) => break,
            Err(source) => return Err(CapabilityError::Bounding { source }),
        }
    }
    Ok(set)
}

/// The permitted set of this thread.
pub fn current_permitted() -> Result<CapSet, CapabilityError> {
    let sets = capabilities(None).map_err(|source| CapabilityError::Bounding { source })?;
    Ok(CapSet(sets.permitted.bits() & CapSet::ALL.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|&n| n.to_owned()).collect()
    }

    fn granted(add: &[&str], drop: &[&str], privileged: bool) -> CapSet {
        resolve(&list(add), &list(drop), privileged, CapSet::ALL).unwrap().capabilities.effective
    }

    fn set(names: &[&str]) -> CapSet {
        names.iter().map(|n| n.parse::<Capability>().unwrap()).collect()
    }

    #[test]
    fn default_is_dockers_fourteen() {
        let names = [
            "AUDIT_WRITE",
            "CHOWN",
            "DAC_OVERRIDE",
            "FOWNER",
            "FSETID",
            "KILL",
            "MKNOD",
            "NET_BIND_SERVICE",
            "NET_RAW",
            "SETFCAP",
            "SETGID",
            "SETPCAP",
            "SETUID",
            "SYS_CHROOT",
        ];
        assert_eq!(CapSet::DEFAULT, set(&names));
        assert_eq!(granted(&[], &[], false), CapSet::DEFAULT);
    }

    #[test]
    fn numbers_follow_the_order_of_the_names() {
        assert_eq!(NAMES[usize::from(Capability::SYS_ADMIN.number())], "SYS_ADMIN");
        assert_eq!(Capability::SYS_ADMIN.number(), 21);
        let numbered: Vec<_> =
            CapSet::ALL.iter().map(|cap| cap.to_string().parse::<Capability>().unwrap()).collect();
        assert_eq!(numbered, CapSet::ALL.iter().collect::<Vec<_>>());
    }

    #[test]
    fn names_of_any_case_and_prefix_are_one_capability() {
        for name in ["net_admin", "CAP_NET_ADMIN", "cap_Net_Admin"] {
            assert_eq!(name.parse::<Capability>().unwrap(), Capability::NET_ADMIN);
        }
        assert_eq!(Capability::NET_ADMIN.to_string(), "CAP_NET_ADMIN");
        assert_eq!("checkpoint_restore".parse::<Capability>().unwrap().number(), 40);
        for name in ["", "CAP_", "NET-ADMIN", "CAP_CAP_NET_ADMIN", "é", "caßé"] {
            assert!(name.parse::<Capability>().is_err(), "{name}");
        }
    }

    #[test]
    fn lists_follow_dockers_precedence() {
        let admin = Capability::NET_ADMIN;
        assert_eq!(granted(&["NET_ADMIN"], &[], false), CapSet::DEFAULT.with(admin));
        assert_eq!(granted(&[], &["cap_mknod"], false), CapSet::DEFAULT.without(Capability::MKNOD));
        assert_eq!(granted(&["all"], &["NET_ADMIN"], false), CapSet::ALL.without(admin));
        assert_eq!(granted(&["NET_ADMIN", "CHOWN"], &["ALL"], false), set(&["NET_ADMIN", "CHOWN"]));
        assert_eq!(granted(&[], &["ALL"], false), CapSet::EMPTY);
        assert_eq!(granted(&["ALL"], &["ALL"], false), CapSet::ALL);
        assert_eq!(granted(&["MKNOD"], &["MKNOD"], false), CapSet::DEFAULT);
        assert_eq!(granted(&[], &["ALL"], true), CapSet::ALL);
    }

    #[test]
    fn unknown_name_is_an_error_even_when_privileged() {
        for (add, drop) in [(list(&["FLY"]), vec![]), (vec![], list(&["FLY"]))] {
            let error = resolve(&add, &drop, true, CapSet::ALL).unwrap_err();
            assert!(error.to_string().contains("\"FLY\""), "{error}");
        }
    }

    #[test]
    fn unavailable_capabilities_are_left_out_and_reported_only_when_named() {
        let available = CapSet::ALL.without(Capability::SYS_RESOURCE).without(Capability::MKNOD);
        let privileged = resolve(&[], &[], true, available).unwrap();
        assert_eq!(privileged.capabilities.bounding, available);
        assert!(privileged.missing.is_empty());
        let named = resolve(&list(&["SYS_RESOURCE", "NET_ADMIN"]), &[], false, available).unwrap();
        assert_eq!(named.missing, [Capability::SYS_RESOURCE]);
        assert!(!named.capabilities.permitted.contains(Capability::SYS_RESOURCE));
        assert!(named.capabilities.permitted.contains(Capability::NET_ADMIN));
        assert!(!named.capabilities.permitted.contains(Capability::MKNOD));
    }

    #[test]
    fn an_ordinary_user_starts_with_the_bounding_set_only() {
        let sets = resolve(&[], &[], false, CapSet::ALL).unwrap().capabilities;
        assert_eq!(sets.for_uid(0), sets);
        let user = sets.for_uid(1000);
        assert_eq!(user.bounding, CapSet::DEFAULT);
        assert_eq!((user.effective, user.permitted), (CapSet::EMPTY, CapSet::EMPTY));
    }

    #[test]
    fn bounding_set_is_the_one_in_proc() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("CapBnd:")).unwrap();
        let bits = u64::from_str_radix(line.trim(), 16).unwrap();
        assert_eq!(current_bounding().unwrap(), CapSet::from_bits(bits));
    }
}
