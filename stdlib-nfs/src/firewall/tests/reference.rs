//! The firewall against a reference that reads packets with etherparse and compares addresses bit by bit.

use std::{fmt::Write, net::IpAddr};

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use onvm_bundle::filter::Expr;
use proptest::{prelude::*, sample::select};

use super::*;
use crate::Model;

/// A rule as a person would think of it.
#[derive(Debug, Clone)]
struct Plain {
    accept: bool,
    protocol: &'static str,
    from: Option<(IpAddr, u8)>,
    to: Option<(IpAddr, u8)>,
    to_ports: Option<(u16, u16)>,
    flag: Option<(u8, bool)>,
}

/// What etherparse sees of a packet.
struct Seen {
    source: IpAddr,
    destination: IpAddr,
    protocol: &'static str,
    to_port: Option<u16>,
    flags: Option<[bool; 3]>,
}

const FLAGS: [&str; 3] = ["fin", "syn", "ack"];

fn see(packet: &[u8]) -> Seen {
    let sliced = SlicedPacket::from_ethernet(packet).unwrap();
    let (source, destination): (IpAddr, IpAddr) = match sliced.net.unwrap() {
        NetSlice::Ipv4(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Ipv6(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        _ => unreachable!("only IP packets are generated"),
    };
    let (protocol, to_port, flags) = match sliced.transport.unwrap() {
        TransportSlice::Tcp(tcp) => (
            "tcp",
            Some(tcp.destination_port()),
            Some([tcp.fin(), tcp.syn(), tcp.ack()]),
        ),
        TransportSlice::Udp(udp) => ("udp", Some(udp.destination_port()), None),
        TransportSlice::Icmpv4(_) => ("icmp", None, None),
        TransportSlice::Icmpv6(_) => ("icmp6", None, None),
        TransportSlice::Igmp(_) => ("igmp", None, None),
    };
    Seen {
        source,
        destination,
        protocol,
        to_port,
        flags,
    }
}

fn bits(address: IpAddr) -> Vec<bool> {
    let bytes = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    bytes
        .iter()
        .flat_map(|b| (0..8).rev().map(move |i| b >> i & 1 == 1))
        .collect()
}

impl Plain {
    fn matches(&self, seen: &Seen) -> bool {
        let protocol = match self.protocol {
            "any" => true,
            "ip" => seen.source.is_ipv4(),
            "ip6" => seen.source.is_ipv6(),
            name => name == seen.protocol,
        };
        let inside = |prefix: Option<(IpAddr, u8)>, address: IpAddr| {
            prefix.is_none_or(|(net, length)| {
                net.is_ipv4() == address.is_ipv4()
                    && bits(net)
                        .iter()
                        .zip(bits(address))
                        .take(length.into())
                        .all(|(a, b)| *a == b)
            })
        };
        protocol
            && inside(self.from, seen.source)
            && inside(self.to, seen.destination)
            && self
                .to_ports
                .is_none_or(|(a, b)| seen.to_port.is_some_and(|p| (a..=b).contains(&p)))
            && self
                .flag
                .is_none_or(|(i, set)| seen.flags.is_some_and(|f| f[usize::from(i)] == set))
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} {}",
            if self.accept { "accept" } else { "drop" },
            self.protocol
        );
        let prefix = |p: Option<(IpAddr, u8)>| p.map(|(net, length)| format!("{net}/{length}"));
        if let Some(from) = prefix(self.from) {
            write!(text, " from {from}").unwrap();
        }
        if self.to.is_some() || self.to_ports.is_some() {
            write!(text, " to {}", prefix(self.to).unwrap_or("any".to_owned())).unwrap();
        }
        if let Some((first, last)) = self.to_ports {
            write!(text, " port {first}-{last}").unwrap();
        }
        if let Some((i, set)) = self.flag {
            write!(
                text,
                " flags {}{}",
                if set { "" } else { "!" },
                FLAGS[usize::from(i)]
            )
            .unwrap();
        }
        text
    }
}

/// Few addresses that share many leading bits, so that rules often match.
fn address(is_ipv6: bool) -> impl Strategy<Value = IpAddr> {
    (0..4u8, 0..4u8).prop_map(move |(a, b)| match is_ipv6 {
        false => IpAddr::from([10, a, 0, b]),
        true => IpAddr::from([0x20, 1, 0xd, 0xb8, a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b]),
    })
}

fn prefix(is_ipv6: bool) -> impl Strategy<Value = (IpAddr, u8)> {
    (address(is_ipv6), 0..=if is_ipv6 { 128 } else { 32u8 }).prop_map(|(address, length)| {
        let net = ipnet::IpNet::new(address, length).unwrap().trunc();
        (net.addr(), length)
    })
}

