//! C0701: too many for the runtime's tables.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0701",
    title: "too many for the runtime's tables",
    severity: Severity::Error,
    text: r#"The runtime's tables have fixed sizes: 64 ports, 1024 services, 1024 instances, 65535 chains, and 65535 hops of
all chains together. A chain that is spliced into another adds its hops there again."#,
    wrong: r#"TABLE
"#,
    right: r#"
"#,
};

/// `what` as in "hops".
pub(crate) fn table_full(place: Place, what: &str, count: usize, limit: usize) -> Diagnostic {
    PAGE.at(place, format!("{count} {what}, and at most {limit} fit"), "the table is full here")
        .help(format!("use fewer {what}, or split the work over several bundles"))
}

/// Lowering stopped before it could count them all.
pub(crate) fn too_many_to_count(place: Place, what: &str, limit: usize) -> Diagnostic {
    PAGE.at(place, format!("more than {limit} {what}, and at most {limit} fit"), "the table is full here")
        .help(format!("use fewer {what}; a chain that is spliced in adds its hops each time"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
