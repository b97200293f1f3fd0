//! C0202: missing or wrong unit.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0202",
    title: "missing or wrong unit",
    severity: Severity::Error,
    text: r#"Every time, size and rate carries its unit, so that nobody has to guess between seconds and milliseconds or
between bits and bytes. A plain count has none."#,
    wrong: r#"port wan = null {}
port lan = null {}

nf mon = monitor { every = 1 }
steer wan { else -> mon -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}

nf mon = monitor { every = 1 s }
steer wan { else -> mon -> lan }
"#,
};

/// `wanted` as in "a time"; `units` are those that fit, none for a plain number; `written` is where the value itself stands,
/// `instead` what would do in its place.
pub(crate) fn wrong_unit(
    place: Place,
    name: &str,
    wanted: &str,
    got: Option<&str>,
    units: &[&str],
    written: Place,
    instead: Vec<String>,
) -> Diagnostic {
    let label = match got {
        None => "a unit is missing".to_owned(),
        Some(unit) => format!("`{unit}` does not fit"),
    };
    let found = PAGE.at(place, format!("`{name}` is {wanted}"), label);
    let found = instead
        .into_iter()
        .fold(found, |found, text| found.write(written.span(), text));
    match units {
        [] => found.help("leave the unit out: this is a plain number"),
        units => found.help(format!("the units are {}", super::one_of(units.iter().copied()))),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
