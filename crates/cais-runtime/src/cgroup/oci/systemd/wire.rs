//! Values and messages of D-Bus as bytes, [D-Bus Specification](https://dbus.freedesktop.org/doc/dbus-specification.html),
//! "Type System" and "Message Protocol".
//!
//! Pure: bytes in, bytes out. Writes little endian, reads both. A message from outside never makes it panic, allocate
//! beyond the message's own length or recurse deeper than [`MAX_DEPTH`].

use super::bus::BusError;

/// The specification allows 32 arrays and 32 structures in each other.
const MAX_DEPTH: usize = 64;
/// The specification's limit of a message.
pub(super) const MAX_MESSAGE_BYTES: usize = 128 << 20;
/// The part of a header that is always there, with the length of its fields.
pub(super) const HEADER_BYTES: usize = 16;

/// A value with its type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `n`
    I16(i16),
    /// `q`
    U16(u16),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `d`
    F64(f64),
    /// `s`
    Text(String),
    /// `o`
    Path(String),
    /// `g`
    Signature(String),
    /// `a`, with the signature of an element, which an empty one has, too.
    Array(String, Vec<Value>),
    /// `(…)`, and `{…}` when read.
    Struct(Vec<Value>),
    /// `v`
    Variant(Box<Value>),
}

impl Value {
    /// An array of strings.
    #[must_use]
    pub fn texts<T: Into<String>>(items: impl IntoIterator<Item = T>) -> Value {
        Value::Array("s".to_owned(), items.into_iter().map(|item| Value::Text(item.into())).collect())
    }

    /// An array of bytes.
    #[must_use]
    pub fn bytes(items: &[u8]) -> Value {
        Value::Array("y".to_owned(), items.iter().copied().map(Value::Byte).collect())
    }

