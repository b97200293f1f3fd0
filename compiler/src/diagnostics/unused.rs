//! C0104: unused declaration.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0104",
    title: "unused declaration",
    severity: Severity::Warning,
    text: r#"Nothing uses the declaration. It is often the trace of a misspelt name or of an edit that was left half
done. Declarations of imported files are not reported: a library may offer more than one file uses."#,
    wrong: r#"port wan = null {}
port lan = null {}

let trusted = [10.0.0.0/8]
steer wan { else -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}

let trusted = [10.0.0.0/8]
steer wan {
    src net $trusted -> drop
    else -> lan
}
"#,
};

/// `kind` as in "a constant".
pub(crate) fn unused(place: Place, name: &str, kind: &str) -> Diagnostic {
    PAGE.at(place, format!("`{name}` is never used"), format!("{kind} that nothing uses"))
        .help("use it, or remove it")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
