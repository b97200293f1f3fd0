//! C0405: NF twice in one path.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0405",
    title: "NF twice in one path",
    severity: Severity::Warning,
    text: r#"A packet on this path visits the same NF twice. That is allowed and bounded; it is also often a slip, and the
NF's counters and state then count such packets twice."#,
    wrong: r#"port wan = null {}
port lan = null {}

nf fw = forward
steer wan { else -> fw -> fw -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}

nf fw = forward
nf fw2 = forward
steer wan { else -> fw -> fw2 -> lan }
"#,
};

pub(crate) fn visited_twice(place: Place, nf: &str, first: Place) -> Diagnostic {
    PAGE.at(
        place,
        format!("`{nf}` stands twice in one path"),
        "visited again here",
    )
    .label(first.span(), "first visited here")
    .help("declare a second NF of the same type if each visit should stand for itself")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
