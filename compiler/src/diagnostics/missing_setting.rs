//! C0205: missing setting.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0205",
    title: "missing setting",
    severity: Severity::Error,
    text: r#"A parameter or setting that has no default must be given."#,
    wrong: r#"port wan = null {}
port lan = null {}

nf scan = payload_scan
steer wan { else -> scan -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}

nf scan = payload_scan { patterns = file("web.patterns") }
steer wan { else -> scan -> lan }
"#,
};

/// `owner` as in "port `wan`".
pub(crate) fn missing_setting(place: Place, owner: &str, name: &str, doc: &str) -> Diagnostic {
    let what = doc.trim_end_matches('.');
    PAGE.at(
        place,
        format!("{owner} needs `{name}`"),
        format!("`{name}` is not given"),
    )
    .help(format!("add `{name} = ...` ({what})"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
