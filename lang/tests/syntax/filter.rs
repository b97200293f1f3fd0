//! Filters: what each form is read as. The rules are those of libpcap's grammar.

use onvm_lang::parse_filter;
use onvm_lang::syntax::{
    Direction, Expr, ExprKind, Filter, FilterKind, FilterValue, Logic, Operand, Primitive, PrimitiveKind,
    Protocol, Relation, Written,
};

/// A filter with every qualifier spelt out and every grouping shown.
fn show(filter: &Filter) -> String {
    match &filter.node {
        FilterKind::Logic { first, rest } => {
            let mut text = show(first);
            for term in rest {
                let op = match term.op.node {
                    Logic::And => "and",
                    Logic::Or => "or",
                };
                text = format!("<{text} {op} {}>", show(&term.rhs));
            }
            text
        }
        FilterKind::Not(inner) => format!("not {}", show(inner)),
        FilterKind::Paren(inner) => format!("({})", show(inner)),
        FilterKind::Primitive(primitive) => show_primitive(primitive),
        FilterKind::Error => "error".to_owned(),
    }
}

fn show_primitive(primitive: &Primitive) -> String {
    let mark = match primitive.written {
        Written::Full => "",
        Written::Inherited => "^",
        Written::Bare => "?",
    };
    let dir = |d: Direction| match d {
        Direction::Src => "src ",
        Direction::Dst => "dst ",
        Direction::Either => "",
        Direction::Both => "both ",
    };
    let proto = |p: Option<Protocol>| p.map_or(String::new(), |p| format!("{p:?} ").to_lowercase());
    let text = match &primitive.kind {
        PrimitiveKind::All => "all".to_owned(),
        PrimitiveKind::Class(name) => format!("class {}", name.node),
        PrimitiveKind::Protocol(p) => format!("{p:?}").to_lowercase(),
        PrimitiveKind::Encapsulated { by, id: None } => by.word().to_owned(),
        PrimitiveKind::Encapsulated { by, id: Some(v) } => format!("{} {}", by.word(), value(v)),
        PrimitiveKind::Group(group) => format!("{group:?}"),
        PrimitiveKind::EtherHost { dir: d, mac } => format!("ether {}{}", dir(*d), value(mac)),
        PrimitiveKind::EtherProto(v) => format!("ether proto {}", value(v)),
        PrimitiveKind::IpProto { family, number } => {
            let family = family.map_or(String::new(), |f| format!("{f:?} ").to_lowercase());
            format!("{family}proto {}", value(number))
        }
        PrimitiveKind::ProtoChain { family, number } => {
            let family = family.map_or(String::new(), |f| format!("{f:?} ").to_lowercase());
            format!("{family}protochain {}", value(number))
        }
        PrimitiveKind::Host { family, dir: d, addr } => {
            let family = family.map_or(String::new(), |f| format!("{f:?} ").to_lowercase());
            format!("{family}{}host {}", dir(*d), value(addr))
        }
        PrimitiveKind::Net { family, dir: d, net } => {
            let family = family.map_or(String::new(), |f| format!("{f:?} ").to_lowercase());
            format!("{family}{}net {}", dir(*d), value(net))
        }
        PrimitiveKind::Port {
            proto: p,
            dir: d,
            port,
        } => {
            format!("{}{}port {}", proto(*p), dir(*d), value(port))
        }
        PrimitiveKind::PortRange {
            proto: p,
            dir: d,
            range,
        } => {
            format!("{}{}portrange {}", proto(*p), dir(*d), value(range))
        }
        PrimitiveKind::Less(v) => format!("less {}", value(v)),
        PrimitiveKind::Greater(v) => format!("greater {}", value(v)),
        PrimitiveKind::Dscp(v) => format!("dscp {}", value(v)),
        PrimitiveKind::Relation { lhs, op, rhs } => {
            let op = match op.node {
                Relation::Gt => ">",
                Relation::Lt => "<",
                Relation::Ge => ">=",
                Relation::Le => "<=",
                Relation::Eq => "==",
                Relation::Ne => "!=",
            };
            format!("{} {op} {}", expr(lhs), expr(rhs))
        }
    };
    format!("{mark}{text}")
}

