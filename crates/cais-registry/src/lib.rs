//! Distribution client: names, mirrors, credentials, manifests, blobs.
//!
//! Implements pull and push of the OCI distribution specification 1.1 with Docker's token authentication,
//! synchronously; one [`Client`] serves many threads. Content is verified: a manifest that was asked for by digest
//! has that digest, and a blob's reader fails at its end unless size and digest are those of the descriptor.
//!
//! Never prints, never reads the environment, never calls the C library's resolver, never keeps anything on disk, and
//! knows nothing of the store. Credentials go to the registry they belong to and to the token service it
//! names, and only over TLS unless that registry is insecure or on the loopback.

mod blob;
mod challenge;
mod client;
mod credentials;
mod dns;
mod error;
mod forward;
mod helper;
mod http;
mod key;
mod login;
mod logins;
mod names;
mod policy;
mod proxy;
mod refusal;
mod registries;
mod search;
mod session;
mod settings;
mod signature;
mod tls;
mod upload;
mod words;

pub use blob::BlobReader;
pub use client::{Client, FetchedManifest};
pub use credentials::{Credential, CredentialError, CredentialFiles, Secret};
pub use error::{Error, Failure};
pub use key::{KeyError, PrivateKey, PublicKey};
pub use logins::{Keeper, LoginFile, LoginKey, LoginKeyError, Spelling};
pub use names::NameError;
pub use policy::{Identity, KeySource, Policy, PolicyError, Requirement};
pub use proxy::ProxySettings;
pub use registries::{Entry, Mirror, PullFromMirror, Registries, Source};
pub use search::Found;
pub use settings::Settings;
pub use signature::{Claim, Signature};
pub use upload::{Destination, Placed};
