//! C0601: permission that the NF never uses.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::{lower::chains::Effect, source::sources::Place};

pub(crate) const PAGE: Page = Page {
    code: "C0601",
    title: "permission that the NF never uses",
    severity: Severity::Warning,
    text: r#"`allow` permits an NF to choose destinations (`steer`), to have packets classified again by their present
headers (`lookup`) or to change flow tables (`program`). An NF whose manifest does not declare that effect
never does it, so the permission is not needed, or the manifest is wrong. It is not granted: should the NF
try, the manager overrules it."#,
    wrong: r#"port wan = null {}
port lan = null {}

nf fw = forward
nf mon = monitor
steer wan { else -> fw -> lan }
allow fw to steer mon
"#,
    right: r#"use "guard.nf.toml" as guard
port wan = null {}
nf g = guard
nf mon = monitor
steer wan { else -> g { suspect -> drop } -> drop }
allow g to steer mon
"#,
};

pub(crate) fn unused_permission(
    place: Place,
    nf: &str,
    nf_type: &str,
    effect: Effect,
    declared: Place,
) -> Diagnostic {
    let (verb, effect) = (effect.verb(), effect.key());
    PAGE.at(
        place,
        format!("`{nf}` never {verb}, and needs no permission to"),
        "permitted here",
    )
    .label(
        declared.span(),
        format!("the manifest of `{nf_type}` does not declare `{effect}`"),
    )
    .help(format!(
        "remove the `allow`, or declare `effects.{effect} = true` in the manifest if the NF does it"
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
