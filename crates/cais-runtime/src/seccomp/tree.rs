//! Decision trees: a function from 32-bit values to what comes next, as few instructions and as shallow as is cheap.
//!
//! Input are runs: sorted starts, each with the outcome of all values up to the next start. A run of one value
//! between two that agree becomes an equality test on top of them; what is left is split by `>=`, halving the weight.

use super::bpf::{Assembler, Next, Test};

/// Values from `start` up to the next run have this outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Run {
    pub(super) start: u32,
    pub(super) outcome: Next,
}

/// Equality tests in front of one outcome; more would make the tree deeper, fewer longer.
const EXCEPTIONS: usize = 3;

/// A stretch of values with one outcome, but for a few single values.
struct Stretch {
    start: u32,
    base: Next,
    exceptions: Vec<(u32, Next)>,
    weight: u32,
}

/// Lays down code that finds the outcome of the accumulator's value. `runs` is sorted and covers all values that get
/// here.
pub(super) fn decide(asm: &mut Assembler, runs: &[Run]) -> Next {
    let stretches = stretches(&merged(runs));
    emit(asm, &stretches)
}

/// Neighbours with one outcome as one run.
fn merged(runs: &[Run]) -> Vec<Run> {
    let mut merged: Vec<Run> = Vec::with_capacity(runs.len());
    for &run in runs {
        if merged.last().is_none_or(|last| last.outcome != run.outcome) {
            merged.push(run);
        }
    }
    merged
}

fn stretches(runs: &[Run]) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut first = 0;
    while first < runs.len() {
        let mut best = stretch_with_base(runs, first, runs[first].outcome);
        if is_single(runs, first) && first + 1 < runs.len() {
            // The first run may itself be the exception from what follows it.
            let other = stretch_with_base(runs, first, runs[first + 1].outcome);
            if other.1 > best.1 {
                best = other;
            }
        }
        let (stretch, end) = best;
        stretches.push(stretch);
        first = end;
    }
    stretches
}

/// The longest stretch from `first` on with this base, and the index of the run behind it.
fn stretch_with_base(runs: &[Run], first: usize, base: Next) -> (Stretch, usize) {
    let mut exceptions = Vec::new();
    let mut weight = 0;
    let mut index = first;
    while let Some(run) = runs.get(index) {
        if run.outcome != base {
            if !is_single(runs, index) || exceptions.len() == EXCEPTIONS {
                break;
            }
            exceptions.push((run.start, run.outcome));
        }
        weight += weight_of(runs, index);
        index += 1;
    }
    (Stretch { start: runs[first].start, base, exceptions, weight }, index)
}

fn is_single(runs: &[Run], index: usize) -> bool {
    match runs.get(index + 1) {
        Some(next) => next.start - runs[index].start == 1,
        None => runs[index].start == u32::MAX,
    }
}

/// How often a run is expected to be asked for: once for each of its values among the numbers that kernels use now.
fn weight_of(runs: &[Run], index: usize) -> u32 {
    const IN_USE: u32 = 512;
    let end = runs.get(index + 1).map_or(u32::MAX, |next| next.start);
    end.min(IN_USE).saturating_sub(runs[index].start).max(1)
}

fn emit(asm: &mut Assembler, stretches: &[Stretch]) -> Next {
    if let [only] = stretches {
        let mut next = only.base;
        for &(value, outcome) in only.exceptions.iter().rev() {
            next = asm.branch(Test::Eq, value, outcome, next);
        }
        return next;
    }
    let total: u32 = stretches.iter().map(|s| s.weight).sum();
    let mut left = 0;
    let mut split = 1;
    let mut imbalance = u32::MAX;
    for (index, stretch) in stretches.iter().enumerate().take(stretches.len() - 1) {
        left += stretch.weight;
        let difference = left.abs_diff(total - left);
        if difference < imbalance {
            imbalance = difference;
            split = index + 1;
        }
    }
    let above = emit(asm, &stretches[split..]);
    let below = emit(asm, &stretches[..split]);
    asm.branch(Test::Ge, stretches[split].start, above, below)
}
