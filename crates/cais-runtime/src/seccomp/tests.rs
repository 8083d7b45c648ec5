//! Verdicts compared with libseccomp's: every number, architecture and boundary value, for the default profile and for
//! profiles made at random.

use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Stdio};

use super::bpf::{Instruction, Program};
use super::emulate::{Data, run};
use super::profile::{Action, Comparison, Condition, Filter, Profile, Rule};
use super::{Abi, NewerCalls, Target, X32_BIT, compile, syscalls};
use crate::capability::{CapSet, Capability};

mod random;

const X86_64: u32 = 0xc000_003e;
const ABIS: [Abi; 5] = [Abi::X86_64, Abi::X86, Abi::X32, Abi::Aarch64, Abi::Arm];
const ARCHES: [u32; 7] = [X86_64, 0x4000_0003, 0xc000_00b7, 0x4000_0028, 0xc000_0016, 0, u32::MAX];

/// libseccomp behind a small program, built for the test.
struct Oracle {
    dir: tempfile::TempDir,
}

impl Oracle {
    /// `None`, after saying so, where libseccomp's headers or a compiler are missing.
    fn build() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/seccomp_oracle.c");
        let probe = Command::new("gcc").args(["-E", "-include", "seccomp.h", "-xc", "/dev/null"]).output();
        if !probe.is_ok_and(|out| out.status.success()) {
            println!("skipped: no gcc with libseccomp-dev");
            return None;
        }
        let oracle = Self { dir };
        let built =
            Command::new("gcc").args([source, "-o"]).arg(oracle.path()).arg("-lseccomp").status().unwrap();
        assert!(built.success(), "the oracle does not compile");
        Some(oracle)
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("oracle")
    }

    /// The answers to a conversation, one per line.
    fn ask(&self, questions: &str) -> Vec<String> {
        let mut child =
            Command::new(self.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let questions = questions.to_owned();
        let writer = std::thread::spawn(move || stdin.write_all(questions.as_bytes()).unwrap());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// The number of every name on an ABI, as libseccomp has it; `None` for names it does not know.
    fn numbers(&self, abi: Abi) -> HashMap<&'static str, Option<i32>> {
        let questions: String =
            syscalls::names().map(|name| format!("name {} {name}\n", token(abi))).collect();
        let answers = self.ask(&questions);
        let number = |line: &String| line.parse().ok().filter(|&n| n != -1);
        syscalls::names().zip(answers.iter().map(number)).collect()
    }

    /// The names whose numbers on all ABIs are in this libseccomp, which may be older than the table.
    fn known(&self) -> Vec<&'static str> {
        let tables = ABIS.map(|abi| (abi, self.numbers(abi)));
        let known = |name: &&'static str| {
            tables.iter().all(|(abi, numbers)| match numbers[name] {
                None => false,
                Some(theirs) if theirs >= 0 => true,
                Some(_) => {
                    let ours = syscalls::find(name).unwrap().on(*abi);
                    ours.is_none() || syscalls::multiplexed(*abi, name).is_some()
                }
            })
        };
        syscalls::names().filter(known).collect()
    }

    fn filters(&self, profiles: &[(&Profile, Target)]) -> Vec<Program> {
        let questions: String =
            profiles.iter().map(|(profile, target)| conversation(profile, target)).collect();
        self.ask(&questions).iter().map(|line| parse_program(line)).collect()
    }
}

/// The `SCMP_ARCH_*` token of an ABI.
fn token(abi: Abi) -> u32 {
    if abi == Abi::X32 { 0x4000_003e } else { abi.audit_arch() }
}

/// The lines that make libseccomp build a profile's filter the way runc does.
fn conversation(profile: &Profile, target: &Target) -> String {
    let mut lines = format!("filter {}\n", profile.default_action.value());
    let abis = profile.abis(target.abi);
    for &abi in abis.iter().filter(|&&abi| Some(abi) != Abi::NATIVE) {
        lines += &format!("arch {}\n", token(abi));
    }
    if Some(target.abi) != Abi::NATIVE {
        lines += &format!("noarch {}\n", token(Abi::NATIVE.unwrap()));
    }
    for rule in
        profile.rules.iter().filter(|rule| rule.applies(target) && rule.action != profile.default_action)
    {
        let mut indexes: Vec<u8> = rule.conditions.iter().map(|c| c.index).collect();
        indexes.sort_unstable();
        let repeated = indexes.windows(2).any(|pair| pair[0] == pair[1]);
        for name in &rule.names {
            let words: Vec<String> = rule.conditions.iter().map(condition_words).collect();
            let rules = if repeated { words } else { vec![words.concat()] };
            for words in rules {
                lines += &format!("rule {} {name}{words}\n", rule.action.value());
            }
        }
    }
    lines + "end\n"
}

