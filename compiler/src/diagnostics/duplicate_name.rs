//! C0102: name declared twice.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0102",
    title: "name declared twice",
    severity: Severity::Error,
    text: r#"Two declarations have the same name. All kinds of declarations share one set of names, imported files
included, so that a name means the same wherever it stands. A parameter of a chain is known in that chain alone; it may not hide a
declaration of its own file. There may be one `manager` block."#,
    wrong: r#"port wan = null {}
nf wan = forward
chain fast = wan
steer wan { else -> drop }
"#,
    right: r#"port wan = null {}
nf fw = forward
chain fast = fw -> wan
steer wan { else -> fast }
"#,
};

pub(crate) fn duplicate_name(place: Place, name: &str, first: Place) -> Diagnostic {
    PAGE.at(place, format!("`{name}` is declared twice"), "declared again here")
        .label(first.span(), "first declared here")
        .help("give one of them another name, or remove it")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
