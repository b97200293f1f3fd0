//! C0501: steering without `else`.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::{sets::Answer, sources::Place};

pub(crate) const PAGE: Page = Page {
    code: "C0501",
    title: "steering without `else`",
    severity: Severity::Error,
    text: r#"Every packet that a port receives goes somewhere. The last rule of a `steer` block is `else`, which takes the
packets that no other rule matches; `else -> drop` is the usual end of a list of what is allowed."#,
    wrong: r#"port wan = null {}
port lan = null {}

steer wan { tcp -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}

steer wan {
    tcp -> lan
    else -> drop
}
"#,
};

/// `left` is a packet that no rule takes.
pub(crate) fn missing_else(port: Place, name: &str, block: Place, left: &Answer) -> Diagnostic {
    let label = match left {
        Answer::Yes(packet) => format!("no rule takes {packet}, for example"),
        Answer::No => "the rules take every packet, and `else` has to say so".to_owned(),
        Answer::Unknown => "packets that match no rule have nowhere to go".to_owned(),
    };
    PAGE.at(port, format!("the rules of `{name}` have no `else`"), label)
        .label(block.span(), "`else` belongs at the end of this block")
        .help("add `else -> drop`, or steer the rest into a chain")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
