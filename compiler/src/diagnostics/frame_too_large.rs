//! C0704: port larger than the buffers.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0704",
    title: "port larger than the buffers",
    severity: Severity::Error,
    text: r#"Packet buffers are sized by `manager { mtu = N }`. A port with a larger MTU could receive packets that do not
fit."#,
    wrong: r#"port wan = null { mtu = 9000 }
steer wan { else -> drop }
"#,
    right: r#"port wan = null { mtu = 9000 }
manager { mtu = 9000 }
steer wan { else -> drop }
"#,
};

pub(crate) fn frame_too_large(place: Place, port: &str, what: &str, size: u64, mtu: u64) -> Diagnostic {
    PAGE.at(
        place,
        format!("the {what} of `{port}` is {size}, and buffers hold an MTU of {mtu}"),
        "larger than a buffer",
    )
    .help(format!("set `manager {{ mtu = {size} }}`, or lower the port's"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
