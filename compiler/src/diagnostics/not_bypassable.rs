//! C0617: `on_loss = bypass` for an NF that packets must not go around.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0617",
    title: "NF is not bypassable",
    severity: Severity::Error,
    text: r#"With `on_loss = bypass`, packets that find no instance of an NF go on along the chain as if it had let them on.
That is safe for an NF which only observes, and wrong for one that others rely on, such as a firewall. Its manifest says
which it is: `bypassable = true`."#,
    wrong: r#"port wan = null {}
port lan = null {}
nf fw = firewall { default = drop } with { on_loss = bypass }
steer wan { else -> fw -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}
nf fw = firewall { default = drop }
nf mon = monitor with { on_loss = bypass }
steer wan { else -> fw -> mon -> lan }
"#,
};

pub(crate) fn not_bypassable(place: Place, nf: &str, nf_type: &str) -> Diagnostic {
    PAGE.at(
        place,
        format!("packets may not go around `{nf}`: `{nf_type}` is not bypassable"),
        "set here",
    )
    .help(format!(
        "leave `on_loss` out (packets are then dropped while `{nf}` is lost), or give it several `replicas`"
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
