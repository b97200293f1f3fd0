//! C0206: unknown setting.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0206",
    title: "unknown setting",
    severity: Severity::Error,
    text: r#"A block sets something that does not exist for it."#,
    wrong: r#"port wan = tap { nam = "wan0" }
steer wan { else -> drop }
"#,
    right: r#"port wan = tap { name = "wan0" }
steer wan { else -> drop }
"#,
};

pub(crate) fn unknown_setting<'a>(
    place: Place,
    owner: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Diagnostic {
    let found = PAGE.at(place, format!("{owner} has no `{name}`"), "unknown here");
    match super::closest(name, known.clone()) {
        Some(close) => super::did_you_mean(found, place, name, close),
        None => match super::one_of(known) {
            none if none.is_empty() => found.help("it takes no settings"),
            known => found.help(format!("it takes {known}")),
        },
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
