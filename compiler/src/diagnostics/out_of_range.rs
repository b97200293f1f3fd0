//! C0203: value out of range.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0203",
    title: "value out of range",
    severity: Severity::Error,
    text: r#"The value has the right type, but lies outside the range of the setting."#,
    wrong: r#"port wan = null { queues = 0 }
steer wan { else -> drop }
"#,
    right: r#"port wan = null { queues = 1 }
steer wan { else -> drop }
"#,
};

/// `range` as in "from 1 to 64".
pub(crate) fn out_of_range(place: Place, name: &str, value: &str, range: &str) -> Diagnostic {
    PAGE.at(
        place,
        format!("`{name}` = {value} is out of range"),
        format!("{range} is possible"),
    )
    .help(format!("choose a value {range}"))
}

/// A value whose form is wrong; `rule` says what it must look like.
pub(crate) fn malformed(place: Place, name: &str, value: &str, rule: &str) -> Diagnostic {
    PAGE.at(place, format!("`{name}` cannot be {value}"), rule.to_owned())
        .help(format!("it must be {rule}"))
}

/// A list that names make larger than the limit.
pub(crate) fn too_many_items(place: Place, max: usize) -> Diagnostic {
    PAGE.at(
        place,
        format!("a list has more than {max} items"),
        "with those of the lists that it names",
    )
    .help("give a list this long as a `file(\"...\")`, or write fewer and shorter prefixes or ranges")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
