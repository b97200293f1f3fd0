use super::*;
use crate::{format_rules, parse_rules};

fn texts(source: &str) -> Vec<String> {
    let parsed = parse_rules(source);
    assert_eq!(parsed.diagnostics, [], "{source}");
    let text = |rule: &RuleLine| {
        rule.span()
            .text(source)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    parsed.rules.iter().map(text).collect()
}

fn messages(source: &str) -> Vec<String> {
    let found = parse_rules(source).diagnostics;
    let line = |at: u32| source[..at as usize].matches('\n').count() + 1;
    let message = |d: &Diagnostic| {
        let help = d.help.as_deref().unwrap_or("-");
        format!("{}: {} {} ({help})", line(d.span().start), d.code, d.message)
    };
    found.iter().map(message).collect()
}

#[test]
fn a_rule_is_a_line_and_what_goes_on_with_it() {
    let source = "\u{feff}# what comes in\r\ndrop tcp dst port 23 // telnet\n\nno_ssh: drop tcp dst port\n  [22, # here\n   2222]\naccept tcp and\n  dst port 80\naccept udp\n  or icmp\nname : accept all\n";
    let rules = parse_rules(source).rules;
    let heads: Vec<(Option<&str>, &str)> = rules
        .iter()
        .map(|r| (r.name.as_ref().map(|n| n.node.as_str()), r.verdict.node.as_str()))
        .collect();
    assert_eq!(
        heads,
        [
            (None, "drop"),
            (Some("no_ssh"), "drop"),
            (None, "accept"),
            (None, "accept"),
            (Some("name"), "accept")
        ]
    );
    assert_eq!(texts("drop tcp\naccept udp\n  or icmp")[1], "accept udp or icmp");
    assert_eq!(texts(""), [""; 0]);
}

#[test]
fn each_mistake_is_told_and_hides_no_other() {
    let source = "drop\naccept tcp dst port (80\ndrop tcp dst prt 5\n= 4\nDrop udp\naccept arp";
    insta_like(
        &messages(source),
        &[
            "1: C0001 expected a filter after `drop`",
            "2: C00",
            "3: C00",
            "4: C0001 expected a verdict such as `drop` at the beginning of a rule",
            "5: C0002",
        ],
    );
    assert_eq!(
        parse_rules(source)
            .rules
            .iter()
            .filter(|r| r.verdict.node == "accept")
            .count(),
        2
    );
}

fn insta_like(found: &[String], wanted: &[&str]) {
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.starts_with(wanted), "{found} is not {wanted}");
    }
}

#[test]
fn lines_of_other_firewalls_are_rewritten() {
    let cases = [
        (
            "-A INPUT -s 10.0.0.0/8 -p tcp --dport 22 -j ACCEPT",
            "accept src net 10.0.0.0/8 and tcp and dst port 22",
        ),
        (
            "iptables -I FORWARD -p udp -m multiport --sports 53,1000:2000 -d 192.0.2.1 -j REJECT",
            "drop udp and src port [53, 1000-2000] and dst host 192.0.2.1",
        ),
        ("ip6tables -A INPUT -j DROP", "drop all"),
        (
            "iptables -A INPUT ! -s 10.0.0.0/8 -p icmp -j DROP",
            "drop not src net 10.0.0.0/8 and icmp",
        ),
        (
            "-A INPUT -p tcp --tcp-flags SYN,FIN SYN,FIN -j DROP",
            "drop tcp and tcp[tcpflags] & (tcp-syn|tcp-fin) == (tcp-syn|tcp-fin)",
        ),
        (
            "ip saddr 10.0.0.0/8 tcp dport { 22, 80 } counter accept",
            "accept src net 10.0.0.0/8 and tcp and dst port [22, 80]",
        ),
        (
            "nft add rule inet filter input udp dport 1000-2000 drop",
            "drop udp and dst portrange 1000-2000",
        ),
        ("tcp dport != 22 drop", "drop tcp and not dst port 22"),
        (
            "access-list 101 permit tcp any host 192.0.2.1 eq 80",
            "accept tcp and dst host 192.0.2.1 and dst port 80",
        ),
        (
            "10 deny ip 10.0.0.0 0.255.255.255 any log",
            "drop src net 10.0.0.0/8",
        ),
        (
            "permit udp any range 1000 2000 any",
            "accept udp and src portrange 1000-2000",
        ),
        (
            "permit icmp any any echo",
            "accept icmp and icmp[icmptype] == icmp-echo",
        ),
    ];
    for (line, rule) in cases {
        let [found] = parse_rules(line)
            .diagnostics
            .try_into()
            .unwrap_or_else(|d| panic!("{line}: {d:?}"));
        assert_eq!(found.code, "C0026", "{line}: {found:?}");
        assert_eq!(
            found.fixes.first().map(|fix| fix.text.as_str()),
            Some(rule),
            "{line}"
        );
        assert_eq!(texts(rule), [rule]);
    }
    for line in [
        "-A INPUT -m state --state NEW -j ACCEPT",
        "ct state established,related accept",
        "*filter",
        ":INPUT ACCEPT [0:0]",
        "COMMIT",
        "permit tcp 10.0.0.0 0.255.0.255 any",
        "table inet filter {",
    ] {
        let found = parse_rules(line).diagnostics;
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert_eq!((found[0].code, found[0].fixes.len()), ("C0026", 0), "{line}");
    }
}

#[test]
fn formatting_keeps_comments_and_meaning() {
    let source = "\n\n#  head\ndrop   tcp  dst port 23   # telnet  \n\n\n  no_ssh :  drop tcp dst port\n [22,# here\n# and there\n2222]\naccept udp\nor icmp\n\n";
    let formatted = "#  head\ndrop tcp dst port 23 # telnet\n\nno_ssh: drop tcp dst port\n    [22, # here\n    # and there\n    2222]\naccept udp\n    or icmp\n";
    assert_eq!(format_rules(source).as_deref(), Ok(formatted));
    assert_eq!(format_rules(formatted).as_deref(), Ok(formatted));
    assert!(format_rules("drop\n").is_err());
}

#[test]
fn a_block_and_a_filter_stand_as_values() {
    let source = "nf fw = firewall { default = drop, rules = { // first\n  drop tcp dst port 23 // telnet\nssh:drop tcp dst port [22,23]\n} }\nnf m = monitor { only = tcp dst port (80 or 443) and not vlan, every = 1 s }\nnf n = monitor { only = web }\n";
    let formatted = "nf fw = firewall {\n    default = drop,\n    rules = { // first\n        drop tcp dst port 23 // telnet\n        ssh: drop tcp dst port [22,23]\n    },\n}\nnf m = monitor { only = tcp dst port (80 or 443) and not vlan, every = 1 s }\nnf n = monitor { only = web }\n";
    assert_eq!(crate::format(source).as_deref(), Ok(formatted));
    assert_eq!(crate::format(formatted).as_deref(), Ok(formatted));
    let wrong =
        crate::parse("nf m = monitor { only = tcp dst prt 80 }\nnf fw = firewall { rules = { drop } }\n");
    let codes: Vec<&str> = wrong.diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(codes.len(), 2, "{:#?}", wrong.diagnostics);
    // A missing comma is reported as before.
    let missing = crate::parse("port wan = tap { name = lan0 queues = 2 }");
    assert_eq!(missing.diagnostics.len(), 1, "{missing:?}");
    assert!(
        missing.diagnostics[0].message.contains("`,`"),
        "{}",
        missing.diagnostics[0].message
    );
}
