//! C0204: unknown word.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0204",
    title: "unknown word",
    severity: Severity::Error,
    text: r#"A setting that takes one of several words is given another one."#,
    wrong: r#"port wan = null {}
manager { idle = sleepy }
steer wan { else -> drop }
"#,
    right: r#"port wan = null {}
manager { idle = adaptive }
steer wan { else -> drop }
"#,
};

/// `written` is where the word itself stands, which may be elsewhere: in a `let`.
pub(crate) fn unknown_word<'a>(
    place: Place,
    written: Place,
    name: &str,
    word: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Diagnostic {
    let takes = format!("expected {}", super::one_of(known.clone()));
    let found = PAGE.at(place, format!("`{name}` cannot be `{word}`"), takes);
    match super::closest(word, known.clone()) {
        Some(close) => super::did_you_mean(found, written, word, close),
        None => found,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