fn value(operand: &Operand) -> String {
    match &operand.node {
        FilterValue::Number(n) => n.to_string(),
        FilterValue::Range(a, b) => format!("{a}-{b}"),
        FilterValue::Addr(a) => a.to_string(),
        FilterValue::Prefix(p) => p.to_string(),
        FilterValue::Masked { addr, mask } => format!("{addr} mask {mask}"),
        FilterValue::Mac(m) => m.to_string(),
        FilterValue::Ref(name) => format!("${name}"),
        FilterValue::List(items) => {
            format!("{:?}", items.iter().map(value).collect::<Vec<_>>()).replace('"', "")
        }
    }
}

fn expr(e: &Expr) -> String {
    match &e.node {
        ExprKind::Number(n) => n.to_string(),
        ExprKind::Named { name, value } => format!("{name}={value}"),
        ExprKind::Ref(name) => format!("${name}"),
        ExprKind::Len => "len".to_owned(),
        ExprKind::Load { header, offset, size } => {
            format!("{header:?}[{}:{size}]", expr(offset)).to_lowercase()
        }
        ExprKind::Binary { op, lhs, rhs } => format!("<{} {op:?} {}>", expr(lhs), expr(rhs)),
        ExprKind::Neg(inner) => format!("-{}", expr(inner)),
        ExprKind::Paren(inner) => format!("({})", expr(inner)),
    }
}

/// Reads each filter and compares what it was read as.
fn check(cases: &[(&str, &str)]) {
    for (source, expected) in cases {
        let (tree, found) = parse_filter(source);
        assert_eq!(found, [], "in `{source}`");
        assert_eq!(show(&tree.unwrap()), *expected, "in `{source}`");
    }
}

/// Filters that are refused, and by which code.
fn refuse(cases: &[(&str, &str)]) {
    for (source, code) in cases {
        let (tree, found) = parse_filter(source);
        assert_eq!(tree, None, "`{source}`");
        assert_eq!(found[0].code, *code, "`{source}`: {found:?}");
    }
}

#[test]
fn and_and_or_have_one_precedence_and_associate_left() {
    check(&[
        ("tcp or udp and ip", "<<tcp or udp> and ip>"),
        ("tcp and udp or ip", "<<tcp and udp> or ip>"),
        ("tcp || udp && ip", "<<tcp or udp> and ip>"),
        ("tcp or (udp and ip)", "<tcp or (<udp and ip>)>"),
        ("not tcp and udp", "<not tcp and udp>"),
        ("! tcp or !! udp", "<not tcp or not not udp>"),
        ("not (tcp or udp)", "not (<tcp or udp>)"),
    ]);
}

#[test]
fn mixing_is_seen_at_its_own_level_only() {
    let mixes = |source| parse_filter(source).0.unwrap().node.mixes_and_or();
    assert!(mixes("tcp or udp and ip"));
    assert!(!mixes("tcp or (udp and ip)"));
    assert!(!mixes("tcp or udp or ip"));
    assert!(!mixes("tcp"));
}

#[test]
fn a_bare_value_takes_the_qualifiers_before_it() {
    check(&[
        ("dst port 80 or 443", "<dst port 80 or ^dst port 443>"),
        (
            "tcp src port 80 or 443 or 8080",
            "<<tcp src port 80 or ^tcp src port 443> or ^tcp src port 8080>",
        ),
        ("port 80 and not 443", "<port 80 and not ^port 443>"),
        ("not port 80 or 443", "<not port 80 or ^port 443>"),
        ("host 10.0.0.1 or 10.0.0.2", "<host 10.0.0.1 or ^host 10.0.0.2>"),
        (
            "src net 10.0.0.0/8 or 192.168.0.0/16",
            "<src net 10.0.0.0/8 or ^src net 192.168.0.0/16>",
        ),
        ("ip proto 6 or 17", "<ip proto 6 or ^ip proto 17>"),
        ("ip proto \\tcp or \\udp", "<ip proto 6 or ^ip proto 17>"),
        ("ip proto tcp or udp", "<ip proto 6 or udp>"),
        ("portrange 1-2 or 3-4", "<portrange 1-2 or ^portrange 3-4>"),
        (
            "ether src 02:00:00:00:00:01 or 02:00:00:00:00:02",
            "<ether src 02:00:00:00:00:01 or ^ether src 02:00:00:00:00:02>",
        ),
        ("port http or https", "<port 80 or ^port 443>"),
        ("src net $a or $b", "<src net $a or ^src net $b>"),
        ("port [80, http] or [443]", "<port [80, 80] or ^port [443]>"),
    ]);
}

