//! C0108: unusable manifest.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0108",
    title: "unusable manifest",
    severity: Severity::Error,
    text: r#"An NF manifest cannot be used: it is not valid TOML, misses a key, has a key that is unknown, or holds a
default or a bound that is no value of its parameter's type."#,
    wrong: r#"use "bad.nf.toml" as bad
port wan = null {}
nf x = bad
steer wan { else -> x -> drop }
"#,
    right: r#"use "screen.nf.toml" as screen
port wan = null {}
nf x = screen
steer wan { else -> x { suspect -> drop } -> drop }
"#,
};

/// `fault` is the place within the manifest, where it is known.
pub(crate) fn bad_manifest(place: Place, path: &str, reason: &str, fault: Option<Place>) -> Diagnostic {
    let found = PAGE.at(place, format!("the manifest {path} cannot be used: {reason}"), "needed here");
    let found = match fault {
        Some(at) => found.label(at.span(), "this is wrong"),
        None => found,
    };
    found.help("correct the manifest; docs/writing-an-nf.md describes every key, and `onvmc new nf` writes a valid one")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
