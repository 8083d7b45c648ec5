//! Profiles made at random, compared with libseccomp's filter and with what their rules say.

use super::*;

/// A generator of reproducible randomness (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// How dense a random profile is.
#[derive(Clone, Copy)]
enum Density {
    /// At most one rule with conditions for a name, and those on different arguments. libseccomp's tree goes wrong
    /// where several 64-bit comparisons of one argument meet, so it can be an oracle only for these.
    Sparse,
    /// Anything.
    Dense,
}

/// A random profile about these names.
fn random_profile(random: &mut Random, names: &[&'static str], density: Density) -> Profile {
    // The last one is no default.
    const ACTIONS: [Action; 8] = [
        Action::Allow,
        Action::Errno(1),
        Action::Errno(38),
        Action::KillProcess,
        Action::Trap,
        Action::Trace(3),
        Action::Log,
        Action::Notify,
    ];
    const OPS: [Comparison; 7] = [
        Comparison::Eq,
        Comparison::Ne,
        Comparison::Lt,
        Comparison::Le,
        Comparison::Ge,
        Comparison::Gt,
        Comparison::MaskedEq,
    ];
    const VALUES: [u64; 12] =
        [0, 1, 2, 38, 40, 0x7e02_0000, 0xffff_ffff, 1 << 32, (1 << 32) + 5, 5 << 32, 1 << 63, u64::MAX];
    let architectures = [vec![], vec![Abi::X86], vec![Abi::X32], vec![Abi::X86, Abi::X32]];
    let mut used = Vec::new();
    let mut rules = Vec::new();
    for _ in 0..random.below(40) {
        let name = names[random.below(names.len())];
        let mut conditions: Vec<Condition> = (0..random.below(4))
            .map(|_| Condition {
                index: random.below(3) as u8,
                value: random.pick(&VALUES),
                value_two: random.pick(&VALUES),
                op: random.pick(&OPS),
            })
            .collect();
        if matches!(density, Density::Sparse) {
            conditions.sort_by_key(|c| c.index);
            conditions.dedup_by_key(|c| c.index);
            // It refuses two rules about one multiplexed call.
            let multiplexed = syscalls::multiplexed(Abi::X86, name).is_some();
            if (multiplexed || !conditions.is_empty()) && used.contains(&name) {
                continue;
            }
            used.push(name);
        }
        rules.push(Rule {
            names: vec![name.into()],
            action: random.pick(&ACTIONS),
            conditions,
            includes: Filter::default(),
            excludes: Filter::default(),
        });
    }
    Profile {
        default_action: random.pick(&ACTIONS[..7]),
        architectures: architectures[random.below(4)].clone(),
        arch_map: vec![],
        flags: 0,
        rules,
    }
}

/// Few names, so that rules meet; among them multiplexed ones.
const FEW: [&str; 9] =
    ["read", "write", "socket", "bind", "semop", "clone", "personality", "waitpid", "rt_sigaction"];

#[test]
fn random_profiles_equal_libseccomps_filters() {
    if Abi::NATIVE != Some(Abi::X86_64) {
        println!("skipped: the oracle's native architecture is not x86_64");
        return;
    }
    let Some(oracle) = Oracle::build() else { return };
    let all = oracle.known();
    let mut random = Random(0x1234_5678_9abc_def1);
    let profiles: Vec<Profile> = (0..60)
        .map(|i| random_profile(&mut random, if i % 2 == 0 { &all } else { &FEW }, Density::Sparse))
        .collect();
    let target = target(CapSet::DEFAULT);
    let questions: Vec<(&Profile, Target)> = profiles.iter().map(|profile| (profile, target)).collect();
    let filters = oracle.filters(&questions);
    assert_eq!(filters.len(), profiles.len());
    for (profile, theirs) in profiles.iter().zip(&filters) {
        assert_same(profile, &compile(profile, &target).unwrap(), |data| run(theirs, data));
    }
}

/// What the rules say, read one by one: the definition that the compiler is held to.
fn verdict(profile: &Profile, data: &Data) -> u32 {
    let default = profile.default_action.value();
    let kill = Action::KillThread.value();
    let is_x32 = data.nr >= X32_BIT;
    let abi = match data.arch {
        X86_64 if is_x32 && profile.architectures.contains(&Abi::X32) => Abi::X32,
        X86_64 if is_x32 => return if data.nr == u32::MAX { default } else { kill },
        X86_64 => Abi::X86_64,
        0x4000_0003 if profile.architectures.contains(&Abi::X86) => Abi::X86,
        _ => return kill,
    };
    let mut first = None;
    for rule in profile.rules.iter().filter(|rule| rule.action != profile.default_action) {
        let repeated = rule
            .conditions
            .iter()
            .enumerate()
            .any(|(i, a)| rule.conditions[..i].iter().any(|b| a.index == b.index));
        for name in &rule.names {
            let direct = syscalls::find(name).unwrap().on(abi) == Some(data.nr);
            let multiplexed = syscalls::multiplexed(abi, name)
                .is_some_and(|(nr, call)| nr == data.nr && call == data.args[0] as u32);
            let holds = |c: &Condition| {
                (multiplexed && c.index == 0) || holds(abi, c, data.args[usize::from(c.index)])
            };
            let matches = match repeated {
                true => rule.conditions.iter().any(holds),
                false => rule.conditions.iter().all(holds),
            };
            let always = |c: &Condition| c.op == Comparison::MaskedEq && width(abi, c.value) == 0;
            let unconditional = match repeated {
                true => rule.conditions.iter().any(always),
                false => rule.conditions.iter().all(always),
            };
            if direct && unconditional {
                return rule.action.value();
            }
            if first.is_none() && matches && (direct || multiplexed) {
                first = Some(rule.action.value());
            }
        }
    }
    first.unwrap_or(default)
}

fn width(abi: Abi, value: u64) -> u64 {
    if abi == Abi::X86_64 { value } else { value & 0xffff_ffff }
}

fn holds(abi: Abi, condition: &Condition, argument: u64) -> bool {
    let (argument, value) = (width(abi, argument), width(abi, condition.value));
    match condition.op {
        Comparison::Eq => argument == value,
        Comparison::Ne => argument != value,
        Comparison::Lt => argument < value,
        Comparison::Le => argument <= value,
        Comparison::Ge => argument >= value,
        Comparison::Gt => argument > value,
        Comparison::MaskedEq => argument & value == condition.value_two & value,
    }
}

#[test]
fn dense_profiles_mean_what_their_rules_say() {
    let mut random = Random(0x0bad_cafe_dead_beef);
    for _ in 0..10 {
        let profile = random_profile(&mut random, &FEW, Density::Dense);
        let ours = compile(&profile, &target(CapSet::DEFAULT)).unwrap();
        assert_same(&profile, &ours, |data| verdict(&profile, data));
    }
}
