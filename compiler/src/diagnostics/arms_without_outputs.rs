//! C0408: arms on something that is not an NF.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0408",
    title: "arms on something that is not an NF",
    severity: Severity::Error,
    text: r#"Only NFs have outputs, so only an NF step may be followed by arms in braces."#,
    wrong: r#"port wan = null {}
port lan = null {}

steer wan { else -> lan { match -> drop } }
"#,
    right: r#"port wan = null {}
port lan = null {}

nf scan = payload_scan { patterns = file("web.patterns") }
steer wan { else -> scan { match -> drop } -> lan }
"#,
};

/// `kind` as in "a port".
pub(crate) fn arms_without_outputs(place: Place, name: &str, kind: &str) -> Diagnostic {
    PAGE.at(
        place,
        format!("`{name}` is {kind} and has no outputs"),
        "arms are for NFs",
    )
    .help("remove the braces, or put them behind the NF whose outputs they handle")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
