//! From a profile to a program: pure, no allocation worth a cache (see [`compile`]).
//!
//! For every ABI the rules that take part become a function from numbers to outcomes: a verdict, or a block that looks
//! at arguments. The function is laid down as one decision tree per audit architecture. Where rules meet, the result
//! is libseccomp's: a rule without conditions beats those with conditions, the first such rule beats later ones, and a
//! rule that says what the default says is no rule. Among rules with conditions the first that holds wins.

use super::bpf::{Assembler, DATA_ARCH, DATA_NR, Next, Program, Test};
use super::profile::{Action, Comparison, Condition, Profile, Rule};
use super::syscalls::{self, Numbers};
use super::tree::{Run, decide};
use super::{Abi, NewerCalls, SeccompError, Target, X32_BIT, flag};

const ENOSYS: u16 = 38;
/// From this number on (pidfd_send_signal(2), Linux 5.1) all ABIs have the same numbers.
const FIRST_SHARED: u32 = 424;
/// Number a tracer writes to have a call skipped; x86_64 must not take it for x32.
const SKIPPED: u32 = u32::MAX;

/// Compiles a profile for a machine and a container.
///
/// Other ABIs than the native one and those the profile names beside it are killed, thread-wise, as libseccomp does.
/// Fails only when the program grows beyond what the kernel takes. Docker's default profile takes well under a
/// millisecond in a release build.
pub fn compile(profile: &Profile, target: &Target) -> Result<Program, SeccompError> {
    let abis = profile.abis(target.abi);
    let rules: Vec<ResolvedRule<'_>> =
        profile.rules.iter().filter(|rule| rule.applies(target)).map(resolve).collect();
    let mut asm = Assembler::default();
    let mut sections = Vec::new();
    // From the end: the native section is laid down last and lies nearest to the entry.
    for &abi in abis.iter().rev().filter(|&&abi| abi != Abi::X32) {
        let x32 = match abis.contains(&Abi::X32) {
            true if target.x32 => X32::Filtered,
            true => X32::Missing,
            false => X32::Killed,
        };
        let section = Section { profile, rules: &rules, newer_calls: target.newer_calls, abi, x32 };
        sections.push((abi, section.emit(&mut asm)));
    }
    let mut entry = Next::Ret(Action::KillThread.value());
    for (abi, section) in sections {
        entry = asm.branch(Test::Eq, abi.audit_arch(), section, entry);
    }
    let entry = asm.load(DATA_ARCH, entry);
    let listener = rules.iter().any(|resolved| resolved.rule.action == Action::Notify);
    asm.finish(entry, load_flags(profile.flags, listener), listener)
}

/// The kernel refuses a flag about listeners where there is none.
fn load_flags(asked: u32, listener: bool) -> u32 {
    if listener { asked | flag::NEW_LISTENER } else { asked & !flag::WAIT_KILLABLE_RECV }
}

/// A rule with the calls it names.
struct ResolvedRule<'a> {
    rule: &'a Rule,
    calls: Vec<Numbers>,
}

fn resolve(rule: &Rule) -> ResolvedRule<'_> {
    let mut next = 0;
    ResolvedRule {
        rule,
        calls: rule.names.iter().filter_map(|name| syscalls::find_from(&mut next, name)).collect(),
    }
}

/// The part of a program that handles one audit architecture.
struct Section<'a> {
    profile: &'a Profile,
    rules: &'a [ResolvedRule<'a>],
    newer_calls: NewerCalls,
    abi: Abi,
    x32: X32,
}

/// What becomes of x32 calls, which share the audit architecture of x86_64.
#[derive(Clone, Copy, PartialEq, Eq)]
enum X32 {
    /// The rules are for them, too.
    Filtered,
    /// They would be, but the kernel has none.
    Missing,
    /// The profile does not cover them.
    Killed,
}

/// A rule as it bears on one system call of one ABI.
struct Entry {
    number: u32,
    /// Position among all entries: keeps the order of the profile through sorting.
    order: usize,
    action: u32,
    /// All must hold.
    conditions: Vec<Condition>,
}

