//! A connection to a message bus or straight to systemd, D-Bus Specification, "Authentication Protocol" and "Message Bus".
//!
//! One thread, one call at a time; everything has a deadline. Knows nothing of units.
//!
//! Why no library: the small one, rustbus, saw its last release in 2024, brings nix and a second thiserror, and says
//! who we are by getuid(2), which is wrong within a user namespace; zbus brings an asynchronous executor.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::{Duration, Instant};

use super::wire::{HEADER_BYTES, Kind, Message, Value};

/// How long systemd may take for one thing, as in runc.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// A line of the authentication is short.
const MAX_LINE_BYTES: usize = 4096;
/// Signals that nobody asked for yet; the oldest are forgotten.
const MAX_SIGNALS: usize = 1024;

/// Without a name, which is true in a user namespace, too. An old server may want a number.
const ANYBODY: &[&str] = &["AUTH EXTERNAL", "DATA"];

/// Why a message bus could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The address is of a kind that is not known here.
    #[error("connect to the message bus {address:?}: only unix:path= and unix:abstract= are known")]
    Address {
        /// As given.
        address: String,
    },
    /// Nobody listens.
    #[error("connect to the message bus {address:?}: {source}")]
    Connect {
        /// As given.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// It does not believe who we are.
    #[error("authenticate to the message bus: it answered {answer:?}")]
    Refused {
        /// Its last line.
        answer: String,
    },
    /// The connection broke.
    #[error("talk to the message bus: {source}")]
    Talk {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What came is no message.
    #[error("read a message of the message bus: {reason}")]
    Protocol {
        /// What is wrong.
        reason: &'static str,
    },
    /// The call failed.
    #[error("call {member} of systemd: {message} ({name})")]
    Remote {
        /// What was called.
        member: String,
        /// Name of the error.
        name: String,
        /// The error in words.
        message: String,
    },
    /// No answer in time.
    #[error("wait for systemd: nothing within {} s", ANSWER_TIME.as_secs())]
    Timeout,
}

/// A connection.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    serial: u32,
    signals: VecDeque<Message>,
    /// Through a bus, which wants names, or straight to systemd, which has none.
    direct: bool,
}

