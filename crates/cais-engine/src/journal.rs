//! Output in the journal of systemd: the socket, and the fields that tell whose output it is; those of docker's driver.
//!
//! The journal's native protocol: one datagram for each entry, `NAME=value` and a newline for each field.

use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect as connect_to, socket_with,
};

use crate::attach::short;
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
    let fields = [
        ("CONTAINER_ID", id),
        ("CONTAINER_ID_FULL", &record.id),
        ("CONTAINER_NAME", &record.name),
        ("CONTAINER_TAG", id),
        ("IMAGE_NAME", &record.image_name),
        ("SYSLOG_IDENTIFIER", id),
    ];
    // A newline would end the field.
    fields
        .iter()
        .flat_map(|(name, value)| format!("{name}={}\n", value.replace('\n', " ")).into_bytes())
        .collect()
}
