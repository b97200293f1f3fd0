//! C0705: service id used twice.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0705",
    title: "service id used twice",
    severity: Severity::Error,
    text: r#"`with { service = N }` pins the id of a service, and two services cannot have the same."#,
    wrong: r#"port wan = null {}
port lan = null {}

nf a = forward with { service = 7 }
nf b = forward with { service = 7 }
steer wan { else -> a -> b -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}

nf a = forward with { service = 7 }
nf b = forward with { service = 8 }
steer wan { else -> a -> b -> lan }
"#,
};

pub(crate) fn service_id_taken(place: Place, id: u64, first: Place) -> Diagnostic {
    PAGE.at(
        place,
        format!("service id {id} is used twice"),
        "pinned again here",
    )
    .label(first.span(), "first pinned here")
    .help("choose another id, or leave `service` out: ids stay stable without it")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
