//! What is executed, where it is looked for, and with which environment.
//!
//! The environment is as runc hands it on: of a variable that is given twice the last one counts, an empty HOME counts as
//! none. The command is looked for as by execvp(3): a name without a slash in the directories of the process's own PATH,
//! without one in /bin and /usr/bin.

use std::collections::HashSet;

use super::error::{PlanError, Result};

/// What is executed.
pub struct Command {
    /// Files to try, in order.
    pub paths: Vec<String>,
    /// The environment.
    pub env: Vec<String>,
}

/// Where a command is looked for without PATH, confstr(3) `_CS_PATH`.
const NO_PATH: &str = "/bin:/usr/bin";

impl Command {
    /// As configured.
    pub fn of(args: &[String], env: &[String]) -> Result<Command> {
        let name = args.first().filter(|name| !name.is_empty()).ok_or(PlanError::NoCommand)?;
        let env = environment(env)?;
        let path = env.iter().find_map(|variable| variable.strip_prefix("PATH="));
        Ok(Command { paths: candidates(name, path.unwrap_or(NO_PATH)), env })
    }
}

fn candidates(name: &str, path: &str) -> Vec<String> {
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    // An empty directory is the working directory.
    path.split(':')
        .map(|directory| match directory {
            "" => format!("./{name}"),
            directory => format!("{}/{name}", directory.trim_end_matches('/')),
        })
        .collect()
}

fn environment(env: &[String]) -> Result<Vec<String>> {
    let mut seen = HashSet::new();
    let mut kept = Vec::with_capacity(env.len());
    for variable in env.iter().rev() {
        match variable.split_once('=') {
            None => return Err(PlanError::Variable(variable.clone())),
            Some(("", _)) => return Err(PlanError::VariableName(variable.clone())),
            Some((name, value)) => {
                if seen.insert(name) && (name, value) != ("HOME", "") {
                    kept.push(variable.clone());
                }
            }
        }
    }
    kept.reverse();
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(name: &str, env: &[&str]) -> Result<Command> {
        let env: Vec<String> = env.iter().map(|variable| (*variable).to_owned()).collect();
        Command::of(&[name.to_owned()], &env)
    }

    fn paths(name: &str, env: &[&str]) -> Vec<String> {
        command(name, env).expect("a command").paths
    }

    #[test]
    fn the_command_is_looked_for_in_path() {
        assert_eq!(paths("sh", &["PATH=/bin:/usr/bin/::x"]), ["/bin/sh", "/usr/bin/sh", "./sh", "x/sh"]);
        assert_eq!(paths("sh", &["PATH=/a", "PATH=/b"]), ["/b/sh"]);
        assert_eq!(paths("sh", &[]), ["/bin/sh", "/usr/bin/sh"]);
        assert_eq!(paths("sh", &["PATH=/"]), ["/sh"]);
        assert_eq!(paths("./sh", &["PATH=/bin"]), ["./sh"]);
        assert_eq!(paths("/bin/sh", &["PATH=/bin"]), ["/bin/sh"]);
    }

    #[test]
    fn the_environment_is_told_apart() {
        let env = command("sh", &["A=1", "HOME=", "B=2", "A=3", "C=a=b"]).expect("a command").env;
        assert_eq!(env, ["B=2", "A=3", "C=a=b"]);
        assert_eq!(command("sh", &["HOME=/root"]).expect("a command").env, ["HOME=/root"]);
        assert_eq!(command("sh", &["A"]).err(), Some(PlanError::Variable("A".to_owned())));
        assert_eq!(command("sh", &["=1"]).err(), Some(PlanError::VariableName("=1".to_owned())));
        assert_eq!(command("", &[]).err(), Some(PlanError::NoCommand));
        assert_eq!(Command::of(&[], &[]).err(), Some(PlanError::NoCommand));
    }
}
