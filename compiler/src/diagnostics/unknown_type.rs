//! C0107: unknown type.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0107",
    title: "unknown type",
    severity: Severity::Error,
    text: r#"`nf x = TYPE` names an NF that is neither a standard one nor imported by `use "x.nf.toml" as TYPE`;
or `port x = KIND` names a port kind that does not exist; or a `param` has a type that does not exist."#,
    wrong: r#"port wan = null {}
port lan = null {}

nf fw = fireball
steer wan { else -> fw -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}

nf fw = forward
steer wan { else -> fw -> lan }
"#,
};

/// `what` as in "NF type".
pub(crate) fn unknown_type(
    place: Place,
    what: &str,
    name: &str,
    close: Option<&str>,
    known: &str,
) -> Diagnostic {
    let found = PAGE.at(
        place,
        format!("unknown {what} `{name}`"),
        format!("no such {what}"),
    );
    match close {
        Some(close) => super::did_you_mean(found, place, name, close),
        None => found.help(format!("known here: {known}")),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