impl Section<'_> {
    fn emit(&self, asm: &mut Assembler) -> Next {
        let default = Next::Ret(self.profile.default_action.value());
        let mut points = Vec::new();
        self.points(asm, self.abi, &mut points);
        let mut runs = Runs { runs: vec![Run { start: 0, outcome: default }] };
        runs.set_points(&points, default);
        let enosys = Next::Ret(Action::Errno(ENOSYS).value());
        if let Some(newest) = self.newest(self.abi) {
            let end = if self.abi == Abi::X86_64 { X32_BIT - 1 } else { u32::MAX };
            runs.set(newest + 1, end, enosys, default);
        }
        if self.abi == Abi::X86_64 {
            match self.x32 {
                X32::Killed => runs.set(X32_BIT, SKIPPED - 1, Next::Ret(Action::KillThread.value()), default),
                X32::Missing => runs.set(X32_BIT, u32::MAX, enosys, default),
                X32::Filtered => {
                    points.clear();
                    self.points(asm, Abi::X32, &mut points);
                    runs.set_points(&points, default);
                    if let Some(newest) = self.newest(Abi::X32) {
                        runs.set(newest + 1, u32::MAX, enosys, default);
                    }
                }
            }
        }
        let runs = runs.with_shared_tail(asm);
        let tree = decide(asm, &runs);
        asm.load(DATA_NR, tree)
    }

    /// The greatest number that the rules name, if what is beyond it gets `ENOSYS`.
    fn newest(&self, abi: Abi) -> Option<u32> {
        let refuses = match self.profile.default_action {
            Action::Allow | Action::Log | Action::Trace(_) => false,
            Action::Errno(errno) => errno != ENOSYS,
            Action::KillProcess | Action::KillThread | Action::Trap | Action::Notify => true,
        };
        if self.newer_calls == NewerCalls::DefaultAction || !refuses {
            return None;
        }
        // A profile that names no call but number 0 has no newest one, as in runc.
        let numbers = self.rules.iter().flat_map(|rule| &rule.calls).filter_map(|numbers| numbers.on(abi));
        numbers.max().filter(|&newest| newest != 0)
    }

    /// The outcome of every number that a rule is about, in the order of numbers.
    fn points(&self, asm: &mut Assembler, abi: Abi, points: &mut Vec<(u32, Next)>) {
        let mut entries = self.entries(abi);
        entries.sort_unstable_by_key(|entry| (entry.number, entry.order));
        for group in entries.chunk_by(|a, b| a.number == b.number) {
            let outcome = match group.iter().find(|entry| entry.conditions.is_empty()) {
                Some(entry) => Next::Ret(entry.action),
                None => {
                    let default = Next::Ret(self.profile.default_action.value());
                    emit_arguments(asm, abi.is_wide(), group, default)
                }
            };
            points.push((group[0].number, outcome));
        }
    }

    fn entries(&self, abi: Abi) -> Vec<Entry> {
        let mut entries = Vec::new();
        for ResolvedRule { rule, calls } in self.rules {
            if rule.action == self.profile.default_action {
                continue;
            }
            let alternatives = alternatives(&rule.conditions);
            for &numbers in calls {
                for conditions in &alternatives {
                    add_entries(&mut entries, abi, numbers, rule.action.value(), conditions);
                }
            }
        }
        entries
    }
}

/// What a rule with these conditions adds for one call.
fn add_entries(entries: &mut Vec<Entry>, abi: Abi, numbers: Numbers, action: u32, conditions: &[Condition]) {
    let needed = |condition: &&Condition| !always_holds(condition, abi.is_wide());
    if let Some((number, call)) = syscalls::multiplexed(abi, numbers.name()) {
        // The multiplexer has the call in its first argument and a pointer to the others in the second.
        let is_call = Condition { index: 0, value: call.into(), value_two: 0, op: Comparison::Eq };
        let others = conditions.iter().filter(|c| c.index != 0).filter(needed);
        let conditions = std::iter::once(is_call).chain(others.copied()).collect();
        entries.push(Entry { number, order: entries.len(), action, conditions });
    }
    if let Some(number) = numbers.on(abi) {
        let conditions = conditions.iter().filter(needed).copied().collect();
        entries.push(Entry { number, order: entries.len(), action, conditions });
    }
}

/// The conjunctions a rule stands for: one, unless two of its conditions look at one argument; then each is a rule of
/// its own.
fn alternatives(conditions: &[Condition]) -> Vec<Vec<Condition>> {
    let mut seen = 0_u8;
    for condition in conditions {
        if seen & 1 << condition.index != 0 {
            return conditions.iter().map(|&c| vec![c]).collect();
        }
        seen |= 1 << condition.index;
    }
    vec![conditions.to_vec()]
}

