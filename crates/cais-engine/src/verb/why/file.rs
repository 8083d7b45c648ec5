//! What the kernel would make of a file that is executed: the first bytes of an ELF file or a script. Pure.
//!
//! elf(5), execve(2) ("Interpreter scripts"); no other format is known.

/// What a file is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Program {
    /// Nothing that is known here.
    #[default]
    Other,
    /// No byte.
    Empty,
    /// ELF.
    Elf {
        /// As GOARCH names it, or its number.
        machine: String,
        /// The dynamic loader that it names.
        loader: Option<String>,
        /// The loader is there; true when there is none.
        loader_exists: bool,
    },
    /// `#!`.
    Script {
        /// The program after `#!`, without a carriage return.
        interpreter: String,
        /// The line ends as on Windows.
        carriage_return: bool,
        /// The interpreter is there.
        exists: bool,
    },
    /// Text without `#!`.
    Text,
}

/// How much of a file is wanted.
pub(super) const HEAD_BYTES: usize = 64 << 10;

/// What a file with these first bytes is; whether other files exist is asked of `exists`.
pub(super) fn analyse(head: &[u8], exists: &mut dyn FnMut(&str) -> bool) -> Program {
    if head.is_empty() {
        return Program::Empty;
    }
    if head.starts_with(b"\x7fELF") {
        return elf(head, exists).unwrap_or_default();
    }
    if let Some(rest) = head.strip_prefix(b"#!") {
        return script(rest, exists);
    }
    let sample = &head[..head.len().min(512)];
    let printable = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..);
    if sample.iter().all(printable) { Program::Text } else { Program::Other }
}

fn script(rest: &[u8], exists: &mut dyn FnMut(&str) -> bool) -> Program {
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(&line[..line.len().min(255)]).into_owned();
    let words = line.trim_end_matches('\r').trim();
    // After an argument it belongs to that, and the interpreter is found.
    let carriage_return = line.ends_with('\r') && !words.contains([' ', '\t']);
    let interpreter = words.split([' ', '\t']).next().unwrap_or_default().to_owned();
    let exists = !interpreter.is_empty() && exists(&interpreter);
    Program::Script { interpreter, carriage_return, exists }
}

/// Reads the numbers of an ELF file in its byte order.
struct Reader<'a> {
    bytes: &'a [u8],
    little: bool,
}

impl Reader<'_> {
    fn number(&self, at: usize, length: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(length)?)?;
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if self.little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) })
    }

    fn size(&self, at: usize, length: usize) -> Option<usize> {
        usize::try_from(self.number(at, length)?).ok()
    }
}

fn elf(head: &[u8], exists: &mut dyn FnMut(&str) -> bool) -> Option<Program> {
    let wide = *head.get(4)? == 2;
    let reader = Reader { bytes: head, little: *head.get(5)? == 1 };
    let machine = machine(reader.number(18, 2)?, reader.little);
    let loader = loader(&reader, wide);
    let loader_exists = loader.as_deref().is_none_or(exists);
    Some(Program::Elf { machine, loader, loader_exists })
}

/// The text of PT_INTERP.
fn loader(reader: &Reader<'_>, wide: bool) -> Option<String> {
    const PT_INTERP: u64 = 3;
    let (table, size, count) = match wide {
        true => (reader.size(32, 8)?, reader.size(54, 2)?, reader.size(56, 2)?),
        false => (reader.size(28, 4)?, reader.size(42, 2)?, reader.size(44, 2)?),
    };
    for index in 0..count {
        let entry = table.checked_add(index.checked_mul(size)?)?;
        if reader.number(entry, 4)? != PT_INTERP {
            continue;
        }
        let (offset, length) = match wide {
            true => (reader.size(entry.checked_add(8)?, 8)?, reader.size(entry.checked_add(32)?, 8)?),
            false => (reader.size(entry.checked_add(4)?, 4)?, reader.size(entry.checked_add(16)?, 4)?),
        };
        let text = reader.bytes.get(offset..offset.checked_add(length)?)?;
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        return Some(String::from_utf8_lossy(text).into_owned());
    }
    None
}

/// GOARCH of an ELF machine number, or the number.
fn machine(number: u64, little: bool) -> String {
    match (number, little) {
        (3, _) => "386".into(),
        (8, true) => "mipsle".into(),
        (8, false) => "mips".into(),
        (21, true) => "ppc64le".into(),
        (21, false) => "ppc64".into(),
        (22, _) => "s390x".into(),
        (40, _) => "arm".into(),
        (62, _) => "amd64".into(),
        (183, _) => "arm64".into(),
        (243, _) => "riscv64".into(),
        (258, _) => "loong64".into(),
        (number, _) => format!("ELF machine {number}"),
    }
}

/// Whether a machine runs programs of this architecture without an emulator.
pub(super) fn runs(machine: &str, program: &str) -> bool {
    machine == program || matches!((machine, program), ("amd64", "386") | ("arm64", "arm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf64(machine: u16, loader: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        file[64] = 3;
        file[72] = 120;
        file[96] = loader.len() as u8;
        file.extend_from_slice(loader);
        file
    }

    #[test]
    fn elf_files_tell_machine_and_loader() {
        let mut asked = Vec::new();
        let program = analyse(&elf64(183, b"/lib/ld-x.so\0"), &mut |path| {
            asked.push(path.to_owned());
            false
        });
        let expected = Program::Elf {
            machine: "arm64".into(),
            loader: Some("/lib/ld-x.so".into()),
            loader_exists: false,
        };
        assert_eq!((program, asked), (expected, vec!["/lib/ld-x.so".to_owned()]));
    }

    #[test]
    fn this_test_program_is_known() {
        let head = std::fs::read("/proc/self/exe").expect("readable");
        let program =
            analyse(&head[..HEAD_BYTES.min(head.len())], &mut |path| std::path::Path::new(path).exists());
        assert!(matches!(program, Program::Elf { loader_exists: true, .. }), "{program:?}");
    }

    #[test]
    fn scripts_and_texts() {
        let mut never = |_: &str| false;
        let script = |interpreter: &str, carriage_return| Program::Script {
            interpreter: interpreter.into(),
            carriage_return,
            exists: false,
        };
        assert_eq!(analyse(b"#!/bin/bash -e\necho", &mut never), script("/bin/bash", false));
        assert_eq!(analyse(b"#! /bin/sh\r\n", &mut never), script("/bin/sh", true));
        assert_eq!(analyse(b"#!/bin/sh -e\r\n", &mut never), script("/bin/sh", false));
        assert_eq!(analyse(b"#!", &mut never), script("", false));
        assert_eq!(analyse(b"echo x\n", &mut never), Program::Text);
        assert_eq!(analyse(b"", &mut never), Program::Empty);
        assert_eq!(analyse(b"\0\x01\x02", &mut never), Program::Other);
    }

    #[test]
    fn damaged_elf_files_do_no_harm() {
        let whole = elf64(62, b"/lib/ld.so\0");
        for length in 0..whole.len() {
            analyse(&whole[..length], &mut |_| true);
            let mut wild = whole.clone();
            wild[length] = 0xff;
            analyse(&wild, &mut |_| true);
        }
    }
}
