//! Device rules of v2: an eBPF program, attached to the group (`BPF_PROG_TYPE_CGROUP_DEVICE`, linux/bpf.h).
//!
//! v2 has no `devices.allow`. The program begins with all the access that is asked for as undecided and goes through
//! the rules from the last to the first: one that denies any undecided part ends it with no, one that allows takes its
//! part away, and when nothing is left the answer is yes. What no rule is about is allowed, as a v1 group begins. Unlike
//! v1, whose kernel ignores a rule that would punch a hole into a wider one, this does what the list says.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use cais_sys::bpf::{attach_device_program, load_device_program};

use super::CgroupError;
use super::limits::effective_rules;
use crate::device::{DeviceKind, DeviceRule};

/// Told when this kernel or its owner does not let us attach programs.
const LEFT_OUT: &str = "device rules are not enforced: attaching a program to a cgroup is not permitted here";

/// Makes the kernel ask the rules for every device that a process of the group opens or makes.
pub(super) fn guard(
    group: &Path,
    rules: &[DeviceRule],
    warnings: &mut Vec<String>,
) -> Result<(), CgroupError> {
    let rules = effective_rules(rules);
    if rules.is_empty() {
        return Ok(());
    }
    let attach = || {
        let program = load_device_program(&assemble(rules))?;
        attach_device_program(File::open(group)?.as_fd(), program.as_fd())
    };
    match attach() {
        // Inside a container that may not: its own cgroup guards the devices.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            warnings.push(LEFT_OUT.to_owned());
            Ok(())
        }
        result => result.map_err(|source| CgroupError::Devices { path: group.to_owned(), source }),
    }
}

// Values of linux/bpf.h.
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;
const ALL: i32 = MKNOD | READ | WRITE;
const BLOCK: i32 = 1;
const CHAR: i32 = 2;

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb7;
const MOVE_REGISTER: u8 = 0xbf;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP: u8 = 0x05;
const JUMP_BITS: u8 = 0x45;
const JUMP_NOT_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

