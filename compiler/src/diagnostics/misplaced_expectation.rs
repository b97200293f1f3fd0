//! C0802: an expectation that its test cannot answer.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0802",
    title: "an expectation that its test cannot answer",
    severity: Severity::Error,
    text: r#"A test either sends packets, whose paths are followed one by one, or replays captures through running NFs,
where packets are counted and compared as they leave. A path, `passes` and `drop` are expectations for packets
that were sent; `same as` is one for a replay. `packets` and `counter` belong to both. An expectation is about
the packets before it, so there must be some."#,
    wrong: r#"port wan = null {}
port lan = null {}
nf fw = firewall

steer wan { else -> fw -> lan }

test "a capture" {
    replay wan file("trace.pcap")
    expect passes fw
}
test "nothing" {
    expect lan
    send wan tcp
}
"#,
    right: r#"port wan = null {}
port lan = null {}
nf fw = firewall { default = accept }

steer wan { else -> fw -> lan }

test "a capture" {
    replay wan file("trace.pcap")
    expect lan 0 packets
}
test "a packet" {
    send wan tcp
    expect passes fw
}
"#,
};

pub(crate) fn nothing_sent(place: Place) -> Diagnostic {
    PAGE.at(
        place,
        "nothing has been sent before this expectation",
        "it is about no packets",
    )
    .help("write `send PORT PROTO { ... }` or `replay PORT file(\"...\")` before it")
}

/// `what` as in "the path of a packet".
pub(crate) fn of_the_other_kind(place: Place, what: &str, replay: bool) -> Diagnostic {
    let (message, help) = match replay {
        true => (
            format!("a replay cannot check {what}"),
            "expect `PORT N packets`, `PORT same as file(\"...\")` or `NF counter NAME == N`, or `send` single packets",
        ),
        false => (
            format!("packets sent one by one cannot check {what}"),
            "expect a path, `passes`, `drop`, `PORT N packets` or `NF counter NAME == N`, or `replay` a capture",
        ),
    };
    PAGE.at(place, message, "this cannot be answered here").help(help)
}

pub(crate) fn both_kinds(place: Place, first: Place) -> Diagnostic {
    PAGE.at(
        place,
        "a test either sends packets or replays captures",
        "the other kind",
    )
    .label(first.span(), "the test began with this")
    .help("make two tests of it")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
