//! C0610: step reads a header field that an earlier step rewrites.

use onvm_lang::{Diagnostic, Severity};

use super::{Page, one_of};
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0610",
    title: "step reads a rewritten header field",
    severity: Severity::Error,
    text: r#"Manifests say which header fields an NF reads and which it writes. A firewall that decides by source addresses
does not see those of the clients when a NAT before it on the path has replaced them, and its rules match
nothing or too much. Put the step that reads before the one that writes. If the NF is meant to see rewritten
packets, say so: `with { sees = rewritten }`."#,
    wrong: r#"use "nat.nf.toml" as nat
port wan = null {}
port lan = null {}

nf fw = firewall
nf out = nat
steer wan { else -> out -> fw -> lan }
"#,
    right: r#"use "nat.nf.toml" as nat
port wan = null {}
port lan = null {}

nf fw = firewall
nf late = monitor with { sees = rewritten }
nf out = nat
steer wan { else -> fw -> out -> late -> lan }
"#,
};

pub(crate) fn reads_rewritten(
    place: Place,
    nf: &str,
    fields: &[&str],
    writer: &str,
    written: Place,
) -> Diagnostic {
    let fields = one_of(fields.iter().copied()).replace(" or ", " and ");
    PAGE.at(
        place,
        format!("`{nf}` reads {fields}, which `{writer}` has rewritten before"),
        "reads it here",
    )
    .label(written.span(), "rewritten here")
    .help(format!(
        "put `{nf}` before `{writer}`; or, if `{nf}` is meant to see what `{writer}` writes, declare it `with {{ sees = \
         rewritten }}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_page, checked};

    #[test]
    fn page() {
        check_page(&PAGE);
    }

    fn found(rest: &str) -> Vec<String> {
        let nat = "use \"nat.nf.toml\" as nat\nport wan = null {}\nnf out = nat\nnf again = nat\nnf fw = firewall\n\
                   nf screen = firewall { on_deny = output }\nnf fwd = forward\n";
        let checked = checked(&format!("{nat}{rest}"));
        let own = checked.diagnostics.iter().filter(|d| d.code == PAGE.code);
        own.map(|d| d.message.clone()).collect()
    }

    #[test]
    fn only_what_stands_behind_on_a_path() {
        assert_eq!(found("steer wan { else -> fw -> out -> fwd -> wan }"), [""; 0]);
        assert_eq!(
            found("steer wan { else -> screen { denied -> out -> drop } -> fw -> wan }"),
            [""; 0]
        );
        assert_eq!(
            found("steer wan { tcp -> out -> wan else -> fw -> wan }"),
            [""; 0]
        );
        assert_eq!(
            found("steer wan { else -> out -> out -> wan }"),
            [""; 0],
            "C0405 reports that"
        );
    }

    #[test]
    fn through_splices_arms_and_distance() {
        let message = "`fw` reads `ip.src`, which `out` has rewritten before";
        for rest in [
            "chain a = out\nchain b = a -> fwd\nsteer wan { else -> b -> fw -> wan }",
            "steer wan { else -> out -> screen { denied -> fwd -> fw -> drop } -> wan }",
            "chain s(n: nf) = n -> fw\nsteer wan { else -> s(out) -> wan }",
        ] {
            assert!(
                found(rest).contains(&message.to_owned()),
                "{rest}: {:?}",
                found(rest)
            );
        }
    }

    #[test]
    fn a_header_stands_for_its_fields() {
        let found = found("steer wan { else -> out -> again -> wan }");
        assert_eq!(found, ["`again` reads `ip`, which `out` has rewritten before"]);
    }
}
