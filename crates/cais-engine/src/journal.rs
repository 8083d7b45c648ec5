//! Output in the journal of systemd: the socket, and the fields that tell whose output it is; those of docker's driver.
//!
//! The journal's native protocol: one datagram for each entry, `NAME=value` and a newline for each field.

use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect as connect_to, socket_with,
};

use crate::attach::short;
use crate::log_sink;
use crate::{ContainerRecord, Error, ErrorKind, Result};

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// A socket that is connected to the journal.
pub(crate) fn connect() -> Result<OwnedFd> {
    let connecting = || -> std::io::Result<OwnedFd> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        connect_to(&socket, &SocketAddrUnix::new(SOCKET)?)?;
        Ok(socket)
    };
    connecting().map_err(|error| {
        let message = format!("--log-driver journald: no journal listens on {SOCKET}");
        Error::caused(ErrorKind::Unsupported, message, error)
            .hint("the journal belongs to systemd; elsewhere the log can be a file: --log-driver json-file")
    })
}

/// The fields of every entry.
pub(crate) fn fields(record: &ContainerRecord) -> Vec<u8> {
    let id = short(&record.id);
    let tag = log_sink::tag(record);
    let tag = tag.as_deref().unwrap_or(id);
    let fields = [
        ("CONTAINER_ID", id),
        ("CONTAINER_ID_FULL", &record.id),
        ("CONTAINER_NAME", &record.name),
        ("CONTAINER_TAG", tag),
        ("IMAGE_NAME", &record.image_name),
        ("SYSLOG_IDENTIFIER", tag),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let chosen = log_sink::chosen(record).into_iter().map(|(name, value)| (field_name(&name), value));
    // A newline would end the field.
    fields
        .into_iter()
        .chain(chosen)
        .flat_map(|(name, value)| format!("{name}={}\n", value.replace('\n', " ")).into_bytes())
        .collect()
}

/// As docker does it: the journal takes capital letters, digits and underscores, and no underscore at the beginning.
fn field_name(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().map(allowed).collect::<String>().trim_start_matches('_').to_owned()
}
