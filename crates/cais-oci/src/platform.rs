//! Platforms (`linux/arm64/v8`): names, normalisation, and which offered one a host prefers.
//!
//! Implements the platform object of the OCI image index specification and the matching rules of
//! containerd's `platforms` package: aliases (`x86_64`, `aarch64`, `armhf`), `arm64` equals `arm64/v8`,
//! an arm host runs lower arm variants, an amd64 host runs lower micro-architecture levels.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operating system and a processor that an image is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The processor as Go's GOARCH names it: `amd64`, `arm64`, `riscv64` …
    pub architecture: String,
    /// The operating system as Go's GOOS names it: `linux`, `windows` …
    pub os: String,
    /// Version of the operating system; only Windows images use it.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features of the operating system; only Windows images use them.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "crate::config::null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// Variant of the processor: `v8`, `v7` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// Nothing was given, or one of the parts is empty.
    #[error("platform {text:?} has an empty part (expected os/architecture[/variant])")]
    Empty {
        /// What was parsed.
        text: String,
    },
    /// More than three parts.
    #[error("platform {text:?} has more than three parts (expected os/architecture[/variant])")]
    TooManyParts {
        /// What was parsed.
        text: String,
    },
    /// A part holds a character that platforms do not have.
    #[error("platform {text:?} holds a character other than letters, digits, '.', '_' and '-'")]
    BadCharacter {
        /// What was parsed.
        text: String,
    },
    /// A single word that is neither an operating system nor a processor that we know.
    #[error("platform {text:?} is neither a known operating system nor a known processor")]
    UnknownWord {
        /// What was parsed.
        text: String,
    },
}

const KNOWN_OS: [&str; 14] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "ios",
    "js",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
];

const KNOWN_ARCH: [&str; 16] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le",
    "riscv64", "s390x", "sparc64", "wasm", "armbe",
];

impl Platform {
    /// The platform with these names, normalised (`x86_64` becomes `amd64`, `arm64` gets `v8`).
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
        Platform {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            os_version: None,
            os_features: Vec::new(),
            variant: variant.map(str::to_owned),
        }
        .normalised()
    }

    /// The platform that this program was built for; arm without its exact variant counts as `v7`.
    pub fn host() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            "mips64" if cfg!(target_endian = "little") => "mips64le",
            "mips" if cfg!(target_endian = "little") => "mipsle",
            other => other,
        };
        Platform::new("linux", architecture, None)
    }

    /// The same platform with aliases replaced and the implied variant filled in.
    pub fn normalised(&self) -> Platform {
        let os = match self.os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let variant = self.variant.as_deref().unwrap_or("").to_ascii_lowercase();
        let architecture = self.architecture.to_ascii_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", String::new()),
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", String::new()),
            ("x86_64" | "x86-64" | "amd64", other) => ("amd64", other.to_owned()),
            ("aarch64" | "arm64", "" | "8" | "v8" | "v8.0") => ("arm64", "v8".to_owned()),
            ("aarch64" | "arm64", other) => ("arm64", other.to_owned()),
            ("armhf", _) => ("arm", "v7".to_owned()),
            ("armel", _) => ("arm", "v6".to_owned()),
            ("arm", "" | "7") => ("arm", "v7".to_owned()),
            ("arm", number @ ("5" | "6" | "8")) => ("arm", format!("v{number}")),
            (other, variant) => (other, variant.to_owned()),
        };
        Platform {
            architecture: architecture.to_owned(),
            os,
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            variant: (!variant.is_empty()).then_some(variant),
        }
    }

    /// How well `offered` serves a request for `self`: 0 is an exact match, greater is worse, `None` does not run.
    pub fn rank(&self, offered: &Platform) -> Option<u32> {
        let want = self.normalised();
        let have = offered.normalised();
        if want.os != have.os {
            return None;
        }
        if want.architecture == have.architecture {
            return match want.architecture.as_str() {
                "arm" => below(arm_level(&want)?, arm_level(&have)?, 5),
                "amd64" => below(amd64_level(&want)?, amd64_level(&have)?, 1),
                "arm64" => arm64_below(&want, &have),
                _ => (want.variant == have.variant || have.variant.is_none()).then_some(0),
            };
        }
        match (want.architecture.as_str(), have.architecture.as_str()) {
            // An arm64 processor usually runs 32-bit arm; containerd offers it last, in this order.
            ("arm64", "arm") => below(8, arm_level(&have)?, 5).map(|rank| rank + 100),
            _ => None,
        }
    }

    /// Whether this is the `unknown/unknown` platform that attestation manifests carry.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }
}

/// Distance from level `want` down to level `have`, if that lies between `lowest` and `want`.
fn below(want: u32, have: u32, lowest: u32) -> Option<u32> {
    (lowest..=want).contains(&have).then(|| want - have)
}

fn level(variant: Option<&str>, default: u32) -> Option<u32> {
    match variant {
        None => Some(default),
        Some(text) => text.strip_prefix('v')?.parse().ok(),
    }
}

fn arm_level(platform: &Platform) -> Option<u32> {
    level(platform.variant.as_deref(), 7)
}

fn amd64_level(platform: &Platform) -> Option<u32> {
    level(platform.variant.as_deref(), 1)
}

