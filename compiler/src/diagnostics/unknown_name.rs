//! C0101: unknown name.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0101",
    title: "unknown name",
    severity: Severity::Error,
    text: r#"A name is used that no declaration introduces. Names are global to the file and to the files that it
imports with `use`; the order of declarations does not matter."#,
    wrong: r#"port wan = null {}
port lan = null {}

nf fw = forward
chain fast = wf -> lan
steer wan { else -> fast }
"#,
    right: r#"port wan = null {}
port lan = null {}

nf fw = forward
chain fast = fw -> lan
steer wan { else -> fast }
"#,
};

/// `wanted` is what may stand here, e.g. "an NF"; `close` a known name that was perhaps meant, and its declaration.
pub(crate) fn unknown_name(
    place: Place,
    name: &str,
    wanted: &str,
    close: Option<(&str, Place)>,
) -> Diagnostic {
    let found = PAGE.at(
        place,
        format!("unknown name `{name}`"),
        format!("{wanted} is expected here"),
    );
    match close {
        Some((close, declared)) => {
            let found = found.label(declared.span(), format!("`{close}` is declared here"));
            super::did_you_mean(found, place, name, close)
        }
        None => found.help(format!("declare `{name}`, or correct the name")),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
