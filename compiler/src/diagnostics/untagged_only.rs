//! C0611: an assertion that holds for untagged packets alone.

use onvm_lang::{Diagnostic, Severity};

use super::{Page, refuted};
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0611",
    title: "assertion about untagged packets alone",
    severity: Severity::Warning,
    text: r#"As in tcpdump, a filter does not look behind VLAN tags: `tcp` takes no tagged packet. The assertion is proved,
and the same packets with a tag break it; one of them is shown. `tags = ignored` at the port has every filter
look at its packets as if they had no tags. Where tagged packets are meant to go another way, or none come,
`tags = visible` says so. Ports of the kind `null` carry no tags."#,
    wrong: r#"port wan = af_packet { interface = "eth0" }
port lan = af_packet { interface = "eth1" }

steer wan {
    tcp  -> drop
    else -> lan
}
steer lan { else -> wan }

assert wan: tcp never reaches lan
"#,
    right: r#"port wan = af_packet { interface = "eth0", tags = ignored }
port lan = af_packet { interface = "eth1" }

steer wan {
    tcp  -> drop
    else -> lan
}
steer lan { else -> wan }

assert wan: tcp never reaches lan
"#,
};

/// `packets` is the assertion's filter; `refutation` what is said of a tagged packet that breaks the claim.
pub(crate) fn untagged_only(packets: Place, port: &str, refutation: &Diagnostic) -> Diagnostic {
    let found = PAGE.at(
        packets,
        "this holds for packets without a VLAN tag only",
        "does not look behind tags",
    );
    refuted::beside(found, refutation, &remedy(port))
}

/// What to do about filters that do not look behind tags.
pub(super) fn remedy(port: &str) -> String {
    format!(
        "write `tags = ignored` at the port `{port}` to have filters look behind tags, or `tags = visible` where this is meant"
    )
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_page, checked};

    #[test]
    fn page() {
        check_page(&super::PAGE);
    }

    #[test]
    fn a_tagged_packet_is_shown_where_it_breaks_the_claim() {
        let codes = |tags: &str, claim: &str| {
            let source = format!(
                "port wan = tap {{ name = \"a\"{tags} }}\nport lan = null\nsteer wan {{ tcp -> drop else -> lan }}\n\
                 steer lan {{ else -> wan }}\nassert wan: {claim}\n"
            );
            let mut found = checked(&source).diagnostics;
            // The rule has a warning of its own where the claim has none.
            found.retain(|d| d.code != "C0614");
            let help = found.first().and_then(|d| d.help.clone()).unwrap_or_default();
            (found.iter().map(|d| d.code).collect::<Vec<_>>(), help)
        };
        let (found, help) = codes("", "tcp never reaches lan");
        assert_eq!(found, ["C0611"]);
        assert!(help.starts_with("the packet: tcp { vlan = "), "{help}");
        for (tags, claim) in [
            (", tags = ignored", "tcp never reaches lan"),
            (", tags = visible", "tcp never reaches lan"),
            // It speaks of tags itself, or of what goes anywhere.
            ("", "tcp and not vlan never reaches lan"),
            ("", "udp reaches lan"),
        ] {
            assert_eq!(codes(tags, claim).0, [""; 0], "{tags} {claim}");
        }
    }
}
