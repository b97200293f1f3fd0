//! C0201: value of the wrong type.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0201",
    title: "value of the wrong type",
    severity: Severity::Error,
    text: r#"A setting or a parameter is given a value of another type than it takes. Names of interfaces, devices and
host paths are strings in double quotes; words such as `drop` stand without quotes; lists stand in brackets."#,
    wrong: r#"port wan = tap { name = 7 }
steer wan { else -> drop }
"#,
    right: r#"port wan = tap { name = "wan0" }
steer wan { else -> drop }
"#,
};

/// `wanted` and `got` as in "a string".
pub(crate) fn wrong_value_type(
    place: Place,
    name: &str,
    wanted: &str,
    got: &str,
    fix: Option<String>,
) -> Diagnostic {
    let found = PAGE.at(
        place,
        format!("`{name}` is {wanted}, not {got}"),
        format!("{wanted} is expected"),
    );
    match fix {
        Some(fix) => found.help(fix),
        None => found.help(format!("give {wanted}")),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
