//! C0608: an assertion that could be neither proved nor refuted.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0608",
    title: "assertion that could not be proved",
    severity: Severity::Error,
    text: r#"Whether a packet can take this rule could not be decided. That happens where filters relate bytes of a packet
to each other (`ip[8] * 2 = ip[9]`), look at the same bytes by different names, or have very many cases; or
where a packet would have to be looked up several times to come there. An assertion that is not proved is an
error: state it in simpler terms, or steer such packets by a rule of their own."#,
    wrong: r#"port wan = null {}
port lan = null {}

steer wan {
    ip[8] = 7 and ip[8] * 2 + ip[1] = 600 and ip[1] = 0 -> lan
    else                                                -> drop
}

assert wan: ip[8] = 7 never reaches lan
"#,
    right: r#"port wan = null {}
port lan = null {}

steer wan {
    ip[8] = 9 and ip[8] * 2 + ip[1] = 600 -> lan
    else                                  -> drop
}

assert wan: ip[8] = 7 never reaches lan
"#,
};

/// By `rule`, packets would take `path`, against the claim.
pub(crate) fn unproved(claim: Place, rule: Place, path: &str) -> Diagnostic {
    PAGE.at(claim, "this could be neither proved nor refuted", "may not hold")
        .label(
            rule.span(),
            "whether this rule takes such packets could not be decided",
        )
        .help(format!("packets that it takes may go {path}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