fn always_holds(condition: &Condition, wide: bool) -> bool {
    let mask = if wide { condition.value } else { condition.value & u64::from(u32::MAX) };
    condition.op == Comparison::MaskedEq && mask == 0
}

/// Outcomes of numbers, as sorted runs that grow at the end.
struct Runs {
    runs: Vec<Run>,
}

impl Runs {
    /// Gives single numbers, sorted and behind all that was set before, their outcomes.
    fn set_points(&mut self, points: &[(u32, Next)], default: Next) {
        for &(number, outcome) in points {
            self.set(number, number, outcome, default);
        }
    }

    /// Gives `first..=last`, which lies behind all that was set before, an outcome; the rest keeps the default.
    fn set(&mut self, first: u32, last: u32, outcome: Next, default: Next) {
        self.start(first, outcome);
        if last != u32::MAX {
            self.start(last + 1, default);
        }
    }

    /// The runs with the numbers that mean the same on every ABI behind one label: equal trees are laid down once, so
    /// that the second ABI gets there for one instruction.
    fn with_shared_tail(self, asm: &mut Assembler) -> Vec<Run> {
        let Self { mut runs } = self;
        let first = runs.partition_point(|run| run.start <= FIRST_SHARED);
        let end = runs.partition_point(|run| run.start < X32_BIT);
        let mut tail = vec![Run { start: FIRST_SHARED, outcome: runs[first - 1].outcome }];
        tail.extend_from_slice(&runs[first..end]);
        let outcome = decide(asm, &tail);
        let from = runs.partition_point(|run| run.start < FIRST_SHARED);
        runs.splice(from..end, std::iter::once(Run { start: FIRST_SHARED, outcome }));
        runs
    }

    fn start(&mut self, start: u32, outcome: Next) {
        if self.runs.last().is_some_and(|run| run.start == start) {
            self.runs.pop();
        }
        self.runs.push(Run { start, outcome });
    }
}

/// Lays down the tests of one system call's arguments: the first entry whose conditions hold wins.
fn emit_arguments(asm: &mut Assembler, wide: bool, entries: &[Entry], default: Next) -> Next {
    let mut next = default;
    let mut end = entries.len();
    while end > 0 {
        // Neighbours that look at one argument in the order of its values become one tree.
        let mut first = end - 1;
        while first > 0 && same_ordered_argument(&entries[first - 1], &entries[end - 1]) {
            first -= 1;
        }
        let group = &entries[first..end];
        next = match group {
            [first, ..] if ordered_argument(first).is_some() => {
                let mut pieces = Pieces::new(next, wide);
                for entry in group.iter().rev() {
                    pieces.apply(&entry.conditions[0], Next::Ret(entry.action));
                }
                pieces.emit(asm, entries[end - 1].conditions[0].index)
            }
            _ => emit_conjunction(asm, wide, &group[0], next),
        };
        end = first;
    }
    next
}

/// The argument of an entry whose only condition is about the order of values.
fn ordered_argument(entry: &Entry) -> Option<u8> {
    match entry.conditions.as_slice() {
        [only] if only.op != Comparison::MaskedEq => Some(only.index),
        _ => None,
    }
}

fn same_ordered_argument(a: &Entry, b: &Entry) -> bool {
    ordered_argument(a).is_some() && ordered_argument(a) == ordered_argument(b)
}

fn emit_conjunction(asm: &mut Assembler, wide: bool, entry: &Entry, otherwise: Next) -> Next {
    let mut next = Next::Ret(entry.action);
    for condition in entry.conditions.iter().rev() {
        next = if condition.op == Comparison::MaskedEq {
            emit_masked(asm, wide, condition, next, otherwise)
        } else {
            let mut pieces = Pieces::new(otherwise, wide);
            pieces.apply(condition, next);
            pieces.emit(asm, condition.index)
        };
    }
    next
}

