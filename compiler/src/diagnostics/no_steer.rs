//! C0504: a port that receives and has no `steer` block.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0504",
    title: "all packets that the port receives are dropped",
    severity: Severity::Warning,
    text: r#"A `steer` block says which chain the packets of a port enter. Without one, all that the port receives is
dropped. If a port is only to send, a block with `else -> drop` says so. Ports that cannot
receive, `pcap` without `read`, need none; nor does `null`, which then only discards."#,
    wrong: r#"port wan = tap {}
port lan = tap {}

steer wan { else -> lan }
"#,
    right: r#"port wan = tap {}
port lan = tap {}

steer wan { else -> lan }
steer lan { else -> wan }
"#,
};

pub(crate) fn no_steer(place: Place, port: &str) -> Diagnostic {
    PAGE.at(
        place,
        format!("everything that port `{port}` receives is dropped"),
        "no `steer` block for this port",
    )
    .help(format!(
        "add `steer {port} {{ else -> ... }}` with the chain that its packets take, or `steer {port} {{ else -> drop }}` \
         if it is there to send only"
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
    fn only_ports_that_receive_and_are_used() {
        let warned = |port: &str| {
            let source = format!("port wan = null {{}}\nport p = {port}\nsteer wan {{ else -> p }}\n");
            let found = checked(&source).diagnostics;
            found.iter().map(|d| d.code).collect::<Vec<_>>() == ["C0504"]
        };
        for kind in [
            "pci { address = \"0000:3b:00.0\" }",
            "tap",
            "af_packet { interface = \"eth1\" }",
            "af_xdp { interface = \"eth1\" }",
            "pcap { read = \"a.pcap\", write = \"b.pcap\" }",
            "memif { socket = \"/run/a.sock\" }",
            "vdev { device = \"net_ring0\" }",
        ] {
            assert!(warned(kind), "{kind}");
        }
        assert!(!warned("pcap { write = \"b.pcap\" }") && !warned("null"));
        let unused = checked("port wan = null {}\nport p = tap\nsteer wan { else -> drop }\n");
        let codes: Vec<_> = unused.diagnostics.iter().map(|d| d.code).collect();
        assert_eq!(codes, ["C0104"], "one warning is enough");
    }
}
