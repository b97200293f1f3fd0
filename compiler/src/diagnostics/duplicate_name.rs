//! C0102: name declared twice.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0102",
    title: "name declared twice",
    severity: Severity::Error,
    text: r#"Two declarations have the same name. All kinds of declarations share one set of names, imported files
included, so that a name means the same wherever it stands. A parameter of a chain is known in that chain
alone: it may have the name of a declaration of another file, which it hides there, but not of one of its own
file. There may be one `manager` block. Two tests of one name are only warned of: `onvmc test` runs both, but
its report and `--filter` cannot tell them apart."#,
    wrong: r#"port wan = null {}
nf wan = forward
chain fast = wan
steer wan { else -> drop }
"#,
    right: r#"port wan = null {}
nf fw = forward
chain fast = fw -> wan
steer wan { else -> fast }
"#,
};

pub(crate) fn duplicate_name(place: Place, name: &str, first: Place) -> Diagnostic {
    PAGE.at(
        place,
        format!("`{name}` is declared twice"),
        "declared again here",
    )
    .label(first.span(), "first declared here")
    .help("give one of them another name, or remove it")
}

/// Two rules of one parameter, whose counters would be one.
pub(crate) fn duplicate_rule(place: Place, name: &str, first: Place) -> Diagnostic {
    PAGE.at(
        place,
        format!("two rules are named `{name}`"),
        "named so again here",
    )
    .label(first.span(), "the first of that name")
    .help("a rule's name is that of its counter: give one of them another, or none")
}

/// A warning, since nothing refers to a test by its name.
pub(crate) fn duplicate_test(place: Place, name: &str, first: Place) -> Diagnostic {
    let message = format!("two tests are named \"{name}\"");
    Diagnostic::warning(PAGE.code, message, place.span(), "named so again here")
        .label(first.span(), "the first of that name")
        .help("give one of them another name")
}

#[cfg(test)]
mod tests {
    use crate::testing::checked;
    use onvm_lang::Severity;

    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }

    #[test]
    fn two_tests_of_one_name_get_a_warning() {
        let test = "test \"out\" {\n    send wan tcp {}\n    expect wan\n}\n";
        let source = format!("port wan = null\nsteer wan {{ else -> wan }}\n{test}{test}{test}");
        let found = checked(&source);
        let told: Vec<_> = found.diagnostics.iter().map(|d| (d.code, d.severity)).collect();
        assert_eq!(told, [("C0102", Severity::Warning); 2]);
        assert!(found.diagnostics.iter().all(|d| d.labels.len() == 2));
        assert_eq!(
            found.diagnostics[0].labels[1].span, found.diagnostics[1].labels[1].span,
            "the first of three"
        );
        assert_eq!(found.program.map(|p| p.tests.len()), Some(3), "all are run");
    }
}
