//! `linux.seccomp` of a config.json as a profile, and its program.
//!
//! Implements config-linux.md "Seccomp" of the OCI runtime specification, versions 1.2 and 1.3. Where that is silent it
//! does as runc: names of system calls nobody knows are skipped, calls newer than all named ones get `ENOSYS` (if the
//! caller's [`Target`] says so), `SCMP_ACT_NOTIFY` is refused for write(2) and as the default, no list of flags means
//! `SPEC_ALLOW`. Architectures that the machine cannot run are skipped.

use std::borrow::Cow;

use cais_oci::runtime::{Seccomp, SeccompAction, SeccompArg, SeccompSyscall};

use super::bpf::Program;
use super::profile::{Action, Condition, Filter, Profile, Rule, abi_of, action_of, flags_of, wrong};
use super::{SeccompError, Target, compile};

/// Compiles the filter of a bundle. `None`: it asks for none.
///
/// A program with a listener is for who waits at the bundle's `listenerPath`. Fails for what the specification or the
/// kernel does not take; the error names the field.
pub fn compile_spec(seccomp: &Seccomp, target: &Target) -> Result<Option<Program>, SeccompError> {
    match Profile::from_spec(seccomp)? {
        Some(profile) => compile(&profile, target).map(Some),
        None => Ok(None),
    }
}

impl Profile {
    /// The profile of a bundle. `None`: it has neither a default action nor rules, which means no filter.
    pub fn from_spec(seccomp: &Seccomp) -> Result<Option<Self>, SeccompError> {
        let Some(default) = seccomp.default_action else {
            return match seccomp.syscalls.is_empty() {
                true => Ok(None),
                false => Err(wrong("linux.seccomp.defaultAction", "missing")),
            };
        };
        let default_action = checked_action("linux.seccomp", "default", default, seccomp.default_errno_ret)?;
        if default_action == Action::Notify {
            return Err(SeccompError::NotifyByDefault);
        }
        let rules = seccomp.syscalls.iter().enumerate();
        let rules: Vec<Rule> = rules.map(|(index, rule)| convert(index, rule)).collect::<Result<_, _>>()?;
        let asks = |rule: &&Rule| rule.action == Action::Notify;
        if rules.iter().filter(asks).flat_map(|rule| &rule.names).any(|name| name == "write") {
            return Err(SeccompError::NotifyWrite);
        }
        if seccomp.listener_path.is_none() && rules.iter().any(|rule| asks(&rule)) {
            return Err(SeccompError::NoListenerPath);
        }
        Ok(Some(Self {
            default_action,
            architectures: seccomp.architectures.iter().filter_map(|&arch| abi_of(arch)).collect(),
            arch_map: Vec::new(),
            flags: flags_of(seccomp.flags.as_ref().map(|flags| flags.iter().copied())),
            rules,
        }))
    }
}

fn convert(index: usize, syscall: &SeccompSyscall) -> Result<Rule, SeccompError> {
    let field = format!("linux.seccomp.syscalls[{index}]");
    if syscall.names.is_empty() {
        return Err(wrong(format!("{field}.names"), "must have at least one entry"));
    }
    if syscall.names.iter().any(String::is_empty) {
        return Err(wrong(format!("{field}.names"), "the empty string is no system call"));
    }
    let conditions = syscall.args.iter().enumerate();
    Ok(Rule {
        names: syscall.names.iter().cloned().map(Cow::Owned).collect(),
        action: checked_action(&field, "", syscall.action, syscall.errno_ret)?,
        conditions: conditions.map(|(at, arg)| condition(&field, at, arg)).collect::<Result<_, _>>()?,
        includes: Filter::default(),
        excludes: Filter::default(),
    })
}