#[test]
fn parentheses_hand_their_inherited_qualifiers_on() {
    check(&[
        ("port (80 or 443)", "(<^port 80 or ^port 443>)"),
        (
            "tcp dst port (80 or not (443 or 8080))",
            "(<^tcp dst port 80 or not (<^tcp dst port 443 or ^tcp dst port 8080>)>)",
        ),
        (
            "port 80 or (443 or 8080) or 22",
            "<<port 80 or (<^port 443 or ^port 8080>)> or ^port 22>",
        ),
        (
            "port 80 or (tcp and dst port 443) or 22",
            "<<port 80 or (<tcp and dst port 443>)> or ^port 22>",
        ),
    ]);
    refuse(&[
        ("(tcp port 80) or 443", "C0022"),
        ("port 80 or tcp or 443", "C0022"),
        ("port 80 and web and 443", "C0022"),
        ("port 80 or len > 5 or 443", "C0022"),
        ("vlan 5 or 6", "C0022"),
        ("port (80 or tcp)", "C0023"),
    ]);
}

#[test]
fn addresses_need_no_qualifier() {
    check(&[
        ("10.0.0.1", "?host 10.0.0.1"),
        (
            "10.0.0.0/8 or 2001:db8::1",
            "<?net 10.0.0.0/8 or ^host 2001:db8::1>",
        ),
        ("tcp and 10.0.0.1", "<tcp and ?host 10.0.0.1>"),
        (
            "src 10.0.0.1 or 10.0.0.0/8",
            "<src host 10.0.0.1 or ^src net 10.0.0.0/8>",
        ),
        ("src $trusted", "src net $trusted"),
        ("[10.0.0.1, 10.0.0.0/8]", "?net [10.0.0.1, 10.0.0.0/8]"),
        (
            "dead::1 or ::1 or ::",
            "<<?host dead::1 or ^host ::1> or ^host ::>",
        ),
        ("2001:db8::/32", "?net 2001:db8::/32"),
    ]);
}

#[test]
fn directions() {
    check(&[
        ("src or dst port 80", "port 80"),
        ("dst or src port 80", "port 80"),
        ("src and dst host 10.0.0.1", "both host 10.0.0.1"),
        (
            "src 10.0.0.1 or dst 10.0.0.2",
            "<src host 10.0.0.1 or dst host 10.0.0.2>",
        ),
        ("src port 1 or src port 2", "<src port 1 or src port 2>"),
        ("ip src host 10.0.0.1", "ip src host 10.0.0.1"),
        ("arp net 10.0.0.0/8", "arp net 10.0.0.0/8"),
        ("ip6 dst net ::/0", "ip6 dst net ::/0"),
    ]);
}

#[test]
fn networks_may_be_written_short() {
    check(&[
        ("net 10", "net 10.0.0.0/8"),
        ("net 10/8", "net 10.0.0.0/8"),
        ("net 172.16/12", "net 172.16.0.0/12"),
        ("net 192.168", "net 192.168.0.0/16"),
        ("net 192.168.1", "net 192.168.1.0/24"),
        ("net 10.0.0.1", "net 10.0.0.1"),
    ]);
    refuse(&[
        ("net 11/7", "C0021"),
        ("net 256", "C0021"),
        ("net 10.0.0.1/8", "C0021"),
    ]);
}

