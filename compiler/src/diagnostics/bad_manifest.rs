//! C0108: unusable manifest.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0108",
    title: "unusable manifest",
    severity: Severity::Error,
    text: r#"An NF manifest cannot be used: it is not valid TOML, misses a key, has a key that is unknown, or holds a
default or a bound that is not a value of its parameter's type."#,
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

/// `needed` is the type of an NF, `imported` the `use` that names the manifest; `fault` is the place within the manifest,
/// where it is known.
pub(crate) fn bad_manifest(
    needed: Place,
    imported: Option<Place>,
    path: &str,
    reason: &str,
    fault: Option<Place>,
) -> Diagnostic {
    let message = format!("the manifest {path} cannot be used: {reason}");
    let found = match imported {
        Some(imported) => PAGE
            .at(imported, message, "imported here")
            .label(needed.span(), "needed here"),
        None => PAGE.at(needed, message, "needed here"),
    };
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

    #[test]
    fn the_import_is_labelled_before_the_use() {
        let found = crate::testing::checked(super::PAGE.wrong).diagnostics;
        let labels = found[0].labels.iter().map(|l| (l.text.as_str(), l.span.start));
        let at = |text| super::PAGE.wrong.find(text).map(|at| at as u32);
        let wanted = [
            ("imported here", at("\"bad.nf")),
            ("needed here", at("bad\nsteer")),
        ];
        assert_eq!(
            labels
                .map(|(text, at)| (text, Some(at)))
                .take(2)
                .collect::<Vec<_>>(),
            wanted
        );
    }
}
