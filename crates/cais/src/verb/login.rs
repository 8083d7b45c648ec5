//! `login`: user and password by flags, standard input or the terminal.

use std::ffi::OsString;
use std::io::{BufRead, Read};

use cais_engine::verb::RegistryAccess;
use cais_engine::{Credential, Engine};
use clap::Args;

use crate::door::{Door, print_stderr, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;
use crate::registry_access::RegistryFlags;
use crate::terminal;

#[derive(Debug, Args)]
struct LoginArgs {
    /// Print who is logged in, and do nothing else.
    #[arg(long)]
    get_login: bool,
    /// The password; others on this machine can see it.
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Read the password from standard input.
    #[arg(long)]
    password_stdin: bool,
    /// The user.
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// Tell where the login is kept.
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    access: RegistryFlags,
    registry: Option<String>,
}

/// A password is shorter, and so is a token.
const PASSWORD_MAX_BYTES: u64 = 64 << 10;

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: LoginArgs = parse(door.spec, argv)?;
    let registry = args.registry.as_deref().unwrap_or("docker.io");
    let access = args.access.access();
    if args.get_login {
        return get_login(door.engine()?, registry, &access);
    }
    if args.password.is_some() && args.password_stdin {
        return Err(Failure::usage("conflicting options: --password and --password-stdin"));
    }
    let mut given = args.password;
    if given.is_some() {
        print_stderr("warning: others on this machine can see what --password is; use --password-stdin\n");
    }
    if args.password_stdin {
        if args.username.is_none() {
            return Err(Failure::usage("--password-stdin needs --username"));
        }
        given = Some(password_of_stdin()?);
    }
    if args.username.as_deref() == Some("") || given.as_deref() == Some("") {
        return Err(Failure::usage("user and password must not be empty"));
    }
    let engine = door.engine()?;
    let current = match (&args.username, &given) {
        (Some(_), Some(_)) => None,
        // A helper that fails has no say in who is to be logged in.
        _ => engine.current_login(registry, &access).unwrap_or_default(),
    };
    if let (None, None, Some(current)) = (&args.username, &given, &current)
        && try_current(door, engine, registry, &access, current, args.verbose)?
    {
        return Ok(0);
    }
    let (user, password) = match (args.username, given) {
        (Some(user), Some(password)) => (user, password),
        (user, password) => ask(user, password, current.as_ref())?,
    };
    let logged_in = engine.login(registry, Credential::Password { user, password }, &access)?;
    door.warn(&logged_in.warnings);
    if args.verbose {
        print_stderr(&format!("The login is kept by {}\n", logged_in.keeper));
    }
    print_stdout("Login Succeeded\n")?;
    Ok(0)
}

fn get_login(engine: &Engine, registry: &str, access: &RegistryAccess) -> Outcome {
    let user = match engine.current_login(registry, access)? {
        Some(Credential::Password { user, .. }) => user,
        Some(Credential::IdentityToken(_) | Credential::RegistryToken(_)) => "<token>".to_owned(),
        None => return Err(Failure::usage(format!("not logged in to {registry}"))),
    };
    print_stdout(&format!("{user}\n"))?;
    Ok(0)
}

/// Whether the login that is there is still good; it is not kept anew.
fn try_current(
    door: &Door,
    engine: &Engine,
    registry: &str,
    access: &RegistryAccess,
    current: &Credential,
    verbose: bool,
) -> Result<bool, Failure> {
    print_stderr(&format!("Authenticating with existing credentials for {registry}\n"));
    match engine.check_login(registry, current.clone(), access) {
        Ok(()) => {
            if verbose {
                print_stderr("The login is kept where it was\n");
            }
            print_stdout("Login Succeeded\n")?;
            Ok(true)
        }
        Err(error) if terminal::stdin_is_terminal() => {
            door.warn(&[error.message]);
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

fn password_of_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(PASSWORD_MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| Failure::edge("read the password from standard input", error))?;
    let end = text.trim_end_matches('\n').trim_end_matches('\r').len();
    text.truncate(end);
    Ok(text)
}

/// Asks on the terminal for what is missing.
fn ask(
    user: Option<String>,
    password: Option<String>,
    current: Option<&Credential>,
) -> Result<(String, String), Failure> {
    if !terminal::stdin_is_terminal() {
        return Err(Failure::usage("cannot ask for user and password: standard input is no terminal")
            .hint("use --username and --password-stdin"));
    }
    let user = match user {
        Some(user) => user,
        None => {
            let usual = match current {
                Some(Credential::Password { user, .. }) => Some(user.as_str()),
                _ => None,
            };
            print_stderr(&usual.map_or("Username: ".to_owned(), |user| format!("Username ({user}): ")));
            let mut line = String::new();
            std::io::stdin()
                .lock()
                .read_line(&mut line)
                .map_err(|error| Failure::edge("read the user", error))?;
            match (line.trim(), usual) {
                ("", Some(usual)) => usual.to_owned(),
                ("", None) => return Err(Failure::usage("user and password must not be empty")),
                (typed, _) => typed.to_owned(),
            }
        }
    };
    let password = match password {
        Some(password) => password,
        None => terminal::ask_hidden("Password: ")?,
    };
    if password.is_empty() {
        return Err(Failure::usage("user and password must not be empty"));
    }
    Ok((user, password))
}