    /// The type as letters.
    #[must_use]
    pub fn signature(&self) -> String {
        match self {
            Value::Byte(_) => "y".to_owned(),
            Value::Bool(_) => "b".to_owned(),
            Value::I16(_) => "n".to_owned(),
            Value::U16(_) => "q".to_owned(),
            Value::I32(_) => "i".to_owned(),
            Value::U32(_) => "u".to_owned(),
            Value::I64(_) => "x".to_owned(),
            Value::U64(_) => "t".to_owned(),
            Value::F64(_) => "d".to_owned(),
            Value::Text(_) => "s".to_owned(),
            Value::Path(_) => "o".to_owned(),
            Value::Signature(_) => "g".to_owned(),
            Value::Array(element, _) => format!("a{element}"),
            Value::Struct(fields) => format!("({})", signature_of(fields)),
            Value::Variant(_) => "v".to_owned(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Byte(value) => out.push(*value),
            Value::Bool(value) => put(out, &u32::from(*value).to_le_bytes()),
            Value::I16(value) => put(out, &value.to_le_bytes()),
            Value::U16(value) => put(out, &value.to_le_bytes()),
            Value::I32(value) => put(out, &value.to_le_bytes()),
            Value::U32(value) => put(out, &value.to_le_bytes()),
            Value::I64(value) => put(out, &value.to_le_bytes()),
            Value::U64(value) => put(out, &value.to_le_bytes()),
            Value::F64(value) => put(out, &value.to_le_bytes()),
            Value::Text(text) | Value::Path(text) => {
                put(out, &(text.len() as u32).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
                out.push(0);
            }
            Value::Signature(text) => write_signature(text, out),
            Value::Array(element, items) => {
                put(out, &[0; 4]);
                let length_at = out.len() - 4;
                // The padding before the first element does not count.
                align(out, alignment(element.as_bytes().first().copied().unwrap_or(b'y')));
                let begin = out.len();
                items.iter().for_each(|item| item.write(out));
                let length = (out.len() - begin) as u32;
                out[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
            }
            Value::Struct(fields) => {
                align(out, 8);
                fields.iter().for_each(|field| field.write(out));
            }
            Value::Variant(value) => {
                write_signature(&value.signature(), out);
                value.write(out);
            }
        }
    }
}

fn signature_of(values: &[Value]) -> String {
    values.iter().map(Value::signature).collect()
}

fn write_signature(text: &str, out: &mut Vec<u8>) {
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

fn align(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

/// A number, which is aligned to its own size.
fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    align(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn alignment(kind: u8) -> usize {
    match kind {
        b'n' | b'q' => 2,
        b'b' | b'i' | b'u' | b's' | b'o' | b'a' => 4,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => 1,
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Asks for something.
    Call,
    /// The answer.
    Return,
    /// The answer that it failed.
    Error,
    /// Told to whom it concerns.
    Signal,
}

/// A message; empty texts are absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The sender's number of it; never 0.
    pub serial: u32,
    /// The number of the call that is answered.
    pub reply_to: u32,
    /// To whom.
    pub destination: String,
    /// From whom.
    pub sender: String,
    /// Object.
    pub path: String,
    /// Interface.
    pub interface: String,
    /// Method or signal.
    pub member: String,
    /// Name of an error.
    pub error: String,
    /// Arguments.
    pub body: Vec<Value>,
}

impl Message {
    /// One with nothing in it.
    #[must_use]
    pub fn new(kind: Kind, serial: u32) -> Message {
        let empty = String::new;
        Message {
            kind,
            serial,
            reply_to: 0,
            destination: empty(),
            sender: empty(),
            path: empty(),
            interface: empty(),
            member: empty(),
            error: empty(),
            body: Vec::new(),
        }
    }

    /// The whole message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.body.iter().for_each(|value| value.write(&mut body));
        let kind = match self.kind {
            Kind::Call => 1,
            Kind::Return => 2,
            Kind::Error => 3,
            Kind::Signal => 4,
        };
        // Version 1, no flags.
        let mut out = vec![b'l', kind, 0, 1];
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.serial.to_le_bytes());
        let mut fields = Vec::new();
        let mut field = |code: u8, value: Value| {
            fields.push(Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]));
        };
        let text = |text: &String| (!text.is_empty()).then(|| Value::Text(text.clone()));
        let path = (!self.path.is_empty()).then(|| Value::Path(self.path.clone()));
        path.into_iter().for_each(|value| field(1, value));
        text(&self.interface).into_iter().for_each(|value| field(2, value));
        text(&self.member).into_iter().for_each(|value| field(3, value));
        text(&self.error).into_iter().for_each(|value| field(4, value));
        (self.reply_to != 0)
            .then_some(Value::U32(self.reply_to))
            .into_iter()
            .for_each(|value| field(5, value));
        text(&self.destination).into_iter().for_each(|value| field(6, value));
        if !self.body.is_empty() {
            field(8, Value::Signature(signature_of(&self.body)));
        }
        Value::Array("(yv)".to_owned(), fields).write(&mut out);
        align(&mut out, 8);
        out.append(&mut body);
        out
    }

    /// The length of a whole message from its first [`HEADER_BYTES`].
    ///
    /// # Errors
    /// Not a message, or longer than one may be.
    pub fn length(header: &[u8; HEADER_BYTES]) -> Result<usize, BusError> {
        let little = match header[0] {
            b'l' => true,
            b'B' => false,
            _ => return Err(BusError::Protocol { reason: "a message with neither byte order" }),
        };
        let number = |at: usize| {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
        };
        let fields = (HEADER_BYTES as u64 + u64::from(number(12))).next_multiple_of(8);
        let length = fields + u64::from(number(4));
        match usize::try_from(length) {
            Ok(length) if length <= MAX_MESSAGE_BYTES => Ok(length),
            _ => Err(BusError::Protocol { reason: "a message that is too long" }),
        }
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// Bytes that are no message.
    pub fn decode(bytes: &[u8]) -> Result<Message, BusError> {
        let mut reader = Reader { bytes, at: 0, little: bytes.first() == Some(&b'l') };
        let fixed = reader.take(4)?;
        let kind = match fixed[1] {
            1 => Kind::Call,
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => return Err(BusError::Protocol { reason: "a message of unknown kind" }),
        };
        reader.number::<4>()?;
        let mut message = Message::new(kind, reader.u32()?);
        let Value::Array(_, fields) = reader.value("a(yv)", 0)? else { return Err(SHORT) };
        reader.align(8)?;
        let mut signature = String::new();
        for field in fields {
            let Value::Struct(field) = field else { continue };
            let [Value::Byte(code), Value::Variant(value)] = &field[..] else { continue };
            match (code, &**value) {
                (1, Value::Path(text)) => message.path.clone_from(text),
                (2, Value::Text(text)) => message.interface.clone_from(text),
                (3, Value::Text(text)) => message.member.clone_from(text),
                (4, Value::Text(text)) => message.error.clone_from(text),
                (5, Value::U32(number)) => message.reply_to = *number,
                (6, Value::Text(text)) => message.destination.clone_from(text),
                (7, Value::Text(text)) => message.sender.clone_from(text),
                (8, Value::Signature(text)) => signature.clone_from(text),
                _ => {}
            }
        }
        let mut rest = &signature[..];
        while !rest.is_empty() {
            let (first, others) = split(rest)?;
            message.body.push(reader.value(first, 0)?);
            rest = others;
        }
        Ok(message)
    }
}

const SHORT: BusError = BusError::Protocol { reason: "a message that ends too early" };
const SIGNATURE: BusError = BusError::Protocol { reason: "a signature that is none" };

/// The first complete type of a signature, and the rest.
fn split(signature: &str) -> Result<(&str, &str), BusError> {
    let mut depth = 0_usize;
    for (at, letter) in signature.bytes().enumerate() {
        match letter {
            b'(' | b'{' => depth += 1,
            b')' | b'}' => depth = depth.checked_sub(1).ok_or(SIGNATURE)?,
            b'a' => continue,
            _ if letter.is_ascii_alphabetic() => {}
            _ => return Err(SIGNATURE),
        }
        if depth == 0 {
            return Ok(signature.split_at(at + 1));
        }
    }
    Err(SIGNATURE)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    little: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], BusError> {
        let end = self.at.checked_add(count).ok_or(SHORT)?;
        let taken = self.bytes.get(self.at..end).ok_or(SHORT)?;
        self.at = end;
        Ok(taken)
    }

    fn align(&mut self, to: usize) -> Result<(), BusError> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }

    /// The bytes of a number, aligned, in little endian.
    fn number<const N: usize>(&mut self) -> Result<[u8; N], BusError> {
        self.align(N)?;
        let mut number = [0; N];
        number.copy_from_slice(self.take(N)?);
        if !self.little {
            number.reverse();
        }
        Ok(number)
    }

    fn u32(&mut self) -> Result<u32, BusError> {
        self.number().map(u32::from_le_bytes)
    }

    /// `length` bytes of text and the zero after it.
    fn text(&mut self, length: usize) -> Result<String, BusError> {
        let text = self.take(length)?;
        self.take(1)?;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// One value of one complete type.
    fn value(&mut self, signature: &str, depth: usize) -> Result<Value, BusError> {
        if depth > MAX_DEPTH {
            return Err(BusError::Protocol { reason: "a message that is nested too deeply" });
        }
        Ok(match signature.as_bytes().first().ok_or(SIGNATURE)? {
            b'y' => Value::Byte(self.take(1)?[0]),
            b'b' => Value::Bool(self.u32()? != 0),
            b'n' => Value::I16(i16::from_le_bytes(self.number()?)),
            b'q' => Value::U16(u16::from_le_bytes(self.number()?)),
            b'i' => Value::I32(i32::from_le_bytes(self.number()?)),
            b'u' | b'h' => Value::U32(self.u32()?),
            b'x' => Value::I64(i64::from_le_bytes(self.number()?)),
            b't' => Value::U64(u64::from_le_bytes(self.number()?)),
            b'd' => Value::F64(f64::from_le_bytes(self.number()?)),
            b's' => {
                let length = self.u32()? as usize;
                Value::Text(self.text(length)?)
            }
            b'o' => {
                let length = self.u32()? as usize;
                Value::Path(self.text(length)?)
            }
            b'g' => {
                let length = usize::from(self.take(1)?[0]);
                Value::Signature(self.text(length)?)
            }
            b'a' => self.array(&signature[1..], depth)?,
            b'(' | b'{' => {
                self.align(8)?;
                let mut rest = signature.get(1..signature.len() - 1).ok_or(SIGNATURE)?;
                let mut fields = Vec::new();
                while !rest.is_empty() {
                    let (first, others) = split(rest)?;
                    fields.push(self.value(first, depth + 1)?);
                    rest = others;
                }
                Value::Struct(fields)
            }
            b'v' => {
                let length = usize::from(self.take(1)?[0]);
                let signature = self.text(length)?;
                let (first, rest) = split(&signature)?;
                if !rest.is_empty() {
                    return Err(SIGNATURE);
                }
                Value::Variant(Box::new(self.value(first, depth + 1)?))
            }
            _ => return Err(SIGNATURE),
        })
    }

    fn array(&mut self, element: &str, depth: usize) -> Result<Value, BusError> {
        let length = self.u32()? as usize;
        self.align(alignment(element.as_bytes().first().copied().ok_or(SIGNATURE)?))?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or(SHORT)?;
        let mut items = Vec::new();
        while self.at < end {
            let before = self.at;
            items.push(self.value(element, depth + 1)?);
            // An empty structure takes no room: an array of such would never end.
            if self.at == before {
                return Err(SIGNATURE);
            }
        }
        Ok(Value::Array(element.to_owned(), items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Message {
        let property = |name: &str, value: Value| {
            Value::Struct(vec![Value::Text(name.to_owned()), Value::Variant(Box::new(value))])
        };
        let rule = Value::Struct(vec![Value::Text("/dev/null".into()), Value::Text("rwm".into())]);
        Message {
            path: "/org/freedesktop/systemd1".to_owned(),
            interface: "org.freedesktop.systemd1.Manager".to_owned(),
            member: "StartTransientUnit".to_owned(),
            destination: "org.freedesktop.systemd1".to_owned(),
            body: vec![
                Value::Text("a.scope".into()),
                Value::Array(
                    "(sv)".to_owned(),
                    vec![
                        property("Delegate", Value::Bool(true)),
                        property("PIDs", Value::Array("u".to_owned(), vec![Value::U32(7)])),
                        property("MemoryMax", Value::U64(u64::MAX)),
                        property("DeviceAllow", Value::Array("(ss)".to_owned(), vec![rule])),
                        property("AllowedCPUs", Value::bytes(&[3])),
                        property("Requires", Value::texts(["a", ""])),
                        property("Half", Value::F64(0.5)),
                        property("Small", Value::I16(-2)),
                    ],
                ),
                Value::Array("(sa(sv))".to_owned(), vec![]),
                Value::I64(-1),
            ],
            ..Message::new(Kind::Call, 3)
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = sample().encode();
        let header: [u8; HEADER_BYTES] = bytes[..HEADER_BYTES].try_into().unwrap();
        assert_eq!(Message::length(&header).unwrap(), bytes.len());
        assert_eq!(Message::decode(&bytes).unwrap(), sample());
    }

    #[test]
    fn a_call_as_the_specification_lays_it_out() {
        let message =
            Message { member: "Hi".to_owned(), body: vec![Value::Byte(9)], ..Message::new(Kind::Call, 2) };
        // Two header fields, 11 and 7 bytes, each padded to 8.
        let golden = [
            &b"l\x01\x00\x01\x01\x00\x00\x00\x02\x00\x00\x00\x17\x00\x00\x00"[..],
            b"\x03\x01s\x00\x02\x00\x00\x00Hi\x00\x00\x00\x00\x00\x00",
            b"\x08\x01g\x00\x01y\x00\x00\x09",
        ];
        let golden = golden.concat();
        assert_eq!(message.encode(), golden);
    }

    #[test]
    fn hostile_bytes_are_refused() {
        let bytes = sample().encode();
        for length in 0..bytes.len() {
            assert!(Message::decode(&bytes[..length]).is_err(), "{length}");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff, b'(', b'a', b'v', b'{'] {
                let mut changed = bytes.clone();
                changed[at] = value;
                // Anything but a panic or an endless loop.
                let _ = Message::decode(&changed);
            }
        }
        let nested = "v".repeat(200);
        let mut reader = Reader { bytes: &[1, b'v', 0].repeat(200), at: 0, little: true };
        assert!(reader.value(&nested[..1], 0).is_err());
        for signature in ["a", "(", "(s", ")", "ÿ", ""] {
            assert!(split(signature).is_err(), "{signature}");
        }
        let mut empty =
            Reader { bytes: &[8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], at: 0, little: true };
        assert!(empty.value("a()", 0).is_err());
    }
}
