//! The fields of each protocol, and reading them with their defaults.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use onvm_bundle::ParamKind;
use onvm_lang::syntax::PacketProto;

use super::Contradiction;
use crate::{
    lower::declare::Table,
    resolve::spec::{Kind, Spec},
};

/// Bits of the TCP flags byte, by name.
pub(super) const FLAGS: [(&str, u8); 8] = [
    ("fin", 0x01),
    ("syn", 0x02),
    ("rst", 0x04),
    ("psh", 0x08),
    ("ack", 0x10),
    ("urg", 0x20),
    ("ece", 0x40),
    ("cwr", 0x80),
];

const SYN: u8 = 0x02;
const PSH_ACK: u8 = 0x18;

/// Addresses that stand in documentation (RFC 5737, RFC 3849), for ends that the operator leaves open.
const SOURCE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const DESTINATION_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
const SOURCE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
const DESTINATION_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));

/// An ephemeral port, and the port of the service `discard`, which no rule is likely to mean.
const SOURCE_PORT: u16 = 40_000;
const DESTINATION_PORT: u16 = 9;

/// The fields of a packet of this protocol.
pub(crate) fn specs(proto: PacketProto) -> Vec<Spec> {
    let mac = |name, doc| Spec::plain(name, ParamKind::Mac, doc);
    let address = |name, doc| Spec::plain(name, ParamKind::Address, doc);
    let end = |name, doc| Spec::new(name, Kind::End, doc);
    let mut specs = match proto {
        PacketProto::Ether => vec![
            mac("src", "Ethernet source"),
            mac("dst", "Ethernet destination"),
            number("type", 0xffff, "Ethernet type"),
        ],
        PacketProto::Arp => vec![
            address("src", "the sender's IPv4 address"),
            address("dst", "the target's IPv4 address"),
            mac("src_mac", "the sender's Ethernet address"),
            mac("dst_mac", "the target's Ethernet address"),
            Spec::plain("op", ParamKind::Enum, "request or reply").words(&["request", "reply"]),
        ],
        PacketProto::Ip | PacketProto::Ip6 | PacketProto::Icmp => vec![
            address("src", "source address"),
            address("dst", "destination address"),
        ],
        PacketProto::Tcp | PacketProto::Udp => vec![
            end("src", "source address, with or without a port"),
            end("dst", "destination address, with or without a port"),
        ],
    };
    specs.extend(transport(proto));
    if !matches!(proto, PacketProto::Ether | PacketProto::Arp) {
        specs.extend([
            number("ttl", 255, "time to live, or hop limit"),
            number("dscp", 63, "differentiated services code point"),
            number("ecn", 3, "explicit congestion notification"),
        ]);
    }
    if proto != PacketProto::Ether {
        specs.extend([
            mac("eth_src", "Ethernet source"),
            mac("eth_dst", "Ethernet destination"),
        ]);
    }
    if proto != PacketProto::Arp {
        specs.push(Spec::plain(
            "payload",
            ParamKind::String,
            "the bytes after the headers",
        ));
    }
    specs.extend([
        number("vlan", 4094, "VLAN id"),
        number("pcp", 7, "VLAN priority"),
        Spec::plain("size", ParamKind::Int, "bytes of the frame").range(14, 9234),
    ]);
    specs
}

fn transport(proto: PacketProto) -> Vec<Spec> {
    match proto {
        PacketProto::Ip => vec![
            number("proto", 255, "protocol number"),
            number("id", 0xffff, "identification"),
            number("fragment", 65_528, "where this fragment begins, in bytes"),
            Spec::plain("more_fragments", ParamKind::Bool, "other fragments follow"),
        ],
        PacketProto::Ip6 => vec![number("proto", 255, "next header")],
        PacketProto::Icmp => vec![
            number("type", 255, "ICMP type"),
            number("code", 255, "ICMP code"),
            number("id", 0xffff, "identifier of an echo"),
            number("seq", 0xffff, "sequence number of an echo"),
        ],
        PacketProto::Tcp => vec![
            Spec::plain("flags", ParamKind::Enum, "flags")
                .words(&FLAGS.map(|(name, _)| name))
                .list_if(true),
            number("seq", i64::from(u32::MAX), "sequence number"),
            number("ack", i64::from(u32::MAX), "acknowledgement number"),
            number("window", 0xffff, "window"),
        ],
        PacketProto::Ether | PacketProto::Arp | PacketProto::Udp => Vec::new(),
    }
}

