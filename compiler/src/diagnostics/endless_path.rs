//! C0604: endless path.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0604",
    title: "endless path",
    severity: Severity::Error,
    text: r#"The permissions let NFs steer a packet round in a circle without end. `max_hops N` on one of the permissions
of the circle bounds it: N times that way for each place in a chain, after that the packet follows the chain."#,
    wrong: r#"use "guard.nf.toml" as guard
port wan = null {}
nf g = guard
nf h = guard
steer wan { else -> g { suspect -> drop } -> drop }
allow g to steer h
allow h to steer g
"#,
    right: r#"use "guard.nf.toml" as guard
port wan = null {}
nf g = guard
nf h = guard
steer wan { else -> g { suspect -> drop } -> drop }
allow g to steer h
allow h to steer g max_hops 2
"#,
};

/// `circle` are the permissions on the way round, with the NFs between which they lead.
pub(crate) fn endless_path(circle: &[(Place, &str, &str)]) -> Option<Diagnostic> {
    let (first, rest) = circle.split_first()?;
    let label = |(_, from, to): &(Place, &str, &str)| format!("`{from}` may send to `{to}`");
    let found = PAGE.at(
        first.0,
        "packets can be steered in a circle without end",
        label(first),
    );
    let found = rest
        .iter()
        .fold(found, |found, step| found.label(step.0.span(), label(step)));
    Some(found.help("bound one of these: `allow ... to steer ... max_hops N`"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
