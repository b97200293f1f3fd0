//! C0402: unknown output.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0402",
    title: "unknown output",
    severity: Severity::Error,
    text: r#"An arm names an output, or a test a counter, that the NF does not have. The outputs and counters of an NF
stand in its manifest."#,
    wrong: r#"port wan = null {}
port lan = null {}

nf scan = payload_scan { patterns = file("web.patterns") }
steer wan { else -> scan { matched -> drop } -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}

nf scan = payload_scan { patterns = file("web.patterns") }
steer wan { else -> scan { match -> drop } -> lan }
"#,
};

pub(crate) fn unknown_output<'a>(
    place: Place,
    nf: &str,
    declared: Place,
    output: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Diagnostic {
    let found = PAGE
        .at(
            place,
            format!("`{nf}` has no output `{output}`"),
            "no such output",
        )
        .label(declared.span(), format!("`{nf}` is declared here"));
    match super::closest(output, known.clone()) {
        Some(close) => super::did_you_mean(found, place, output, close),
        None => match super::one_of(known) {
            none if none.is_empty() => found.help("this NF has no outputs beside the main line"),
            known => found.help(format!("it has {known}")),
        },
    }
}

/// The same for a counter.
pub(crate) fn unknown_counter<'a>(
    place: Place,
    nf: &str,
    counter: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Diagnostic {
    let found = PAGE.at(
        place,
        format!("`{nf}` has no counter `{counter}`"),
        "no such counter",
    );
    match super::closest(counter, known.clone()) {
        Some(close) => super::did_you_mean(found, place, counter, close),
        None => found.help(format!("it has {}", super::one_of(known))),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
