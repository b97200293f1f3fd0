//! C0612: an assertion that holds for whole packets and first fragments alone.

use onvm_lang::{Diagnostic, Severity};

use super::{Page, refuted};
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0612",
    title: "assertion about whole packets and first fragments alone",
    severity: Severity::Warning,
    text: r#"A later fragment of an IPv4 packet has no transport header, so that a filter which reads ports does not take
it, as in tcpdump. The assertion is proved, and later fragments of the same packets break it; one of them is
shown. Drop later fragments before the rule that lets them through, or say in the assertion that it is not
about them: a filter that names the fragment offset gets no warning."#,
    wrong: r#"port wan = af_packet { interface = "eth0", tags = ignored }
port lan = af_packet { interface = "eth1", tags = ignored }

steer wan {
    tcp dst port 22 -> drop
    else            -> lan
}
steer lan { else -> wan }

assert wan: tcp dst port 22 never reaches lan
"#,
    right: r#"port wan = af_packet { interface = "eth0", tags = ignored }
port lan = af_packet { interface = "eth1", tags = ignored }

steer wan {
    ip[6:2] & 0x1fff != 0 -> drop
    tcp dst port 22       -> drop
    else                  -> lan
}
steer lan { else -> wan }

assert wan: tcp dst port 22 never reaches lan
"#,
};

/// `packets` is the assertion's filter and `filter` its text; `refutation` what is said of a fragment that breaks the claim.
pub(crate) fn first_fragments_only(packets: Place, filter: &str, refutation: &Diagnostic) -> Diagnostic {
    let found = PAGE.at(
        packets,
        "this does not hold for later fragments of the same packets",
        "reads what only whole packets and first fragments have",
    );
    let filter = filter.split_whitespace().collect::<Vec<_>>().join(" ");
    let remedy = format!(
        "add a rule `ip[6:2] & 0x1fff != 0 -> drop` before, or write `({filter}) and ip[6:2] & 0x1fff = 0` where this is meant"
    );
    refuted::beside(found, refutation, &remedy)
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_page, checked};

    #[test]
    fn page() {
        check_page(&super::PAGE);
    }

    #[test]
    fn a_later_fragment_is_shown_where_it_breaks_the_claim() {
        let codes = |kind: &str, rules: &str, claim: &str| {
            let source = format!(
                "port wan = {kind}\nport lan = null\nsteer wan {{ {rules} else -> lan }}\n\
                 steer lan {{ else -> wan }}\nassert wan: {claim}\n"
            );
            let mut found = checked(&source).diagnostics;
            // The rule has a warning of its own where the claim has none.
            found.retain(|d| d.code != "C0615");
            let help = found.first().and_then(|d| d.help.clone()).unwrap_or_default();
            (found.iter().map(|d| d.code).collect::<Vec<_>>(), help)
        };
        let (tap, ssh) = ("tap { name = \"a\", tags = ignored }", "tcp dst port 22 -> drop");
        let claim = "tcp dst port 22 never reaches lan";
        let (found, help) = codes(tap, ssh, claim);
        assert_eq!(found, ["C0612"]);
        assert!(help.contains("frag"), "{help}");
        for (kind, rules, claim) in [
            (
                tap,
                "ip[6:2] & 0x1fff != 0 -> drop tcp dst port 22 -> drop",
                claim,
            ),
            (
                tap,
                ssh,
                "tcp dst port 22 and ip[6:2] & 0x1fff = 0 never reaches lan",
            ),
            (tap, "tcp -> drop", claim),
            (tap, ssh, "tcp dst port 23 reaches lan"),
            (tap, "net 10.0.0.0/8 -> drop", "net 10.0.0.0/8 never reaches lan"),
            ("null", ssh, claim),
        ] {
            assert_eq!(codes(kind, rules, claim).0, [""; 0], "{kind} {rules} {claim}");
        }
    }
}
