//! Random filters, as text of pcap-filter(7) and lowered.

use onvm_filter::{
    Arith, ArithOp, Base, Comparison, Direction, Expr, Length, NetSet, PortRange, PortSet, Size, Test,
    Transport, Version, Within,
};
use proptest::{prelude::*, sample::select};

use super::frames::{ETHER_TYPES, MACS, PORTS, PROTOCOLS, V4, V6, VLANS};

/// A filter in the notation of pcap-filter(7), and what its tests become when no tag stands before.
#[derive(Debug, Clone)]
pub(crate) enum Tree {
    Leaf(String, Expr),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
}

impl Tree {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Leaf(text, _) => text.clone(),
            Self::And(a, b) => format!("({}) and ({})", a.text(), b.text()),
            Self::Or(a, b) => format!("({}) or ({})", a.text(), b.text()),
            Self::Not(a) => format!("not ({})", a.text()),
        }
    }

    pub(crate) fn lower(&self, tags: &mut u8) -> Expr {
        match self {
            Self::Leaf(_, expr) => {
                let shifted = shift(expr, *tags);
                if matches!(expr, Expr::Test(primitive) if matches!(primitive.test, Test::Vlan(_))) {
                    *tags += 1;
                }
                shifted
            }
            Self::And(a, b) => Expr::and([a.lower(tags), b.lower(tags)]),
            Self::Or(a, b) => Expr::or([a.lower(tags), b.lower(tags)]),
            Self::Not(a) => Expr::negate(a.lower(tags)),
        }
    }
}

fn shift(expr: &Expr, tags: u8) -> Expr {
    match expr {
        Expr::And(of) => Expr::and(of.iter().map(|operand| shift(operand, tags))),
        Expr::Test(primitive) => Expr::test(tags, primitive.test.clone()),
        other => other.clone(),
    }
}

fn leaf(text: impl Into<String>, test: Test) -> Tree {
    Tree::Leaf(text.into(), Expr::test(0, test))
}

fn direction() -> impl Strategy<Value = (&'static str, Direction)> {
    select(vec![
        ("", Direction::Either),
        ("src ", Direction::Src),
        ("dst ", Direction::Dst),
        ("src and dst ", Direction::Both),
        ("src or dst ", Direction::Either),
    ])
}

fn nets() -> impl Strategy<Value = Tree> {
    let v4 = (select(V4.to_vec()), 0..=32_u8).prop_map(|(addr, len)| format!("{addr}/{len}"));
    let v6 = (select(V6.to_vec()), 0..=128_u8).prop_map(|(addr, len)| format!("{addr}/{len}"));
    let within = select(vec![
        ("", Within::Any),
        ("ip ", Within::Ip),
        ("arp ", Within::Arp),
        ("rarp ", Within::Rarp),
    ]);
    let any = (
        Just(("", Within::Any)),
        prop::collection::vec(prop_oneof![v4.clone(), v6], 1..5),
    );
    let one = (within, prop::collection::vec(v4, 1..5));
    (direction(), prop_oneof![any, one]).prop_map(|((dir_text, dir), ((within_text, within), members))| {
        let nets: Vec<ipnet::IpNet> = members
            .iter()
            .map(|net| net.parse::<ipnet::IpNet>().unwrap().trunc())
            .collect();
        let text: Vec<String> = nets
            .iter()
            .map(|net| format!("{within_text}{dir_text}net {net}"))
            .collect();
        let nets = NetSet::new(nets).unwrap();
        leaf(
            format!("({})", text.join(" or ")),
            Test::Net { within, dir, nets },
        )
    })
}

fn ports() -> impl Strategy<Value = Tree> {
    let transport = select(vec![
        ("", Transport::Any),
        ("tcp ", Transport::Tcp),
        ("udp ", Transport::Udp),
        ("sctp ", Transport::Sctp),
    ]);
    let port = select(PORTS.to_vec());
    let range = prop_oneof![
        port.clone().prop_map(PortRange::one),
        (port.clone(), port).prop_map(|(a, b)| PortRange::new(a, b)),
    ];
    (direction(), transport, prop::collection::vec(range, 1..4)).prop_map(
        |((dir_text, dir), (transport_text, transport), members)| {
            let text: Vec<String> = members
                .iter()
                .map(|range| match (range.low, range.high) {
                    (low, high) if low == high => format!("{transport_text}{dir_text}port {low}"),
                    (low, high) => format!("{transport_text}{dir_text}portrange {low}-{high}"),
                })
                .collect();
            let ports = PortSet::new(members).unwrap();
            leaf(
                format!("({})", text.join(" or ")),
                Test::Port {
                    transport,
                    dir,
                    ports,
                },
            )
        },
    )
}