impl Bus {
    /// Connects to the first address that answers; a list is separated by semicolons, as in `DBUS_SESSION_BUS_ADDRESS`.
    /// At one that ends in `/systemd/private` systemd itself answers.
    ///
    /// # Errors
    /// That of the first address when none can be reached.
    pub fn connect(addresses: &[String]) -> Result<Bus, BusError> {
        let mut first = None;
        for address in addresses.iter().flat_map(|list| list.split(';')).filter(|address| !address.is_empty())
        {
            match Bus::connect_one(address) {
                Ok(bus) => return Ok(bus),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or(BusError::Address { address: String::new() }))
    }

    fn connect_one(address: &str) -> Result<Bus, BusError> {
        let failed = |source| BusError::Connect { address: address.to_owned(), source };
        let socket = parse_address(address).map_err(failed)?;
        let Some(socket) = socket else { return Err(BusError::Address { address: address.to_owned() }) };
        let direct = socket.as_pathname().is_some_and(|path| path.ends_with("systemd/private"));
        let open = || {
            let stream = UnixStream::connect_addr(&socket).map_err(failed)?;
            stream.set_write_timeout(Some(ANSWER_TIME)).map_err(failed)?;
            Ok(Bus { stream, serial: 0, signals: VecDeque::new(), direct })
        };
        let mut bus = open()?;
        if let Err(BusError::Refused { .. }) = bus.authenticate(ANYBODY) {
            bus = open()?;
            let uid = rustix::process::geteuid().as_raw().to_string();
            let hex: String = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
            bus.authenticate(&[&format!("AUTH EXTERNAL {hex}")])?;
        }
        if !direct {
            bus.ask_bus("Hello", &[])?;
        }
        Ok(bus)
    }

    /// The other end of a connection straight to systemd.
    #[cfg(test)]
    pub(super) fn accept(stream: UnixStream, greeting: &str) -> Result<Bus, BusError> {
        let mut bus = Bus { stream, serial: 0, signals: VecDeque::new(), direct: true };
        let deadline = Instant::now() + ANSWER_TIME;
        let hello = bus.read_line(deadline)?;
        if hello == "\0AUTH EXTERNAL" {
            bus.send(greeting.as_bytes())?;
            assert_eq!(bus.read_line(deadline)?, "DATA");
            let good = greeting.starts_with("DATA") || greeting.starts_with("OK");
            bus.send(if good { b"OK 1234\r\n" } else { b"ERROR\r\n" })?;
        } else {
            assert!(hello.starts_with("\0AUTH EXTERNAL 3"), "{hello}");
            bus.send(b"OK 1234\r\n")?;
        }
        assert_eq!(bus.read_line(deadline)?, "BEGIN");
        Ok(bus)
    }

    /// EXTERNAL: the kernel says who we are. All is sent at once, with `BEGIN`: a message that reaches systemd together
    /// with `BEGIN` lies unread until another one comes, so none may follow before the answer.
    fn authenticate(&mut self, commands: &[&str]) -> Result<(), BusError> {
        let deadline = Instant::now() + ANSWER_TIME;
        self.send(format!("\0{}\r\nBEGIN\r\n", commands.join("\r\n")).as_bytes())?;
        let mut answers = Vec::new();
        for _ in commands {
            answers.push(self.read_line(deadline)?);
        }
        match answers.iter().any(|answer| answer.starts_with("OK")) {
            true => Ok(()),
            false => Err(BusError::Refused { answer: answers.join(", ") }),
        }
    }

    /// Calls a method of systemd's manager object and waits for its answer.
    ///
    /// # Errors
    /// [`BusError::Remote`] when it failed, [`BusError::Timeout`] when none came.
    pub fn call(
        &mut self,
        interface: &str,
        member: &str,
        arguments: Vec<Value>,
    ) -> Result<Vec<Value>, BusError> {
        self.call_object("/org/freedesktop/systemd1", interface, member, arguments)
    }

    /// Calls a method of one of systemd's objects.
    ///
    /// # Errors
    /// As [`Bus::call`].
    pub fn call_object(
        &mut self,
        path: &str,
        interface: &str,
        member: &str,
        arguments: Vec<Value>,
    ) -> Result<Vec<Value>, BusError> {
        // systemd itself has no name.
        let destination = if self.direct { "" } else { "org.freedesktop.systemd1" };
        let call = Message {
            destination: destination.to_owned(),
            path: path.to_owned(),
            interface: interface.to_owned(),
            member: member.to_owned(),
            body: arguments,
            ..Message::new(Kind::Call, 0)
        };
        self.exchange(call)
    }

    /// Asks for signals that fit; systemd itself sends all of them.
    ///
    /// # Errors
    /// As [`Bus::call`].
    pub fn watch(&mut self, rule: &str) -> Result<(), BusError> {
        if self.direct { Ok(()) } else { self.ask_bus("AddMatch", &[rule]) }
    }

    fn ask_bus(&mut self, member: &str, arguments: &[&str]) -> Result<(), BusError> {
        let call = Message {
            destination: "org.freedesktop.DBus".to_owned(),
            path: "/org/freedesktop/DBus".to_owned(),
            interface: "org.freedesktop.DBus".to_owned(),
            member: member.to_owned(),
            body: arguments.iter().map(|text| Value::Text((*text).to_owned())).collect(),
            ..Message::new(Kind::Call, 0)
        };
        self.exchange(call).map(drop)
    }

    pub(super) fn exchange(&mut self, mut call: Message) -> Result<Vec<Value>, BusError> {
        self.serial += 1;
        call.serial = self.serial;
        self.send(&call.encode())?;
        let deadline = Instant::now() + ANSWER_TIME;
        loop {
            let answer = self.read_message(deadline)?;
            match answer.kind {
                Kind::Return if answer.reply_to == call.serial => return Ok(answer.body),
                Kind::Error if answer.reply_to == call.serial => {
                    let message = match answer.body.into_iter().next() {
                        Some(Value::Text(text)) => text,
                        _ => String::new(),
                    };
                    return Err(BusError::Remote { member: call.member, name: answer.error, message });
                }
                Kind::Signal => self.keep(answer),
                // Late answers to calls that were given up; nobody calls us.
                _ => {}
            }
        }
    }

    fn keep(&mut self, signal: Message) {
        if self.signals.len() == MAX_SIGNALS {
            self.signals.pop_front();
        }
        self.signals.push_back(signal);
    }

    /// The next signal of this name that is wanted, from before or still to come; others are dropped.
    ///
    /// # Errors
    /// [`BusError::Timeout`] when none came.
    pub fn wait_signal(
        &mut self,
        member: &str,
        wanted: impl Fn(&[Value]) -> bool,
    ) -> Result<Vec<Value>, BusError> {
        let deadline = Instant::now() + ANSWER_TIME;
        loop {
            let signal = match self.signals.pop_front() {
                Some(signal) => signal,
                None => self.read_message(deadline)?,
            };
            if signal.kind == Kind::Signal && signal.member == member && wanted(&signal.body) {
                return Ok(signal.body);
            }
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), BusError> {
        self.stream.write_all(bytes).map_err(talk)
    }

    /// Reads until the buffer is full.
    fn fill(&mut self, mut buffer: &mut [u8], deadline: Instant) -> Result<(), BusError> {
        while !buffer.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(BusError::Timeout);
            }
            self.stream.set_read_timeout(Some(left)).map_err(talk)?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(talk(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => buffer = &mut buffer[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(talk(error)),
            }
        }
        Ok(())
    }

    pub(super) fn read_message(&mut self, deadline: Instant) -> Result<Message, BusError> {
        let mut header = [0; HEADER_BYTES];
        self.fill(&mut header, deadline)?;
        let mut bytes = header.to_vec();
        bytes.resize(Message::length(&header)?, 0);
        self.fill(&mut bytes[HEADER_BYTES..], deadline)?;
        Message::decode(&bytes)
    }

    /// Byte by byte: what follows the last line belongs to the messages.
    fn read_line(&mut self, deadline: Instant) -> Result<String, BusError> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            if line.len() == MAX_LINE_BYTES {
                return Err(BusError::Protocol { reason: "an endless line in the authentication" });
            }
            let mut byte = [0];
            self.fill(&mut byte, deadline)?;
            line.extend(byte);
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

fn talk(source: io::Error) -> BusError {
    match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => BusError::Timeout,
        _ => BusError::Talk { source },
    }
}

/// `unix:path=…` or `unix:abstract=…`, with more keys; `None` for other transports.
fn parse_address(address: &str) -> io::Result<Option<SocketAddr>> {
    let Some(keys) = address.strip_prefix("unix:") else { return Ok(None) };
    for key in keys.split(',') {
        match key.split_once('=') {
            Some(("path", path)) => return SocketAddr::from_pathname(unescape(path)).map(Some),
            Some(("abstract", name)) => {
                return SocketAddr::from_abstract_name(unescape(name).as_bytes()).map(Some);
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Bytes that are not plain are written as `%` and two digits.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        let escaped = if *first == b'%' { others.get(..2) } else { None };
        let byte = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &others[2..] } else { others };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let path = |address: &str| {
            parse_address(address)
                .unwrap()
                .and_then(|a| a.as_pathname().map(|p| p.to_string_lossy().into_owned()))
        };
        assert_eq!(path("unix:path=/run/user/1000/bus").as_deref(), Some("/run/user/1000/bus"));
        assert_eq!(path("unix:guid=12,path=/a%20b%zz").as_deref(), Some("/a b%zz"));
        let name = parse_address("unix:abstract=x,guid=1").unwrap().unwrap();
        assert_eq!(name.as_abstract_name(), Some(&b"x"[..]));
        assert!(parse_address("tcp:host=localhost").unwrap().is_none());
        assert!(parse_address("unix:runtime=yes").unwrap().is_none());
        let error = Bus::connect(&["unix:path=/nowhere/a;tcp:x".to_owned()]).unwrap_err();
        assert!(
            error.to_string().starts_with("connect to the message bus \"unix:path=/nowhere/a\": No such")
        );
        assert!(matches!(Bus::connect(&[]), Err(BusError::Address { .. })));
    }
}
