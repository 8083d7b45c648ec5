//! Classic BPF: one instruction, the program made of them, and an assembler that writes it from its end.
//!
//! Jumps go forward only, so code is laid down last instruction first and a label is known before it is used. The
//! assembler keeps each conditional jump within its 255 instructions by repeating a `ret` or adding a long jump, and lays
//! equal code that goes on alike down once: every instruction costs the kernel a quarter of a microsecond to load.
//! The encoding is `struct sock_filter` of bpf(4) and linux/filter.h.

use std::collections::BTreeMap;

use super::SeccompError;

/// Offset of the system call number in `struct seccomp_data`.
pub(super) const DATA_NR: u32 = 0;
/// Offset of the audit architecture.
pub(super) const DATA_ARCH: u32 = 4;

const LD_W_ABS: u16 = 0x20;
const AND_K: u16 = 0x54;
const JA: u16 = 0x05;
const RET_K: u16 = 0x06;
/// The longest conditional jump.
const REACH: usize = 255;
/// `BPF_MAXINSNS`.
const MAX_INSTRUCTIONS: usize = 4096;

/// One `struct sock_filter`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if true.
    pub jt: u8,
    /// Instructions to skip if false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// A filter that seccomp(2) can load.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// The instructions, at most 4096.
    pub instructions: Vec<Instruction>,
    /// What seccomp(2) is to be called with: `SECCOMP_FILTER_FLAG_*` of [`super::flag`].
    pub flags: u32,
    /// The call returns a listener, which must be handed to whom the profile names.
    pub listener: bool,
}

impl Program {
    /// The instructions as the kernel reads them: 8 bytes each, native byte order.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.instructions.len() * 8);
        for insn in &self.instructions {
            bytes.extend_from_slice(&insn.code.to_ne_bytes());
            bytes.extend_from_slice(&[insn.jt, insn.jf]);
            bytes.extend_from_slice(&insn.k.to_ne_bytes());
        }
        bytes
    }
}

/// Where control goes next: a verdict, or code that stands already.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Next {
    /// Return this action.
    Ret(u32),
    /// Go on there.
    At(Label),
}

/// A place in the code, counted from the program's end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Label(usize);

/// The test of a conditional jump on the accumulator.
#[derive(Clone, Copy)]
pub(super) enum Test {
    /// `A == k`
    Eq = 0x15,
    /// `A >= k`, unsigned.
    Ge = 0x35,
}

/// Writes a program backwards.
#[derive(Default)]
pub(super) struct Assembler {
    /// The code, last instruction first.
    reversed: Vec<Instruction>,
    /// `ret` instructions laid down so far; later ones are nearer to what comes next.
    rets: Vec<(u32, Label)>,
    /// Where code stands that does this: operation, operand, what comes next if true and if not.
    known: BTreeMap<(u16, u32, Next, Next), Label>,
}

impl Assembler {
    /// `if test(A, k) goto yes else goto no`.
    pub(super) fn branch(&mut self, test: Test, k: u32, yes: Next, no: Next) -> Next {
        if yes == no {
            return yes;
        }
        let key = (test as u16, k, yes, no);
        if let Some(&label) = self.known.get(&key) {
            return Next::At(label);
        }
        // Reaching `no` may take one more instruction, which moves the jump away from `yes`.
        let yes = self.within_reach(yes, 1);
        let no = self.within_reach(no, 0);
        let here = self.reversed.len();
        let skip = |label: Label| (here - label.0 - 1) as u8;
        self.push(Instruction { code: test as u16, jt: skip(yes), jf: skip(no), k }, key)
    }

    /// `A = data[offset]`, then `next`.
    pub(super) fn load(&mut self, offset: u32, next: Next) -> Next {
        self.straight(LD_W_ABS, offset, next)
    }

    /// `A &= mask`, then `next`.
    pub(super) fn and(&mut self, mask: u32, next: Next) -> Next {
        self.straight(AND_K, mask, next)
    }