fn number(name: &'static str, most: i64, doc: &'static str) -> Spec {
    Spec::plain(name, ParamKind::Int, doc).range(0, most)
}

/// The fields of one packet, read against [`specs`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) proto: PacketProto,
    pub(super) values: &'a toml::Table,
}

/// Both ends of an IP packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
}

impl Fields<'_> {
    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub(super) fn number<T: TryFrom<u64>>(&self, name: &str, default: T) -> T {
        let given = self.values.number(name).and_then(|n| T::try_from(n).ok());
        given.unwrap_or(default)
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.values.flag(name).unwrap_or(false)
    }

    pub(super) fn word(&self, name: &str) -> Option<String> {
        self.values.text(name)
    }

    pub(super) fn mac(&self, name: &str) -> Option<[u8; 6]> {
        let text = self.values.text(name)?;
        let mut bytes = [0; 6];
        for (byte, part) in bytes.iter_mut().zip(text.split(':')) {
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        Some(bytes)
    }

    /// A character up to U+00FF is one byte, so that `\xNN` writes any byte; others are UTF-8.
    pub(super) fn payload(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for c in self.values.text("payload").unwrap_or_default().chars() {
            match u8::try_from(c) {
                Ok(byte) => bytes.push(byte),
                Err(_) => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        bytes
    }

    /// A packet with a payload belongs to a connection; one without opens it.
    pub(super) fn tcp_flags(&self) -> u8 {
        match self.values.get("flags").and_then(toml::Value::as_array) {
            Some(words) => {
                let set = |(name, _): &&(&str, u8)| words.iter().any(|w| w.as_str() == Some(name));
                FLAGS.iter().filter(set).fold(0, |bits, (_, bit)| bits | bit)
            }
            None if self.has("payload") => PSH_ACK,
            None => SYN,
        }
    }

    pub(super) fn address(&self, name: &str) -> Option<IpAddr> {
        self.end(name).0
    }

    fn end(&self, name: &str) -> (Option<IpAddr>, Option<u16>) {
        let text = self.values.text(name).unwrap_or_default();
        match (text.parse::<SocketAddr>(), text.parse()) {
            (Ok(end), _) => (Some(end.ip()), Some(end.port())),
            (_, address) => (address.ok(), None),
        }
    }

    /// Both ends in one family, with defaults where nothing is said.
    pub(super) fn ends(&self) -> Result<Ends, Contradiction> {
        let ((source, source_port), (destination, destination_port)) = (self.end("src"), self.end("dst"));
        let name = self.proto.name();
        for (field, address) in [("src", source), ("dst", destination)] {
            let wrong = match (self.proto, address) {
                (PacketProto::Ip, Some(IpAddr::V6(a))) => Some((a.to_string(), "6", "ip6")),
                (PacketProto::Ip6, Some(IpAddr::V4(a))) => Some((a.to_string(), "4", "ip")),
                _ => None,
            };
            if let Some((address, version, other)) = wrong {
                return Err(Contradiction {
                    field,
                    message: format!("`{name}` cannot carry {address}, an IPv{version} address"),
                    help: format!("use `{other}`"),
                });
            }
        }
        let six = |a: Option<IpAddr>| a.is_some_and(|a| a.is_ipv6());
        let four = |a: Option<IpAddr>| a.is_some_and(|a| a.is_ipv4());
        let v6 = self.proto == PacketProto::Ip6 || six(source) || six(destination);
        if v6 && (four(source) || four(destination)) {
            return Err(Contradiction {
                field: "dst",
                message: "one end is an IPv4 address and the other an IPv6 address".to_owned(),
                help: "give both ends in one family".to_owned(),
            });
        }
        let default = if v6 {
            (SOURCE_V6, DESTINATION_V6)
        } else {
            (SOURCE_V4, DESTINATION_V4)
        };
        Ok(Ends {
            source: source.unwrap_or(default.0),
            destination: destination.unwrap_or(default.1),
            source_port: source_port.unwrap_or(SOURCE_PORT),
            destination_port: destination_port.unwrap_or(DESTINATION_PORT),
        })
    }
}
