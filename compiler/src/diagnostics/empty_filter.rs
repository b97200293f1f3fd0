//! C0506: a filter that no packet matches.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0506",
    title: "filter that no packet matches",
    severity: Severity::Warning,
    text: r#"The parts of this filter contradict each other: no packet is both TCP and UDP, and an ARP packet has no ports.
A rule with such a filter never decides, a class stands for nothing, and an assertion says nothing. This is
reported only when it is proved."#,
    wrong: r#"port wan = null {}
port lan = null {}

steer wan {
    tcp and udp port 53 -> lan
    else                -> drop
}
"#,
    right: r#"port wan = null {}
port lan = null {}

steer wan {
    (tcp or udp) and port 53 -> lan
    else                     -> drop
}
"#,
};

/// `what` has the filter: `rule`, `class`, `assertion`.
pub(crate) fn empty_filter(place: Place, what: &str) -> Diagnostic {
    PAGE.at(
        place,
        format!("no packet matches this {what}"),
        "its parts contradict each other",
    )
    .help("`and` asks for both at once; `or` asks for either")
}

#[cfg(test)]
mod tests {
    use crate::testing::checked;

    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }

    #[test]
    fn classes_and_assertions_too() {
        let source = "port wan = null\nclass odd = arp and port 80\nsteer wan { odd -> drop else -> wan }\n\
                      assert wan: ip and ip6 dropped\n";
        let found = checked(source).diagnostics;
        let messages: Vec<_> = found.iter().map(|d| (d.code, d.message.as_str())).collect();
        let of = |what| ("C0506", what);
        assert_eq!(
            messages,
            [
                of("no packet matches this class"),
                of("no packet matches this rule"),
                of("no packet matches this assertion")
            ]
        );
    }
}