/// An action; `prefix` is how its fields' names begin. The specification forbids an errno for one that has none.
fn checked_action(
    field: &str,
    prefix: &str,
    action: SeccompAction,
    errno: Option<u64>,
) -> Result<Action, SeccompError> {
    let name = if prefix.is_empty() { "errnoRet".to_owned() } else { format!("{prefix}ErrnoRet") };
    let field = format!("{field}.{name}");
    if errno.is_some() && !matches!(action, SeccompAction::Errno | SeccompAction::Trace) {
        return Err(wrong(field, format!("errno value specified for action {action}")));
    }
    action_of(&field, action, errno)
}

fn condition(field: &str, at: usize, arg: &SeccompArg) -> Result<Condition, SeccompError> {
    let &SeccompArg { index, value, value_two, op } = arg;
    match u8::try_from(index) {
        Ok(index) if index < 6 => Ok(Condition { index, value, value_two, op: op.into() }),
        _ => Err(wrong(format!("{field}.args[{at}].index"), format!("{index} is not 0 to 5"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::CapSet;
    use crate::seccomp::emulate::{Data, run};
    use crate::seccomp::{Abi, NewerCalls, flag};

    fn spec(json: &str) -> Seccomp {
        serde_json::from_str(json).unwrap()
    }

    fn target() -> Target {
        Target {
            abi: Abi::X86_64,
            caps: CapSet::DEFAULT,
            kernel: (6, 1),
            newer_calls: NewerCalls::Enosys,
            x32: true,
        }
    }

    fn program(json: &str) -> Program {
        compile_spec(&spec(json), &target()).unwrap().unwrap()
    }

    fn verdict(program: &Program, name: &str) -> u32 {
        let nr = super::super::syscalls::find(name).unwrap().on(Abi::X86_64).unwrap();
        run(program, &Data { nr, arch: Abi::X86_64.audit_arch(), args: [0; 6] })
    }

    #[test]
    fn a_bundles_filter_is_the_one_of_the_same_json() {
        let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 22,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_S390X"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"],
            "syscalls": [
              {"names": ["read", "write", "no_such_call", "exit_group"], "action": "SCMP_ACT_ALLOW"},
              {"names": ["open"], "action": "SCMP_ACT_KILL"},
              {"names": ["openat"], "action": "SCMP_ACT_KILL_THREAD"},
              {"names": ["close"], "action": "SCMP_ACT_KILL_PROCESS"},
              {"names": ["stat"], "action": "SCMP_ACT_TRAP"},
              {"names": ["fstat"], "action": "SCMP_ACT_TRACE", "errnoRet": 7},
              {"names": ["lstat"], "action": "SCMP_ACT_LOG"},
              {"names": ["poll"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5},
              {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
               "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
              {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
               "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_LT"}, {"index": 1, "value": 9, "op": "SCMP_CMP_NE"}]}
            ]}"#;
        let from_spec = Profile::from_spec(&spec(json)).unwrap().unwrap();
        assert_eq!(from_spec, Profile::from_json(json.as_bytes()).unwrap());
        let program = program(json);
        assert_eq!((program.flags, program.listener), (flag::LOG, false));
        let verdicts = ["read", "open", "openat", "close", "stat", "fstat", "lstat", "poll", "mmap", "clone"]
            .map(|name| verdict(&program, name));
        let expected =
            [0x7fff_0000, 0, 0, 0x8000_0000, 0x3_0000, 0x7ff0_0007, 0x7ffc_0000, 0x5_0005, 0x5_0016];
        assert_eq!(verdicts[..9], expected);
        assert_eq!(verdicts[9], 0x7fff_0000);
    }

    #[test]
    fn only_listed_architectures_and_the_native_one_are_filtered() {
        let filter = |architectures: &str| {
            program(&format!(
                r#"{{"defaultAction": "SCMP_ACT_ALLOW", "architectures": [{architectures}],
                    "syscalls": [{{"names": ["read"], "action": "SCMP_ACT_ERRNO"}}]}}"#
            ))
        };
        let ask = |program: &Program, arch: Abi, nr| {
            run(program, &Data { nr, arch: arch.audit_arch(), args: [0; 6] })
        };
        let (allow, refuse, kill) = (0x7fff_0000, 0x5_0001, 0);
        let x32_read = super::super::X32_BIT;
        for (architectures, x86, x32) in [
            ("", kill, kill),
            (r#""SCMP_ARCH_X86_64""#, kill, kill),
            (r#""SCMP_ARCH_X86""#, refuse, kill),
            (r#""SCMP_ARCH_X86_64", "SCMP_ARCH_X32""#, kill, refuse),
            (r#""SCMP_ARCH_ARM", "SCMP_ARCH_X86""#, refuse, kill),
        ] {
            let program = filter(architectures);
            assert_eq!(ask(&program, Abi::X86_64, 0), refuse, "{architectures}");
            assert_eq!(ask(&program, Abi::X86_64, 1), allow, "{architectures}");
            assert_eq!(ask(&program, Abi::X86, 3), x86, "{architectures}");
            assert_eq!(ask(&program, Abi::X32, x32_read), x32, "{architectures}");
            assert_eq!(ask(&program, Abi::Aarch64, 63), kill, "{architectures}");
        }
    }

    #[test]
    fn a_listener_comes_with_its_flags_and_only_then() {
        let notify = r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/s", "flags": [FLAGS],
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}"#;
        let wait = r#""SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV""#;
        let asking = program(&notify.replace("FLAGS", wait));
        assert_eq!((asking.flags, asking.listener), (40, true));
        assert_eq!(verdict(&asking, "mkdir"), 0x7fc0_0000);
        assert_eq!(verdict(&asking, "rmdir"), 0x7fff_0000);
        let asking = program(&notify.replace("FLAGS", ""));
        assert_eq!((asking.flags, asking.listener), (8, true));
        let asking = program(&notify.replace(r#""flags": [FLAGS],"#, ""));
        assert_eq!((asking.flags, asking.listener), (12, true));
        let silent = program(&notify.replace("FLAGS", wait).replace("NOTIFY", "LOG"));
        assert_eq!((silent.flags, silent.listener), (0, false));
    }

    #[test]
    fn what_the_specification_forbids_is_refused() {
        let rule = |rest: &str| format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{{rest}}}]}}"#);
        let cases = [
            (
                r#"{"syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG"}]}"#.to_owned(),
                "defaultAction: missing",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}"#.to_owned(),
                "linux.seccomp.defaultErrnoRet: errno value specified for action SCMP_ACT_KILL",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 65536}"#.to_owned(),
                "linux.seccomp.defaultErrnoRet: errno 65536 is out of range",
            ),
            (r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#.to_owned(), "cannot be used as default action"),
            (
                rule(r#""names": ["read"], "action": "SCMP_ACT_LOG", "errnoRet": 1"#),
                "linux.seccomp.syscalls[0].errnoRet",
            ),
            (
                rule(r#""names": [], "action": "SCMP_ACT_LOG""#),
                "syscalls[0].names: must have at least one entry",
            ),
            (rule(r#""names": ["a", ""], "action": "SCMP_ACT_LOG""#), "syscalls[0].names: the empty string"),
            (rule(r#""names": ["mkdir"], "action": "SCMP_ACT_NOTIFY""#), "needs listenerPath"),
            (
                rule(r#""names": ["read", "write"], "action": "SCMP_ACT_NOTIFY""#),
                "cannot be used for the write",
            ),
            (
                rule(
                    r#""names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]"#,
                ),
                "linux.seccomp.syscalls[0].args[0].index: 6",
            ),
        ];
        for (json, want) in cases {
            let text = compile_spec(&spec(&json), &target()).unwrap_err().to_string();
            assert!(text.contains(want), "{json}: {text}");
        }
        assert!(compile_spec(&Seccomp::default(), &target()).unwrap().is_none());
    }

    #[test]
    fn a_profile_about_call_0_only_has_no_newest_call() {
        let program = program(
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}"#,
        );
        assert_eq!(verdict(&program, "openat2"), 0x5_0001);
    }
}
