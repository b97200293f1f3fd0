//! C0211: refused by the NF.

use onvm_lang::{Diagnostic, Severity, syntax::Span};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0211",
    title: "refused by the NF",
    severity: Severity::Error,
    text: r#"A standard NF would not start with this parameter. The NF's own code reads its parameters when the program is
checked, the files that they name included, so that every mistake in a patterns file is reported here, at its
place in that file. Third-party NFs are not run by the compiler: their refusals show when they start."#,
    wrong: r#"port wan = null {}
port lan = null {}

nf scan = payload_scan { patterns = file("wrong.patterns") }
steer wan { else -> scan -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}

nf scan = payload_scan { patterns = file("web.patterns") }
steer wan { else -> scan -> lan }
"#,
};

/// In a file that a parameter names.
pub(crate) fn in_file(span: Span, ty: &str, message: &str) -> Diagnostic {
    Diagnostic::error(
        PAGE.code,
        message,
        span,
        format!("`{ty}` does not start with this"),
    )
}

/// Of a value that stands in the program.
pub(crate) fn refused(place: Place, nf: &str, ty: &str, reason: &str) -> Diagnostic {
    PAGE.at(
        place,
        format!("NF `{nf}` would not start: {reason}"),
        format!("`{ty}` refuses this"),
    )
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_page, checked};

    #[test]
    fn page() {
        check_page(&super::PAGE);
    }

    fn spans(nf: &str) -> Vec<(String, String)> {
        let source = format!(
            "port wan = null\nnf one = {nf}\nnf two = {nf} with {{ replicas = 2 }}\nsteer wan {{ else -> one -> two -> wan }}\n"
        );
        let checked = checked(&source);
        let found = checked.diagnostics.iter().map(|d| {
            let (file, span) = checked.sources.locate(d.span()).unwrap();
            let name = file.path.display().to_string();
            assert_eq!(d.code, "C0211", "{}", d.message);
            (format!("{name}: {}", &file.text[span.range()]), d.message.clone())
        });
        found.collect()
    }

    /// Every mistake, once, whatever number of NFs reads the file.
    #[test]
    fn all_mistakes_of_a_file_are_shown_at_their_places() {
        let places: Vec<String> = spans("payload_scan { patterns = file(\"wrong.patterns\") }")
            .into_iter()
            .map(|(place, _)| place)
            .collect();
        assert_eq!(places, ["wrong.patterns: |0d 0a", "wrong.patterns: \\q"]);
    }

    /// Another parameter that is wrong hides none of them.
    #[test]
    fn a_wrong_parameter_hides_no_mistake_of_a_file() {
        let source = "port wan = null\nnf scan = payload_scan { patterns = file(\"wrong.patterns\"), on_match = bogus }\n\
            steer wan { else -> scan -> wan }\n";
        let codes: Vec<_> = checked(source).diagnostics.iter().map(|d| d.code).collect();
        assert_eq!(codes, ["C0204", "C0211", "C0211"]);
    }

    #[test]
    fn a_file_as_a_whole_can_be_refused() {
        let found = spans("payload_scan { patterns = file(\"no.patterns\") }");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].1.contains("there is no pattern"), "{found:?}");
    }
}
