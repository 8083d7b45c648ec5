//! `exec`: a further process in a container, described by a document or by flags over the container's own process.

use std::path::Path;

use cais_bundle::ExecRequest;
use cais_oci::runtime::{Capabilities, Process, User};

use super::failure::{Failure, Outcome};
use super::flags::Words;
use super::{Door, run};

/// Exit status of a failure, as runc's.
const FAILED: u8 = 255;

pub(super) fn main(door: &Door, words: &Words) -> Outcome {
    exec(door, words).map_err(|failure| failure.with_code(FAILED))
}

fn exec(door: &Door, words: &Words) -> Outcome {
    let id = words.id()?;
    let process = match words.path("process") {
        Some(path) => read(&path)?,
        None => {
            let mut process = door.runtime()?.process_of(id)?;
            amend(&mut process, words)?;
            process
        }
    };
    let request = ExecRequest {
        id: id.to_owned(),
        process,
        pid_file: words.path("pid-file"),
        console_socket: words.path("console-socket"),
        pidfd_socket: words.path("pidfd-socket"),
        detach: words.switch("detach"),
        ignore_paused: words.switch("ignore-paused"),
        cgroup: words.texts("cgroup")?,
        preserve_fds: words.number("preserve-fds")?.unwrap_or(0),
        no_new_keyring: words.switch("no-new-keyring"),
    };
    run::status(door.runtime()?.exec(&request)?)
}

fn read(path: &Path) -> Result<Process, Failure> {
    let name = path.display();
    let text = std::fs::read(path).map_err(|error| Failure::io(format!("read {name}"), &error))?;
    serde_json::from_slice(&text).map_err(|error| Failure::edge(format!("parse {name}"), error))
}

/// Makes of the container's process the one that the flags describe.
fn amend(process: &mut Process, words: &Words) -> Result<(), Failure> {
    let args: Option<Vec<String>> =
        words.arguments.iter().skip(1).map(|word| word.to_str().map(str::to_owned)).collect();
    process.args = args.ok_or_else(|| Failure::usage("an argument is not valid UTF-8"))?;
    if process.args.is_empty() {
        return Err(Failure::usage("exec args cannot be empty"));
    }
    process.terminal = words.switch("tty");
    process.env.extend(words.texts("env")?);
    if let Some(cwd) = words.text("cwd")? {
        process.cwd = cwd.to_owned();
    }
    if let Some(profile) = words.text("apparmor")? {
        process.apparmor_profile = Some(profile.to_owned());
    }
    if let Some(label) = words.text("process-label")? {
        process.selinux_label = Some(label.to_owned());
    }
    if let Some(set) = words.switch_if_set("no-new-privs") {
        process.no_new_privileges = set;
    }
    if let Some(text) = words.text("user")? {
        set_user(&mut process.user, text)?;
    }
    for gid in words.texts("additional-gids")? {
        let gid = gid
            .parse()
            .map_err(|_| Failure::usage(format!("additional-gids must be a positive number {gid}")))?;
        process.user.additional_gids.push(gid);
    }
    let more = words.texts("cap")?;
    if !more.is_empty() {
        add_capabilities(process.capabilities.get_or_insert_default(), &more);
    }
    Ok(())
}

fn set_user(user: &mut User, text: &str) -> Result<(), Failure> {
    let (uid, gid) = text.split_once(':').map_or((text, None), |(uid, gid)| (uid, Some(gid)));
    let id = |what: &str, text: &str| {
        text.parse::<u32>().map_err(|_| Failure::usage(format!("bad {what}: {text:?} is no number")))
    };
    user.uid = id("uid", uid)?;
    if let Some(gid) = gid {
        user.gid = id("gid", gid)?;
    }
    Ok(())
}

/// Ambient ones need inheritable ones, which are not added: as runc, only where the container has such a set.
fn add_capabilities(sets: &mut Capabilities, more: &[String]) {
    for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
        set.get_or_insert_default().extend_from_slice(more);
    }
    if sets.inheritable.is_some() {
        sets.ambient.get_or_insert_default().extend_from_slice(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime_door::command::COMMANDS;
    use crate::runtime_door::flags::parse;

    fn base() -> Process {
        let json = serde_json::json!({
            "terminal": true, "cwd": "/", "args": ["sleep"], "env": ["PATH=/bin"],
            "user": {"uid": 1, "gid": 2, "additionalGids": [3]}, "noNewPrivileges": true,
            "capabilities": {"bounding": ["CAP_KILL"], "inheritable": []},
        });
        serde_json::from_value(json).expect("a process")
    }

    fn amended(line: &str) -> Result<Process, String> {
        let exec = COMMANDS.iter().find(|command| command.name == "exec").expect("there");
        let argv = line.split_whitespace().map(Into::into).collect();
        let words = parse(argv, exec.flags, exec.first_ends).map_err(|failure| failure.message)?;
        let mut process = base();
        amend(&mut process, &words).map_err(|failure| failure.message)?;
        Ok(process)
    }

    #[test]
    fn without_flags_it_is_the_containers_without_terminal() {
        let expected = Process { args: vec!["ls".into(), "-t".into()], terminal: false, ..base() };
        assert_eq!(amended("x ls -t"), Ok(expected));
    }

    #[test]
    fn every_flag_changes_its_field() {
        let process = amended(
            "-t --cwd /tmp -e A=1 -eB=2 -u 7:8 -g 9 -g 10 -c CAP_CHOWN --process-label l --apparmor=p --no-new-privs=false x true",
        )
        .expect("ok");
        let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let expected = Process {
            args: vec!["true".into()],
            cwd: "/tmp".into(),
            env: vec!["PATH=/bin".into(), "A=1".into(), "B=2".into()],
            user: User { uid: 7, gid: 8, additional_gids: vec![3, 9, 10], ..User::default() },
            no_new_privileges: false,
            selinux_label: Some("l".into()),
            apparmor_profile: Some("p".into()),
            capabilities: Some(Capabilities {
                bounding: list(&["CAP_KILL", "CAP_CHOWN"]),
                effective: list(&["CAP_CHOWN"]),
                permitted: list(&["CAP_CHOWN"]),
                inheritable: list(&[]),
                ambient: list(&["CAP_CHOWN"]),
            }),
            ..base()
        };
        assert_eq!(process, expected);
        let user = amended("--user 7 x true").expect("ok").user;
        assert_eq!((user.uid, user.gid), (7, 2));
    }

    #[test]
    fn refusals() {
        for (line, expected) in [
            ("x", "exec args cannot be empty"),
            ("-u root x true", "bad uid: \"root\" is no number"),
            ("-u 1:staff x true", "bad gid: \"staff\" is no number"),
            ("-g -1 x true", "additional-gids must be a positive number -1"),
        ] {
            assert_eq!(amended(line), Err(expected.to_owned()), "{line}");
        }
    }

    #[test]
    fn a_document_is_read_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("process.json");
        assert!(read(&path).expect_err("missing").message.starts_with("read "));
        std::fs::write(&path, "{\"args\": 1}").expect("written");
        assert!(read(&path).expect_err("no process").message.starts_with("parse "));
        std::fs::write(&path, serde_json::to_vec(&base()).expect("JSON")).expect("written");
        assert_eq!(read(&path), Ok(base()));
    }
}
