//! Options of mounts: the words of config.md "Linux mount options", of runc and of crun, and what each one means.
//!
//! A word that is in none of the tables is a file system's own. Later words win over earlier ones, as in fstab(5).
//! Words of the superblock (`sync`, `dirsync`, `lazytime`, `mand`) go to a new file system as its options and mean
//! nothing for a bind mount, as in mount(2). `iversion`, `silent`, their opposites and crun's recursive `rsync`,
//! `rasync`, `rdirsync`, `rmand`, `rnomand` are known and change nothing: the calls that mounts are made by have no such
//! flags.

use super::numbers::{
    ATIME_MASK, MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE, NOATIME, NODEV, NODIRATIME, NOEXEC,
    NOSUID, NOSYMFOLLOW, RDONLY, RELATIME, STRICTATIME,
};

/// What a word means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Nothing,
    Bind {
        recursive: bool,
    },
    Remount,
    Set(u64),
    Clear(u64),
    /// One of the three access time settings, on or off.
    Atime(u64, bool),
    /// The same for all of the tree: the setting that is wanted.
    RecursiveAtime(u64),
    RecursiveSet(u64),
    RecursiveClear(u64),
    /// An option of the superblock, on or off.
    Superblock(&'static str, bool),
    Propagation(u64),
    CopyUp,
    CopySymlink,
    IdMap {
        recursive: bool,
    },
}

use Meaning::{
    Atime, Bind, Clear, CopySymlink, CopyUp, IdMap, Nothing, Propagation, RecursiveAtime, RecursiveClear,
    RecursiveSet, Remount, Set, Superblock,
};

const WORDS: [(&str, Meaning); 68] = [
    ("async", Superblock("sync", false)),
    ("atime", Atime(NOATIME, false)),
    ("bind", Bind { recursive: false }),
    ("copy-symlink", CopySymlink),
    ("defaults", Nothing),
    ("dev", Clear(NODEV)),
    ("diratime", Clear(NODIRATIME)),
    ("dirsync", Superblock("dirsync", true)),
    ("exec", Clear(NOEXEC)),
    ("idmap", IdMap { recursive: false }),
    ("iversion", Nothing),
    ("lazytime", Superblock("lazytime", true)),
    ("loud", Nothing),
    ("mand", Superblock("mand", true)),
    ("noatime", Atime(NOATIME, true)),
    ("nodev", Set(NODEV)),
    ("nodiratime", Set(NODIRATIME)),
    ("noexec", Set(NOEXEC)),
    ("noiversion", Nothing),
    ("nolazytime", Superblock("lazytime", false)),
    ("nomand", Superblock("mand", false)),
    ("norelatime", Atime(RELATIME, false)),
    ("nostrictatime", Atime(STRICTATIME, false)),
    ("nosuid", Set(NOSUID)),
    ("nosymfollow", Set(NOSYMFOLLOW)),
    ("private", Propagation(MS_PRIVATE)),
    ("rasync", Nothing),
    ("ratime", RecursiveAtime(RELATIME)),
    ("rbind", Bind { recursive: true }),
    ("rdev", RecursiveClear(NODEV)),
    ("rdiratime", RecursiveClear(NODIRATIME)),
    ("rdirsync", Nothing),
    ("relatime", Atime(RELATIME, true)),
    ("remount", Remount),
    ("rexec", RecursiveClear(NOEXEC)),
    ("ridmap", IdMap { recursive: true }),
    ("rmand", Nothing),
    ("rnoatime", RecursiveAtime(NOATIME)),
    ("rnodev", RecursiveSet(NODEV)),
    ("rnodiratime", RecursiveSet(NODIRATIME)),
    ("rnoexec", RecursiveSet(NOEXEC)),
    ("rnomand", Nothing),
    ("rnorelatime", RecursiveAtime(RELATIME)),
    ("rnostrictatime", RecursiveAtime(RELATIME)),
    ("rnosuid", RecursiveSet(NOSUID)),
    ("rnosymfollow", RecursiveSet(NOSYMFOLLOW)),
    ("ro", Set(RDONLY)),
    ("rprivate", Propagation(MS_PRIVATE | MS_REC)),
    ("rrelatime", RecursiveAtime(RELATIME)),
    ("rro", RecursiveSet(RDONLY)),
    ("rrw", RecursiveClear(RDONLY)),
    ("rshared", Propagation(MS_SHARED | MS_REC)),
    ("rslave", Propagation(MS_SLAVE | MS_REC)),
    ("rstrictatime", RecursiveAtime(STRICTATIME)),
    ("rsuid", RecursiveClear(NOSUID)),
    ("rsymfollow", RecursiveClear(NOSYMFOLLOW)),
    ("rsync", Nothing),
    ("runbindable", Propagation(MS_UNBINDABLE | MS_REC)),
    ("rw", Clear(RDONLY)),
    ("shared", Propagation(MS_SHARED)),
    ("silent", Nothing),
    ("slave", Propagation(MS_SLAVE)),
    ("strictatime", Atime(STRICTATIME, true)),
    ("suid", Clear(NOSUID)),
    ("symfollow", Clear(NOSYMFOLLOW)),
    ("sync", Superblock("sync", true)),
    ("tmpcopyup", CopyUp),
    ("unbindable", Propagation(MS_UNBINDABLE)),
];

