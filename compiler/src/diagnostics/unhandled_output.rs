//! C0403: output that must be handled.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0403",
    title: "output that must be handled",
    severity: Severity::Error,
    text: r#"The manifest says that a chain must decide where this output leads: continuing on the main line would defeat
the NF's purpose."#,
    wrong: r#"use "screen.nf.toml" as screen
port wan = null {}
nf g = screen
steer wan { else -> g -> drop }
"#,
    right: r#"use "screen.nf.toml" as screen
port wan = null {}
nf g = screen
steer wan { else -> g { suspect -> drop } -> drop }
"#,
};

pub(crate) fn unhandled_output(
    place: Place,
    nf: &str,
    declared: Place,
    output: &str,
    doc: &str,
) -> Diagnostic {
    let what = doc.trim_end_matches('.');
    PAGE.at(
        place,
        format!("the output `{output}` of `{nf}` must be handled"),
        format!("`{output}`: {what}"),
    )
    .label(declared.span(), format!("`{nf}` is declared here"))
    .help(format!("say where it leads: `{nf} {{ {output} -> drop }}`"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
