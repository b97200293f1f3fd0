//! C0607: an assertion that does not hold.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::{models::Outcome, source::sources::Place};

pub(crate) const PAGE: Page = Page {
    code: "C0607",
    title: "assertion that does not hold",
    severity: Severity::Error,
    text: r#"An `assert` is proved for every packet of its filter and for every path that the source allows: the main line,
every arm, every steer and every lookup that an `allow` permits. Here is a packet for which it fails, the rule
that takes it, and the step where its path goes wrong. A firewall on the way does what its rules say: the
packet has been through it, and the rule that let it on is named. Other NFs are assumed to do anything that
their outputs and permissions allow. A packet that is looked up is shown as it is then, too: header fields
that the manifests of the NFs on its path declare in `effects.writes` may have any value by then."#,
    wrong: r#"port wan = null {}
port lan = null {}

nf ids = forward

steer wan {
    tcp and dst port 443 -> lan
    tcp                  -> ids -> lan
    else                 -> drop
}

assert wan: tcp passes ids before lan
"#,
    right: r#"port wan = null {}
port lan = null {}

nf ids = forward

steer wan {
    tcp and dst port 443 -> drop
    tcp                  -> ids -> lan
    else                 -> drop
}

assert wan: tcp passes ids before lan
"#,
};

/// A packet that was rewritten and classified again.
pub(crate) struct LookedUp<'a> {
    /// The NF that had it looked up.
    pub(crate) nf: &'a str,
    /// The packet at that time.
    pub(crate) packet: String,
    pub(crate) rule: Option<Place>,
}

/// The verdict of a firewall on the path.
pub(crate) struct Decided<'a> {
    pub(crate) nf: &'a str,
    pub(crate) outcome: &'a Outcome,
    /// The rule, as the NF names it.
    pub(crate) rule: &'a str,
}

/// The packet that breaks a claim, and its path.
pub(crate) struct Broken<'a> {
    pub(crate) packet: &'a str,
    pub(crate) path: &'a str,
}

/// The packet takes its path by `rule`, or since an NF has programmed that (`by`), and by the rules of `again`; `end` is where that goes wrong, and what is to be said there.
pub(crate) fn refuted(
    claim: Place,
    message: String,
    (rule, by): (Option<Place>, Option<&str>),
    decided: &[Decided<'_>],
    again: &[LookedUp<'_>],
    end: Option<(Place, String)>,
    Broken { packet, path }: &Broken<'_>,
) -> Diagnostic {
    let mut found = PAGE.at(claim, message, "does not hold");
    if let Some(rule) = rule {
        let label = match by {
            None => "this rule takes the packet".to_owned(),
            Some(nf) => format!("`{nf}` may have this packet go there"),
        };
        found = found.label(rule.span(), label);
    }
    let mut help = format!("the packet: {packet}\n");
    for Decided { nf, outcome, rule } in decided {
        let does = match outcome {
            Outcome::Output(name) => format!("puts it out on `{name}`"),
            Outcome::Drop => "drops it".to_owned(),
            _ => "lets it on".to_owned(),
        };
        help += &format!("`{nf}` {does} by {rule}\n");
    }
    for LookedUp { nf, packet, rule } in again {
        if let Some(rule) = rule {
            found = found.label(
                rule.span(),
                format!("this rule takes it when `{nf}` has it looked up"),
            );
        }
        help += &format!("when `{nf}` has it looked up: {packet}\n");
    }
    if let Some((place, text)) = end {
        found = found.label(place.span(), text);
    }
    found.help(format!("{help}its path: {path}"))
}

/// A warning that packets beside those of an assertion break its claim. `refutation` is what is said of one of them: its
/// path and the packet are shown, and then what can be done.
pub(crate) fn beside(mut warning: Diagnostic, refutation: &Diagnostic, remedy: &str) -> Diagnostic {
    for label in refutation.labels.iter().filter(|label| !label.primary) {
        warning = warning.label(label.span, label.text.clone());
    }
    let packet = refutation.help.as_deref().unwrap_or_default();
    warning.help(format!("{packet}\n{remedy}"))
}

/// The port has no rules at all, so nothing reaches anything.
pub(crate) fn nothing_enters(claim: Place, port: &str) -> Diagnostic {
    PAGE.at(
        claim,
        format!("`{port}` has no `steer` block: everything that it receives is dropped"),
        "does not hold",
    )
    .help(format!("say where packets go: `steer {port} {{ else -> ... }}`"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