/// arm64 variants are `v8`, `v8.1` … `v9.4`; a v9.n includes v8.(n+5), as containerd counts them.
fn arm64_below(want: &Platform, have: &Platform) -> Option<u32> {
    let steps = |platform: &Platform| -> Option<u32> {
        let text = platform.variant.as_deref().unwrap_or("v8").strip_prefix('v')?;
        let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
        let minor: u32 = minor.parse().ok().filter(|minor| *minor < 100)?;
        match major {
            "8" => Some(minor),
            "9" => Some(minor + 5),
            _ => None,
        }
    };
    if want.variant == have.variant {
        return Some(0);
    }
    let (want_major, have_major) =
        (want.variant.as_deref()?.as_bytes().get(1)?, have.variant.as_deref()?.as_bytes().get(1)?);
    if have_major > want_major {
        return None;
    }
    let across = if have_major < want_major { 10 } else { 0 };
    below(steps(want)?, steps(have)?, 0).map(|rank| rank + across)
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// Reads `os/architecture[/variant]`, `architecture` or `os`; what is left out is the host's.
    fn from_str(text: &str) -> Result<Platform, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(PlatformError::Empty { text: text.into() });
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/')) {
            return Err(PlatformError::BadCharacter { text: text.into() });
        }
        match parts[..] {
            [word] => {
                let host = Platform::host();
                let os = Platform::new(word, &host.architecture, host.variant.as_deref());
                if KNOWN_OS.contains(&os.os.as_str()) {
                    return Ok(os);
                }
                let arch = Platform::new(&host.os, word, None);
                if KNOWN_ARCH.contains(&arch.architecture.as_str()) {
                    return Ok(arch);
                }
                Err(PlatformError::UnknownWord { text: text.into() })
            }
            // `arm/v7` and `arm64/v8` are short for linux/…, as in containerd.
            [arch, variant]
                if !KNOWN_OS.contains(&arch)
                    && KNOWN_ARCH.contains(&Platform::new("linux", arch, None).architecture.as_str()) =>
            {
                Ok(Platform::new(&Platform::host().os, arch, Some(variant)))
            }
            [os, arch] => Ok(Platform::new(os, arch, None)),
            [os, arch, variant] => Ok(Platform::new(os, arch, Some(variant))),
            _ => Err(PlatformError::TooManyParts { text: text.into() }),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn aliases_are_normalised() {
        for (text, shown) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64/v8"),
            ("arm64", "linux/arm64/v8"),
            ("armhf", "linux/arm/v7"),
            ("arm/v6", "linux/arm/v6"),
            ("linux/arm", "linux/arm/v7"),
            ("Linux/AMD64", "linux/amd64"),
            ("i386", "linux/386"),
            ("macos/arm64", "darwin/arm64/v8"),
        ] {
            assert_eq!(parse(text).to_string(), shown, "{text}");
        }
        assert_eq!(parse("linux"), Platform::host());
        assert_eq!(Platform::host().os, "linux");
    }

    #[test]
    fn malformed_texts_are_refused() {
        assert!(matches!("".parse::<Platform>(), Err(PlatformError::Empty { .. })));
        assert!(matches!("linux//v8".parse::<Platform>(), Err(PlatformError::Empty { .. })));
        assert!(matches!("a/b/c/d".parse::<Platform>(), Err(PlatformError::TooManyParts { .. })));
        assert!(matches!("linux/am d64".parse::<Platform>(), Err(PlatformError::BadCharacter { .. })));
        assert!(matches!("toaster".parse::<Platform>(), Err(PlatformError::UnknownWord { .. })));
    }

    #[test]
    fn ranking() {
        for (want, offered, rank) in [
            ("linux/arm64", "linux/arm64/v8", Some(0)),
            ("linux/arm64/v8.2", "linux/arm64", Some(2)),
            ("linux/arm64", "linux/arm64/v9", None),
            ("linux/arm64/v9", "linux/arm64/v8", Some(15)),
            ("linux/arm/v7", "linux/arm/v7", Some(0)),
            ("linux/arm/v7", "linux/arm/v6", Some(1)),
            ("linux/arm/v7", "linux/arm/v5", Some(2)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/amd64/v3", "linux/amd64", Some(2)),
            ("linux/amd64", "linux/amd64/v2", None),
            ("linux/amd64", "linux/arm64", None),
            ("linux/amd64", "windows/amd64", None),
            ("linux/riscv64", "linux/riscv64", Some(0)),
        ] {
            assert_eq!(parse(want).rank(&parse(offered)), rank, "{want} <- {offered}");
        }
        assert!(parse("arm64").rank(&parse("arm/v7")) > parse("arm64/v9").rank(&parse("arm64/v8")));
        assert!(parse("arm64").rank(&parse("arm/v7")) < parse("arm64").rank(&parse("arm/v5")));
    }

    #[test]
    fn unknown_is_recognised() {
        let json = r#"{"architecture":"unknown","os":"unknown","os.features":null}"#;
        assert!(serde_json::from_str::<Platform>(json).unwrap().is_unknown());
        assert!(!Platform::host().is_unknown());
    }
}
