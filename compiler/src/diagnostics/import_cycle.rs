//! C0105: import cycle.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0105",
    title: "import cycle",
    severity: Severity::Error,
    text: r#"A file imports itself, directly or through other files. There is no order in which such files could be
read as one."#,
    wrong: r#"use "again.chain"
port wan = null {}
steer wan { else -> drop }
"#,
    right: r#"port wan = null {}
steer wan { else -> drop }
"#,
};

/// `path` is the way round, file by file.
pub(crate) fn import_cycle(place: Place, path: &[String]) -> Diagnostic {
    PAGE.at(
        place,
        "files import each other in a circle",
        format!("this closes the circle {}", path.join(" -> ")),
    )
    .help("move what both files need into a third file, and import that from both")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
