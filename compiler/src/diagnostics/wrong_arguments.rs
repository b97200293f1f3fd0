//! C0407: wrong arguments for a chain.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0407",
    title: "wrong arguments for a chain",
    severity: Severity::Error,
    text: r#"A parametrised chain is used by calling it with one argument for each parameter, each of the declared kind. A
chain without parameters is used by its name alone."#,
    wrong: r#"port wan = null {}
port lan = null {}

chain via(p: port, n: nf) = n -> p
nf fw = forward
steer wan { else -> via(lan) }
"#,
    right: r#"port wan = null {}
port lan = null {}

chain via(p: port, n: nf) = n -> p
nf fw = forward
steer wan { else -> via(lan, fw) }
"#,
};

/// `wanted` as in "2 arguments (p: port, n: nf)".
pub(crate) fn wrong_arguments(place: Place, chain: &str, wanted: &str, declared: Place) -> Diagnostic {
    PAGE.at(
        place,
        format!("`{chain}` takes {wanted}"),
        "used in another way here",
    )
    .label(declared.span(), "declared here")
    .help(format!("`{chain}` takes {wanted}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
