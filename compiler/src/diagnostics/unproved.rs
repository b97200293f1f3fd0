//! C0608: an assertion that could be neither proved nor refuted.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0608",
    title: "assertion that could not be proved",
    severity: Severity::Error,
    text: r#"Whether a packet can take this rule could not be decided. That happens where filters relate bytes of a packet
to each other (`ip[8] * 2 = ip[9]`), look at the same bytes by different names, or have very many cases; where a
packet would have to be looked up several times to come there; or where a firewall decides by header fields
that an NF before it may have rewritten. An assertion that is not proved is an error: state it in simpler terms,
steer such packets by a rule of their own, or put the firewall before the NF that rewrites."#,
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

/// By `rule`, packets would take `path`, against the claim. `rewritten`: the firewall that decides by what may have been rewritten.
pub(crate) fn unproved(claim: Place, rule: Place, path: &str, rewritten: Option<&str>) -> Diagnostic {
    let (label, why) = match rewritten {
        None => (
            "whether this rule takes such packets could not be decided",
            String::new(),
        ),
        Some(nf) => (
            "whether packets of this rule go that way could not be decided",
            format!("; `{nf}` decides by header fields that NFs before it may have rewritten"),
        ),
    };
    PAGE.at(claim, "this could be neither proved nor refuted", "may not hold")
        .label(rule.span(), label)
        .help(format!("packets that it takes may go {path}{why}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
