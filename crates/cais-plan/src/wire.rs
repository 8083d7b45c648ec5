//! The messages between the shim and its clients: one SEQPACKET packet each, first byte the kind.
//!
//! Shim to client: [`STARTED`], [`FAILED`], [`STDOUT`], [`STDERR`], [`EXITED`]. Client to shim: the rest.
//! Integers are 4 bytes, native order: both ends run on one machine.

/// The command runs. Payload: pid as the host sees it.
pub const STARTED: u8 = b'S';
/// The launch failed. Payload: step index, errno, and one word of detail (see [`detail`]); under a runtime also the
/// last bytes of what a failed hook said.
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
/// After the end: there is another run. Payload: milliseconds until then. Void after [`DONE`].
pub const AGAIN: u8 = b'R';
/// Send [`EXITED`] when the command has ended, nothing else.
pub const WAIT: u8 = b'T';
/// The health is probed at other times from now on. Payload, 8 bytes each: milliseconds between probes, the same before the
/// first success, and until the next; the first 0 = never.
pub const PROBES: u8 = b'H';

/// The clone is made: to the runtime. Payload: pid in the runtime's namespace; a pidfd goes along.
pub const CLONED: u8 = b'P';
/// A point is reached, see [`sync`]: to the runtime. Payload: the word. Answered by [`GO`].
pub const POINT: u8 = b'Y';
/// A seccomp listener goes along: to the runtime or the starter. No payload. Answered by [`GO`].
pub const LISTENER: u8 = b'N';
/// Go on: from the runtime, or the first packet of the starter. Payload: text for the standard input of hooks; a long
/// one goes along as a sealed file in memory instead.
pub const GO: u8 = b'G';

/// Words of [`POINT`].
pub mod sync {
    /// The namespaces exist: map the ids, enter the control group, move devices of the network.
    pub const SETUP: u32 = 1;
    /// All is mounted and the root not yet entered: time for `prestart` and `createRuntime`.
    pub const HOOKS: u32 = 2;
    /// All is done but the command itself: the container is created.
    pub const READY: u32 = 3;
}

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
    /// A hook did not succeed; the errno is its exit code, 128+n after a signal.
    pub const HOOK: u32 = 8;
    /// A hook took too long and was killed.
    pub const HOOK_TIMEOUT: u32 = 9;
    /// What must be procfs is not.
    pub const NOT_PROC: u32 = 10;
    /// The command that was to restore the container did not succeed; the errno is its exit code, 128+n after a signal.
    pub const RESTORE: u32 = 11;
}

/// Index that [`FAILED`] carries when no step is to blame.
pub const NO_STEP: u32 = u32::MAX;

/// What a container's first process says to the runtime, or to the starter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// [`CLONED`].
    Cloned {
        /// Never 0 or less: those stand for more than one process.
        pid: i32,
    },
    /// [`POINT`].
    Point {
        /// One of [`sync`], or an unknown one.
        word: u32,
    },
    /// [`LISTENER`].
    Listener,
    /// [`FAILED`].
    Failed {
        /// Which step, or [`NO_STEP`].
        index: u32,
        /// errno.
        errno: i32,
        /// See [`detail`].
        detail: u32,
    },
}

impl Word {
    /// Reads a packet; `None` for what is none of these. What follows the fixed part is not looked at.
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Word> {
        let (kind, payload) = packet.split_first()?;
        let word = |at: usize| -> Option<u32> {
            Some(u32::from_ne_bytes(payload.get(at..at + 4)?.try_into().ok()?))
        };
        match *kind {
            CLONED => {
                let pid = i32::try_from(word(0)?).ok()?;
                (pid > 0).then_some(Word::Cloned { pid })
            }
            POINT => Some(Word::Point { word: word(0)? }),
            LISTENER => Some(Word::Listener),
            FAILED => Some(Word::Failed { index: word(0)?, errno: word(4)? as i32, detail: word(8)? }),
            _ => None,
        }
    }
}
