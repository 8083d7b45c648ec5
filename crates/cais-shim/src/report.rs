//! How the command ended: the exit record.

use cais_plan::Setup;

use crate::init::exit_code;
use crate::line::Line;
use crate::{oom, sys};

/// `code=0 signal=0 oom=0 started=… finished=… pid=…`, beside and renamed: never half there. A record that cannot be written
/// is none: the container then counts as lost.
pub fn write(setup: &Setup<'_>, status: i32, started_ns: u64, pid: i32) {
    let dir = setup.exit_dir_fd;
    if dir < 0 {
        return;
    }
    let mut line = Line::new();
    line.field(b"code=", exit_code(status) as u64);
    line.field(b" signal=", (status & 0x7f) as u64);
    line.field(b" oom=", oom::kills(setup.oom_fd));
    line.field(b" started=", started_ns);
    line.field(b" finished=", sys::now_ns());
    line.field(b" pid=", pid as u64);
    line.put(b"\n");
    let (temporary, name) = (c"exit.new".to_bytes(), c"exit".to_bytes());
    let flags = sys::O_WRONLY | sys::O_CREAT | sys::O_TRUNC;
    let Ok(fd) = sys::openat(dir, temporary, flags, 0o600) else { return };
    let written = sys::write_all(fd, line.text());
    sys::close(fd);
    if written.is_ok() {
        let _ = sys::renameat(dir, temporary, name);
    }
}