// What the registers hold.
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// One instruction in the machine's byte order.
fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    let registers =
        if cfg!(target_endian = "little") { destination | source << 4 } else { source | destination << 4 };
    let mut bytes = [code, registers, 0, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
    bytes[4..].copy_from_slice(&immediate.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

/// The program; see the module's page.
fn assemble(rules: &[DeviceRule]) -> Vec<u64> {
    // struct bpf_cgroup_dev_ctx: type in the lower half of the first word, access in the upper; major; minor.
    let mut program = vec![
        instruction(LOAD_WORD, TYPE, CONTEXT, 0, 0),
        instruction(MOVE_REGISTER, ACCESS, TYPE, 0, 0),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(AND, TYPE, 0, 0, 0xffff),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        program.extend(block(rule));
        if rule.is_everything() {
            // The verifier refuses code that cannot be reached.
            return program;
        }
    }
    program.extend([instruction(MOVE, 0, 0, 0, 1), instruction(EXIT, 0, 0, 0, 0)]);
    program
}

/// The part for one rule; control leaves it at its end when nothing is decided.
fn block(rule: &DeviceRule) -> Vec<u64> {
    let kind = match rule.kind {
        DeviceKind::All => None,
        DeviceKind::Block => Some(BLOCK),
        DeviceKind::Char => Some(CHAR),
    };
    let mut tests: Vec<(u8, i32)> = kind.map(|kind| (TYPE, kind)).into_iter().collect();
    for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
        match number.map(i32::try_from) {
            Some(Ok(number)) => tests.push((register, number)),
            // The operand is signed, and no device has such a number.
            Some(Err(_)) => return Vec::new(),
            None => {}
        }
    }
    let access = [(rule.read, READ), (rule.write, WRITE), (rule.mknod, MKNOD)];
    let access = access.into_iter().filter(|(on, _)| *on).fold(0, |bits, (_, bit)| bits | bit);
    let mut verdict = match (access, rule.allow) {
        (ALL, _) => Vec::new(),
        (_, true) => {
            vec![instruction(AND, ACCESS, 0, 0, !access), instruction(JUMP_NOT_EQUAL, ACCESS, 0, 2, 0)]
        }
        (_, false) => vec![instruction(JUMP_BITS, ACCESS, 0, 1, access), instruction(JUMP, 0, 0, 2, 0)],
    };
    verdict.extend([instruction(MOVE, 0, 0, 0, rule.allow.into()), instruction(EXIT, 0, 0, 0, 0)]);
    let skip = |test: usize| (tests.len() - test - 1 + verdict.len()) as i16;
    let mut block: Vec<u64> = tests
        .iter()
        .enumerate()
        .map(|(at, &(register, value))| instruction(JUMP_NOT_EQUAL, register, 0, skip(at), value))
        .collect();
    block.append(&mut verdict);
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::default_rules;

    /// Runs a program on one request; panics on what the verifier would refuse.
    fn allows(program: &[u64], kind: i32, major: u32, minor: u32, access: i32) -> bool {
        let context = [kind | access << 16, major as i32, minor as i32];
        let mut registers = [0_i64; 11];
        let mut pc = 0;
        loop {
            let bytes = program[pc].to_ne_bytes();
            let (destination, source) = (usize::from(bytes[1] & 15), usize::from(bytes[1] >> 4));
            let offset = i16::from_ne_bytes([bytes[2], bytes[3]]);
            let immediate = i64::from(i32::from_ne_bytes(bytes[4..].try_into().unwrap()));
            pc += 1;
            let mut jump_if = |condition: bool| {
                assert!(offset >= 0, "loops are refused");
                pc += if condition { offset as usize } else { 0 };
            };
            match bytes[0] {
                LOAD_WORD => registers[destination] = i64::from(context[offset as usize / 4]),
                MOVE => registers[destination] = immediate,
                MOVE_REGISTER => registers[destination] = registers[source],
                AND => registers[destination] &= immediate,
                SHIFT_RIGHT => registers[destination] = (registers[destination] as u64 >> immediate) as i64,
                JUMP => jump_if(true),
                JUMP_BITS => jump_if(registers[destination] & immediate != 0),
                JUMP_NOT_EQUAL => jump_if(registers[destination] != immediate),
                EXIT => return registers[0] != 0,
                code => panic!("unexpected operation {code:#x}"),
            }
        }
    }

    /// What the list says, each kind of access for itself: the definition that the program is held to.
    fn decided(rules: &[DeviceRule], kind: i32, major: u32, minor: u32, access: i32) -> bool {
        let matches = |rule: &&DeviceRule| {
            let kinds = match rule.kind {
                DeviceKind::All => BLOCK | CHAR,
                DeviceKind::Block => BLOCK,
                DeviceKind::Char => CHAR,
            };
            kinds & kind != 0
                && rule.major.is_none_or(|number| number == major)
                && rule.minor.is_none_or(|number| number == minor)
        };
        [READ, WRITE, MKNOD].into_iter().filter(|bit| access & bit != 0).all(|bit| {
            let about = |rule: &&DeviceRule| match bit {
                READ => rule.read,
                WRITE => rule.write,
                _ => rule.mknod,
            };
            rules.iter().rev().filter(matches).find(about).is_none_or(|rule| rule.allow)
        })
    }

    fn rule(allow: bool, text: &str) -> DeviceRule {
        DeviceRule { allow, ..text.parse().unwrap() }
    }

    #[test]
    fn programs_decide_as_their_lists_say() {
        let with =
            |more: &[DeviceRule]| default_rules().into_iter().chain(more.iter().cloned()).collect::<Vec<_>>();
        let lists: [Vec<DeviceRule>; 6] = [
            vec![],
            with(&[]),
            with(&[rule(true, "b 8:* r"), rule(true, "c 10:200 rw"), rule(true, "a *:7 m")]),
            vec![rule(false, "c 1:3 w"), rule(false, "b *:* rwm"), rule(true, "b 8:0 r")],
            vec![DeviceRule::everything(false), rule(true, "c 1:* r"), rule(false, "c 1:8 r")],
            vec![DeviceRule::everything(false), rule(true, "c 4294967295:* rwm"), rule(true, "c *:3 w")],
        ];
        for list in lists {
            let program = assemble(&list);
            for kind in [BLOCK, CHAR] {
                for major in [0, 1, 5, 8, 10, 136, 4095] {
                    for minor in [0, 1, 3, 7, 8, 9, 200, 1 << 20] {
                        for access in 1..=ALL {
                            let got = allows(&program, kind, major, minor, access);
                            let want = decided(&list, kind, major, minor, access);
                            assert_eq!(got, want, "{list:?}: {kind} {major}:{minor} {access}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn program_of_two_rules() {
        let program = assemble(&[DeviceRule::everything(false), rule(true, "c 1:3 r")]);
        let golden = [
            instruction(LOAD_WORD, 2, 1, 0, 0),
            instruction(MOVE_REGISTER, 3, 2, 0, 0),
            instruction(SHIFT_RIGHT, 3, 0, 0, 16),
            instruction(AND, 2, 0, 0, 0xffff),
            instruction(LOAD_WORD, 4, 1, 4, 0),
            instruction(LOAD_WORD, 5, 1, 8, 0),
            instruction(JUMP_NOT_EQUAL, 2, 0, 6, 2),
            instruction(JUMP_NOT_EQUAL, 4, 0, 5, 1),
            instruction(JUMP_NOT_EQUAL, 5, 0, 4, 3),
            instruction(AND, 3, 0, 0, !2),
            instruction(JUMP_NOT_EQUAL, 3, 0, 2, 0),
            instruction(MOVE, 0, 0, 0, 1),
            instruction(EXIT, 0, 0, 0, 0),
            // Everything is denied.
            instruction(MOVE, 0, 0, 0, 0),
            instruction(EXIT, 0, 0, 0, 0),
        ];
        assert_eq!(program, golden);
        assert_eq!(golden[6].to_ne_bytes()[0], 0x55);
    }
}
