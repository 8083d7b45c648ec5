//! Profiles in the JSON format of Docker and containers-common: the `linux.seccomp` object of the OCI runtime
//! specification ([`super::oci`]) with conditions on whole rules.
//!
//! Parsing is strict where a mistake would weaken or break the filter (actions, operators, argument indexes, versions)
//! and lax where the format is open: unknown fields are ignored, and so are names of system calls nobody knows.

use std::borrow::Cow;

use cais_oci::runtime::{SeccompAction, SeccompArch, SeccompFlag, SeccompOp};
use serde::Deserialize;

use super::{Abi, SeccompError, Target, flag};
use crate::capability::Capability;

const EPERM: u16 = 1;

/// What a filter answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Carry the call out.
    Allow,
    /// Refuse it with this errno.
    Errno(u16),
    /// Kill the whole process.
    KillProcess,
    /// Kill the calling thread.
    KillThread,
    /// Send SIGSYS.
    Trap,
    /// Ask a tracer, giving it this number.
    Trace(u16),
    /// Carry it out and log it.
    Log,
    /// Ask who holds the listener.
    Notify,
}

impl Action {
    /// The value a filter returns (`SECCOMP_RET_*` of linux/seccomp.h).
    pub fn value(self) -> u32 {
        match self {
            Self::Allow => 0x7fff_0000,
            Self::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Self::KillProcess => 0x8000_0000,
            Self::KillThread => 0,
            Self::Trap => 0x0003_0000,
            Self::Trace(message) => 0x7ff0_0000 | u32::from(message),
            Self::Log => 0x7ffc_0000,
            Self::Notify => 0x7fc0_0000,
        }
    }
}

/// How an argument is compared, unsigned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// Equal to `value`.
    Eq,
    /// Not equal to `value`.
    Ne,
    /// Less than `value`.
    Lt,
    /// At most `value`.
    Le,
    /// At least `value`.
    Ge,
    /// Greater than `value`.
    Gt,
    /// Equal to `value_two` in the bits of `value`.
    MaskedEq,
}

/// A condition on one argument of a system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub index: u8,
    /// The value to compare with, or the mask.
    pub value: u64,
    /// What the masked argument must be.
    pub value_two: u64,
    /// The comparison.
    pub op: Comparison,
}

/// When a rule takes part; every list that is not empty counts.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Filter {
    /// Capabilities in the bounding set.
    pub caps: Vec<Capability>,
    /// Native architectures by Go's names.
    pub arches: Vec<Cow<'static, str>>,
    /// The kernel is at least this version.
    pub min_kernel: Option<(u32, u32)>,
}

/// One rule: calls with these names, whose arguments meet all conditions, get this action.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// System calls by name.
    pub names: Vec<Cow<'static, str>>,
    /// What they get.
    pub action: Action,
    /// All must hold; conditions on one and the same argument are alternatives instead, as in runc.
    pub conditions: Vec<Condition>,
    /// The rule takes part only if all of this holds.
    pub includes: Filter,
    /// The rule takes no part if any of this holds.
    pub excludes: Filter,
}

impl Rule {
    /// Whether the rule takes part on this target.
    pub(super) fn applies(&self, target: &Target) -> bool {
        let arch_listed = |arches: &[Cow<'_, str>]| arches.iter().any(|a| a == target.abi.filter_name());
        let has = |cap: &Capability| target.caps.contains(*cap);
        let reached = |version: (u32, u32)| target.kernel >= version;
        let Self { includes, excludes, .. } = self;
        let excluded = arch_listed(&excludes.arches)
            || excludes.caps.iter().any(has)
            || excludes.min_kernel.is_some_and(reached);
        let included = (includes.arches.is_empty() || arch_listed(&includes.arches))
            && includes.caps.iter().all(has)
            && includes.min_kernel.is_none_or(reached);
        included && !excluded
    }
}

/// A seccomp profile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Profile {
    /// What a call gets that no rule is about.
    pub default_action: Action,
    /// ABIs that are filtered by the rules beside the native one; all others are killed.
    pub architectures: Vec<Abi>,
    /// Native ABI, and the others that come with it.
    pub arch_map: Vec<(Abi, Vec<Abi>)>,
    /// `SECCOMP_FILTER_FLAG_*` that the profile asks for: those of [`flag`].
    pub flags: u32,
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

impl Profile {
    /// Parses a profile, as of `--security-opt seccomp=FILE`. Refuses `SCMP_ACT_NOTIFY`: nobody would listen.
    pub fn from_json(json: &[u8]) -> Result<Self, SeccompError> {
        let raw: RawProfile = serde_json::from_slice(json).map_err(|source| SeccompError::Json { source })?;
        raw.check()
    }

