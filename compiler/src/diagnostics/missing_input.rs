//! C0209: input without a value.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0209",
    title: "input without a value",
    severity: Severity::Error,
    text: r#"A `param` without a default must be given on the command line."#,
    wrong: r#"param uplink: string
port wan = tap { name = $uplink }
steer wan { else -> drop }
"#,
    right: r#"param uplink: string = "wan0"
port wan = tap { name = $uplink }
steer wan { else -> drop }
"#,
};

pub(crate) fn missing_input(place: Place, name: &str) -> Diagnostic {
    PAGE.at(
        place,
        format!("the input `{name}` has no value"),
        "it has no default",
    )
    .help(format!(
        "give it with `--set {name}=VALUE`, or write a default: `param {name}: TYPE = VALUE`"
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
