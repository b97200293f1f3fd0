//! C0106: import cannot be read.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0106",
    title: "import cannot be read",
    severity: Severity::Error,
    text: r#"The file named by `use` does not exist or cannot be read. Paths are relative to the file that holds the
`use`. Files that end in `.chain` are sources; files that end in `.nf.toml` are NF manifests and need a
name: `use "waf.nf.toml" as waf`."#,
    wrong: r#"use "libary.chain"
port wan = null {}
steer wan { else -> drop }
"#,
    right: r#"use "library.chain"
port wan = null {}
steer wan { else -> drop }
"#,
};

pub(crate) fn unreadable_file(place: Place, path: &str, reason: &str) -> Diagnostic {
    PAGE.at(
        place,
        format!("cannot import \"{path}\": {reason}"),
        "imported here",
    )
    .help("the path is relative to the file that holds the `use`; check that the file exists and can be read")
}

pub(crate) fn neither_kind(place: Place, path: &str) -> Diagnostic {
    PAGE.at(
        place,
        format!("\"{path}\" is neither a source nor a manifest"),
        "imported here",
    )
    .help("a source ends in `.chain`, an NF manifest in `.nf.toml`")
}

pub(crate) fn wrong_alias(place: Place, manifest: bool) -> Diagnostic {
    match manifest {
        true => PAGE
            .at(place, "the manifest has no name here", "imported without a name")
            .help("say how the type is called in this file: `use \"waf.nf.toml\" as waf`"),
        false => PAGE
            .at(
                place,
                "only a manifest is imported under a name",
                "this is a source file",
            )
            .help("remove `as NAME`: the names of an imported source are used as they are"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