/// Every option that is not handed to the file system, for the document that `features` prints.
pub fn mount_options() -> impl Iterator<Item = &'static str> {
    WORDS.iter().map(|(word, _)| *word)
}

/// The options of one mount, sorted by what they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// A bind mount, and whether of all that is mounted beneath.
    pub bind: Option<bool>,
    /// Changes what is mounted already.
    pub remount: bool,
    /// `MOUNT_ATTR_*` without access time.
    set: u64,
    clear: u64,
    /// Access time settings that are on.
    noatime: bool,
    strictatime: bool,
    relatime: bool,
    /// `atime` was asked for.
    atime: bool,
    recursive_set: u64,
    recursive_clear: u64,
    recursive_atime: Option<u64>,
    /// `MS_*`, 0 = left as it is.
    pub propagation: u64,
    /// More than one propagation was asked for: the last one counts.
    pub propagations_differ: bool,
    /// What the target held is copied into the new tmpfs.
    pub copy_up: bool,
    /// A source that is a symbolic link is made again.
    pub copy_symlink: bool,
    /// Owners are mapped.
    pub id_map: Option<IdMapOption>,
    /// Options of the superblock and the file system's own, without quotes around values.
    superblock: Vec<&'static str>,
    /// The file system's own.
    pub data: Vec<String>,
}

/// How owners are mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMapOption {
    /// On all of the tree.
    pub recursive: bool,
    /// crun's `idmap=uids=…;gids=…`, what follows the first `=`; empty = none.
    pub maps: String,
}

/// `MOUNT_ATTR_*` that are set and cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Set.
    pub set: u64,
    /// Cleared.
    pub clear: u64,
}

impl Options {
    /// Sorts the options of a configuration.
    pub fn parse(options: &[String]) -> Options {
        let mut sorted = Options::default();
        for option in options {
            match meaning(option) {
                Some(meaning) => sorted.take(meaning, option),
                None => sorted.data.extend(split(option).filter(|part| !part.is_empty())),
            }
        }
        sorted
    }

    fn take(&mut self, meaning: Meaning, option: &str) {
        match meaning {
            Nothing => {}
            Bind { recursive } => self.bind = Some(recursive || self.bind == Some(true)),
            Remount => self.remount = true,
            Set(attribute) => {
                self.set |= attribute;
                self.clear &= !attribute;
            }
            Clear(attribute) => {
                self.clear |= attribute;
                self.set &= !attribute;
            }
            Atime(setting, on) => self.take_atime(setting, on),
            RecursiveAtime(setting) => self.recursive_atime = Some(setting),
            RecursiveSet(attribute) => {
                self.recursive_set |= attribute;
                self.recursive_clear &= !attribute;
            }
            RecursiveClear(attribute) => {
                self.recursive_clear |= attribute;
                self.recursive_set &= !attribute;
            }
            Superblock(word, on) => {
                self.superblock.retain(|known| *known != word);
                if on {
                    self.superblock.push(word);
                }
            }
            Propagation(flags) => {
                self.propagations_differ |= self.propagation != 0 && self.propagation != flags;
                self.propagation = flags;
            }
            CopyUp => self.copy_up = true,
            CopySymlink => self.copy_symlink = true,
            IdMap { recursive } => {
                let maps = option.split_once('=').map_or("", |(_, maps)| maps).to_owned();
                self.id_map = Some(IdMapOption { recursive, maps });
            }
        }
    }

    fn take_atime(&mut self, setting: u64, on: bool) {
        match setting {
            NOATIME => {
                self.noatime = on;
                self.atime = !on;
            }
            STRICTATIME => self.strictatime = on,
            _ => self.relatime = on,
        }
    }

    /// The access time setting that was asked for, with mount(2)'s precedence.
    fn atime(&self) -> Option<u64> {
        if self.strictatime {
            Some(STRICTATIME)
        } else if self.noatime {
            Some(NOATIME)
        } else if self.relatime || self.atime {
            Some(RELATIME)
        } else {
            None
        }
    }

