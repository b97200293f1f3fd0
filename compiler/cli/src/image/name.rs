//! Names of images, as `compose.yaml` and engines use them.

use std::fmt;

use super::{
    Refusal,
    program::{Program, STANDARD},
};

/// How much of an image's id its name shows: what engines show of it, too.
const SHOWN: usize = 12;
/// The longest version that engines take.
const LONGEST: usize = 128;

/// `NAME:VERSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    name: String,
    version: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.version)
    }
}

impl Name {
    /// With a version that no other image has.
    pub(super) fn with_content(&self, id: &str) -> Self {
        let hash: String = id.trim_start_matches("sha256:").chars().take(SHOWN).collect();
        Self {
            name: self.name.clone(),
            version: format!("{}-{hash}", self.version),
        }
    }

    /// With the registry that docker supplies where none is said, as containerd writes it.
    pub(super) fn in_full(&self) -> String {
        match self.name.split_once('/') {
            Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => self.to_string(),
            Some(_) => format!("docker.io/{self}"),
            None => format!("docker.io/library/{self}"),
        }
    }
}

/// That which the bundle's `compose.yaml` names: the standard NFs have the version of onvmc.
pub(super) fn of_standard_nfs(program: &Program) -> Result<Name, Refusal> {
    if program.name != STANDARD {
        let text =
            "the image of an NF of your own needs a name: --tag BINARY:VERSION, both as in the NF's manifest";
        return Err(("tag", text.to_owned()));
    }
    Ok(Name {
        name: STANDARD.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

pub(super) fn parse(text: &str) -> Result<Name, Refusal> {
    let split = text
        .rsplit_once(':')
        .filter(|(_, version)| !version.contains('/'));
    match split {
        Some((name, version)) if is_name(name) && is_version(version) => Ok(Name {
            name: name.to_owned(),
            version: version.to_owned(),
        }),
        _ => Err((
            "tag",
            format!(
                "`{text}` is not a valid image name: use NAME:VERSION, e.g. my_nf:0.1.0. NAME: lower-case letters, digits, single `.`, `_`, `-` between them, `/`; VERSION: letters, digits, `.`, `_`, `-`, at most {} of them",
                LONGEST - SHOWN - 1
            ),
        )),
    }
}

/// Parts of lower-case letters and digits with separators between them; the first may be a registry with its port.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let part = |part: &str| {
        let pieces = part.replace("__", "_");
        let mut pieces = pieces.split(['.', '_', '-']);
        pieces.all(|p| !p.is_empty() && p.chars().all(plain))
    };
    let port = |port: &str| !port.is_empty() && port.len() <= 5 && port.chars().all(|c| c.is_ascii_digit());
    let (host, rest) = match name.split_once('/') {
        Some((host, rest)) if host.contains(':') => (host.split_once(':'), rest),
        _ => (None, name),
    };
    name.len() <= 255 && host.is_none_or(|(h, p)| part(h) && port(p)) && rest.split('/').all(part)
}

fn is_version(version: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
    let first = version.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    first && version.chars().all(inside) && version.len() < LONGEST - SHOWN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_engines_take() {
        for good in [
            "my_nf:0.1.0",
            "a:1",
            "registry.example:5000/net/my-nf:v1",
            "localhost/a.b__c:X_1",
        ] {
            assert_eq!(parse(good).unwrap().to_string(), good);
        }
        let long = format!("a:{}", "1".repeat(116));
        for bad in [
            "",
            "a",
            ":1",
            "a:",
            "A:1",
            "a:1+2",
            "a b:1",
            "-a:1",
            "a-:1",
            "a..b:1",
            "a//b:1",
            "host:5000/a",
            "host:x/a:1",
            "a___b:1",
            "a:-1",
            "a:1:2",
            &long,
        ] {
            assert_eq!(parse(bad).unwrap_err().0, "tag", "{bad}");
        }
        assert!(parse(&long[..117]).is_ok());
    }

    #[test]
    fn in_full() {
        let full = |text| parse(text).unwrap().in_full();
        assert_eq!(full("onvm-nf:1"), "docker.io/library/onvm-nf:1");
        assert_eq!(full("net/nf:1"), "docker.io/net/nf:1");
        assert_eq!(full("localhost/nf:1"), "localhost/nf:1");
        assert_eq!(full("r.example/nf:1"), "r.example/nf:1");
    }
}
