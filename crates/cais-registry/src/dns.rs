//! DNS messages and one exchange with one server: UDP first, TCP when the answer was cut short.
//!
//! Implements what a stub resolver needs of RFC 1035 and RFC 3596: queries for A and AAAA records, answers with
//! CNAME chains and compressed names. Knows nothing of search lists, of several servers, or of `/etc/hosts`.
//! An answer is taken only from the asked address, with the asked id and the asked question.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
const HEADER_LEN: usize = 12;
const NAME_MAX_LEN: usize = 253;
const LABEL_MAX_LEN: usize = 63;
/// Compression pointers followed in one name before it is taken for a loop.
const POINTERS_MAX: usize = 32;
const UDP_MAX_LEN: usize = 4096;

/// Which kind of address is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    A,
    Aaaa,
}

impl Record {
    fn code(self) -> u16 {
        match self {
            Record::A => TYPE_A,
            Record::Aaaa => TYPE_AAAA,
        }
    }
}

/// What a server knows about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Addresses of the asked kind; empty if the name exists without any.
    Addresses(Vec<IpAddr>),
    /// The name does not exist.
    NoSuchName,
    /// The server failed or refuses; another server may know.
    ServerFailure,
}

/// Whether `name` can be asked for at all.
pub(crate) fn is_valid_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    !name.is_empty()
        && name.len() <= NAME_MAX_LEN
        && name.split('.').all(|label| {
            (1..=LABEL_MAX_LEN).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        })
}

/// Asks `server` for both kinds of addresses of `name`, in parallel on one socket.
///
/// `ids` are two unpredictable numbers. Fails with `TimedOut` if the server does not answer within `timeout`.
pub(crate) fn ask(
    server: SocketAddr,
    name: &str,
    ids: [u16; 2],
    timeout: Duration,
    use_tcp: bool,
) -> io::Result<[Answer; 2]> {
    let deadline = Instant::now() + timeout;
    let questions = [(ids[0], Record::A), (ids[1], Record::Aaaa)];
    let mut answers = [None, None];
    if !use_tcp {
        exchange_udp(server, name, questions, &mut answers, deadline)?;
    }
    let mut complete = Vec::with_capacity(2);
    for ((id, record), answer) in questions.into_iter().zip(answers) {
        complete.push(match answer {
            Some(answer) => answer,
            None => exchange_tcp(server, name, id, record, deadline)?,
        });
    }
    // Both elements were pushed above.
    <[Answer; 2]>::try_from(complete).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// Fills in the answers that arrive whole; one that was cut short stays `None`.
fn exchange_udp(
    server: SocketAddr,
    name: &str,
    questions: [(u16, Record); 2],
    answers: &mut [Option<Answer>; 2],
    deadline: Instant,
) -> io::Result<()> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local)?;
    // A connected socket takes datagrams from this server only, and learns of a closed port.
    socket.connect(server)?;
    for (id, record) in questions {
        socket.send(&query(id, name, record))?;
    }
    let mut buffer = [0_u8; UDP_MAX_LEN];
    let mut cut_short = [false, false];
    while (0..2).any(|i| answers[i].is_none() && !cut_short[i]) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        for (i, (id, record)) in questions.into_iter().enumerate() {
            match parse(&buffer[..length], id, name, record) {
                Some(Parsed::CutShort) => cut_short[i] = true,
                Some(Parsed::Answer(answer)) => answers[i] = Some(answer),
                // A stray or forged datagram: go on waiting.
                None => {}
            }
        }
    }
    Ok(())
}

