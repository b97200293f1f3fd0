//! C0103: name of the wrong kind.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0103",
    title: "name of the wrong kind",
    severity: Severity::Error,
    text: r#"The name is known, but it is of a kind that cannot stand in this place: a `class` where a port is needed, for
example."#,
    wrong: r#"port wan = null {}
port lan = null {}

chain fast = lan
steer fast { else -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}

chain fast = lan
steer wan { else -> fast }
"#,
};

/// `kind` is what the name stands for, `wanted` what may stand here, both as in "a port".
pub(crate) fn wrong_kind(
    place: Place,
    name: &str,
    kind: &str,
    wanted: &str,
    declared: Option<Place>,
) -> Diagnostic {
    let found = PAGE
        .at(
            place,
            format!("`{name}` is {kind}, and {wanted} is needed here"),
            format!("{wanted} is expected"),
        )
        .help(format!("name {wanted}"));
    match declared {
        Some(declared) => found.label(declared.span(), format!("declared as {kind} here")),
        None => found,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
