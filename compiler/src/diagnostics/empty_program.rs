//! C0110: program without declarations.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0110",
    title: "program without declarations",
    severity: Severity::Error,
    text: r#"The file holds nothing but white space and comments. It is refused, so that a file which was lost or not
written to its end does not take everything away from a manager that runs."#,
    wrong: "// to be written\n",
    right: r#"port wan = null {}
port lan = null {}

steer wan { else -> lan }
"#,
};

pub(crate) fn empty_program(start: Place) -> Diagnostic {
    PAGE.at(
        start,
        "this file declares nothing",
        "a program has at least a port and a `steer` block",
    )
    .help("`onvmc new chain NAME` writes a starting point")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
