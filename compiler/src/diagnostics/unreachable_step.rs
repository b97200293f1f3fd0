//! C0404: unreachable step.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0404",
    title: "unreachable step",
    severity: Severity::Error,
    text: r#"A packet never comes back from a port or from `drop`, so a step behind one is never reached. To copy packets,
use an NF that does."#,
    wrong: r#"port wan = null {}
port lan = null {}

nf mon = monitor
steer wan { else -> lan -> mon }
"#,
    right: r#"port wan = null {}
port lan = null {}

nf mon = monitor
steer wan { else -> mon -> lan }
"#,
};

pub(crate) fn unreachable_step(place: Place, end: Place) -> Diagnostic {
    PAGE.at(place, "this step is never reached", "no packet comes here")
        .label(end.span(), "the path ends here")
        .help("move it before the end, or remove it")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
