//! The first root of a guest: busybox, the modules that the real root needs, and a script that goes there.
//!
//! Format: "newc" of the kernel's documentation, driver-api/early-userspace/buffer-format.rst.

use std::fs;

use super::kernel::Kernel;

/// For the host's root below an overlay; everything else is loaded on demand out of that root.
const MODULES: &[&str] = &["virtio_pci", "9pnet_virtio", "9p", "overlay"];

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// The archive, uncompressed: reading is cheaper for a guest than unpacking.
///
/// # Panics
/// Without busybox, or when a module is missing.
pub(super) fn pack(kernel: &Kernel) -> Vec<u8> {
    let mut archive = Archive::default();
    for folder in ["bin", "proc", "sys", "dev", "lower", "memory", "root", "modules"] {
        archive.add(folder, DIRECTORY, b"");
    }
    archive.add("bin/busybox", PROGRAM, &fs::read("/bin/busybox").expect("busybox-static"));
    archive.add("init", PROGRAM, include_bytes!("guest/init.sh"));
    for (number, (name, bytes)) in kernel.loadable(MODULES).iter().enumerate() {
        archive.add(&format!("modules/{number:02}-{name}.ko"), PROGRAM, bytes);
    }
    archive.finish()
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    files: usize,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, data: &[u8]) {
        self.files += 1;
        let (inode, size, name_size) = (self.files, data.len(), name.len() + 1);
        // Magic, inode, mode, uid, gid, links, mtime, size, four device numbers, length of the name, checksum.
        let header = format!(
            "070701{inode:08x}{mode:08x}{0:08x}{0:08x}{1:08x}{0:08x}{size:08x}{0:08x}{0:08x}{0:08x}{0:08x}{name_size:08x}{0:08x}",
            0, 1
        );
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(data);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, b"");
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Invocation;

    #[test]
    fn busybox_reads_the_archive() {
        if !fs::exists("/bin/busybox").unwrap_or(false) {
            crate::skip("busybox-static is not installed");
            return;
        }
        let mut archive = Archive::default();
        archive.add("d", DIRECTORY, b"");
        archive.add("d/program", PROGRAM, b"12345");
        let folder = tempfile::tempdir().unwrap();
        Invocation::new("/bin/busybox", "cpio -i").folder(folder.path()).stdin(archive.finish()).ok();
        assert_eq!(fs::read(folder.path().join("d/program")).unwrap(), b"12345");
    }
}
