//! The figures that CRIU writes beside its images: `stats-dump` and `stats-restore` (criu's images/stats.proto).

use std::path::Path;

use serde::Serialize;

/// What a dump or a restore took; keys as podman prints them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CriuStats {
    /// Microseconds until all processes stood still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freezing_time: Option<u64>,
    /// Microseconds for which they stood still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen_time: Option<u64>,
    /// Microseconds for collecting memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memdump_time: Option<u64>,
    /// Microseconds for writing memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memwrite_time: Option<u64>,
    /// Pages looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages_scanned: Option<u64>,
    /// Pages written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages_written: Option<u64>,
    /// Microseconds for making processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forking_time: Option<u64>,
    /// Microseconds for the whole restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_time: Option<u64>,
    /// Pages restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages_restored: Option<u64>,
}

/// Two magic numbers and the length of the message stand before it.
const HEADER_BYTES: usize = 12;
/// Fields of the whole: of a dump, of a restore.
const DUMP: u64 = 1;
const RESTORE: u64 = 2;

impl CriuStats {
    /// Reads a file of CRIU; `None` when it is not there or is none.
    pub(super) fn read(path: &Path) -> Option<CriuStats> {
        CriuStats::parse(&std::fs::read(path).ok()?)
    }

    fn parse(bytes: &[u8]) -> Option<CriuStats> {
        let mut rest = bytes.get(HEADER_BYTES..)?;
        let mut stats = CriuStats::default();
        while !rest.is_empty() {
            let key = varint(&mut rest)?;
            let length = usize::try_from(varint(&mut rest)?).ok()?;
            let mut message = rest.get(..length)?;
            rest = &rest[length..];
            while !message.is_empty() {
                let field = varint(&mut message)?;
                let value = Some(varint(&mut message)?);
                let place = match (key >> 3, field >> 3) {
                    (DUMP, 1) => &mut stats.freezing_time,
                    (DUMP, 2) => &mut stats.frozen_time,
                    (DUMP, 3) => &mut stats.memdump_time,
                    (DUMP, 4) => &mut stats.memwrite_time,
                    (DUMP, 5) => &mut stats.pages_scanned,
                    (DUMP, 7) => &mut stats.pages_written,
                    (RESTORE, 3) => &mut stats.forking_time,
                    (RESTORE, 4) => &mut stats.restore_time,
                    (RESTORE, 5) => &mut stats.pages_restored,
                    _ => continue,
                };
                *place = value;
            }
        }
        Some(stats)
    }
}

/// A number of Protocol Buffers: seven bits a byte, the lowest first.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes.extend([0x0a, 7, 0x08, 0x96, 0x01, 0x10, 5, 0x38, 9]);
        let stats = CriuStats::parse(&bytes).unwrap();
        let expected = CriuStats {
            freezing_time: Some(150),
            frozen_time: Some(5),
            pages_written: Some(9),
            ..CriuStats::default()
        };
        assert_eq!(stats, expected);
        assert_eq!(
            serde_json::to_string(&stats).unwrap(),
            r#"{"freezing_time":150,"frozen_time":5,"pages_written":9}"#
        );
        bytes.pop();
        assert_eq!(CriuStats::parse(&bytes), None, "cut off");
        assert_eq!(CriuStats::parse(b"short"), None);
    }
}
