//! C0207: set twice.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0207",
    title: "set twice",
    severity: Severity::Error,
    text: r#"One block sets the same thing twice. It is not known which of the two is intended."#,
    wrong: r#"port wan = null { size = 64, size = 128 }
steer wan { else -> drop }
"#,
    right: r#"port wan = null { size = 128 }
steer wan { else -> drop }
"#,
};

pub(crate) fn set_twice(place: Place, name: &str, first: Place) -> Diagnostic {
    PAGE.at(place, format!("`{name}` is set twice"), "set again here")
        .label(first.span(), "first set here")
        .help("keep one of the two")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
