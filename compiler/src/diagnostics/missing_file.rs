//! C0208: missing file.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0208",
    title: "missing file",
    severity: Severity::Error,
    text: r#"A file named by `file("...")` cannot be read. It is looked for relative to the source file and copied into
the bundle, so it must be there when the bundle is built. A plain string is a path on the host that runs the
bundle, and is not checked."#,
    wrong: r#"port wan = null {}
port lan = null {}

nf scan = payload_scan { patterns = file("wbe.patterns") }
steer wan { else -> scan -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}

nf scan = payload_scan { patterns = file("web.patterns") }
steer wan { else -> scan -> lan }
"#,
};

pub(crate) fn missing_file(place: Place, path: &str, reason: &str) -> Diagnostic {
    PAGE.at(place, format!("cannot read \"{path}\": {reason}"), "named here")
        .help("the path is relative to the source file; check that the file exists and can be read")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
