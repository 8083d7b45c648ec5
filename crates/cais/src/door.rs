//! What every command is given: who called, where the state lies, and the engine, opened when it is first needed.

use std::cell::OnceCell;
use std::io::Write;

use cais_engine::{Config, Engine, Noun};
use rustix::process::geteuid;

use crate::failure::Failure;
use crate::names;
use crate::similar::nearest;
use crate::spec::Spec;
use crate::surroundings::Surroundings;

/// One invocation of one command.
pub struct Door {
    /// The command.
    pub spec: &'static Spec,
    /// The words that named it, for messages.
    pub words: String,
    /// `--debug`.
    pub debug: bool,
    /// The caller's environment.
    pub surroundings: Surroundings,
    engine: OnceCell<Engine>,
}

impl Door {
    /// A door that has not opened anything.
    pub fn new(spec: &'static Spec, words: String, debug: bool, surroundings: Surroundings) -> Door {
        Door { spec, words, debug, surroundings, engine: OnceCell::new() }
    }

    /// A door of nobody, for tests of parsers.
    #[cfg(test)]
    pub fn for_tests(spec: &'static Spec) -> Door {
        let identity = crate::surroundings::Identity::new(0, "");
        let surroundings = Surroundings::new(&Default::default(), &|_| None, identity, &|_| None);
        Door::new(spec, String::new(), false, surroundings)
    }

    /// The engine. The first call moves an ordinary user into its user namespace when the command needs it, so no
    /// thread may have been started before.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the store cannot be opened.
    pub fn engine(&self) -> Result<&Engine, Failure> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let mut config: Config = self.surroundings.config()?;
        if self.spec.needs_ids && !geteuid().is_root() {
            let mapping = cais_sys::userns::enter()
                .map_err(|error| Failure::edge("rootless containers are not possible here", error))?;
            config.single_id = mapping.single_id;
            config.left_namespaces = mapping.left;
        }
        let engine = Engine::open(config)?;
        Ok(self.engine.get_or_init(|| engine))
    }

    /// Tells of a failure.
    pub fn complain(&self, failure: &Failure) {
        let mut text = failure.told(&self.words, self.debug);
        if failure.hint.is_none()
            && let Some((noun, word)) = &failure.missing
            && let Some(name) = self.meant(*noun, word)
        {
            text.push_str(&format!("hint: did you mean {name}?\n"));
        }
        print_stderr(&text);
    }

    /// The name that is nearly what was typed.
    fn meant(&self, noun: Noun, word: &str) -> Option<String> {
        let names = names::of(self.engine.get()?, noun).ok()?;
        nearest(word, names.iter().map(String::as_str)).map(str::to_owned)
    }

    /// Tells the engine's warnings.
    pub fn warn(&self, warnings: &[String]) {
        for warning in warnings {
            print_stderr(&format!("warning: {warning}\n"));
        }
    }

    /// Does something for each of several objects; a failure is told and does not stop the others.
    pub fn each<T>(&self, objects: &[T], mut act: impl FnMut(&T) -> Result<(), Failure>) -> u8 {
        let mut code = 0;
        for object in objects {
            if let Err(failure) = act(object) {
                self.complain(&failure);
                code = failure.code(self.spec.codes);
            }
        }
        code
    }
}

/// Writes to standard output, unbuffered. A reader that went away is no failure of ours: the command goes on silently.
///
/// # Errors
/// When standard output cannot be written (a full disk).
pub fn print_stdout(text: &str) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::edge("write to standard output", error))
        }
        _ => Ok(()),
    }
}

/// Writes to standard error; nobody can be told when that fails.
pub fn print_stderr(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
