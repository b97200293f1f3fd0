//! C0606: accepted, and without effect in this version.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0606",
    title: "without effect in this version",
    severity: Severity::Warning,
    text: r#"The setting belongs to the language and is kept in the bundle, but the `onvm-run` of this version does not act
on it. The warning comes once for each setting, so that nobody relies on it. In `with`:
`run = container` and `domain` (`onvm-run` refuses NFs of different domains).
Values that match the actual behaviour get no warning."#,
    wrong: r#"port wan = null {}

nf fw = firewall with { run = container }
nf mon = monitor with { domain = "edge" }

steer wan { else -> fw -> mon -> wan }
"#,
    right: r#"port wan = null {}

nf fw = firewall with { run = process }
nf mon = monitor

steer wan { else -> fw -> mon -> wan }
"#,
};

/// `what` as in "`run = container` has no effect"; `instead` says what is done and what to write.
pub(crate) fn no_effect_yet(place: Place, what: &str, instead: &str, count: usize) -> Diagnostic {
    let label = match count {
        1 => "this one".to_owned(),
        n => format!("this is the first of {n}"),
    };
    PAGE.at(place, format!("{what} in this version"), label)
        .help(instead.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_page, checked};

    #[test]
    fn page() {
        check_page(&super::PAGE);
    }

    #[test]
    fn each_setting_once_and_no_default() {
        let found = |with: &str, manager: &str| {
            let nfs = format!("nf a = monitor with {{ {with} }}\nnf b = monitor with {{ {with} }}\n");
            let steer = "steer wan { else -> a -> b -> wan }\n";
            let checked = checked(&format!(
                "port wan = null {{}}\n{nfs}{steer}manager {{ {manager} }}\n"
            ));
            assert!(checked.program.is_some(), "{with} {manager}");
            checked.diagnostics.iter().map(|d| d.code).collect::<Vec<_>>()
        };
        for with in ["domain = \"a\"", "run = container"] {
            assert_eq!(found(with, ""), ["C0606"], "{with}");
        }
        let meant = "cores = 1, numa = 0, affinity = none, run = process, replicas = 2..4, memory = 64 MiB, restart = never";
        let defaults = "workers = 2, backpressure = on, cores = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], idle = spin, hugepages = off, max_hops = 9";
        assert!(found(meant, defaults).is_empty());
    }
}
