//! C0602: NF that steers without a permission.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0602",
    title: "NF that steers without a permission",
    severity: Severity::Warning,
    text: r#"The manifest says that the NF chooses destinations or changes flow tables, and no `allow` permits it. The
manager will overrule and count each attempt."#,
    wrong: r#"use "guard.nf.toml" as guard
port wan = null {}
nf g = guard
steer wan { else -> g { suspect -> drop } -> drop }
"#,
    right: r#"use "guard.nf.toml" as guard
port wan = null {}
nf g = guard
nf mon = monitor
steer wan { else -> g { suspect -> drop } -> drop }
allow g to steer mon
"#,
};

/// `effect` is `steers` or `programs`.
pub(crate) fn missing_permission(place: Place, nf: &str, effect: &str) -> Diagnostic {
    let grant = if effect == "steers" { "steer NAME" } else { "program PORT" };
    PAGE.at(place, format!("`{nf}` {effect}, and is not permitted to"), "its attempts will be overruled")
        .help(format!("write `allow {nf} to {grant}`"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
