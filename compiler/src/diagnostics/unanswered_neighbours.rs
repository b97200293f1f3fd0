//! C0613: a firewall whose default drops ARP or IPv6 neighbour discovery.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::{proofs::Request, source::sources::Place};

pub(crate) const PAGE: Page = Page {
    code: "C0613",
    title: "firewall drops address resolution",
    severity: Severity::Warning,
    text: r#"Hosts ask for each other's Ethernet addresses by ARP, and by ICMPv6 for IPv6. Packets of a live port (`pci`,
`tap`, `af_packet`, `af_xdp`) come to a firewall that no rule of which takes such a request, and its
`default = drop` drops it: behind it no traffic begins, whatever its rules accept. Add a rule that accepts it,
let `steer` lead it past the firewall, or write a rule that drops it where that is meant."#,
    wrong: r#"port wan = af_packet { interface = "eth0" }
port lan = af_packet { interface = "eth1" }

nf fw = firewall { rules = { accept tcp dst port 443 }, default = drop }

steer wan { else -> fw -> lan }
steer lan { else -> wan }
"#,
    right: r#"port wan = af_packet { interface = "eth0" }
port lan = af_packet { interface = "eth1" }

nf fw = firewall {
    rules = {
        accept arp or icmp6
        accept tcp dst port 443
    },
    default = drop
}

steer wan { else -> fw -> lan }
steer lan { else -> wan }
"#,
};

/// `step` is where the firewall stands on a chain.
pub(crate) fn unanswered_neighbours(step: Place, nf: &str, requests: &[Request]) -> Diagnostic {
    let (what, filter) = match requests {
        [Request::Arp] => ("ARP", "arp"),
        [Request::NeighbourDiscovery] => ("IPv6 neighbour discovery", "icmp6"),
        _ => ("ARP and IPv6 neighbour discovery", "arp or icmp6"),
    };
    PAGE.at(
        step,
        format!("the default of `{nf}` drops {what}"),
        "no rule takes these requests",
    )
    .help(format!(
        "add `accept {filter}` to its rules, or `drop {filter}` where this is meant; or lead such packets past it: `{filter} -> ...`"
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
    fn what_rules_and_steering_say_is_meant() {
        let found = |kind: &str, rules: &str, steer: &str| {
            let source = format!(
                "port wan = {kind}\nport lan = null\nnf fw = firewall {{ {rules} }}\nnf mon = monitor\n\
                 steer wan {{ {steer} else -> mon -> fw -> lan }}\nsteer lan {{ else -> wan }}\n"
            );
            let found = checked(&source).diagnostics;
            found
                .iter()
                .map(|d| format!("{}: {}", d.code, d.message))
                .collect::<Vec<_>>()
        };
        let (tap, web) = ("tap { name = \"a\" }", "rules = { accept tcp dst port 443 }");
        let both = "C0613: the default of `fw` drops ARP and IPv6 neighbour discovery";
        assert_eq!(found(tap, web, ""), [both]);
        assert_eq!(found(tap, "default = drop", ""), [both]);
        let arp = "rules = { accept arp\naccept tcp }";
        assert_eq!(
            found(tap, arp, ""),
            ["C0613: the default of `fw` drops IPv6 neighbour discovery"]
        );
        for (kind, rules, steer) in [
            ("null", web, ""),
            (tap, "rules = { accept arp or icmp6\naccept tcp }", ""),
            (tap, "rules = { drop arp or ip6\naccept tcp }", ""),
            (tap, "rules = { accept tcp dst port 443 }, default = accept", ""),
            (tap, web, "arp or icmp6 -> lan"),
            (tap, web, "not ip -> drop"),
        ] {
            assert_eq!(found(kind, rules, steer), [""; 0], "{kind} {rules} {steer}");
        }
    }
}
