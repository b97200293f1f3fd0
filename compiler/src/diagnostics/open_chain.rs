//! C0401: chain without an end.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0401",
    title: "chain without an end",
    severity: Severity::Error,
    text: r#"A packet that a `steer` sends into a chain must leave through a port or end in `drop`, on the main line and on
every branch. A chain that ends elsewhere is a segment, to be used as a step of other chains."#,
    wrong: r#"port wan = null {}
port lan = null {}

nf fw = forward
chain fast = fw
steer wan { else -> fast }
steer lan { else -> wan }
"#,
    right: r#"port wan = null {}
port lan = null {}

nf fw = forward
chain fast = fw -> lan
steer wan { else -> fast }
steer lan { else -> wan }
"#,
};

/// `end` is the last step of the path, `rule` the steering rule that leads there.
pub(crate) fn open_chain(end: Place, rule: Place) -> Diagnostic {
    PAGE.at(
        end,
        "the path does not end in a port or `drop`",
        "packets would have nowhere to go from here",
    )
    .label(rule.span(), "packets are steered here")
    .help("add `-> PORT` or `-> drop` at the end")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