    /// Read-only, for the mount itself or all of the tree.
    pub fn read_only(&self) -> bool {
        (self.set | self.recursive_set) & RDONLY != 0
    }

    /// Attributes of a new file system: the recursive words count on top.
    pub fn attributes(&self) -> u64 {
        let atime = self.recursive_atime.or(self.atime()).unwrap_or(RELATIME);
        ((self.set & !self.recursive_clear) | self.recursive_set) | atime
    }

    /// What changes on the root of a tree that exists; what is not asked for stays.
    pub fn change(&self) -> Change {
        with_atime(self.set, self.clear, self.atime())
    }

    /// What changes on the root of a bind mount. As in runc: as soon as anything is asked for, what is not asked for
    /// goes, but in a user namespace only what could not be locked there; an access time setting stays until another one is
    /// named.
    pub fn bind_change(&self, user_namespace: bool) -> Change {
        let atime = if self.strictatime || self.noatime || self.relatime || self.set & NODIRATIME != 0 {
            self.atime().or(Some(RELATIME))
        } else {
            None
        };
        let (set, clear) = (self.set, self.clear & !NODIRATIME);
        if self.set | self.clear == 0 && atime.is_none() {
            return Change::default();
        }
        let free = if user_namespace { NOSYMFOLLOW } else { RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW };
        let directories = if atime.is_some() { NODIRATIME } else { 0 };
        with_atime(set, clear | ((free | directories) & !set), atime)
    }

    /// What changes on all of a tree that exists.
    pub fn recursive_change(&self) -> Change {
        with_atime(self.recursive_set, self.recursive_clear, self.recursive_atime)
    }

    /// Words for a new file system: the superblock's, then its own.
    pub fn filesystem_words(&self) -> Vec<String> {
        self.superblock.iter().map(|word| (*word).to_owned()).chain(self.data.iter().cloned()).collect()
    }
}

/// The kernel takes an access time setting only together with the clearing of all of them.
fn with_atime(set: u64, clear: u64, atime: Option<u64>) -> Change {
    match atime {
        Some(setting) => Change { set: set | setting, clear: clear | ATIME_MASK },
        None => Change { set, clear },
    }
}

fn meaning(option: &str) -> Option<Meaning> {
    let word = match option.split_once('=') {
        Some((word @ ("idmap" | "ridmap"), _)) => word,
        _ => option,
    };
    WORDS.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning)
}