fn emit_masked(asm: &mut Assembler, wide: bool, condition: &Condition, yes: Next, no: Next) -> Next {
    let half = |asm: &mut Assembler, offset: u32, mask: u32, wanted: u32, yes: Next| {
        if mask == 0 {
            return yes;
        }
        let test = asm.branch(Test::Eq, wanted & mask, yes, no);
        let masked = if mask == u32::MAX { test } else { asm.and(mask, test) };
        asm.load(offset, masked)
    };
    let (mask, wanted) = (condition.value, condition.value_two);
    let next = half(asm, low_half(condition.index), mask as u32, wanted as u32, yes);
    if !wide {
        return next;
    }
    half(asm, low_half(condition.index) + 4, (mask >> 32) as u32, (wanted >> 32) as u32, next)
}

/// Offset of an argument's lower half in `struct seccomp_data`; all ABIs here are little-endian.
fn low_half(index: u8) -> u32 {
    16 + 8 * u32::from(index)
}

/// A function from the values of an argument to what comes next: sorted starts up to `max`.
struct Pieces {
    starts: Vec<(u64, Next)>,
    max: u64,
}

impl Pieces {
    /// All values lead to `outcome`; they are 64 bits wide or 32.
    fn new(outcome: Next, wide: bool) -> Self {
        Self { starts: vec![(0, outcome)], max: if wide { u64::MAX } else { u32::MAX.into() } }
    }

    /// Makes the values for which the condition holds lead to `outcome`.
    fn apply(&mut self, condition: &Condition, outcome: Next) {
        let value = condition.value & self.max;
        match condition.op {
            Comparison::Eq => self.set(value, value, outcome),
            Comparison::Ne => {
                self.set_below(value, outcome);
                self.set_above(value, outcome);
            }
            Comparison::Lt => self.set_below(value, outcome),
            Comparison::Le => self.set(0, value, outcome),
            Comparison::Gt => self.set_above(value, outcome),
            Comparison::Ge => self.set(value, self.max, outcome),
            // Not an order; callers keep it out.
            Comparison::MaskedEq => {}
        }
    }

    fn set_below(&mut self, value: u64, outcome: Next) {
        if let Some(last) = value.checked_sub(1) {
            self.set(0, last, outcome);
        }
    }

    fn set_above(&mut self, value: u64, outcome: Next) {
        if value < self.max {
            self.set(value + 1, self.max, outcome);
        }
    }

    fn set(&mut self, first: u64, last: u64, outcome: Next) {
        let index_of = |value: u64| self.starts.partition_point(|piece| piece.0 <= value);
        let behind = (last < self.max).then(|| (last + 1, self.starts[index_of(last + 1) - 1].1));
        let kept_before = self.starts.partition_point(|piece| piece.0 < first);
        let replaced_end = behind.map_or(self.starts.len(), |(start, _)| index_of(start));
        self.starts.splice(kept_before..replaced_end, std::iter::once((first, outcome)).chain(behind));
    }

    /// Lays the function down: a tree on the upper half, with trees on the lower half where that decides.
    fn emit(&self, asm: &mut Assembler, index: u8) -> Next {
        let halves =
            |&(start, outcome): &(u64, Next)| ((start >> 32) as u32, Run { start: start as u32, outcome });
        let mut upper: Vec<Run> = Vec::new();
        // The outcome of values between the last piece that was looked at and the next one.
        let mut carried = self.starts[0].1;
        for group in self.starts.chunk_by(|a, b| a.0 >> 32 == b.0 >> 32) {
            let (half, first) = halves(&group[0]);
            let mut runs: Vec<Run> = group.iter().map(|piece| halves(piece).1).collect();
            if first.start != 0 {
                runs.insert(0, Run { start: 0, outcome: carried });
            }
            let outcome = load_and_decide(asm, low_half(index), &runs);
            carried = group[group.len() - 1].1;
            if upper.last().is_some_and(|run| run.start == half) {
                upper.pop();
            }
            upper.push(Run { start: half, outcome });
            if half < u32::MAX {
                upper.push(Run { start: half + 1, outcome: carried });
            }
        }
        if self.max == u64::MAX {
            load_and_decide(asm, low_half(index) + 4, &upper)
        } else {
            upper[0].outcome
        }
    }
}

/// A tree on the word at `offset`, unless all its values agree.
fn load_and_decide(asm: &mut Assembler, offset: u32, runs: &[Run]) -> Next {
    if runs.iter().all(|run| run.outcome == runs[0].outcome) {
        return runs[0].outcome;
    }
    let tree = decide(asm, runs);
    asm.load(offset, tree)
}
