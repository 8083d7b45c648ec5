//! Whether a login is good: the registry is asked for its `/v2/` with it (distribution specification, "Determining
//! Support"), by the token or basic challenge that it answers with.

use cais_oci::Reference;
use ureq::http::Method;

use crate::client::Client;
use crate::credentials::Credential;
use crate::error::{Error, Failure};
use crate::logins::LoginKey;
use crate::registries::Source;
use crate::session::{Ask, Purpose, Target};

impl Client {
    /// Asks the registry whether it accepts the login that the client's settings have for it; gives the identity token
    /// that it may give in place of a password.
    ///
    /// A registry that lets everybody in accepts any.
    ///
    /// # Errors
    /// [`Error::Ask`] with [`Failure::LoginRefused`] when it does not; [`Error::Blocked`].
    pub fn check_login(&self, key: &LoginKey) -> Result<Option<Credential>, Error> {
        let source = self.whole_registry(key.registry())?;
        let ask = Ask {
            method: Method::GET,
            target: Target::Root("v2/"),
            small: true,
            purpose: Purpose::Login,
            success: &[200],
            ..Ask::get("")
        };
        let answer = self.session.with_retries(|| self.session.ask(&source, &ask));
        let failed =
            |failure| Error::Ask { task: format!("log in to {}", key.registry()), source: Box::new(failure) };
        match answer {
            Ok(_) => Ok(self.session.identity(&source).map(Credential::IdentityToken)),
            Err(
                Failure::Unauthorized { registry, message, .. }
                | Failure::Forbidden { registry, message, .. },
            ) => Err(failed(Failure::LoginRefused { registry, message })),
            Err(failure) => Err(failed(failure)),
        }
    }

    /// The registry itself, without a repository.
    pub(crate) fn whole_registry(&self, registry: &str) -> Result<Source, Error> {
        let reference = Reference::parse(&format!("{registry}/x"))?;
        Ok(Source { repository: String::new(), ..self.registries.destination(&reference)? })
    }
}