#[test]
fn protocols_alone_and_as_qualifiers() {
    check(&[
        ("tcp or port 80", "<tcp or port 80>"),
        ("tcp port 80", "tcp port 80"),
        ("ip and not ip6 and arp", "<<ip and not ip6> and arp>"),
        ("icmp or icmp6 or sctp", "<<icmp or icmp6> or sctp>"),
        ("ip proto \\tcp and proto \\icmp", "<ip proto 6 and proto 1>"),
        (
            "ether proto ip or \\arp",
            "<ether proto 2048 or ^ether proto 2054>",
        ),
        ("ether proto ip or arp", "<ether proto 2048 or arp>"),
        ("vlan and vlan 5 and tcp", "<<vlan and vlan 5> and tcp>"),
        (
            "dscp ef or dscp cs6 or dscp af41",
            "<<dscp 46 or dscp 48> or dscp 34>",
        ),
        ("less 64 or greater 0x40", "<less 64 or greater 64>"),
        ("igmp or pim or esp", "<<igmp or pim> or esp>"),
        ("rarp host 10.0.0.1", "rarp host 10.0.0.1"),
        ("ip6 protochain tcp", "ip6 protochain 6"),
        (
            "mpls 5 and pppoes and geneve [7, 10-20]",
            "<<mpls 5 and pppoes> and geneve [7, 10-20]>",
        ),
        ("ip multicast or broadcast", "<IpMulticast or EtherBroadcast>"),
        ("net 10.0.0.0 mask 255.0.0.0", "net 10.0.0.0/8"),
        ("src net 10.1 mask 255.255.0.0", "src net 10.1.0.0/16"),
        ("net 10.0.7.0 mask 255.0.255.0", "net 10.0.7.0 mask 255.0.255.0"),
        ("vlan 010 and len > 077", "<vlan 8 and len > 63>"),
        ("tcp dst port [80, 8000-8100]", "tcp dst port [80, 8000-8100]"),
        ("port ftp or ftp-data", "<port 21 or ^port 20>"),
        (
            "host not 10.0.0.1 and port not 53",
            "<not host 10.0.0.1 and not port 53>",
        ),
        (
            "port not (80 or 443) or 22",
            "<not (<^port 80 or ^port 443>) or ^port 22>",
        ),
        ("port ! 80", "not port 80"),
        ("ether host 00-11-22-33-44-55", "ether 00:11:22:33:44:55"),
        ("ether src 0011.2233.44aA", "ether src 00:11:22:33:44:aa"),
        ("ip[8] < $ttl", "ip[8:1] < $ttl"),
        ("$flags & 2 == $x", "<$flags And 2> == $x"),
    ]);
    refuse(&[
        ("tcp host 10.0.0.1", "C0020"),
        ("icmp port 80", "C0020"),
        ("ip host ::1", "C0021"),
        ("arp net 2001:db8::/32", "C0021"),
        ("ip6 src [::1, 10.0.0.1]", "C0021"),
        ("net 0", "C0021"),
        ("tcp src 10.0.0.1", "C0020"),
        ("tcp proto 6", "C0020"),
        ("ether", "C0020"),
        ("ether host 10.0.0.1", "C0021"),
        ("host 02:00:00:00:00:01", "C0021"),
        ("port", "C0020"),
        ("ip broadcast", "C0024"),
        ("tcp protochain 6", "C0020"),
        ("net 10.0.0.1 mask 255.0.0.0", "C0021"),
        ("net ::1 mask 255.0.0.0", "C0021"),
        ("portrange 010-020", "C0007"),
        ("port 08", "C0007"),
        ("mpls 1048576", "C0021"),
    ]);
}

