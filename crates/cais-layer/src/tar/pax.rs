//! PAX extended headers: `length key=value\n`, as pax(1) of POSIX defines them, with the keys that GNU tar and
//! star add.

use crate::error::Fault;

use super::sparse::{self, Segment, decimal};
use super::{Timestamp, Xattr};

const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";
/// More would not fit into what Linux lists of a file (64 KiB of names), and looking for duplicates costs its square.
const MAX_XATTRS: usize = 1024;

/// Key and value.
type Record<'a> = (&'a [u8], &'a [u8]);

/// What extended headers say about an entry, in place of its own header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) sparse: Sparse,
}

/// The `GNU.sparse.*` keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sparse {
    pub(super) version: (Option<u64>, Option<u64>),
    pub(super) name: Option<Vec<u8>>,
    /// The size with the holes, by either of its two keys.
    pub(super) real_size: Option<u64>,
    pub(super) announced: Option<u64>,
    pub(super) map: Option<Vec<Segment>>,
    /// Formats 0.0: the offset whose length comes next.
    offset: Option<u64>,
}

impl Records {
    /// Takes in the payload of a header. Later records win over earlier ones; an empty value takes a key back.
    pub(super) fn read(&mut self, mut payload: &[u8]) -> Result<(), Fault> {
        // Some archivers fill the rest up with NULs.
        while payload.first().is_some_and(|&byte| byte != 0) {
            let ((key, value), rest) = split_record(payload)?;
            self.set(key, value)?;
            payload = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        match key {
            b"path" => self.path = name(value)?,
            b"linkpath" => self.link = name(value)?,
            b"size" => self.size = number(value, "size")?,
            b"uid" => self.uid = number(value, "uid")?,
            b"gid" => self.gid = number(value, "gid")?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => self.mtime = Some(timestamp(value).ok_or(Fault::Number("mtime"))?),
            _ if key.starts_with(XATTR_PREFIX) => {
                self.set_xattr(&key[XATTR_PREFIX.len()..], value)?;
            }
            _ if key.starts_with(b"GNU.sparse.") => {
                self.sparse.set(&key[b"GNU.sparse.".len()..], value)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn set_xattr(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        if name.is_empty() {
            return Err(Fault::PaxRecord);
        }
        if name.contains(&0) {
            return Err(Fault::NulByte);
        }
        // An empty value is a value here, as in GNU tar.
        self.xattrs.retain(|xattr| xattr.name != name);
        if self.xattrs.len() >= MAX_XATTRS {
            return Err(Fault::TooManyXattrs);
        }
        self.xattrs.push(Xattr { name: name.to_vec(), value: value.to_vec() });
        Ok(())
    }

    /// These records with `global` ones where these say nothing. A global path, link target or size makes no
    /// sense and is left out, as in GNU tar.
    pub(super) fn or(mut self, global: &Records) -> Records {
        self.uid = self.uid.or(global.uid);
        self.gid = self.gid.or(global.gid);
        self.mtime = self.mtime.or(global.mtime);
        for xattr in &global.xattrs {
            if self.xattrs.iter().all(|own| own.name != xattr.name) {
                self.xattrs.push(xattr.clone());
            }
        }
        self
    }
}

impl Sparse {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let number = || decimal(value).ok_or(Fault::SparseMap).map(Some);
        match key {
            b"major" => self.version.0 = number()?,
            b"minor" => self.version.1 = number()?,
            b"name" => self.name = name(value)?,
            b"size" | b"realsize" => self.real_size = number()?,
            b"numblocks" => self.announced = number()?,
            b"map" => self.map = Some(sparse::read_list(value)?),
            b"offset" => self.offset = number()?,
            b"numbytes" => {
                let offset = self.offset.take().ok_or(Fault::SparseMap)?;
                let len = decimal(value).ok_or(Fault::SparseMap)?;
                self.map.get_or_insert_default().push(Segment { offset, len });
            }
            _ => {}
        }
        Ok(())
    }
}

/// Splits off the first record: its key and value, and what follows it.
fn split_record(payload: &[u8]) -> Result<(Record<'_>, &[u8]), Fault> {
    let parts = || {
        let space = payload.iter().position(|&byte| byte == b' ')?;
        let len = usize::try_from(decimal(&payload[..space])?).ok()?;
        let record = payload.get(space + 1..len)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|&byte| byte == b'=')?;
        let key = &record[..equals];
        (!key.is_empty()).then(|| ((key, &record[equals + 1..]), &payload[len..]))
    };
    parts().ok_or(Fault::PaxRecord)
}

fn name(value: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    if value.contains(&0) {
        return Err(Fault::NulByte);
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

fn number(value: &[u8], key: &'static str) -> Result<Option<u64>, Fault> {
    if value.is_empty() {
        return Ok(None);
    }
    decimal(value).map(Some).ok_or(Fault::Number(key))
}

/// Seconds with an optional sign and fraction; digits beyond nanoseconds are cut off.
fn timestamp(text: &[u8]) -> Option<Timestamp> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let dot = text.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = match dot {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    if whole.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = i64::try_from(decimal(whole)?).ok()?;
    let nanos = (0..9)
        .fold(0, |nanos, place| nanos * 10 + fraction.get(place).map_or(0, |digit| u32::from(digit - b'0')));
    Some(match (negative, nanos) {
        (false, _) => Timestamp { seconds, nanos },
        (true, 0) => Timestamp { seconds: -seconds, nanos: 0 },
        (true, _) => Timestamp { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &str) -> Vec<u8> {
        let rest = key.len() + value.len() + 3;
        let mut len = rest + 1;
        while rest + len.to_string().len() != len {
            len = rest + len.to_string().len();
        }
        format!("{len} {key}={value}\n").into_bytes()
    }

    fn read(payload: &[u8]) -> Result<Records, Fault> {
        let mut records = Records::default();
        records.read(payload).map(|()| records)
    }

    #[test]
    fn keys_are_taken_and_taken_back() {
        let payload = [
            record("path", "a=b\nc"),
            record("uid", "70000"),
            record("uid", ""),
            record("comment", "no matter"),
            record("SCHILY.xattr.user.x", "1"),
            record("SCHILY.xattr.user.x", ""),
        ]
        .concat();
        let records = read(&payload).unwrap();
        assert_eq!(records.path.as_deref(), Some(&b"a=b\nc"[..]));
        assert_eq!(records.uid, None);
        assert_eq!(records.xattrs.len(), 1);
        assert_eq!(records.xattrs[0].value, b"");
    }

    #[test]
    fn broken_records_are_refused() {
        for bad in [
            &b"6 a=b"[..],
            b"7 a=b\n",
            b"5 a=b\n",
            b"99 a=b\n",
            b"x a=b\n",
            b" a=b\n",
            b"5 ab\n",
            b"5 =b\n",
            b"0 a=b\n",
            b"18446744073709551617 a=b\n",
        ] {
            assert_eq!(read(bad), Err(Fault::PaxRecord), "{bad:?}");
        }
        assert_eq!(read(b"6 a=b\n\0\0\0"), Ok(Records::default()));
        assert_eq!(read(&record("path", "a\0b")), Err(Fault::NulByte));
        assert_eq!(read(&record("size", "-1")), Err(Fault::Number("size")));
    }

    #[test]
    fn times_have_signs_and_fractions() {
        let time = |text: &str| timestamp(text.as_bytes()).map(|t| (t.seconds, t.nanos));
        assert_eq!(time("12"), Some((12, 0)));
        assert_eq!(time("12.5"), Some((12, 500_000_000)));
        assert_eq!(time("12.0000000019"), Some((12, 1)));
        assert_eq!(time("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time("-3"), Some((-3, 0)));
        for bad in ["", ".", "-", ".5", "1.x", "--1", "9999999999999999999999"] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }

    #[test]
    fn local_records_go_before_global_ones() {
        let global = read(
            &[
                record("uid", "1"),
                record("gid", "2"),
                record("path", "never"),
                record("SCHILY.xattr.user.a", "global"),
                record("SCHILY.xattr.user.b", "global"),
            ]
            .concat(),
        )
        .unwrap();
        let local = [record("uid", "7"), record("SCHILY.xattr.user.a", "local")].concat();
        let both = read(&local).unwrap().or(&global);
        assert_eq!((both.uid, both.gid, both.path), (Some(7), Some(2), None));
        assert_eq!(both.xattrs[0].value, b"local");
        assert_eq!(both.xattrs[1].value, b"global");
    }

    #[test]
    fn sparse_pairs_of_format_0_0_make_a_map() {
        let payload = [
            record("GNU.sparse.size", "100"),
            record("GNU.sparse.numblocks", "2"),
            record("GNU.sparse.offset", "0"),
            record("GNU.sparse.numbytes", "10"),
            record("GNU.sparse.offset", "50"),
            record("GNU.sparse.numbytes", "5"),
        ]
        .concat();
        let sparse = read(&payload).unwrap().sparse;
        assert_eq!(sparse.real_size, Some(100));
        assert_eq!(sparse.map.unwrap()[1], Segment { offset: 50, len: 5 });
        let lone = record("GNU.sparse.numbytes", "10");
        assert_eq!(read(&lone), Err(Fault::SparseMap));
    }
}
