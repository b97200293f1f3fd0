//! C0707: two ports on one device or file.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0707",
    title: "two ports on one device or file",
    severity: Severity::Error,
    text: r#"Two ports are on the same kernel interface, the same network card, or the same output file. Both would receive
every packet of the interface, so that all are doubled, and each would overwrite what the other writes. One
port may read and write one interface; captures that are only read may be shared. Names are compared as they
are after `--set`."#,
    wrong: r#"port wan = af_packet { interface = "eth0" }
port lan = af_packet { interface = "eth0" }
steer wan { else -> lan }
steer lan { else -> wan }
"#,
    right: r#"port wan = af_packet { interface = "eth0" }
port lan = af_packet { interface = "eth1" }
steer wan { else -> lan }
steer lan { else -> wan }
"#,
};

/// `what` as in "the interface `eth0`".
pub(crate) fn device_twice(place: Place, what: &str, first: Place, port: &str) -> Diagnostic {
    PAGE.at(place, format!("{what} has a port already"), "named again here")
        .label(first.span(), format!("port `{port}` has it"))
        .help(format!(
            "give this port another one, or use `{port}` in both directions"
        ))
}

#[cfg(test)]
mod tests {
    use crate::testing::checked;

    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }

    /// The messages, with how many places each has.
    fn found(ports: &str) -> Vec<(String, usize)> {
        let source = format!("{ports}steer a {{ else -> b }}\nsteer b {{ else -> a }}\n");
        let all = checked(&source).diagnostics.into_iter();
        let twice = all.filter(|d| d.code == "C0707");
        twice.map(|d| (d.message, d.labels.len())).collect()
    }

    fn ports(a: &str, b: &str) -> Vec<(String, usize)> {
        found(&format!("port a = {a}\nport b = {b}\n"))
    }

    #[test]
    fn what_two_ports_cannot_share() {
        let eth = "the interface `eth0` has a port already";
        let cases = [
            (
                "af_packet { interface = \"eth0\" }",
                "af_xdp { interface = \"eth0\" }",
                eth,
            ),
            (
                "tap { name = \"eth0\" }",
                "af_packet { interface = \"eth0\" }",
                eth,
            ),
            (
                "tap { name = \"b\" }",
                "tap",
                "the interface `b` has a port already",
            ),
            (
                "pci { address = \"0000:3B:00.0\" }",
                "pci { address = \"3b:00.0\" }",
                "the network card `0000:3b:00.0` has a port already",
            ),
            (
                "pcap { write = \"out.pcap\" }",
                "pcap { write = \"./out.pcap\" }",
                "the output file `out.pcap` has a port already",
            ),
        ];
        for (a, b, message) in cases {
            assert_eq!(ports(a, b), [(message.to_owned(), 2)], "{a} {b}");
        }
    }

    #[test]
    fn what_they_may() {
        let cases = [
            ("pcap { write = \"/dev/null\" }", "pcap { write = \"/dev/null\" }"),
            ("pcap { read = \"in.pcap\" }", "pcap { read = \"in.pcap\" }"),
            ("null", "null"),
            ("tap", "tap"),
            (
                "af_packet { interface = \"eth0\" }",
                "af_packet { interface = \"eth1\" }",
            ),
        ];
        for (a, b) in cases {
            assert!(ports(a, b).is_empty(), "{a} {b}");
        }
    }
}
