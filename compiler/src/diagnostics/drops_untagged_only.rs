//! C0614: a rule that drops packets, and lets the same ones through with a VLAN tag.

use onvm_lang::{Diagnostic, Severity};

use super::{Page, untagged_only};
use crate::proofs::Bypass;

pub(crate) const PAGE: Page = Page {
    code: "C0614",
    title: "rule drops untagged packets only",
    severity: Severity::Warning,
    text: r#"As in tcpdump, a filter does not look behind VLAN tags: `tcp` takes no tagged packet. A rule of `steer` or of
a firewall drops packets of a live port (`pci`, `tap`, `af_packet`, `af_xdp`), and the same packets with a tag
leave by a port, past the rule or by a way around the firewall; one of them is shown. `tags = ignored` at the
port has every filter look at its packets as if they had no tags; a rule `vlan -> drop` before it drops all
tagged packets. Where they are meant to pass, or none come, `tags = visible` at the port says so, and so does a
rule that asks for tags and takes them. The first such rule of a port or of a firewall is reported, with the
number of others.

Rules that drop nothing are not checked: whether tagged web traffic may leave without passing `scan` is not in
`tcp dst port 80 -> scan -> lan`. Assert it (`assert wan: tcp dst port 80 passes scan`), and
C0611 reports it."#,
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

pub(crate) fn drops_untagged_only(bypass: &Bypass) -> Diagnostic {
    let rule = bypass.rule();
    let found = match bypass.around {
        None => PAGE.at(
            bypass.place,
            format!("{rule} drops packets, and lets them through with a VLAN tag"),
            "does not look behind tags",
        ),
        Some(around) => PAGE
            .at(
                bypass.place,
                format!("{rule} drops packets that do not come to it with a VLAN tag"),
                "drops them",
            )
            .label(around.span(), "does not look behind tags"),
    };
    found.help(format!(
        "{}\n{}",
        bypass.shown(),
        untagged_only::remedy(&bypass.port)
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
        assert_eq!(
            found(
                "",
                "tcp -> fw -> lan else -> lan",
                "rules = { drop tcp }, default = accept"
            ),
            [
                "C0614: rule_1 of `fw` drops packets that do not come to it with a VLAN tag: it leaves by `lan` and does not come to `fw`"
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
            ("", "tcp -> fw -> lan else -> lan", accept),
            // The rule that lets them out is about them.
            ("", "tcp -> drop vlan -> lan else -> drop", accept),
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
