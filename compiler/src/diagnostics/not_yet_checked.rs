//! C0605: declared, and not yet proved.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0605",
    title: "declared, and not yet proved",
    severity: Severity::Warning,
    text: r#"The names in `assert` and `allow ... to program` declarations are checked. This version does not prove
assertions and does not let NFs change flow tables; it says so once for each kind, so that a clean result is not
taken for a proof. Tests are run by `onvmc test`."#,
    wrong: r#"port wan = null {}
port lan = null {}

steer wan { else -> lan }
assert wan: all reaches lan
"#,
    right: r#"port wan = null {}
port lan = null {}

steer wan { else -> lan }
"#,
};

/// `what` as in "assertions are not proved".
pub(crate) fn not_yet_checked(place: Place, what: &str, count: usize) -> Diagnostic {
    let label = match count {
        1 => "this one".to_owned(),
        n => format!("this is the first of {n}"),
    };
    PAGE.at(place, format!("{what} by this version; only their names have been checked"), label)
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