fn rule() -> impl Strategy<Value = Plain> {
    let protocol = select(vec!["any", "ip", "ip6", "tcp", "udp", "icmp", "icmp6"]);
    (any::<bool>(), protocol, any::<bool>()).prop_flat_map(|(accept, protocol, prefer_v6)| {
        let is_ipv6 = match protocol {
            "ip" | "icmp" => false,
            "ip6" | "icmp6" => true,
            _ => prefer_v6,
        };
        let end = || prop::option::of(prefix(is_ipv6));
        let ports = prop::option::of((0..6u16, 0..6u16).prop_map(|(a, b)| (a.min(b), a.max(b))));
        let flag = prop::option::of((0..3u8, any::<bool>()));
        (end(), end(), ports, flag).prop_map(move |(from, to, to_ports, flag)| Plain {
            accept,
            protocol,
            from,
            to,
            to_ports: to_ports.filter(|_| matches!(protocol, "tcp" | "udp")),
            flag: flag.filter(|_| protocol == "tcp"),
        })
    })
}

fn packet() -> impl Strategy<Value = Vec<u8>> {
    any::<bool>().prop_flat_map(|v6| {
        (
            address(v6),
            address(v6),
            0..3u8,
            0..6u16,
            any::<[bool; 3]>(),
            any::<bool>(),
        )
            .prop_map(|(from, to, transport, port, flags, tagged)| {
                let link = PacketBuilder::ethernet2([2; 6], [4; 6]);
                let ip = match (from, to) {
                    (IpAddr::V4(s), IpAddr::V4(d)) => link.ipv4(s.octets(), d.octets(), 64),
                    (IpAddr::V6(s), IpAddr::V6(d)) => link.ipv6(s.octets(), d.octets(), 64),
                    _ => unreachable!("both ends are of one family"),
                };
                let mut packet = Vec::new();
                match transport {
                    0 => {
                        let mut tcp = ip.tcp(9, port, 1, 2);
                        tcp = if flags[0] { tcp.fin() } else { tcp };
                        tcp = if flags[1] { tcp.syn() } else { tcp };
                        tcp = if flags[2] { tcp.ack(1) } else { tcp };
                        tcp.write(&mut packet, b"x")
                    }
                    1 => ip.udp(9, port).write(&mut packet, b"x"),
                    _ if from.is_ipv4() => ip.icmpv4_echo_request(1, 1).write(&mut packet, b"x"),
                    _ => ip.icmpv6_echo_request(1, 1).write(&mut packet, b"x"),
                }
                .unwrap();
                if tagged { p::tagged(&packet, 5) } else { packet }
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decides_as_the_reference(
        rules in prop::collection::vec(rule(), 0..12),
        packets in prop::collection::vec(packet(), 1..40),
        default_accept: bool,
    ) {
        let text: Vec<String> = rules.iter().map(Plain::text).collect();
        let params = params(&text.join("\n")).with("default", if default_accept { "accept" } else { "drop" });
        let mut bench = Bench::<Firewall>::new(params).unwrap();
        let handled = bench.send(&packets);
        let mut expected_hits = vec![0; rules.len()];
        for (packet, handled) in packets.iter().zip(&handled) {
            let seen = see(packet);
            let deciding = rules.iter().position(|rule| rule.matches(&seen));
            let accept = deciding.map_or(default_accept, |i| rules[i].accept);
            prop_assert_eq!(handled.verdict == Verdict::Next, accept, "{:?} by {:?}", packet, text);
            if let Some(i) = deciding {
                expected_hits[i] += 1;
            }
        }
        let real_hits: Vec<u64> = (1..=rules.len()).map(|line| hits(&bench.nf, line)).collect();
        prop_assert_eq!(real_hits, expected_hits);
    }

    #[test]
    fn the_model_describes_the_rules(
        rules in prop::collection::vec(rule(), 1..12),
        packets in prop::collection::vec(packet(), 1..40),
    ) {
        let text: Vec<String> = rules.iter().map(Plain::text).collect();
        let Ok(Model::Rules { rules: filters, .. }) = model::model(&params(&text.join("\n"))) else {
            panic!("a firewall decides by rules");
        };
        for (rule, told) in rules.iter().zip(&filters) {
            let filter: Expr = told.filter.parse().unwrap();
            prop_assert_eq!(told.verdict == Verdict::Next, rule.accept);
            for packet in &packets {
                let says = filter.matches(packet, packet.len() as u32);
                let is = rule.matches(&see(packet));
                prop_assert_eq!(says, is, "{} {:02x?}", told.filter, packet);
            }
        }
    }

    #[test]
    fn the_parser_never_panics(text in "(accept|drop|tcp|udp|from|to|port|any|10\\.0\\.0\\.0/8|::/0|,|-|80|flags|syn|#|é| |\n){0,40}") {
        let _ = parse::rules(text.as_bytes());
    }
}