    /// The finished program, which starts at `entry`.
    pub(super) fn finish(mut self, entry: Next, flags: u32, listener: bool) -> Result<Program, SeccompError> {
        self.fall_into(entry);
        let count = self.reversed.len();
        if count > MAX_INSTRUCTIONS {
            return Err(SeccompError::TooLong { count });
        }
        self.reversed.reverse();
        Ok(Program { instructions: self.reversed, flags, listener })
    }

    /// An instruction with one successor.
    fn straight(&mut self, code: u16, k: u32, next: Next) -> Next {
        let key = (code, k, next, next);
        if let Some(&label) = self.known.get(&key) {
            return Next::At(label);
        }
        self.fall_into(next);
        self.push(Instruction { code, jt: 0, jf: 0, k }, key)
    }

    fn push(&mut self, insn: Instruction, key: (u16, u32, Next, Next)) -> Next {
        let here = Label(self.reversed.len());
        self.reversed.push(insn);
        self.known.insert(key, here);
        Next::At(here)
    }

    /// Makes what is laid down next continue at `next` without a jump.
    fn fall_into(&mut self, next: Next) {
        match next {
            Next::At(label) if label.0 + 1 == self.reversed.len() => {}
            Next::At(label) => {
                self.long_jump(label);
            }
            Next::Ret(action) => {
                self.ret(action);
            }
        }
    }

    /// A label for `next` that a conditional jump can reach after `more` further instructions.
    fn within_reach(&mut self, next: Next, more: usize) -> Label {
        let reachable = |label: Label, len: usize| len + more - label.0 - 1 <= REACH;
        let len = self.reversed.len();
        match next {
            Next::At(label) if reachable(label, len) => label,
            Next::At(label) => self.long_jump(label),
            Next::Ret(action) => {
                let known = self.rets.iter().rev().find(|(value, _)| *value == action);
                match known {
                    Some(&(_, label)) if reachable(label, len) => label,
                    _ => self.ret(action),
                }
            }
        }
    }

    fn long_jump(&mut self, to: Label) -> Label {
        let here = self.reversed.len();
        self.reversed.push(Instruction { code: JA, jt: 0, jf: 0, k: (here - to.0 - 1) as u32 });
        Label(here)
    }

    fn ret(&mut self, action: u32) -> Label {
        let here = Label(self.reversed.len());
        self.reversed.push(Instruction { code: RET_K, jt: 0, jf: 0, k: action });
        self.rets.push((action, here));
        here
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::emulate::{Data, run};

    #[test]
    fn long_distances_are_bridged() {
        let mut asm = Assembler::default();
        let far = asm.load(DATA_ARCH, Next::Ret(7));
        // A chain of 600 tests, each of which can also leave for the two far ends.
        let mut entry = Next::Ret(9);
        for k in (0..600).rev() {
            entry = asm.branch(Test::Eq, k, if k % 2 == 0 { far } else { Next::Ret(8) }, entry);
        }
        let entry = asm.load(DATA_NR, entry);
        let program = asm.finish(entry, 0, false).unwrap();
        for nr in 0..602 {
            let want = if nr >= 600 { 9 } else { 7 + nr % 2 };
            assert_eq!(run(&program, &Data { nr, ..Data::default() }), want, "{nr}");
        }
    }

    #[test]
    fn bytes_are_sock_filters() {
        let program = Program {
            instructions: vec![Instruction { code: 0x15, jt: 1, jf: 2, k: 0x0102_0304 }],
            flags: 0,
            listener: false,
        };
        let mut want = 0x15_u16.to_ne_bytes().to_vec();
        want.extend([1, 2]);
        want.extend(0x0102_0304_u32.to_ne_bytes());
        assert_eq!(program.to_bytes(), want);
    }

    #[test]
    fn too_long_a_program_is_refused() {
        let mut asm = Assembler::default();
        let mut entry = Next::Ret(0);
        for k in 0..5000 {
            entry = asm.branch(Test::Eq, k, Next::Ret(1), entry);
        }
        assert!(matches!(asm.finish(entry, 0, false), Err(SeccompError::TooLong { .. })));
    }
}
