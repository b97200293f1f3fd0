//! C0409: output handled twice.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0409",
    title: "output handled twice",
    severity: Severity::Error,
    text: r#"Two arms of one step handle the same output, and a packet can go only one way."#,
    wrong: r#"port wan = null {}
port lan = null {}

nf scan = payload_scan { patterns = file("web.patterns") }
steer wan { else -> scan { match -> drop match -> lan } -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}

nf scan = payload_scan { patterns = file("web.patterns") }
steer wan { else -> scan { match -> drop } -> lan }
"#,
};

pub(crate) fn output_twice(place: Place, output: &str, first: Place) -> Diagnostic {
    PAGE.at(
        place,
        format!("`{output}` is handled twice"),
        "handled again here",
    )
    .label(first.span(), "first handled here")
    .help("keep one of the two")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