    /// The ABIs a filter for this native one covers, the native one first.
    pub(super) fn abis(&self, native: Abi) -> Vec<Abi> {
        let mapped = self.arch_map.iter().filter(|(abi, _)| *abi == native).flat_map(|(_, subs)| subs);
        let mut abis = vec![native];
        for &abi in mapped.chain(&self.architectures) {
            let runnable = match native {
                Abi::X86_64 => matches!(abi, Abi::X86 | Abi::X32),
                Abi::Aarch64 => abi == Abi::Arm,
                Abi::X86 | Abi::X32 | Abi::Arm => false,
            };
            if runnable && !abis.contains(&abi) {
                abis.push(abi);
            }
        }
        abis
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawProfile {
    default_action: Option<String>,
    default_errno_ret: Option<u64>,
    default_errno: Option<String>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<RawArch>>,
    flags: Option<Vec<String>>,
    syscalls: Option<Vec<RawRule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawArch {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRule {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u64>,
    errno: Option<String>,
    args: Option<Vec<RawCondition>>,
    includes: Option<RawFilter>,
    excludes: Option<RawFilter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawCondition {
    index: u64,
    value: u64,
    value_two: Option<u64>,
    op: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RawFilter {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

pub(super) fn wrong(field: impl Into<String>, problem: impl Into<String>) -> SeccompError {
    SeccompError::Field { field: field.into(), problem: problem.into() }
}

impl RawProfile {
    fn check(self) -> Result<Profile, SeccompError> {
        let Some(action) = self.default_action.filter(|a| !a.is_empty()) else {
            return Err(wrong("defaultAction", "missing; use seccomp=unconfined to run without a filter"));
        };
        let default_action =
            parse_action("defaultAction", &action, self.default_errno_ret, self.default_errno.as_deref())?;
        let listed = self.architectures.unwrap_or_default();
        let mapped = self.arch_map.unwrap_or_default();
        if !listed.is_empty() && !mapped.is_empty() {
            return Err(wrong("archMap", "cannot stand beside architectures; keep one of them"));
        }
        let mut arch_map = Vec::new();
        for (at, arch) in mapped.into_iter().enumerate() {
            let field = format!("archMap[{at}]");
            let native = parse_arch(&field, &arch.architecture)?;
            let subs = parse_arches(&field, &arch.sub_architectures.unwrap_or_default())?;
            if let Some(native) = native {
                arch_map.push((native, subs));
            }
        }
        let rules = self.syscalls.unwrap_or_default().into_iter().enumerate();
        Ok(Profile {
            default_action,
            architectures: parse_arches("architectures", &listed)?,
            arch_map,
            flags: parse_flags(self.flags.as_deref())?,
            rules: rules
                .map(|(at, rule)| rule.check(&format!("syscalls[{at}]")))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl RawRule {
    fn check(self, field: &str) -> Result<Rule, SeccompError> {
        let names = match (self.name.filter(|n| !n.is_empty()), self.names.unwrap_or_default()) {
            (Some(_), names) if !names.is_empty() => {
                return Err(wrong(field, "has both name and names; keep one of them"));
            }
            (Some(name), _) => vec![name],
            (None, names) => names,
        };
        if names.iter().any(String::is_empty) {
            return Err(wrong(format!("{field}.names"), "the empty string is no system call"));
        }
        let conditions = self.args.unwrap_or_default().into_iter().enumerate();
        Ok(Rule {
            names: names.into_iter().map(Cow::Owned).collect(),
            action: parse_action(
                &format!("{field}.action"),
                &self.action,
                self.errno_ret,
                self.errno.as_deref(),
            )?,
            conditions: conditions
                .map(|(at, raw)| raw.check(&format!("{field}.args[{at}]")))
                .collect::<Result<_, _>>()?,
            includes: self.includes.unwrap_or_default().check(&format!("{field}.includes"))?,
            excludes: self.excludes.unwrap_or_default().check(&format!("{field}.excludes"))?,
        })
    }
}

impl RawCondition {
    fn check(self, field: &str) -> Result<Condition, SeccompError> {
        let index = match u8::try_from(self.index) {
            Ok(index) if index < 6 => index,
            _ => return Err(wrong(format!("{field}.index"), format!("{} is not 0 to 5", self.index))),
        };
        let Some(op) = SeccompOp::from_word(&self.op) else {
            return Err(wrong(format!("{field}.op"), format!("unknown operator {:?}", self.op)));
        };
        Ok(Condition { index, value: self.value, value_two: self.value_two.unwrap_or(0), op: op.into() })
    }
}

impl RawFilter {
    fn check(self, field: &str) -> Result<Filter, SeccompError> {
        let caps = self.caps.unwrap_or_default();
        let caps = caps.iter().map(|name| {
            name.parse().map_err(|_| wrong(format!("{field}.caps"), format!("unknown capability {name:?}")))
        });
        Ok(Filter {
            caps: caps.collect::<Result<_, _>>()?,
            arches: self.arches.unwrap_or_default().into_iter().map(Cow::Owned).collect(),
            min_kernel: match self.min_kernel.filter(|v| !v.is_empty()) {
                Some(version) => Some(parse_kernel(&format!("{field}.minKernel"), &version)?),
                None => None,
            },
        })
    }
}

fn parse_action(
    field: &str,
    name: &str,
    number: Option<u64>,
    errno_name: Option<&str>,
) -> Result<Action, SeccompError> {
    let Some(action) = SeccompAction::from_word(name) else {
        return Err(wrong(field, format!("unknown action {name:?}")));
    };
    let takes_number = matches!(action, SeccompAction::Errno | SeccompAction::Trace);
    if takes_number && number.is_none() && errno_name.is_some_and(|n| !n.is_empty()) {
        return Err(wrong(field, "errno is given by name only; give its number as errnoRet too"));
    }
    match action_of(field, action, number)? {
        Action::Notify => Err(SeccompError::Notify { field: field.to_owned() }),
        action => Ok(action),
    }
}

/// An action with its number, which is `EPERM` when absent and has no meaning for most.
pub(super) fn action_of(
    field: &str,
    action: SeccompAction,
    number: Option<u64>,
) -> Result<Action, SeccompError> {
    let number = || match number {
        Some(number) => {
            u16::try_from(number).map_err(|_| wrong(field, format!("errno {number} is out of range")))
        }
        None => Ok(EPERM),
    };
    Ok(match action {
        SeccompAction::Allow => Action::Allow,
        SeccompAction::Errno => Action::Errno(number()?),
        SeccompAction::Kill | SeccompAction::KillThread => Action::KillThread,
        SeccompAction::KillProcess => Action::KillProcess,
        SeccompAction::Trap => Action::Trap,
        SeccompAction::Trace => Action::Trace(number()?),
        SeccompAction::Log => Action::Log,
        SeccompAction::Notify => Action::Notify,
    })
}

impl From<SeccompOp> for Comparison {
    fn from(op: SeccompOp) -> Self {
        match op {
            SeccompOp::Eq => Self::Eq,
            SeccompOp::Ne => Self::Ne,
            SeccompOp::Lt => Self::Lt,
            SeccompOp::Le => Self::Le,
            SeccompOp::Ge => Self::Ge,
            SeccompOp::Gt => Self::Gt,
            SeccompOp::MaskedEq => Self::MaskedEq,
        }
    }
}

/// `None`: an architecture whose calls cannot be made on any machine this program runs on.
pub(super) fn abi_of(arch: SeccompArch) -> Option<Abi> {
    match arch {
        SeccompArch::X86_64 => Some(Abi::X86_64),
        SeccompArch::X86 => Some(Abi::X86),
        SeccompArch::X32 => Some(Abi::X32),
        SeccompArch::Aarch64 => Some(Abi::Aarch64),
        SeccompArch::Arm => Some(Abi::Arm),
        _ => None,
    }
}

/// Flags for seccomp(2). Without a list it is `SPEC_ALLOW`, as in runc and crun; an empty list is none.
pub(super) fn flags_of(flags: Option<impl IntoIterator<Item = SeccompFlag>>) -> u32 {
    let Some(flags) = flags else { return flag::SPEC_ALLOW };
    flags.into_iter().fold(0, |bits, known| {
        bits | match known {
            // The thread that loads the filter is the one that executes the command; another one must stay free of it.
            SeccompFlag::Tsync => 0,
            SeccompFlag::Log => flag::LOG,
            SeccompFlag::SpecAllow => flag::SPEC_ALLOW,
            SeccompFlag::WaitKillableRecv => flag::WAIT_KILLABLE_RECV,
        }
    })
}

fn parse_arch(field: &str, name: &str) -> Result<Option<Abi>, SeccompError> {
    match SeccompArch::from_word(name) {
        Some(arch) => Ok(abi_of(arch)),
        None => Err(wrong(field, format!("unknown architecture {name:?}"))),
    }
}

fn parse_arches(field: &str, names: &[String]) -> Result<Vec<Abi>, SeccompError> {
    names.iter().filter_map(|name| parse_arch(field, name).transpose()).collect()
}

fn parse_flags(names: Option<&[String]>) -> Result<u32, SeccompError> {
    let Some(names) = names else { return Ok(flags_of(None::<[SeccompFlag; 0]>)) };
    let flag = |name: &String| {
        SeccompFlag::from_word(name).ok_or_else(|| wrong("flags", format!("unknown flag {name:?}")))
    };
    Ok(flags_of(Some(names.iter().map(flag).collect::<Result<Vec<_>, _>>()?)))
}

fn parse_kernel(field: &str, version: &str) -> Result<(u32, u32), SeccompError> {
    let parsed = version.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    parsed
        .filter(|&v| v != (0, 0))
        .ok_or_else(|| wrong(field, format!("{version:?} is not a version like \"4.8\"")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::CapSet;
    use crate::seccomp::NewerCalls;

    fn parse(json: &str) -> Result<Profile, SeccompError> {
        Profile::from_json(json.as_bytes())
    }

    #[test]
    fn all_fields_are_read() {
        let profile = parse(
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "comment": "ignored",
                "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
                            {"architecture": "SCMP_ARCH_S390X", "subArchitectures": ["SCMP_ARCH_S390"]}],
                "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"],
                "syscalls": [
                  {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "args": null, "includes": {}, "excludes": null},
                  {"name": "clone", "action": "SCMP_ACT_TRACE", "errnoRet": 7,
                   "args": [{"index": 1, "value": 18446744073709551615, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}],
                   "includes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["amd64"], "minKernel": "4.8"},
                   "excludes": {"caps": ["CAP_MKNOD"]}}]}"#,
        )
        .unwrap();
        assert_eq!(profile.default_action, Action::Errno(38));
        assert_eq!(profile.arch_map, [(Abi::X86_64, vec![Abi::X86, Abi::X32])]);
        assert_eq!(profile.flags, flag::LOG);
        assert_eq!(parse(r#"{"defaultAction": "SCMP_ACT_LOG"}"#).unwrap().flags, flag::SPEC_ALLOW);
        assert_eq!(parse(r#"{"defaultAction": "SCMP_ACT_LOG", "flags": []}"#).unwrap().flags, 0);
        assert_eq!(profile.rules[0].names, ["read", "write"]);
        let clone = &profile.rules[1];
        assert_eq!(clone.action, Action::Trace(7));
        let condition = Condition { index: 1, value: u64::MAX, value_two: 3, op: Comparison::MaskedEq };
        assert_eq!(clone.conditions, [condition]);
        assert_eq!(clone.includes.min_kernel, Some((4, 8)));
        assert_eq!(clone.includes.caps, [Capability::SYS_ADMIN]);
        assert_eq!(clone.excludes.caps, [Capability::MKNOD]);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let rule = |rest: &str| {
            format!(r#"{{"defaultAction": "SCMP_ACT_KILL", "syscalls": [{{"names": ["read"], {rest}}}]}}"#)
        };
        let allow = |rest: &str| rule(&format!(r#""action": "SCMP_ACT_ALLOW", {rest}"#));
        let cases = [
            ("{".to_owned(), "line 1"),
            (r#"{"syscalls": []}"#.to_owned(), "defaultAction: missing"),
            (r#"{"defaultAction": "ALLOW"}"#.to_owned(), "defaultAction: unknown action \"ALLOW\""),
            (r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#.to_owned(), "SCMP_ACT_NOTIFY is not supported"),
            (r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 70000}"#.to_owned(), "out of range"),
            (r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS"}"#.to_owned(), "by name only"),
            (r#"{"defaultAction": "SCMP_ACT_LOG", "flags": ["X"]}"#.to_owned(), "unknown flag \"X\""),
            (
                r#"{"defaultAction": "SCMP_ACT_LOG", "architectures": ["x86"]}"#.to_owned(),
                "unknown architecture",
            ),
            (rule(r#""action": "SCMP_ACT_NOTIFY""#), "syscalls[0].action"),
            (rule(r#""action": "SCMP_ACT_ALLOW", "name": "write""#), "both name and names"),
            (
                allow(r#""args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]"#),
                "syscalls[0].args[0].index",
            ),
            (allow(r#""args": [{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}]"#), "invalid value"),
            (allow(r#""args": [{"index": 0, "value": 0, "op": "EQ"}]"#), "unknown operator \"EQ\""),
            (allow(r#""includes": {"caps": ["CAP_FLY"]}"#), "syscalls[0].includes.caps"),
            (allow(r#""excludes": {"minKernel": "five"}"#), "syscalls[0].excludes.minKernel"),
        ];
        for (json, want) in cases {
            let error = parse(&json).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(want), "{json}: {text}");
        }
    }

    #[test]
    fn conditions_of_rules_follow_docker() {
        let target = |abi, caps, kernel| Target {
            abi,
            caps,
            kernel,
            newer_calls: NewerCalls::DefaultAction,
            x32: true,
        };
        let rule = |includes: Filter, excludes: Filter| Rule {
            names: vec![],
            action: Action::Allow,
            conditions: vec![],
            includes,
            excludes,
        };
        let arches = |names: &[&'static str]| Filter {
            arches: names.iter().map(|&n| Cow::Borrowed(n)).collect(),
            ..Filter::default()
        };
        let caps = |caps: &[Capability]| Filter { caps: caps.to_vec(), ..Filter::default() };
        let kernel = |v| Filter { min_kernel: Some(v), ..Filter::default() };
        let none = Filter::default;
        let here = target(Abi::X86_64, CapSet::DEFAULT, (5, 10));
        assert!(rule(none(), none()).applies(&here));
        assert!(rule(arches(&["arm", "amd64"]), none()).applies(&here));
        assert!(!rule(arches(&["arm", "arm64"]), none()).applies(&here));
        assert!(!rule(none(), arches(&["amd64"])).applies(&here));
        assert!(rule(caps(&[Capability::MKNOD]), none()).applies(&here));
        assert!(!rule(caps(&[Capability::MKNOD, Capability::SYS_ADMIN]), none()).applies(&here));
        assert!(!rule(none(), caps(&[Capability::SYS_ADMIN, Capability::MKNOD])).applies(&here));
        assert!(rule(kernel((5, 10)), kernel((5, 11))).applies(&here));
        assert!(!rule(kernel((5, 11)), none()).applies(&here));
        assert!(rule(kernel((4, 20)), none()).applies(&here));
    }
}
