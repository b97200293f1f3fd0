//! C0603: stateful NF without affinity.

use onvm_bundle::Replicas;
use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0603",
    title: "stateful NF without affinity",
    severity: Severity::Error,
    text: r#"An NF that keeps state per flow must see all packets of a flow in one instance. With several replicas and
`affinity = none` each packet may meet another instance, and the state is wrong in all of them."#,
    wrong: r#"use "guard.nf.toml" as guard
port wan = null {}
nf g = guard with { replicas = 2, affinity = none }
nf mon = monitor
steer wan { else -> g { suspect -> drop } -> drop }
allow g to steer mon
"#,
    right: r#"use "guard.nf.toml" as guard
port wan = null {}
nf g = guard with { replicas = 2 }
nf mon = monitor
steer wan { else -> g { suspect -> drop } -> drop }
allow g to steer mon
"#,
};

pub(crate) fn stateful_without_affinity(
    place: Place,
    nf: &str,
    replicas: Replicas,
    nf_type: &str,
) -> Diagnostic {
    PAGE.at(
        place,
        format!("`{nf}` keeps state and has {replicas} replicas without affinity"),
        "set here",
    )
    .help(format!(
        "leave `affinity` out (it is then `flow`): `{nf_type}` keeps state"
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
