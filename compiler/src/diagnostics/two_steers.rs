//! C0503: two `steer` blocks for one port.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0503",
    title: "two `steer` blocks for one port",
    severity: Severity::Error,
    text: r#"The rules of a port are one ordered list, so they stand in one block."#,
    wrong: r#"port wan = null {}
port lan = null {}

steer wan { tcp -> lan else -> drop }
steer wan { else -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}

steer wan { tcp -> lan else -> drop }
"#,
};

pub(crate) fn two_steers(place: Place, port: &str, first: Place) -> Diagnostic {
    PAGE.at(place, format!("`{port}` is steered twice"), "steered again here")
        .label(first.span(), "first steered here")
        .help("put the rules into one block, in the order in which they are to be tried")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
