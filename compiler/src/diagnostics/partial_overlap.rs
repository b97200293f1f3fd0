//! C0507: rules that overlap in part, reported on request.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::{
    sets::Witness,
    source::sources::{Place, Position},
};

pub(crate) const PAGE: Page = Page {
    code: "C0507",
    title: "rules that overlap in part",
    severity: Severity::Note,
    text: r#"Two rules match some packets in common, each matches others besides, and they lead to different targets: so
the order in which they stand decides where those packets go. That is often intended; so this is a note, which
refuses nothing, and it is reported only on request, by `onvmc check --overlaps`. A narrow rule before a wide
one is not reported: that is how exceptions are written. The packet shown matches both rules and no rule
before them. Pairs beyond the first 50 of a block are counted, and a note says so if a list is too large to be
searched."#,
    wrong: r#"port wan = null {}
port lan = null {}

steer wan {
    src net 10.0.0.0/8  -> drop
    tcp and dst port 80 -> lan
    else                -> drop
}
// checked with: --overlaps
"#,
    right: r#"port wan = null {}
port lan = null {}

steer wan {
    src net 10.0.0.0/8 and tcp and dst port 80 -> drop
    tcp and dst port 80                        -> lan
    else                                       -> drop
}
// checked with: --overlaps
"#,
};

/// `at` is where the earlier rule stands, `packet` one that it takes and the later one matches too.
pub(crate) fn partial_overlap(later: Place, earlier: Place, at: Position, packet: &Witness) -> Diagnostic {
    let Position { line, column } = at;
    PAGE.at(
        later,
        format!("the rule at {line}:{column} takes some packets of this one, and leads elsewhere"),
        "matches it too",
    )
    .label(earlier.span(), format!("takes {packet}, for example"))
    .help("if this order is intended, keep it; else move this rule up, or narrow one of the two")
}

/// A note on the rules of a port of which some overlaps are not shown.
pub(crate) fn not_all(port: Place, name: &str, more: usize, complete: bool) -> Diagnostic {
    let counted = match more {
        0 => String::new(),
        1 => "one more pair of rules overlaps".to_owned(),
        n => format!("{n} more pairs of rules overlap"),
    };
    let message = match (more, complete) {
        (0, _) => format!("not every pair of the rules of `{name}` could be checked for overlaps"),
        (_, true) => format!("{counted} in the rules of `{name}`"),
        (_, false) => {
            format!("at least {counted} in the rules of `{name}`: not every pair could be checked")
        }
    };
    PAGE.at(port, message, "of this block")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fmt::Write as _;

    use crate::testing::checked;

    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }

    /// The messages for the rules of a port, with `--overlaps`.
    fn told(rules: &str) -> Vec<String> {
        let head =
            "port wan = null\nport lan = null\nnf a = forward\nnf b = forward\nchain same = a -> lan\n";
        let used = "steer lan { else -> b -> same }\n";
        let checked = checked(&format!(
            "{head}{used}steer wan {{\n{rules}\nelse -> drop }}\n// checked with: --overlaps\n"
        ));
        assert!(checked.program.is_some());
        let notes = checked.diagnostics.into_iter().filter(|d| d.code == "C0507");
        notes.map(|d| d.message).collect()
    }

    fn rule(line: usize) -> String {
        format!("the rule at {line}:1 takes some packets of this one, and leads elsewhere")
    }

    #[test]
    fn each_pair_once() {
        let three = "src net 10.0.0.0/8 -> drop\ntcp -> lan\ndst net 192.168.0.0/16 -> wan";
        assert_eq!(told(three), [rule(8), rule(8), rule(9)]);
    }

    #[test]
    fn rules_that_lead_to_the_same_are_not_told() {
        for targets in [
            ["drop", "drop"],
            ["same", "same"],
            ["same", "a -> lan"],
            ["a -> same", "a -> a -> lan"],
        ] {
            let rules = format!("src net 10.0.0.0/8 -> {}\ntcp -> {}", targets[0], targets[1]);
            assert!(told(&rules).is_empty(), "{rules}");
        }
        assert_eq!(told("src net 10.0.0.0/8 -> same\ntcp -> b -> lan").len(), 1);
    }

    #[test]
    fn exceptions_and_rules_that_never_decide_are_not_told() {
        assert!(told("src net 10.1.0.0/16 -> drop\nsrc net 10.0.0.0/8 -> lan").is_empty());
        assert!(
            told("src net 10.0.0.0/8 -> drop\nsrc net 10.1.0.0/16 -> lan").is_empty(),
            "this one is shadowed"
        );
        assert!(told("tcp -> drop\nudp -> lan").is_empty());
        let halves =
            "src net 10.0.0.0/9 -> drop\nsrc net 10.128.0.0/9 -> drop\ntcp and src net 10.0.0.0/8 -> lan";
        assert!(told(halves).is_empty(), "shadowed by two");
        // All that the second and the third have in common, the first takes.
        let taken = "tcp and src net 10.0.0.0/8 -> drop\nsrc net 10.0.0.0/8 -> wan\ntcp -> lan";
        assert!(told(taken).is_empty());
    }

    #[test]
    fn many_are_counted() {
        let mut rules = String::new();
        for n in 0..8 {
            let _ = writeln!(rules, "src net 10.{n}.0.0/16 -> drop");
        }
        for n in 0..8 {
            let _ = writeln!(rules, "dst port {n} -> lan");
        }
        let told = told(&rules);
        assert_eq!(told.len(), 51);
        assert!(
            told.contains(&"14 more pairs of rules overlap in the rules of `wan`".to_owned()),
            "{told:?}"
        );
    }

    #[test]
    fn what_cannot_be_decided_is_said() {
        let bits: Vec<String> = (0..24)
            .map(|n| format!("(ether[{}] = 1 or ether[{}] = 1)", 60 + 2 * n, 61 + 2 * n))
            .collect();
        let rules = format!("{} -> drop\ntcp -> lan", bits.join(" and "));
        assert_eq!(
            told(&rules),
            ["not every pair of the rules of `wan` could be checked for overlaps"]
        );
    }

    #[test]
    fn nothing_is_told_unless_asked() {
        let source = super::PAGE.wrong.replace("--overlaps", "");
        assert!(checked(&source).diagnostics.is_empty());
    }
}
