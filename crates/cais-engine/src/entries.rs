//! Entries for users that a container's /etc/passwd and /etc/group lack: the caller of `--userns keep-id`, users of the
//! host, and a user that was chosen by number. They are added to the files of the writable layer when a run begins, as
//! podman does; what is there stays, files that are missing stay so, and the image is never written.

use std::os::fd::AsFd;

use cais_plan::passwd;

use crate::root_view::read_in_root;
use crate::users::Ground;
use crate::{ContainerRecord, Engine, Error, ErrorKind, Result, UserRequest, UsernsRequest};

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// A user who is to be known in the container.
struct Person {
    name: String,
    uid: u32,
    gid: u32,
    /// Full name.
    comment: String,
    home: String,
}

/// The text of a file and what is added to it.
struct Additions {
    known: Vec<u8>,
    added: String,
}

impl Additions {
    fn users(&self) -> impl Iterator<Item = passwd::User<'_>> {
        self.lines().filter_map(passwd::parse_user)
    }

    fn groups(&self) -> impl Iterator<Item = passwd::Group<'_>> {
        self.lines().filter_map(passwd::parse_group)
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.known.split(|byte| *byte == b'\n').chain(self.added.as_bytes().split(|byte| *byte == b'\n'))
    }

    fn add(&mut self, entry: &str) {
        let unfinished = self.added.is_empty() && self.known.last().is_some_and(|byte| *byte != b'\n');
        self.added.push_str(if unfinished { "\n" } else { "" });
        self.added.push_str(entry);
        self.added.push('\n');
    }
}

/// Somebody is to be added, if they are not known yet.
fn wanted(users: &UserRequest) -> bool {
    let asked = users.passwd == Some(true)
        || matches!(users.userns, UsernsRequest::KeepId(_))
        || !users.host_users.is_empty()
        || users.passwd_entry.is_some()
        || users.group_entry.is_some();
    asked && users.passwd != Some(false)
}

impl Engine {
    /// What a run adds to the container's files: path and text.
    pub(crate) fn user_entries(&self, record: &ContainerRecord) -> Result<Vec<(String, String)>> {
        let users = &record.request.users;
        if !wanted(users) || record.request.rootfs.is_some() {
            return Ok(Vec::new());
        }
        let root = self.bare_root(record)?;
        let read = |path: &str| Additions {
            known: read_in_root(root.as_fd(), path.as_bytes()),
            added: String::new(),
        };
        let (mut passwd, mut group) = (read(PASSWD), read(GROUP));
        let host = |path| std::fs::read_to_string(path).unwrap_or_default();
        let (host_passwd, host_group) = (host(PASSWD), host(GROUP));
        let home = |home: &str| self.home_of(record, home);
        if let UsernsRequest::KeepId(wishes) = &users.userns {
            let (uid, gid) = Ground::look(self.config.rootless).caller();
            if let Some(mut caller) = person(&host_passwd, &uid.to_string()).filter(|_| uid != 0) {
                (caller.uid, caller.gid) = (wishes.uid.unwrap_or(uid), wishes.gid.unwrap_or(gid));
                caller.home = home(&caller.home);
                let own = host_group.lines().filter_map(|line| passwd::parse_group(line.as_bytes()));
                let name = own.into_iter().find(|entry| entry.gid == gid);
                let name = name.map(|entry| String::from_utf8_lossy(entry.name).into_owned());
                add_group(&mut group, users, &name.unwrap_or(caller.name.clone()), caller.gid, &caller.name);
                add_user(&mut passwd, users, &caller);
            }
        }
        for name in &users.host_users {
            let mut found = person(&host_passwd, name).ok_or_else(|| {
                Error::new(ErrorKind::Invalid, format!("--hostuser {name}: no such user on this host"))
            })?;
            found.home = home(&found.home);
            add_user(&mut passwd, users, &found);
        }
        let (user, of_group) = record.user.split_once(':').unwrap_or((&record.user, ""));
        if let Some(uid) = passwd::number(user.as_bytes()) {
            let named = |entry: &passwd::Group<'_>| entry.name == of_group.as_bytes();
            let known = group.groups().find(named).map(|entry| entry.gid);
            let gid = passwd::number(of_group.as_bytes()).or(known).unwrap_or(0);
            let (name, home) = (uid.to_string(), record.workdir.clone());
            if passwd::number(of_group.as_bytes()).is_some() {
                add_group(&mut group, users, &gid.to_string(), gid, &name);
            }
            add_user(&mut passwd, users, &Person { name, uid, gid, comment: "container user".into(), home });
        }
        let covered = |path: &str| {
            record.mounts.iter().any(|mount| path == mount.request.target || mount.request.target == "/etc")
        };
        let all = [(PASSWD, passwd.added), (GROUP, group.added)];
        let all = all.into_iter().filter(|(path, added)| !added.is_empty() && !covered(path));
        Ok(all.map(|(path, added)| (path.to_owned(), added)).collect())
    }

