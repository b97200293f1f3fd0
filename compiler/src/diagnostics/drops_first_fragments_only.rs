//! C0615: a rule that drops packets by their ports, and lets later fragments of them through.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::proofs::Bypass;

pub(crate) const PAGE: Page = Page {
    code: "C0615",
    title: "rule drops first fragments only",
    severity: Severity::Warning,
    text: r#"A later fragment of an IPv4 packet has no transport header, so that a filter which reads ports does not take
it, as in tcpdump. A rule of `steer` or of a firewall drops packets of a live port (`pci`, `tap`, `af_packet`,
`af_xdp`) by fields that only whole packets and first fragments have, and later fragments of them leave by a
port, past the rule or by a way around the firewall; one of them is shown. A host does not reassemble a packet
without its first fragment, so often this does no harm, but overlapping fragments have been used to get past
such rules. Drop later fragments before, or let them pass by a rule that names the fragment offset. The first
such rule of a port or of a firewall is reported, with the number of others.

Rules that drop nothing are not checked, as C0614 says."#,
    wrong: r#"port wan = af_packet { interface = "eth0", tags = ignored }
port lan = af_packet { interface = "eth1", tags = ignored }

steer wan {
    tcp dst port 22 -> drop
    else            -> lan
}
steer lan { else -> wan }
"#,
    right: r#"port wan = af_packet { interface = "eth0", tags = ignored }
port lan = af_packet { interface = "eth1", tags = ignored }

steer wan {
    ip[6:2] & 0x1fff != 0 -> drop
    tcp dst port 22       -> drop
    else                  -> lan
}
steer lan { else -> wan }
"#,
};

pub(crate) fn drops_first_fragments_only(bypass: &Bypass) -> Diagnostic {
    let rule = bypass.rule();
    let reads = "reads what only whole packets and first fragments have";
    let found = match bypass.around {
        None => PAGE.at(
            bypass.place,
            format!("{rule} drops packets, and lets later fragments of them through"),
            reads,
        ),
        Some(around) => PAGE
            .at(
                bypass.place,
                format!("{rule} drops packets whose later fragments do not come to it"),
                "drops them",
            )
            .label(around.span(), reads),
    };
    let remedy = match (&bypass.by, bypass.around) {
        (Some(_), None) => "drop ip[6:2] & 0x1fff != 0",
        _ => "ip[6:2] & 0x1fff != 0 -> drop",
    };
    found.help(format!(
        "{}\nadd a rule before that drops them, such as `{remedy}`, or one that says where they are to go",
        bypass.shown()
    ))
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_page, checked};

    #[test]
    fn page() {
        check_page(&super::PAGE);
    }

    #[test]
    fn later_fragments_that_get_out_are_reported() {
        let found = |rules: &str, firewall: &str| {
            let source = format!(
                "port wan = tap {{ name = \"a\", tags = ignored }}\nport lan = null\nnf fw = firewall {{ {firewall} }}\n\
                 steer wan {{ {rules} }}\nsteer lan {{ else -> fw -> wan }}\n"
            );
            let found = checked(&source).diagnostics;
            found
                .iter()
                .map(|d| format!("{}: {}", d.code, d.message))
                .collect::<Vec<_>>()
        };
        let accept = "default = accept";
        assert_eq!(
            found("tcp dst port 22 -> drop else -> lan", accept),
            ["C0615: this rule drops packets, and lets later fragments of them through"]
        );
        assert_eq!(
            found(
                "else -> fw -> lan",
                "rules = { drop tcp dst port 22 }, default = accept"
            ),
            ["C0615: rule_1 of `fw` drops packets, and lets later fragments of them through"]
        );
        assert_eq!(
            found(
                "tcp dst port 22 -> fw -> lan else -> lan",
                "rules = { drop ip }, default = accept"
            ),
            ["C0615: rule_1 of `fw` drops packets whose later fragments do not come to it"]
        );
        for (rules, firewall) in [
            ("tcp -> drop else -> lan", accept),
            (
                "ip[6:2] & 0x1fff != 0 -> lan tcp dst port 22 -> drop else -> lan",
                accept,
            ),
            ("tcp dst port 22 -> drop tcp or arp -> drop else -> lan", accept),
            ("tcp dst port 22 -> lan else -> lan", accept),
            ("tcp dst port 22 -> fw -> lan else -> lan", accept),
            // The rule that lets them out is about them.
            (
                "else -> fw -> lan",
                "rules = { drop tcp dst port 22\naccept tcp and ip[6:2] & 0x1fff != 0\naccept arp or icmp6 }",
            ),
            (
                "else -> fw -> lan",
                "rules = { drop tcp dst port 22\naccept arp or icmp6\naccept tcp dst port 80 }",
            ),
        ] {
            assert_eq!(found(rules, firewall), [""; 0], "{rules} {firewall}");
        }
    }
}