fn relations() -> impl Strategy<Value = Tree> {
    let ip = || Expr::test(0, Test::EtherProto(0x0800));
    let ip6 = || Expr::test(0, Test::EtherProto(0x86dd));
    let proto = |number| {
        Expr::test(
            0,
            Test::Proto {
                version: Version::Any,
                number,
            },
        )
    };
    let first = || Expr::test(0, Test::FirstFragment);
    let header = select(vec![
        ("ether", vec![], Base::Frame),
        ("ip", vec![ip()], Base::L3),
        ("ip6", vec![ip6()], Base::L3),
        ("arp", vec![Expr::test(0, Test::EtherProto(0x0806))], Base::L3),
        ("tcp", vec![ip(), proto(6), first()], Base::Ip4Payload),
        ("udp", vec![ip(), proto(17), first()], Base::Ip4Payload),
    ]);
    let size = select(vec![(1, Size::Byte), (2, Size::Half), (4, Size::Word)]);
    let op = select(vec![
        ("=", Comparison::Eq),
        ("!=", Comparison::Ne),
        ("<", Comparison::Lt),
        ("<=", Comparison::Le),
        (">", Comparison::Gt),
        (">=", Comparison::Ge),
    ]);
    (header, 0..60_u32, size, 1..255_u32, op, 0..300_u32).prop_map(
        |((header, guards, base), at, (bytes, size), mask, (op_text, op), right)| {
            let load = Arith::Load {
                base,
                at: Box::new(Arith::Const(at)),
                size,
            };
            let left = Arith::Binary {
                op: ArithOp::And,
                left: Box::new(load),
                right: Box::new(Arith::Const(mask)),
            };
            let relation = Expr::test(
                0,
                Test::Relation {
                    op,
                    left,
                    right: Arith::Const(right),
                },
            );
            let text = format!("{header}[{at}:{bytes}] & {mask} {op_text} {right}");
            Tree::Leaf(text, Expr::and(guards.into_iter().chain([relation])))
        },
    )
}

fn leaves() -> impl Strategy<Value = Tree> {
    let mac =
        (direction(), prop::collection::vec(select(MACS.to_vec()), 1..3)).prop_map(|((text, dir), macs)| {
            let parts: Vec<String> = macs.iter().map(|mac| format!("ether {text}host {mac}")).collect();
            let dir_word = ["src", "dst", "both"]
                .into_iter()
                .zip([Direction::Src, Direction::Dst, Direction::Both])
                .find(|(_, d)| *d == dir)
                .map_or("", |(word, _)| word);
            let expr = format!("(mac {dir_word} {})", macs.join(" ")).parse().unwrap();
            Tree::Leaf(format!("({})", parts.join(" or ")), expr)
        });
    let version = select(vec![
        ("", Version::Any),
        ("ip ", Version::V4),
        ("ip6 ", Version::V6),
    ]);
    prop_oneof![
        3 => nets(),
        3 => ports(),
        3 => relations(),
        1 => mac,
        2 => select(ETHER_TYPES.to_vec()).prop_map(|v| leaf(format!("ether proto {v}"), Test::EtherProto(v))),
        2 => select(VLANS.to_vec()).prop_map(|id| leaf(format!("vlan {id}"), Test::Vlan(vec![id]))),
        2 => Just(leaf("vlan", Test::Vlan(vec![]))),
        3 => (version, select(PROTOCOLS.to_vec())).prop_map(|((text, version), number)| {
            leaf(format!("{text}proto {number}"), Test::Proto { version, number })
        }),
        1 => (0..90_u32).prop_map(|n| leaf(format!("less {n}"), Test::Length(Length::AtMost(n)))),
        1 => (0..90_u32).prop_map(|n| leaf(format!("greater {n}"), Test::Length(Length::AtLeast(n)))),
    ]
}

pub(crate) fn trees() -> impl Strategy<Value = Tree> {
    leaves().prop_recursive(4, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Tree::And(Box::new(a), Box::new(b))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Tree::Or(Box::new(a), Box::new(b))),
            inner.prop_map(|a| Tree::Not(Box::new(a))),
        ]
    })
}
