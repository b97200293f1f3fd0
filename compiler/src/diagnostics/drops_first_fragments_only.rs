//! C0615: a rule that drops packets by their ports, and lets later fragments of them through.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0615",
    title: "rule drops first fragments only",
    severity: Severity::Warning,
    text: r#"A later fragment of an IPv4 packet has no transport header, so that a filter which reads ports does not take
it, as in tcpdump. A rule of `steer` drops packets of a live port (`pci`, `tap`, `af_packet`, `af_xdp`) by
fields that only whole packets and first fragments have, and later fragments of them leave by a port; one of them
is shown. A host does not reassemble a packet without its first fragment, so often this does no harm, but
overlapping fragments have been used to get past such rules. Drop later fragments before, or let them pass by a
rule before that names the fragment offset. The first such rule of a port is reported, with the number of others.
Rules of firewalls are not checked for this."#,
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

/// `at` is the rule; `packet` says of one where it goes.
pub(crate) fn drops_first_fragments_only(at: Place, packet: &str) -> Diagnostic {
    PAGE.at(
        at,
        "this rule drops packets, and lets later fragments of them through",
        "reads what only whole packets and first fragments have",
    )
    .help(format!(
        "{packet}\nadd a rule before that drops them, such as `ip[6:2] & 0x1fff != 0 -> drop`, or one that says where they are to go"
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
        for (rules, firewall) in [
            ("tcp -> drop else -> lan", accept),
            (
                "ip[6:2] & 0x1fff != 0 -> lan tcp dst port 22 -> drop else -> lan",
                accept,
            ),
            ("tcp dst port 22 -> drop tcp or arp -> drop else -> lan", accept),
            ("tcp dst port 22 -> lan else -> lan", accept),
            (
                "else -> fw -> lan",
                "rules = { drop tcp dst port 22\naccept arp or icmp6\naccept tcp dst port 80 }",
            ),
        ] {
            assert_eq!(found(rules, firewall), [""; 0], "{rules} {firewall}");
        }
    }
}