fn condition_words(condition: &Condition) -> String {
    let op = match condition.op {
        Comparison::Ne => 1,
        Comparison::Lt => 2,
        Comparison::Le => 3,
        Comparison::Eq => 4,
        Comparison::Ge => 5,
        Comparison::Gt => 6,
        Comparison::MaskedEq => 7,
    };
    format!(" {} {op} {} {}", condition.index, condition.value, condition.value_two)
}

fn parse_program(hex: &str) -> Program {
    let bytes: Vec<u8> = hex
        .as_bytes()
        .chunks(2)
        .map(|c| u8::from_str_radix(str::from_utf8(c).unwrap(), 16).unwrap())
        .collect();
    let instruction = |c: &[u8]| Instruction {
        code: u16::from_ne_bytes([c[0], c[1]]),
        jt: c[2],
        jf: c[3],
        k: u32::from_ne_bytes([c[4], c[5], c[6], c[7]]),
    };
    Program { instructions: bytes.chunks(8).map(instruction).collect(), flags: 0, listener: false }
}

fn numbers() -> Vec<u32> {
    let mut numbers: Vec<u32> =
        (0..=1023).chain(X32_BIT..=X32_BIT + 1023).chain(0xf_0000..0xf_0008).collect();
    for edge in [X32_BIT, X32_BIT << 1, 3 << 30, 1 << 16] {
        numbers.extend([edge - 1, edge, edge + 1]);
    }
    numbers.extend([u32::MAX - 1, u32::MAX]);
    numbers
}

/// Argument vectors around every value that the rules of `names` compare with.
fn boundary_arguments(rules: &[&Rule]) -> Vec<[u64; 6]> {
    let mut all = vec![[0; 6], [u64::MAX; 6]];
    for rule in rules {
        let mut vectors = vec![[0; 6], [u64::MAX; 6]];
        for condition in &rule.conditions {
            let values = [condition.value, condition.value_two, condition.value & condition.value_two];
            let mut candidates = vec![0, u64::from(u32::MAX), u64::MAX];
            for v in values {
                candidates.extend([v, v.wrapping_sub(1), v.wrapping_add(1), !v, v ^ 1 << 32, v ^ 1 << 63]);
                candidates.extend([
                    v & u64::from(u32::MAX),
                    v.wrapping_add(1 << 32),
                    v.wrapping_sub(1 << 32),
                ]);
            }
            candidates.sort_unstable();
            candidates.dedup();
            // Later conditions of a rule meet only some of the earlier ones' vectors.
            vectors.truncate(40);
            vectors = vectors
                .iter()
                .flat_map(|vector| {
                    candidates.iter().map(|&candidate| {
                        let mut vector = *vector;
                        vector[usize::from(condition.index)] = candidate;
                        vector
                    })
                })
                .collect();
        }
        all.extend(vectors);
    }
    // The first argument chooses the call behind socketcall and ipc.
    all.extend((0..32).map(|call| [call, 0, 0, 0, 0, 0]));
    all.sort_unstable();
    all.dedup();
    all
}

/// Compares a program's verdicts with the expected ones over the whole domain.
fn assert_same(profile: &Profile, ours: &Program, expected: impl Fn(&Data) -> u32) {
    // Only calls with conditions are asked with more than two argument vectors.
    let mut conditional: HashMap<(u32, u32), Vec<&Rule>> = HashMap::new();
    for rule in profile.rules.iter().filter(|rule| !rule.conditions.is_empty()) {
        for name in &rule.names {
            for abi in ABIS {
                let direct = syscalls::find(name).and_then(|numbers| numbers.on(abi));
                let multiplexed = syscalls::multiplexed(abi, name).map(|(number, _)| number);
                for number in direct.into_iter().chain(multiplexed) {
                    conditional.entry((abi.audit_arch(), number)).or_default().push(rule);
                }
            }
        }
    }
    let plain = [[0; 6], [u64::MAX; 6]];
    for arch in ARCHES {
        for nr in numbers() {
            let vectors = match conditional.get(&(arch, nr)) {
                Some(rules) => boundary_arguments(rules),
                None if nr == 102 || nr == 117 => boundary_arguments(&[]),
                None => plain.to_vec(),
            };
            for args in vectors {
                let data = Data { nr, arch, args };
                let want = expected(&data);
                let got = run(ours, &data);
                let rules = conditional.get(&(arch, nr));
                assert_eq!(got, want, "{data:x?}, default {:x?}, {rules:x?}", profile.default_action);
            }
        }
    }
}

fn target(caps: CapSet) -> Target {
    Target { abi: Abi::X86_64, caps, kernel: (6, 1), newer_calls: NewerCalls::DefaultAction, x32: true }
}

