//! Whatever is proposed in place of what was written can be read, and where libpcap takes what was written, it means the same.

use onvm_lang::{Diagnostic, Fix, Severity, parse_filter};

use crate::{
    carried::carried,
    frames::frames,
    names::{Library, lower_text},
    oracle::{Oracle, Tally},
};

/// Filters with mistakes, and filters that libpcap takes and the language leaves out or warns of.
const MISTAKES: [&str; 78] = [
    "tcp --dport 80",
    "tcp dport 80",
    "tcp sport 1000-2000",
    "saddr 10.0.0.1",
    "daddr 10.0.0.0/8",
    "from 10.0.0.1",
    "to 10.0.0.0/8 and tcp",
    "-s 10.0.0.1",
    "-d 10.0.0.0/8",
    "-p tcp",
    "-p udp --dport 53",
    "tcp dst port 80,443",
    "80,443",
    "80-90",
    "port 80-90",
    "vlan 10 or 20",
    "vlan 10 or 20 or 30",
    "vlan 10-20",
    "mpls 5 or 6",
    "src 80",
    "dst 80-90",
    "host 10.0.0.0/8",
    "net 10.0.0.1/8",
    "src net 10.0.0.1/8",
    "net 10.0.0.1 mask 255.0.0.0",
    "portrange 80\u{2013}90",
    "tcp\u{a0}port 80",
    "tcp port 80\u{200b}",
    "tcp[tcpflags] & tcp\u{2013}syn != 0",
    "port htp",
    "port htps",
    "prot 80",
    "hots 10.0.0.1",
    "src hst 10.0.0.1",
    "Tcp port 80",
    "TCP and UDP",
    "udp or tcp and port 53",
    "tcp and udp or port 53",
    "not tcp and udp or arp",
    "port 80 or 443 and tcp",
    "port 80 or tcp and 443",
    "ip or tcp port 80 and not udp",
    "host not 10.0.0.1 or 10.0.0.2 and tcp",
    "port not 80 or 443 and udp",
    "tcp & port 80",
    "tcp | udp",
    "tcp and and udp",
    "tcp, udp",
    "portrange 80:90",
    "dst port = 80",
    "dst port == 80",
    "port 80 443",
    "tcp udp",
    "10.1",
    "10.1/16",
    "02:00:00:00:00:01",
    "00-11-22-33-44-55",
    "1000-2000 or 80",
    "ip broadcast",
    "gateway foo",
    "lat",
    "moprc",
    "mopdl",
    "clnp",
    "esis",
    "isis",
    "llc",
    "ip6 broadcast",
    "inbound",
    "ip[0] % 4 + 1 == 2",
    "1 + tcp[13] > 5",
    "vlan 5 or vlan 6",
    "vlan or ip",
    "mpls or ip",
    "tcp => udp",
    "tcp; udp",
    "\u{201c}tcp\u{201d}",
    "ip host ::1",
];

fn applied(text: &str, fix: &Fix) -> String {
    let mut text = text.to_owned();
    text.replace_range(fix.span.range(), &fix.text);
    text
}

fn errors(text: &str) -> Vec<Diagnostic> {
    let mut found = parse_filter(text).1;
    found.retain(|d| d.severity == Severity::Error);
    found
}

/// Everything that is said of a filter, by the parser and by its lowering.
fn said(text: &str) -> Vec<Diagnostic> {
    let mut found = parse_filter(text).1;
    if let Ok(lowered) = lower_text(text, &Library::example()) {
        found.extend(lowered.warnings);
    }
    found
}

/// The two mean the same on generated frames.
#[track_caller]
fn same(theirs: &str, ours: &str) {
    let Ok(oracle) = Oracle::plain(theirs) else {
        return;
    };
    let lowered =
        lower_text(ours, &Library::example()).unwrap_or_else(|e| panic!("`{theirs}` -> `{ours}`: {e}"));
    for frames in [frames(3, 3000), carried(4, 2000)] {
        let compared = oracle.compare(&lowered.expr, &frames, &mut Tally::default());
        compared.unwrap_or_else(|error| panic!("`{theirs}` is not `{ours}`: {error}"));
    }
}

#[test]
fn what_a_fix_writes_is_read_and_means_the_same() {
    let (mut fixes, mut read) = (0, 0);
    for text in MISTAKES {
        let before = errors(text).len();
        let said = said(text);
        for (diagnostic, fix) in said.iter().flat_map(|d| d.fixes.iter().map(move |fix| (d, fix))) {
            fixes += 1;
            let fixed = applied(text, fix);
            let after = errors(&fixed);
            let same_mistake = after
                .iter()
                .any(|d| d.message == diagnostic.message && d.span() == diagnostic.span());
            assert!(
                after.len() <= before && !same_mistake,
                "`{text}` -> `{fixed}`: {after:?}"
            );
            if after.is_empty() {
                read += 1;
                same(text, &fixed);
            }
        }
    }
    assert!(fixes > 35 && read > 30, "{fixes}, {read} of them complete");
}

/// The quoted parts of a help that says what to write.
fn written(help: &str) -> Vec<&str> {
    let orders = help.split("write ").skip(1);
    orders
        .filter_map(|rest| rest.strip_prefix('`')?.split('`').next())
        .collect()
}

/// What a help says to write is a filter, or becomes one with a value behind it or the word before it.
#[test]
fn what_a_help_says_to_write_is_read() {
    let mut seen = 0;
    for text in MISTAKES {
        for help in said(text).iter().filter_map(|d| d.help.as_deref()) {
            for part in written(help) {
                seen += 1;
                let shapes = [
                    "",
                    " 80",
                    " 10.0.0.1",
                    " 10.0.0.0/8",
                    " 80-90",
                    " 02:00:00:00:00:01",
                ];
                let alone = shapes
                    .iter()
                    .any(|value| errors(&format!("{part}{value}")).is_empty());
                let placeholder = part.contains("MAC") || part.contains("ADDR");
                let symbol = ["and", "or", "&&", "||", "-", "->", "-> udp"].contains(&part);
                let value =
                    errors(&format!("net {part}")).is_empty() || errors(&format!("vlan {part}")).is_empty();
                assert!(
                    alone || placeholder || symbol || value,
                    "`{text}`: `{part}` of {help:?}"
                );
            }
        }
    }
    assert!(seen > 30, "{seen}");
}

/// What stands for a primitive that the language leaves out means what libpcap makes of that primitive.
#[test]
fn what_stands_for_a_missing_primitive_means_the_same() {
    let mut compared = 0;
    for text in ["lat", "moprc", "mopdl", "clnp", "esis", "isis", "llc"] {
        let found = said(text);
        let help = found[0].help.as_deref().unwrap();
        let [ours] = written(help)[..] else {
            panic!("{help}")
        };
        assert!(Oracle::plain(text).is_ok(), "{text}");
        same(text, ours);
        compared += 1;
    }
    assert_eq!(compared, 7);
}

/// Both readings that the warning about mixed connectives shows: the first is what the filter means, and each can be read.
#[test]
fn readings_of_mixed_connectives() {
    let mut seen = 0;
    for text in MISTAKES {
        for help in said(text)
            .iter()
            .filter(|d| d.code == "C0301")
            .filter_map(|d| d.help.as_deref())
        {
            let line = |start: &str| help.lines().find_map(|line| line.split(start).nth(1)).unwrap();
            same(text, line("read as: "));
            assert!(errors(line("write: ")).is_empty(), "{help}");
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen}");
}
