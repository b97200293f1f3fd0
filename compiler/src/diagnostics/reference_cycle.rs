//! C0109: constant defined by itself.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0109",
    title: "constant defined by itself",
    severity: Severity::Error,
    text: r#"The value of a `let` or `param` refers to itself, directly or through others."#,
    wrong: r#"let a = $b
let b = $a
port wan = null { size = $a }
steer wan { else -> drop }
"#,
    right: r#"let a = 128
port wan = null { size = $a }
steer wan { else -> drop }
"#,
};

pub(crate) fn reference_cycle(place: Place, name: &str) -> Diagnostic {
    PAGE.at(
        place,
        format!("the value of `{name}` depends on itself"),
        "its own value is needed here",
    )
    .help("give one of the constants on the way a value of its own")
}

/// A constant that leads to another so many times that it is as bad as a circle.
pub(crate) fn too_many_steps(place: Place, name: &str, limit: usize) -> Diagnostic {
    let message = format!("the value of `{name}` leads through more than {limit} other constants");
    PAGE.at(place, message, "this is as far as it is followed")
        .help("refer to the first of them directly")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