#[test]
fn byte_tests() {
    check(&[
        (
            "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
            "<tcp[tcpflags=13:1] And (<tcp-syn=2 Or tcp-ack=16>)> == tcp-syn=2",
        ),
        ("ip[0] & 0xf != 5", "<ip[0:1] And 15> != 5"),
        ("len > 100", "len > 100"),
        ("100<=len", "100 <= len"),
        ("tcp[2:2] = 80", "tcp[2:2] == 80"),
        ("ip[ip[0] & 0xf:4] = 1", "ip[<ip[0:1] and 15>:4] == 1"),
        ("1 + 2 * 3 = 7", "<1 Add <2 Mul 3>> == 7"),
        ("1 - 2 - 3 = 4", "<<1 Sub 2> Sub 3> == 4"),
        ("1 | 2 & 3 << 4 + 5 = 6", "<1 Or <2 And <3 Shl <4 Add 5>>>> == 6"),
        ("8 >> 1 > 3", "<8 Shr 1> > 3"),
        ("90-80 = 10", "<90 Sub 80> == 10"),
        ("2 * 90-80 = 100", "<<2 Mul 90> Sub 80> == 100"),
        ("9 - 5-1 = 3", "<<9 Sub 5> Sub 1> == 3"),
        ("-9-1 = 2", "<-9 Sub 1> == 2"),
        ("5-1 * 2 = 3", "<5 Sub <1 Mul 2>> == 3"),
        ("len = 0x10-1", "len == <16 Sub 1>"),
        ("-1 = 0xffffffff", "-1 == 4294967295"),
        (
            "(tcp[13] & 2) != 0 and (tcp or udp)",
            "<(<tcp[13:1] And 2>) != 0 and (<tcp or udp>)>",
        ),
        ("((ip[8])) < 2", "((ip[8:1])) < 2"),
        ("(ip[8] < 2)", "(ip[8:1] < 2)"),
        ("! ip[8] < 2 and tcp", "<not ip[8:1] < 2 and tcp>"),
        ("icmp[icmptype] == icmp-echo", "icmp[icmptype=0:1] == icmp-echo=8"),
        ("port 80 and 5 < len", "<port 80 and 5 < len>"),
    ]);
    refuse(&[
        ("ip[0]", "C0020"),
        ("ip[0] / 0 = 1", "C0021"),
        ("ip[0] % 0 = 1", "C0021"),
        ("ip[0] << 32 = 1", "C0021"),
        ("ip[0:3] = 1", "C0020"),
        ("ip[0 = 1", "C0020"),
        ("web[0] = 1", "C0020"),
        ("len = ", "C0020"),
        ("1 = 2 = 3", "C0020"),
        ("len-5 = 2", "C0023"),
    ]);
}

/// Compared with the code that libpcap 1.10.3 compiles the filters and their parenthesised forms to.
#[test]
fn xor_and_modulo_take_in_all_that_follows_with_a_warning() {
    for (source, expected) in [
        ("ip[0] % 4 + 1 = 6", "<ip[0:1] Mod <4 Add 1>> == 6"),
        ("len | 2 & 5 ^ 3 = 6", "<len Or <2 And <5 Xor 3>>> == 6"),
        ("len * 2 % 3 + 4 = 6", "<len Mul <2 Mod <3 Add 4>>> == 6"),
        ("len % 5 % 3 = 6", "<len Mod <5 Mod 3>> == 6"),
    ] {
        let (tree, found) = parse_filter(source);
        assert_eq!(show(&tree.unwrap()), expected, "in `{source}`");
        assert!(found.iter().all(|d| d.code == "C0025"), "in `{source}`");
        assert!(!found.is_empty(), "in `{source}`");
    }
    check(&[
        ("len ^ 5 ^ 3 = 6", "<len Xor <5 Xor 3>> == 6"),
        ("-len ^ 5 = 6", "-<len Xor 5> == 6"),
        ("-len * 5 = 6", "<-len Mul 5> == 6"),
        ("(len % 4) + 1 = 6", "<(<len Mod 4>) Add 1> == 6"),
    ]);
}

#[test]
fn names_are_classes() {
    check(&[
        ("web and not ssh", "<class web and not class ssh>"),
        ("port 80 or web", "<port 80 or class web>"),
        ("host 10.0.0.1 or http", "<host 10.0.0.1 or class http>"),
        ("all", "all"),
    ]);
    refuse(&[
        ("web-a", "C0002"),
        ("tcp and else", "C0020"),
        ("", "C0020"),
        ("// nothing", "C0020"),
    ]);
}

