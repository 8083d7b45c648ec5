//! A classic BPF interpreter for tests: as strict as the kernel's checker about what it accepts.

use super::bpf::Program;

/// `struct seccomp_data` without the instruction pointer.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Data {
    pub(super) nr: u32,
    pub(super) arch: u32,
    pub(super) args: [u64; 6],
}

/// Runs a program to its verdict; panics where the kernel would refuse to load it.
pub(super) fn run(program: &Program, data: &Data) -> u32 {
    let mut accumulator = 0_u32;
    let mut pc = 0;
    loop {
        let insn = program.instructions[pc];
        pc += 1;
        let branch = |yes: bool| usize::from(if yes { insn.jt } else { insn.jf });
        match insn.code {
            0x20 => accumulator = word(data, insn.k),
            0x54 => accumulator &= insn.k,
            0x05 => pc += insn.k as usize,
            0x15 => pc += branch(accumulator == insn.k),
            0x25 => pc += branch(accumulator > insn.k),
            0x35 => pc += branch(accumulator >= insn.k),
            0x45 => pc += branch(accumulator & insn.k != 0),
            0x06 => return insn.k,
            code => panic!("unexpected operation {code:#x}"),
        }
    }
}

fn word(data: &Data, offset: u32) -> u32 {
    match offset {
        0 => data.nr,
        4 => data.arch,
        16..=60 if offset.is_multiple_of(8) => data.args[(offset as usize - 16) / 8] as u32,
        16..=60 if offset.is_multiple_of(4) => (data.args[(offset as usize - 16) / 8] >> 32) as u32,
        _ => panic!("load from offset {offset}"),
    }
}
