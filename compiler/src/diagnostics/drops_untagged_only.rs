//! C0614: a rule that drops packets, and lets the same ones through with a VLAN tag.

use onvm_lang::{Diagnostic, Severity};

use super::{Page, untagged_only};
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0614",
    title: "rule drops untagged packets only",
    severity: Severity::Warning,
    text: r#"As in tcpdump, a filter does not look behind VLAN tags: `tcp` takes no tagged packet. A rule of `steer` or of a
firewall drops packets of a live port (`pci`, `tap`, `af_packet`, `af_xdp`), and the same packets with a tag
leave by a port; one of them is shown. `tags = ignored` at the port has every filter look at its packets as if
they had no tags; a rule `vlan -> drop` before it drops all tagged packets. Where they are meant to pass, or none
come, `tags = visible` at the port says so. The first such rule of a port or of a firewall is reported, with the
number of others."#,
    wrong: r#"port wan = af_packet { interface = "eth0" }
port lan = af_packet { interface = "eth1" }

steer wan {
    tcp  -> drop
    else -> lan
}
steer lan { else -> wan }
"#,
    right: r#"port wan = af_packet { interface = "eth0", tags = ignored }
port lan = af_packet { interface = "eth1" }

steer wan {
    tcp  -> drop
    else -> lan
}
steer lan { else -> wan }
"#,
};

/// `at` is the rule, or where its firewall stands on a chain; `packet` says of one where it goes.
pub(crate) fn drops_untagged_only(at: Place, rule: &str, port: &str, packet: &str) -> Diagnostic {
    PAGE.at(
        at,
        format!("{rule} drops packets, and lets them through with a VLAN tag"),
        "does not look behind tags",
    )
    .help(format!("{packet}\n{}", untagged_only::remedy(port)))
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_page, checked};

    #[test]
    fn page() {
        check_page(&super::PAGE);
    }

    #[test]
    fn what_gets_out_with_a_tag_is_reported_once_for_a_port_and_a_firewall() {
        let found = |tags: &str, rules: &str, firewall: &str| {
            let source = format!(
                "port wan = tap {{ name = \"a\"{tags} }}\nport lan = null\nnf fw = firewall {{ {firewall} }}\n\
                 nf mon = monitor\nsteer wan {{ {rules} }}\nsteer lan {{ else -> mon -> fw -> wan }}\n"
            );
            let found = checked(&source).diagnostics;
            let text = |d: &onvm_lang::Diagnostic| {
                let help = d.help.clone().unwrap_or_default();
                let end = help.lines().nth(1).unwrap_or_default();
                format!("{}: {}: {end}", d.code, d.message)
            };
            found.iter().map(text).collect::<Vec<_>>()
        };
        let accept = "default = accept";
        assert_eq!(
            found("", "tcp -> drop else -> lan", accept),
            ["C0614: this rule drops packets, and lets them through with a VLAN tag: it leaves by `lan`"]
        );
        assert_eq!(
            found("", "tcp -> drop udp -> drop else -> fw -> lan", accept),
            [
                "C0614: this rule drops packets, and lets them through with a VLAN tag: it leaves by `lan`; so does 1 more rule"
            ]
        );
        assert_eq!(
            found(
                "",
                "else -> fw -> lan",
                "rules = { drop tcp\ndrop udp }, default = accept"
            ),
            [
                "C0614: rule_1 of `fw` drops packets, and lets them through with a VLAN tag: it leaves by `lan`; so does 1 more rule"
            ]
        );
        for (tags, rules, firewall) in [
            (", tags = ignored", "tcp -> drop else -> lan", accept),
            (", tags = visible", "tcp -> drop else -> lan", accept),
            // Tagged packets are dropped, too, or the rule speaks of tags.
            ("", "tcp -> drop else -> drop", accept),
            ("", "vlan -> drop else -> lan", accept),
            ("", "tcp -> drop arp -> lan else -> drop", accept),
            (
                "",
                "tcp -> drop else -> fw -> lan",
                "rules = { accept arp or icmp6 }",
            ),
            ("", "tcp -> drop vlan -> drop else -> lan", accept),
            // What is let through without a tag.
            ("", "tcp -> mon -> lan tcp dst port 80 -> lan else -> lan", accept),
            (
                "",
                "else -> fw -> lan",
                "rules = { drop tcp\naccept arp or icmp6 }",
            ),
        ] {
            assert_eq!(
                found(tags, rules, firewall)
                    .iter()
                    .filter(|f| f.starts_with("C0614"))
                    .count(),
                0,
                "{tags} {rules} {firewall}"
            );
        }
    }
}
