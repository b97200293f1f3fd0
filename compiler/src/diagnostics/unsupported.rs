//! C0211: not supported by this version.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0211",
    title: "not supported by this version",
    severity: Severity::Error,
    text: r#"The language has the setting, and this version cannot carry it out. It is refused because a setting that was
quietly ignored would promise what does not hold."#,
    wrong: r#"port wan = null {}
port lan = null {}

nf fw = forward with { domain = "tenant1" }
steer wan { else -> fw -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}

nf fw = forward
steer wan { else -> fw -> lan }
"#,
};

pub(crate) fn unsupported(place: Place, what: &str) -> Diagnostic {
    PAGE.at(place, format!("{what} is not supported by this version"), "cannot be carried out")
        .help("leave it out")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
