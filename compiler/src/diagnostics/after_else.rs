//! C0502: rule behind `else`.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0502",
    title: "rule behind `else`",
    severity: Severity::Error,
    text: r#"The first rule that matches wins, and `else` matches everything, so a rule behind it is never used."#,
    wrong: r#"port wan = null {}
port lan = null {}

steer wan {
    else -> lan
    tcp -> drop
}
"#,
    right: r#"port wan = null {}
port lan = null {}

steer wan {
    tcp -> drop
    else -> lan
}
"#,
};

pub(crate) fn after_else(rule: Place, otherwise: Place) -> Diagnostic {
    PAGE.at(rule, "no packet reaches this rule", "it stands behind `else`")
        .label(otherwise.span(), "this matches everything")
        .help("move `else` to the end")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
