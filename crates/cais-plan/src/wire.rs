//! The messages between the shim and its clients: one SEQPACKET packet each, first byte the kind.
//!
//! Shim to client: [`STARTED`], [`FAILED`], [`STDOUT`], [`STDERR`], [`EXITED`]. Client to shim: the rest.
//! Integers are 4 bytes, native order: both ends run on one machine.

/// The command runs. Payload: pid as the host sees it.
pub const STARTED: u8 = b'S';
/// The launch failed. Payload: step index, errno, and one word of detail (see [`detail`]).
pub const FAILED: u8 = b'F';
/// Output. Payload: bytes.
pub const STDOUT: u8 = b'1';
/// Error output. Payload: bytes.
pub const STDERR: u8 = b'2';
/// The command ended and all output was sent. Payload: exit code (128+n after a signal), signal, killed for memory.
pub const EXITED: u8 = b'X';

/// Take part in the output from here on. Payload: 1 byte, 1 = input too.
pub const ATTACH: u8 = b'A';
/// Input. Payload: bytes.
pub const STDIN: u8 = b'I';
/// End of input.
pub const STDIN_END: u8 = b'E';
/// Window size. Payload: rows, columns.
pub const RESIZE: u8 = b'W';
/// Send a signal to the command. Payload: number.
pub const SIGNAL: u8 = b'K';
/// Ask for [`STARTED`].
pub const QUERY: u8 = b'Q';
/// This client takes care of what comes after the exit.
pub const OWN: u8 = b'O';
/// The owner has done what comes after the exit: the shim may go.
pub const DONE: u8 = b'D';
/// Send [`EXITED`] when the command has ended, nothing else.
pub const WAIT: u8 = b'T';

/// Most bytes of one packet, kind included.
pub const PACKET_BYTES: usize = 32 * 1024 + 1;

/// Third word of [`FAILED`], where an errno alone does not tell.
pub mod detail {
    /// Nothing more.
    pub const NONE: u32 = 0;
    /// No such user in /etc/passwd.
    pub const NO_USER: u32 = 1;
    /// No such group in /etc/group.
    pub const NO_GROUP: u32 = 2;
    /// The mount's target lies in /proc or is not what it should be.
    pub const BAD_TARGET: u32 = 3;
    /// The interpreter or loader of the command is missing.
    pub const NO_INTERPRETER: u32 = 4;
    /// The clone itself failed.
    pub const CLONE: u32 = 5;
    /// The plan could not be read.
    pub const PLAN: u32 = 6;
    /// The child died before it could say why.
    pub const DIED: u32 = 7;
}

/// Index that [`FAILED`] carries when no step is to blame.
pub const NO_STEP: u32 = u32::MAX;
