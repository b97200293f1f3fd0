//! C0602: NF that needs a permission and has none.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::{lower::chains::Effect, source::sources::Place};

pub(crate) const PAGE: Page = Page {
    code: "C0602",
    title: "NF that needs a permission and has none",
    severity: Severity::Warning,
    text: r#"The manifest says that the NF chooses destinations (`steers`), has packets classified again (`lookups`) or
changes flow tables (`programs`), and no `allow` permits it. The manager will overrule and count each attempt."#,
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

pub(crate) fn missing_permission(place: Place, nf: &str, effect: Effect) -> Diagnostic {
    let (verb, grant) = (effect.verb(), effect.grant());
    PAGE.at(
        place,
        format!("`{nf}` {verb}, and is not permitted to"),
        "its attempts will be overruled",
    )
    .help(format!("write `allow {nf} to {grant}`"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
