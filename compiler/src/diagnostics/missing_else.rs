//! C0501: steering without `else`.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0501",
    title: "steering without `else`",
    severity: Severity::Error,
    text: r#"Every packet that a port receives goes somewhere. The last rule of a `steer` block is `else`, which takes the
packets that no other rule matches; `else -> drop` is the usual end of a list of what is allowed."#,
    wrong: r#"port wan = null {}
port lan = null {}

steer wan { tcp -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}

steer wan {
    tcp -> lan
    else -> drop
}
"#,
};

pub(crate) fn missing_else(port: Place, name: &str, block: Place) -> Diagnostic {
    PAGE.at(port, format!("the rules of `{name}` have no `else`"), "packets that match no rule have nowhere to go")
        .label(block.span(), "`else` belongs at the end of this block")
        .help("add `else -> drop`, or steer the rest into a chain")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