    /// A user's home of the host, when it is mounted; else where the container works.
    fn home_of(&self, record: &ContainerRecord, home: &str) -> String {
        let there = |target: &str| std::path::Path::new(home).starts_with(target);
        let mounted = home != "/" && record.mounts.iter().any(|mount| there(&mount.request.target));
        if mounted { home.to_owned() } else { record.workdir.clone() }
    }
}

/// A user of the host, by name or number.
fn person(passwd: &str, wanted: &str) -> Option<Person> {
    passwd.lines().find_map(|line| {
        let entry = passwd::parse_user(line.as_bytes())?;
        let found = entry.name == wanted.as_bytes() || wanted.parse() == Ok(entry.uid);
        found.then(|| Person {
            name: String::from_utf8_lossy(entry.name).into_owned(),
            uid: entry.uid,
            gid: entry.gid,
            comment: line.split(':').nth(4).unwrap_or_default().to_owned(),
            home: String::from_utf8_lossy(entry.home).into_owned(),
        })
    })
}

/// Unless the name or the number is known.
fn add_user(file: &mut Additions, users: &UserRequest, person: &Person) {
    if file.users().any(|entry| entry.uid == person.uid || entry.name == person.name.as_bytes()) {
        return;
    }
    // A field cannot hold what ends it.
    let home = if person.home.contains([':', '\n']) { "/" } else { &person.home };
    let template = users.passwd_entry.as_deref().unwrap_or("$USERNAME:*:$UID:$GID:$NAME:$HOME:/bin/sh");
    let entry = template
        .replace("$USERNAME", &person.name)
        .replace("$UID", &person.uid.to_string())
        .replace("$GID", &person.gid.to_string())
        .replace("$NAME", &person.comment)
        .replace("$HOME", home);
    file.add(&entry);
}

fn add_group(file: &mut Additions, users: &UserRequest, name: &str, gid: u32, member: &str) {
    if file.groups().any(|entry| entry.gid == gid || entry.name == name.as_bytes()) {
        return;
    }
    let template = users.group_entry.as_deref().unwrap_or("$GROUPNAME:x:$GID:$USERLIST");
    let entry =
        template.replace("$GROUPNAME", name).replace("$GID", &gid.to_string()).replace("$USERLIST", member);
    file.add(&entry);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_known_is_not_added_again() {
        let mut file = Additions { known: b"root:x:0:0::/root:/bin/sh".to_vec(), added: String::new() };
        let users = UserRequest::default();
        let person = |name: &str, uid| Person {
            name: name.into(),
            uid,
            gid: 5,
            comment: "A B".into(),
            home: "/home/x".into(),
        };
        add_user(&mut file, &users, &person("root", 7));
        add_user(&mut file, &users, &person("other", 0));
        assert_eq!(file.added, "");
        add_user(&mut file, &users, &person("anna", 7));
        add_user(&mut file, &users, &person("bert", 7));
        assert_eq!(file.added, "\nanna:*:7:5:A B:/home/x:/bin/sh\n", "on a line of its own, once");
        let users = UserRequest { passwd_entry: Some("$USERNAME-$UID-$GID-$NAME-$HOME".into()), ..users };
        add_user(&mut file, &users, &Person { home: "/a:b".into(), ..person("bert", 8) });
        assert!(file.added.ends_with("\nbert-8-5-A B-/\n"), "{}", file.added);
    }

    #[test]
    fn groups_have_their_member() {
        let mut file = Additions { known: b"root:x:0:\n".to_vec(), added: String::new() };
        add_group(&mut file, &UserRequest::default(), "0", 0, "x");
        add_group(&mut file, &UserRequest::default(), "staff", 50, "anna");
        assert_eq!(file.added, "staff:x:50:anna\n");
    }

    #[test]
    fn users_of_the_host() {
        let text = "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:50:Anna,,,:/home/anna:/bin/zsh\n";
        let found = person(text, "1000").expect("by number");
        assert_eq!(
            (found.name.as_str(), found.comment.as_str(), found.home.as_str()),
            ("anna", "Anna,,,", "/home/anna")
        );
        assert_eq!(person(text, "anna").map(|found| found.uid), Some(1000));
        assert!(person(text, "bert").is_none());
    }
}