/// The parts between commas: an element of the list may hold several options, as in one string for mount(2). A comma
/// between double quotes or behind a backslash does not count; quotes around a value are taken off.
fn split(option: &str) -> impl Iterator<Item = String> {
    let (mut quoted, mut escaped) = (false, false);
    option
        .split(move |c| {
            let separates = c == ',' && !quoted && !escaped;
            quoted ^= c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            separates
        })
        .map(|part| match part.split_once('=') {
            Some((key, value)) => {
                let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                format!("{key}={}", bare.unwrap_or(value))
            }
            None => part.to_owned(),
        })
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Options {
        Options::parse(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn attributes_toggle_and_the_last_word_wins() {
        for (on, off, attribute) in [
            ("ro", "rw", RDONLY),
            ("nosuid", "suid", NOSUID),
            ("nodev", "dev", NODEV),
            ("noexec", "exec", NOEXEC),
            ("nodiratime", "diratime", NODIRATIME),
            ("nosymfollow", "symfollow", NOSYMFOLLOW),
        ] {
            assert_eq!(parse(&[on]).change(), Change { set: attribute, clear: 0 }, "{on}");
            assert_eq!(parse(&[off]).change(), Change { set: 0, clear: attribute }, "{off}");
            assert_eq!(parse(&[off, on]).change(), Change { set: attribute, clear: 0 }, "{off},{on}");
            assert_eq!(parse(&[on, off]).attributes(), 0, "{on},{off}");
            assert_eq!(parse(&[on]).attributes(), attribute, "{on}");
            let (r_on, r_off) = (format!("r{on}"), format!("r{off}"));
            let (on, off) = (r_on.as_str(), r_off.as_str());
            assert_eq!(parse(&[on]).recursive_change(), Change { set: attribute, clear: 0 }, "{on}");
            assert_eq!(parse(&[on, off]).recursive_change(), Change { set: 0, clear: attribute }, "{off}");
            assert_eq!(parse(&[on]).change(), Change::default(), "{on} is about the tree");
            assert_eq!(parse(&[on]).attributes(), attribute, "{on} on a new file system");
        }
    }

    #[test]
    fn access_times() {
        let whole = |setting| Change { set: setting, clear: ATIME_MASK };
        for (words, want) in [
            (&["noatime"][..], whole(NOATIME)),
            (&["strictatime"], whole(STRICTATIME)),
            (&["relatime"], whole(RELATIME)),
            (&["atime"], whole(RELATIME)),
            (&["noatime", "atime"], whole(RELATIME)),
            (&["atime", "noatime"], whole(NOATIME)),
            (&["noatime", "strictatime"], whole(STRICTATIME)),
            (&["strictatime", "noatime"], whole(STRICTATIME)),
            (&["relatime", "noatime"], whole(NOATIME)),
            (&["strictatime", "nostrictatime"], Change::default()),
            (&["norelatime"], Change::default()),
        ] {
            assert_eq!(parse(words).change(), want, "{words:?}");
        }
        for (word, want) in [
            ("rnoatime", NOATIME),
            ("rstrictatime", STRICTATIME),
            ("rrelatime", RELATIME),
            ("ratime", RELATIME),
            ("rnorelatime", RELATIME),
            ("rnostrictatime", RELATIME),
        ] {
            assert_eq!(parse(&[word]).recursive_change(), whole(want), "{word}");
        }
        assert_eq!(parse(&[]).attributes(), RELATIME);
        assert_eq!(parse(&["strictatime", "nosuid"]).attributes(), STRICTATIME | NOSUID);
        assert_eq!(parse(&["strictatime", "rnoatime"]).attributes(), NOATIME);
    }

    #[test]
    fn propagation_is_the_last_one() {
        for (word, flag) in [
            ("private", MS_PRIVATE),
            ("slave", MS_SLAVE),
            ("shared", MS_SHARED),
            ("unbindable", MS_UNBINDABLE),
        ] {
            assert_eq!(parse(&[word]).propagation, flag);
            assert_eq!(parse(&[&format!("r{word}")]).propagation, flag | MS_REC);
            assert!(!parse(&[word, word]).propagations_differ);
        }
        let both = parse(&["slave", "shared"]);
        assert!(both.propagations_differ);
        assert_eq!(both.propagation, MS_SHARED);
    }

    #[test]
    fn binds() {
        assert_eq!(parse(&["ro"]).bind, None);
        assert_eq!(parse(&["bind"]).bind, Some(false));
        assert_eq!(parse(&["rbind", "bind"]).bind, Some(true));
        assert!(parse(&["remount"]).remount);
        assert!(parse(&["copy-symlink"]).copy_symlink);
        assert!(parse(&["tmpcopyup"]).copy_up);
    }

    #[test]
    fn id_maps() {
        let map = |recursive, maps: &str| Some(IdMapOption { recursive, maps: maps.to_owned() });
        assert_eq!(parse(&["idmap"]).id_map, map(false, ""));
        assert_eq!(parse(&["ridmap"]).id_map, map(true, ""));
        assert_eq!(parse(&["idmap=uids=0-1-2;gids=0-1-2"]).id_map, map(false, "uids=0-1-2;gids=0-1-2"));
    }

    #[test]
    fn words_of_the_superblock_go_to_new_file_systems() {
        assert_eq!(parse(&["sync", "dirsync", "lazytime", "mand"]).filesystem_words().len(), 4);
        assert_eq!(parse(&["sync", "async"]).filesystem_words(), [""; 0]);
        assert_eq!(parse(&["mode=755", "lazytime"]).filesystem_words(), ["lazytime", "mode=755"]);
        assert_eq!(parse(&["sync", "mand"]).change(), Change::default());
        for word in ["silent", "loud", "iversion", "noiversion", "defaults", "rsync", "rnomand"] {
            assert_eq!(parse(&[word]), Options::default(), "{word}");
        }
    }

    #[test]
    fn unknown_words_are_the_file_systems() {
        assert_eq!(parse(&["size=64k", "newinstance"]).data, ["size=64k", "newinstance"]);
        assert_eq!(parse(&["mode=755,size=64k", ""]).data, ["mode=755", "size=64k"]);
        assert_eq!(parse(&["context=\"a:b:c1,c2\",x"]).data, ["context=a:b:c1,c2", "x"]);
        assert_eq!(parse(&["lowerdir=/a\\,b:/c"]).data, ["lowerdir=/a\\,b:/c"]);
        assert_eq!(parse(&["acl", "RO"]).data, ["acl", "RO"]);
    }

    #[test]
    fn every_word_of_the_specification_is_known() {
        let specification = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime \
            nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private \
            ratime rbind rdev rdiratime relatime remount rexec rnoatime rnodiratime rnoexec rnorelatime \
            rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid \
            rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable idmap \
            ridmap rnodev";
        let known: Vec<&str> = mount_options().collect();
        for word in specification.split_whitespace() {
            assert!(known.contains(&word), "{word}");
        }
        let mut sorted = known.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), known.len(), "a word stands twice");
    }
}