#[test]
fn spans_cover_what_was_written() {
    let source = "web and  tcp dst port (80 or 443) // c\n or not host 10.0.0.1";
    let tree = parse_filter(source).0.unwrap();
    let FilterKind::Logic { first, rest } = &tree.node else {
        panic!("not logic");
    };
    assert_eq!(tree.span.text(source), source);
    assert_eq!(first.span.text(source), "web");
    let texts: Vec<_> = rest.iter().map(|t| t.rhs.span.text(source)).collect();
    assert_eq!(texts, ["tcp dst port (80 or 443)", "not host 10.0.0.1"]);
}

#[test]
fn spans_of_a_subtraction_without_spaces() {
    let source = "len < 0x64-1000";
    let tree = parse_filter(source).0.unwrap();
    let FilterKind::Primitive(Primitive {
        kind: PrimitiveKind::Relation { rhs, .. },
        ..
    }) = &tree.node
    else {
        panic!("no comparison");
    };
    let ExprKind::Binary { lhs, rhs: right, .. } = &rhs.node else {
        panic!("no subtraction");
    };
    let texts = [rhs, &**lhs, &**right].map(|e| e.span.text(source));
    assert_eq!(texts, ["0x64-1000", "0x64", "1000"]);
}

#[test]
fn every_mistake_of_a_filter_is_reported() {
    for (source, wanted) in [
        (
            "tcp port htp or udp port foo or ip[0 > 5 or arp",
            &["C0023", "C0023", "C0020"][..],
        ),
        ("port (80x or 443x) and tcp", &["C0007", "C0007"]),
        // What a mistake leaves open is not another mistake.
        ("port foo or 80 or 443", &["C0023"]),
        ("udp and and tcp", &["C0020"]),
        ("tcp dport 80 and udp sport 53", &["C0020", "C0020"]),
        ("tcp dport 80 and vlan 5 or 6", &["C0020", "C0022"]),
        ("tcp --dport 80 => lan or port foo", &["C0020", "C0020"]),
        ("tcp => port foo or 5", &["C0020"]),
        ("(tcp or prot 80", &["C0020"]),
        ("(tcp or udp", &["C0003"]),
        ("((tcp port 99999) or udp port 99999", &["C0021", "C0021"]),
    ] {
        let (filter, found) = parse_filter(source);
        let codes: Vec<&str> = found.iter().map(|d| d.code).collect();
        assert_eq!((filter, codes), (None, wanted.to_vec()), "{source}: {found:?}");
    }
    let many = vec!["port foo"; 1000].join(" or ");
    assert_eq!(parse_filter(&many).1.len(), 20);
}

/// What is proposed in place of what was written.
#[test]
fn words_of_other_tools() {
    for (source, wanted) in [
        ("tcp --dport 80", "tcp dst port 80"),
        ("tcp dport 80", "tcp dst port 80"),
        ("tcp sport 1000-2000", "tcp src portrange 1000-2000"),
        ("saddr 10.0.0.1", "src host 10.0.0.1"),
        ("daddr 10.0.0.0/8", "dst net 10.0.0.0/8"),
        ("ip and from 10.0.0.1", "ip and src host 10.0.0.1"),
        ("-s 10.0.0.1", "src host 10.0.0.1"),
        ("-p tcp", "tcp"),
        ("tcp dst port 80,443", "tcp dst port [80, 443]"),
        ("80,443", "port [80, 443]"),
        ("80-90", "portrange 80-90"),
        ("port 80-90", "portrange 80-90"),
        ("vlan 10 or 20 or 30", "vlan [10, 20, 30]"),
        ("vlan 10-20", "vlan [10-20]"),
        ("host 10.0.0.0/8", "net 10.0.0.0/8"),
        ("portrange 80–90", "portrange 80-90"),
        ("tcp\u{a0}port 80", "tcp port 80"),
        ("tcp port 80\u{200b}", "tcp port 80"),
    ] {
        let (_, found) = parse_filter(source);
        let fix = found.first().and_then(|d| d.fixes.first());
        let fix = fix.unwrap_or_else(|| panic!("{source}: {found:?}"));
        let mut fixed = source.to_owned();
        fixed.replace_range(fix.span.range(), &fix.text);
        assert_eq!(fixed, wanted, "{source}");
        assert_eq!(parse_filter(&fixed).1, [], "{source}");
    }
}
