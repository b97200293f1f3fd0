//! C0801: fields that make no packet.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0801",
    title: "fields that make no packet",
    severity: Severity::Error,
    text: r#"Each field of a `send` is right by itself, and together they describe no packet: an IPv4 and an IPv6 end, a
size that the headers exceed, a fragment that begins between two units of 8 bytes."#,
    wrong: r#"port wan = null {}
port lan = null {}

steer wan { else -> lan }

test "a mixture" {
    send wan tcp { src = 198.51.100.7, dst = [2001:db8::9]:80 }
    expect lan
}
"#,
    right: r#"port wan = null {}
port lan = null {}

steer wan { else -> lan }

test "one family" {
    send wan tcp { src = 2001:db8::7, dst = [2001:db8::9]:80 }
    expect lan
}
"#,
};

pub(crate) fn contradictory_packet(place: Place, message: &str, help: &str) -> Diagnostic {
    PAGE.at(place, message, "this cannot be built").help(help)
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