fn exchange_tcp(
    server: SocketAddr,
    name: &str,
    id: u16,
    record: Record,
    deadline: Instant,
) -> io::Result<Answer> {
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let mut stream = TcpStream::connect_timeout(&server, left()?)?;
    let message = query(id, name, record);
    let mut framed = Vec::with_capacity(2 + message.len());
    // A query has at most 12 + 255 + 4 bytes.
    framed.extend_from_slice(&(message.len() as u16).to_be_bytes());
    framed.extend_from_slice(&message);
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(&framed)?;
    let mut received = Vec::new();
    let mut wanted = 2;
    while received.len() < wanted {
        stream.set_read_timeout(Some(left()?))?;
        let mut piece = [0_u8; 2048];
        let room = piece.len().min(wanted - received.len());
        match stream.read(&mut piece[..room]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => received.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
        if wanted == 2 && received.len() == 2 {
            wanted = 2 + usize::from(u16::from_be_bytes([received[0], received[1]]));
        }
    }
    match parse(&received[2..], id, name, record) {
        Some(Parsed::Answer(answer)) => Ok(answer),
        Some(Parsed::CutShort) | None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A query for one record with recursion desired.
fn query(id: u16, name: &str, record: Record) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER_LEN + name.len() + 6);
    message.extend_from_slice(&id.to_be_bytes());
    // Flags: recursion desired; one question, no other sections.
    message.extend_from_slice(&[0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        // `is_valid_name` was asked before: at most 63.
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&record.code().to_be_bytes());
    message.extend_from_slice(&CLASS_IN.to_be_bytes());
    message
}

enum Parsed {
    Answer(Answer),
    CutShort,
}

/// Reads the answer to the given question; `None` if the message is malformed or answers something else.
fn parse(message: &[u8], id: u16, name: &str, record: Record) -> Option<Parsed> {
    let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    let flags = word(2)?;
    let is_response = flags & 0x8000 != 0;
    if word(0)? != id || !is_response || word(4)? != 1 {
        return None;
    }
    let (asked, mut at) = read_name(message, HEADER_LEN)?;
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if asked != name || word(at)? != record.code() || word(at + 2)? != CLASS_IN {
        return None;
    }
    at += 4;
    match flags & 0x000f {
        0 => {}
        3 => return Some(Parsed::Answer(Answer::NoSuchName)),
        _ => return Some(Parsed::Answer(Answer::ServerFailure)),
    }
    if flags & 0x0200 != 0 {
        return Some(Parsed::CutShort);
    }
    let mut aliases: Vec<(String, String)> = Vec::new();
    let mut found: Vec<(String, IpAddr)> = Vec::new();
    for _ in 0..word(6)? {
        let (owner, after) = read_name(message, at)?;
        let kind = word(after)?;
        let class = word(after + 2)?;
        let length = usize::from(word(after + 8)?);
        let data = message.get(after + 10..after + 10 + length)?;
        at = after + 10 + length;
        match (class, kind) {
            (CLASS_IN, TYPE_CNAME) => aliases.push((owner, read_name(message, after + 10)?.0)),
            (CLASS_IN, TYPE_A) if record == Record::A => {
                found.push((owner, IpAddr::from(<[u8; 4]>::try_from(data).ok()?)));
            }
            (CLASS_IN, TYPE_AAAA) if record == Record::Aaaa => {
                found.push((owner, IpAddr::from(<[u8; 16]>::try_from(data).ok()?)));
            }
            _ => {}
        }
    }
    let mut owner = name;
    for _ in 0..=aliases.len() {
        match aliases.iter().find(|(from, _)| *from == owner) {
            Some((_, to)) => owner = to.clone(),
            None => break,
        }
    }
    let addresses =
        found.into_iter().filter(|(from, _)| *from == owner).map(|(_, address)| address).collect();
    Some(Parsed::Answer(Answer::Addresses(addresses)))
}

/// Reads a possibly compressed name in lower case, and says where the message goes on after it.
fn read_name(message: &[u8], start: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut at = start;
    let mut end = None;
    let mut pointers = 0;
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => break,
            1..=LABEL_MAX_LEN => {
                let label = message.get(at + 1..at + 1 + length)?;
                if !name.is_empty() {
                    name.push('.');
                }
                // Latin-1 keeps foreign bytes apart from ASCII; such a name never equals an asked one.
                name.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
                if name.len() > 2 * NAME_MAX_LEN {
                    return None;
                }
                at += 1 + length;
            }
            0xc0.. => {
                pointers += 1;
                if pointers > POINTERS_MAX {
                    return None;
                }
                end.get_or_insert(at + 2);
                at = (length & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
            }
            _ => return None,
        }
    }
    Some((name, end.unwrap_or(at + 1)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Turns a query into an answer with the given records `(owner, type, data)`.
    pub(crate) fn answer_to(query: &[u8], rcode: u8, flags: u8, records: &[(&str, u16, Vec<u8>)]) -> Vec<u8> {
        let mut message = query.to_vec();
        message[2] = 0x80 | flags;
        message[3] = 0x80 | rcode;
        message[7] = records.len() as u8;
        for (owner, kind, data) in records {
            message.extend(encode_name(owner));
            message.extend(kind.to_be_bytes());
            message.extend([0, 1, 0, 0, 0, 60]);
            message.extend((data.len() as u16).to_be_bytes());
            message.extend(data);
        }
        message
    }

    pub(crate) fn encode_name(name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for label in name.split('.').filter(|label| !label.is_empty()) {
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes
    }

    fn read(message: &[u8], record: Record) -> Option<Answer> {
        match parse(message, 7, "www.example.org", record)? {
            Parsed::Answer(answer) => Some(answer),
            Parsed::CutShort => None,
        }
    }

    #[test]
    fn aliases_are_followed() {
        let message = answer_to(
            &query(7, "www.example.org", Record::A),
            0,
            0,
            &[
                ("WWW.example.org", TYPE_CNAME, encode_name("cdn.example.net")),
                ("cdn.example.net", TYPE_A, vec![192, 0, 2, 1]),
                ("other.example.net", TYPE_A, vec![192, 0, 2, 66]),
            ],
        );
        assert_eq!(read(&message, Record::A), Some(Answer::Addresses(vec!["192.0.2.1".parse().unwrap()])));
    }

    #[test]
    fn compressed_owner_and_ipv6() {
        let mut message = query(7, "www.example.org", Record::Aaaa);
        message[2] = 0x80;
        message[7] = 1;
        message.extend([0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 1, 0, 16]);
        message.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(
            read(&message, Record::Aaaa),
            Some(Answer::Addresses(vec!["2001:db8::9".parse().unwrap()]))
        );
    }

    #[test]
    fn failures_and_forgeries() {
        let asked = query(7, "www.example.org", Record::A);
        assert_eq!(read(&answer_to(&asked, 3, 0, &[]), Record::A), Some(Answer::NoSuchName));
        assert_eq!(read(&answer_to(&asked, 2, 0, &[]), Record::A), Some(Answer::ServerFailure));
        assert_eq!(read(&answer_to(&asked, 0, 0, &[]), Record::A), Some(Answer::Addresses(vec![])));
        assert_eq!(read(&asked, Record::A), None, "a query is no answer");
        assert_eq!(read(&answer_to(&query(8, "www.example.org", Record::A), 0, 0, &[]), Record::A), None);
        assert_eq!(read(&answer_to(&query(7, "evil.example.org", Record::A), 0, 0, &[]), Record::A), None);
        assert_eq!(read(&answer_to(&asked, 0, 0, &[]), Record::Aaaa), None);
        assert!(matches!(
            parse(&answer_to(&asked, 0, 2, &[]), 7, "www.example.org", Record::A),
            Some(Parsed::CutShort)
        ));
        // A name that points at itself.
        let mut looped = answer_to(&asked, 0, 0, &[]);
        looped[7] = 1;
        let at = looped.len() as u8;
        looped.extend([0xc0, at, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4]);
        assert_eq!(read(&looped, Record::A), None);
    }

    #[test]
    fn names() {
        assert!(is_valid_name("a.example.org."));
        assert!(!is_valid_name(""));
        assert!(!is_valid_name("a..b"));
        assert!(!is_valid_name(&"a".repeat(64)));
        assert!(!is_valid_name("a b"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, cut: u8) {
            let mut message = query(7, "www.example.org", Record::A);
            message[2] = 0x80;
            message[7] = 3;
            message.extend(bytes);
            message.truncate(message.len().saturating_sub(usize::from(cut) / 16));
            let _ = parse(&message, 7, "www.example.org", Record::A);
        }
    }
}
