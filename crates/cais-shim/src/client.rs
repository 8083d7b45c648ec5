//! Who is connected to the monitor, and what for.

/// A connection to the monitor.
#[derive(Clone, Copy)]
pub struct Client {
    /// Its socket, -1 for none.
    pub fd: i32,
    /// Gets output.
    pub attached: bool,
    /// Gives input.
    pub stdin: bool,
    /// Started the container: the input may end with it.
    pub starter: bool,
    /// Does what comes after the exit.
    pub owner: bool,
    /// Wants to hear of the exit.
    pub waits: bool,
    /// Has to be told of the exit as soon as its socket takes it.
    pub exit_due: bool,
}

/// No connection.
pub const NOBODY: Client = Client {
    fd: -1,
    attached: false,
    stdin: false,
    starter: false,
    owner: false,
    waits: false,
    exit_due: false,
};
