//! Flags of `run` and `create` about users: whose ids a container has, who is known in it.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the comments are help texts: brackets mean optional parts"
)]

use clap::{ArgAction, Args};

use crate::parse::parse_bool;

/// See the module's page.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub struct UserArgs {
    /// Map group ids of the container (container:outside[:size]).
    #[arg(long, value_name = "MAP")]
    pub gidmap: Vec<String>,
    /// Text of the entry that the container's group gets in its /etc/group.
    #[arg(long, value_name = "ENTRY")]
    pub group_entry: Option<String>,
    /// Add a user of the host to the container's /etc/passwd.
    #[arg(long, value_name = "USER")]
    pub hostuser: Vec<String>,
    /// Whether a user chosen by number gets an entry in the container's /etc/passwd.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = parse_bool, value_name = "BOOL")]
    pub passwd: Option<bool>,
    /// Text of that entry ($USERNAME, $UID, $GID, $NAME and $HOME are replaced).
    #[arg(long, value_name = "ENTRY")]
    pub passwd_entry: Option<String>,
    /// Group ids of a name in /etc/subgid.
    #[arg(long, value_name = "NAME")]
    pub subgidname: Option<String>,
    /// User ids of a name in /etc/subuid.
    #[arg(long, value_name = "NAME")]
    pub subuidname: Option<String>,
    /// Map user ids of the container (container:outside[:size]).
    #[arg(long, value_name = "MAP")]
    pub uidmap: Vec<String>,
    /// User namespace: host, private, auto[:size=N], keep-id[:uid=N,gid=N], nomap, ns:PATH, container:ID.
    #[arg(long, value_name = "MODE")]
    pub userns: Option<String>,
}
