//! C0505: a rule that no packet reaches.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0505",
    title: "rule that no packet reaches",
    severity: Severity::Warning,
    text: r#"The first rule that matches a packet takes it. Every packet of this rule is taken by earlier ones, by one of
them or by several together, so it never decides anything. This is reported only when it is proved; the labels
show a set of earlier rules that suffices. Frames that end within the headers that an earlier rule reads are
rejected by that rule; where they alone are left over, the message says so."#,
    wrong: r#"port wan = null {}
port lan = null {}

steer wan {
    dst net 10.0.0.0/9   -> drop
    dst net 10.128.0.0/9 -> drop
    dst net 10.0.0.0/8   -> lan
    else                 -> drop
}
"#,
    right: r#"port wan = null {}
port lan = null {}

steer wan {
    dst net 10.0.0.0/9 -> drop
    dst net 10.0.0.0/8 -> lan
    else               -> drop
}
"#,
};

/// Of more covering rules the rest is only counted.
const LABELS: usize = 4;

/// `by` are the places of the covering rules, in order.
pub(crate) fn shadowed_rule(place: Place, by: &[Place], but_cut_off: bool) -> Diagnostic {
    let (who, each) = match by.len() {
        1 => ("an earlier rule takes", "takes them"),
        _ => ("earlier rules take", "takes some of them"),
    };
    let (but, left) = match but_cut_off {
        true => (
            " except frames cut off within their headers",
            "decides only on such frames",
        ),
        false => ("", "never decides"),
    };
    let mut found = PAGE.at(place, format!("{who} every packet of this one{but}"), left);
    for place in by.iter().take(LABELS) {
        found = found.label(place.span(), each);
    }
    match by.len().saturating_sub(LABELS) {
        0 => found.help("remove this rule, or move it up"),
        1 => found.help("one more rule takes some of them; remove this rule, or move it up"),
        n => found.help(format!(
            "{n} more rules take some of them; remove this rule, or move it up"
        )),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::checked;

    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }

    #[test]
    fn frames_that_end_early_are_left() {
        let rules = "ip and ip[8] < 128 -> lan\nip and ip[8] >= 128 -> lan\nip -> drop\nelse -> lan\n";
        let source = format!(
            "port wan = null\nport lan = null\nsteer wan {{\n{rules}}}\nsteer lan {{ else -> drop }}\n"
        );
        let found = checked(&source).diagnostics;
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0]
                .message
                .ends_with("except frames cut off within their headers"),
            "{found:?}"
        );
        assert_eq!(found[0].labels[0].text, "decides only on such frames");
    }

    #[test]
    fn many_covering_rules_are_counted() {
        let halves: String = (0..16)
            .map(|n| format!("    dst net 10.{}.0.0/12 -> lan\n", n * 16))
            .collect();
        let source = format!(
            "port wan = null\nport lan = null\nsteer wan {{\n{halves}    dst net 10.0.0.0/8 -> drop\n    else -> drop\n}}\n"
        );
        let found = checked(&source).diagnostics;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].labels.len(), 5);
        assert!(
            found[0]
                .help
                .as_deref()
                .is_some_and(|h| h.starts_with("12 more rules")),
            "{found:?}"
        );
    }
}
