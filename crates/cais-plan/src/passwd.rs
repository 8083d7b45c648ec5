//! Lines of passwd(5) and group(5), read without an allocator.
//!
//! Lenient as libc is: lines that do not parse are skipped.

/// An entry of passwd(5) as far as a launch needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User<'a> {
    /// Login name.
    pub name: &'a [u8],
    /// Number.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Home directory.
    pub home: &'a [u8],
}

/// An entry of group(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// Name.
    pub name: &'a [u8],
    /// Number.
    pub gid: u32,
    members: &'a [u8],
}

impl Group<'_> {
    /// The named user is a member.
    #[must_use]
    pub fn has_member(&self, user: &[u8]) -> bool {
        !user.is_empty() && self.members.split(|b| *b == b',').any(|m| m == user)
    }
}

/// Decimal number below 2³², nothing else.
#[must_use]
pub fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 10 {
        return None;
    }
    text.iter().try_fold(0_u32, |n, b| {
        if !b.is_ascii_digit() {
            return None;
        }
        n.checked_mul(10)?.checked_add(u32::from(b - b'0'))
    })
}

/// One line of passwd(5).
#[must_use]
pub fn parse_user(line: &[u8]) -> Option<User<'_>> {
    let mut fields = line.split(|b| *b == b':');
    let name = fields.next()?;
    let _password = fields.next()?;
    let uid = number(fields.next()?)?;
    let gid = number(fields.next()?)?;
    let _gecos = fields.next()?;
    let home = fields.next().unwrap_or(b"");
    (!name.is_empty()).then_some(User { name, uid, gid, home })
}

/// One line of group(5).
#[must_use]
pub fn parse_group(line: &[u8]) -> Option<Group<'_>> {
    let mut fields = line.split(|b| *b == b':');
    let name = fields.next()?;
    let _password = fields.next()?;
    let gid = number(fields.next()?)?;
    let members = fields.next().unwrap_or(b"");
    (!name.is_empty()).then_some(Group { name, gid, members })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users() {
        assert_eq!(
            parse_user(b"app:x:1000:50:App:/home/app:/bin/sh"),
            Some(User { name: b"app", uid: 1000, gid: 50, home: b"/home/app" })
        );
        assert_eq!(parse_user(b"app:x:1000:50:App").map(|u| u.home), Some(b"".as_slice()));
        assert_eq!(parse_user(b"app:x:-1:50:App:/:"), None);
        assert_eq!(parse_user(b"# comment"), None);
        assert_eq!(parse_user(b":x:1:1::/:"), None);
    }

    #[test]
    fn groups() {
        let group = parse_group(b"wheel:x:10:root,app").expect("parses");
        assert_eq!(group.gid, 10);
        assert!(group.has_member(b"app"));
        assert!(!group.has_member(b"ap"));
        assert!(!group.has_member(b""));
        assert!(parse_group(b"wheel:x:10:").is_some_and(|g| !g.has_member(b"")));
    }

    #[test]
    fn numbers() {
        assert_eq!(number(b"4294967295"), Some(u32::MAX));
        assert_eq!(number(b"4294967296"), None);
        assert_eq!(number(b""), None);
        assert_eq!(number(b"1a"), None);
    }
}