/// The profile without the names that this libseccomp is too old to know.
fn restricted(mut profile: Profile, known: &[&str]) -> Profile {
    for rule in &mut profile.rules {
        rule.names.retain(|name| known.contains(&name.as_ref()));
    }
    profile
}

fn capability_sets() -> Vec<CapSet> {
    let alone = [
        Capability::SYS_ADMIN,
        Capability::SYS_PTRACE,
        Capability::SYS_TIME,
        Capability::BPF,
        Capability::SYSLOG,
    ];
    let mut sets =
        vec![CapSet::EMPTY, CapSet::DEFAULT, CapSet::ALL, CapSet::ALL.without(Capability::SYS_ADMIN)];
    sets.extend(alone.map(|cap| CapSet::DEFAULT.with(cap)));
    sets
}

#[test]
fn table_agrees_with_libseccomp() {
    let Some(oracle) = Oracle::build() else { return };
    let mut same = 0;
    for abi in ABIS {
        for (name, theirs) in oracle.numbers(abi) {
            let ours = syscalls::find(name).unwrap().on(abi);
            // Negative numbers are libseccomp's names for calls that an ABI lacks or multiplexes.
            match theirs {
                Some(theirs) if theirs >= 0 => {
                    assert_eq!(ours, Some(theirs as u32), "{name} on {abi:?}");
                    same += 1;
                }
                // Direct numbers that an old libseccomp hides behind a multiplexer's.
                Some(_) if syscalls::multiplexed(abi, name).is_some() => {}
                // Calls that an ABI got later than others did.
                Some(_) => assert!(ours.is_none_or(|n| n & !X32_BIT > 400), "{name} on {abi:?}"),
                None => {}
            }
        }
    }
    assert!(same > 1500, "only {same} numbers compared");
}

#[test]
fn default_profile_equals_libseccomps_filter() {
    if Abi::NATIVE != Some(Abi::X86_64) {
        println!("skipped: the oracle's native architecture is not x86_64");
        return;
    }
    let Some(oracle) = Oracle::build() else { return };
    let known = oracle.known();
    let profile = restricted(Profile::docker_default(), &known);
    let mut targets: Vec<Target> = capability_sets().into_iter().map(target).collect();
    targets.push(Target { kernel: (4, 7), ..target(CapSet::DEFAULT) });
    targets.push(Target { abi: Abi::Aarch64, ..target(CapSet::DEFAULT) });
    let questions: Vec<(&Profile, Target)> = targets.iter().map(|&target| (&profile, target)).collect();
    let filters = oracle.filters(&questions);
    assert_eq!(filters.len(), targets.len());
    for (target, theirs) in targets.iter().zip(&filters) {
        let ours = compile(&profile, target).unwrap();
        println!("{} instructions, libseccomp's {}", ours.instructions.len(), theirs.instructions.len());
        assert_same(&profile, &ours, |data| run(theirs, data));
        // The same for a kernel without x32.
        let ours = compile(&profile, &Target { x32: false, ..*target }).unwrap();
        assert_same(&profile, &ours, |data| {
            match target.abi == Abi::X86_64 && data.arch == X86_64 && data.nr >= X32_BIT {
                true => Action::Errno(38).value(),
                false => run(theirs, data),
            }
        });
        // runc's stub in front of libseccomp's filter, as a function.
        let ours = compile(&profile, &Target { newer_calls: NewerCalls::Enosys, ..*target }).unwrap();
        let newest = |abi| {
            let applying = profile.rules.iter().filter(|rule| rule.applies(target));
            applying
                .flat_map(|rule| &rule.names)
                .filter_map(|name| syscalls::find(name)?.on(abi))
                .max()
                .unwrap()
        };
        let newest: HashMap<u32, Vec<(u32, u32)>> = match target.abi {
            Abi::X86_64 => HashMap::from([
                (X86_64, vec![(newest(Abi::X86_64), X32_BIT - 1), (newest(Abi::X32), u32::MAX)]),
                (Abi::X86.audit_arch(), vec![(newest(Abi::X86), u32::MAX)]),
            ]),
            _ => HashMap::from([
                (Abi::Aarch64.audit_arch(), vec![(newest(Abi::Aarch64), u32::MAX)]),
                (Abi::Arm.audit_arch(), vec![(newest(Abi::Arm), u32::MAX)]),
            ]),
        };
        assert_same(&profile, &ours, |data| {
            let beyond = newest.get(&data.arch).into_iter().flatten();
            match beyond.into_iter().any(|&(newest, last)| data.nr > newest && data.nr <= last) {
                true => Action::Errno(38).value(),
                false => run(theirs, data),
            }
        });
    }
}
