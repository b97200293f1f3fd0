//! What an operator reads about a filter without a meaning, or with a surprising one.

use onvm_bundle::filter::Expr;
use onvm_lang::syntax::{Mac, Value};
use pcap::{Capture, Linktype};

use crate::names::{Library, list, lower_text, prefix, show};

fn library() -> Library {
    let mut library = Library::example();
    library.class("round", "tcp and about");
    library.class("about", "udp or round");
    library.value("loop", Value::Ref(ident("loop")));
    library.value("none", list([]));
    library.value("host", Value::Ipv4([192, 0, 2, 1].into()));
    library.value("host6", Value::Ipv6("2001:db8::1".parse().unwrap()));
    library.value("loose", prefix("10.0.0.1", 8));
    library.value(
        "mixed",
        list([
            Value::Int(80),
            Value::Mac(Mac([2, 0, 0, 0, 0, 1])),
            Value::Int(70_000),
        ]),
    );
    library.value("big", Value::Int(5000));
    library.value("minus", Value::Int(-1));
    library.value("text", Value::Str("80".to_owned()));
    library
}

fn ident(name: &str) -> onvm_lang::syntax::Ident {
    onvm_lang::syntax::Spanned::new(name.to_owned(), onvm_lang::syntax::Span::default())
}

/// Each filter and what is said of it: errors, or the meaning and the warnings.
fn report(texts: &[&str]) -> String {
    let library = library();
    let mut report = String::new();
    for text in texts {
        report += &format!("--- {text}\n");
        report += &match lower_text(text, &library) {
            Ok(lowered) => format!("{}{}\n", show(&lowered.warnings, text), lowered.expr),
            Err(errors) => errors,
        };
    }
    report
}

#[test]
fn errors() {
    let report = report(&[
        "round",
        "port $loop",
        "port $none or udp",
        "host []",
        "port $mixed",
        "port $text",
        "port $host",
        "ether host $host",
        "host $ten",
        "net $loose",
        "ip6 host $host",
        "ip host $host6",
        "arp net $trusted",
        "vlan $big",
        "vlan [1, $big]",
        "dscp $big",
        "less $minus",
        "proto $big",
        "host $nowhere",
        "nowhere and tcp",
        "ip port 80",
        "ip6 portrange 80-90",
        "ip[0] / 0 = 1",
        "ip[0] % (2 - 2) = 1",
        "ip[0] << 32 = 1",
        "ip[70000] = 1",
    ]);
    insta::assert_snapshot!(report);
}

#[test]
fn warnings() {
    let report = report(&[
        "tcp and dst port 80 or 443",
        "not dst port 80 and not 443 or udp",
        "tcp or udp and port 53",
        "tcp and port 53 or udp",
        "tcp and (port 53 or udp)",
        "udp or tcp and not src net 10.0.0.0/8 or icmp",
        "vlan 5 or vlan 6",
        "vlan [5, 6]",
        "vlan and ip",
        "not vlan and ip",
        "not (vlan and ip) or less 60",
        "tagged or ip6",
        "1 + tcp[0] = 5",
        "tcp[0] + tcp[1] = 5",
    ]);
    insta::assert_snapshot!(report);
}

#[test]
fn meanings() {
    let report = report(&[
        "all",
        "dst port 80 or 443 or portrange 8000-8010",
        "src net $trusted or src host 192.0.2.1",
        "not dst port 80 and 443",
        "vlan 5 and vlan and inner and host ::1",
        "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
        "icmp6[icmp6type] = 135",
        "ip6[ip6[4:2]] > len - 54",
        "ether proto 0x88cc or ether src 02:00:00:00:00:01",
        "ip[0] % 2 + 4 = 1",
        "dscp [46, 0] and (less 64 or greater 1500)",
    ]);
    insta::assert_snapshot!(report);
}

/// libpcap refuses these, and so does the language.
#[test]
fn refused_as_by_libpcap() {
    for text in [
        "tcp host 1.2.3.4",
        "udp net 10.0.0.0/8",
        "ip6 host 1.2.3.4",
        "ip host 2001:db8::1",
        "arp host 2001:db8::1",
        "less -1",
        "net 10.0.0.1/8",
        "net 2001:db8::1/32",
        "host 10.0.0.0/8",
        "host 02:00:00:00:00:01",
        "ether host 10.0.0.1",
        "port 65536",
        "portrange 1-70000",
        "vlan 4096",
        "vlan 5000",
        "ip port 80",
        "arp port 80",
        "icmp port 5",
        "src tcp port 80",
        "ip[0]/0 = 1",
        "ip[0] % 0 = 1",
        "ip[0] << 33 = 1",
        "ip[0:3] = 1",
        "ip[0:4] = 4294967296",
        "len",
        "tcp and",
        "(tcp",
        "not",
    ] {
        let theirs = Capture::dead(Linktype::ETHERNET).unwrap().compile(text, true);
        assert!(theirs.is_err(), "libpcap takes `{text}`");
        let ours = lower_text(text, &library());
        assert!(ours.is_err(), "`{text}` is taken as {}", ours.unwrap().expr);
    }
}

/// libpcap takes these; the language refuses them because they cannot mean what they seem to.
#[test]
fn refused_though_libpcap_takes_it() {
    for text in [
        "proto 256",
        "ip proto 300",
        "ether proto 65536",
        "ether[70000] = 1",
    ] {
        let theirs = Capture::dead(Linktype::ETHERNET).unwrap().compile(text, false);
        assert!(theirs.is_ok(), "libpcap refuses `{text}`");
        assert!(lower_text(text, &library()).is_err(), "{text}");
    }
}

#[test]
fn long_chains_are_one_test() {
    let nets: Vec<String> = (0..20_000_u32)
        .map(|n| format!("src net 10.{}.{}.0/24", n >> 8, n & 255))
        .collect();
    let lowered = lower_text(&nets.join(" or "), &library()).unwrap();
    let Expr::Test(_) = lowered.expr else {
        panic!("{} operands", nets.len());
    };
    assert!(lowered.expr.to_string().parse::<Expr>() == Ok(lowered.expr));
}

#[test]
fn size_and_depth_are_bounded() {
    let alternating = "tcp and udp or ".repeat(200) + "icmp";
    let error = lower_text(&alternating, &library()).unwrap_err();
    assert!(
        error.contains("C0309: filter nested deeper than 256 levels"),
        "{error}"
    );

    let mut library = Library::default();
    library.class("c0", "tcp or udp");
    for level in 1..30 {
        library.class(&format!("c{level}"), &format!("c{0} and not c{0}", level - 1));
    }
    let error = lower_text("c29", &library).unwrap_err();
    assert!(
        error.contains("C0309: filter with more than 200000 tests"),
        "{error}"
    );

    library.value("v0", Value::Int(80));
    for level in 1..40 {
        let below = || Value::Ref(ident(&format!("v{}", level - 1)));
        library.value(&format!("v{level}"), list([below(), below()]));
    }
    let error = lower_text("port $v39", &library).unwrap_err();
    assert!(
        error.contains("C0309: filter with more than 200000 tests"),
        "{error}"
    );

    let error = lower_text(&vec!["vlan"; 256].join(" and "), &library).unwrap_err();
    assert!(
        error.contains("C0309: filter with more than 255 `vlan`"),
        "{error}"
    );
}
