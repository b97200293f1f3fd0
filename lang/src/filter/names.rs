//! The words of the filter language and the numbers behind them.

use super::services::SERVICES;
use crate::parse::nearest;
use crate::syntax::{Encapsulation, Header, Protocol};

/// Words that no declaration may take as its name, besides the declaration keywords.
pub(crate) const RESERVED: [&str; 9] = ["drop", "else", "with", "true", "false", "and", "or", "not", "all"];

/// Words that begin or continue a primitive, so that no class can be called like this.
pub(crate) const KEYWORDS: [&str; 46] = [
    "ether",
    "vlan",
    "arp",
    "ip",
    "ip6",
    "icmp",
    "icmp6",
    "tcp",
    "udp",
    "sctp",
    "rarp",
    "igmp",
    "igrp",
    "pim",
    "vrrp",
    "carp",
    "ah",
    "esp",
    "mpls",
    "pppoed",
    "pppoes",
    "geneve",
    "vxlan",
    "atalk",
    "aarp",
    "decnet",
    "iso",
    "stp",
    "ipx",
    "netbeui",
    "multicast",
    "broadcast",
    "proto",
    "protochain",
    "mask",
    "src",
    "dst",
    "host",
    "net",
    "port",
    "portrange",
    "less",
    "greater",
    "dscp",
    "len",
    "all",
];

/// Primitives of pcap-filter that are left out, with the reason or what to write instead.
const UNSUPPORTED: [(&str, &str); 14] = [
    (
        "gateway",
        "write `ether host MAC and not host ADDR`: names of hosts are not looked up",
    ),
    ("inbound", "a rule says by its `steer PORT` where packets enter"),
    ("outbound", "a rule says by its `steer PORT` where packets enter"),
    ("ifname", "a rule says by its `steer PORT` where packets enter"),
    ("ifindex", "a rule says by its `steer PORT` where packets enter"),
    ("lat", "write `ether proto 0x6004`"),
    ("moprc", "write `ether proto 0x6002`"),
    ("mopdl", "write `ether proto 0x6001`"),
    ("clnp", "write `iso and ether[17] = 0x81`"),
    ("esis", "write `iso and ether[17] = 0x82`"),
    ("isis", "write `iso and ether[17] = 0x83`"),
    ("llc", "write `ether[12:2] <= 1500 and ether[14:2] != 0xffff`"),
    ("fddi", "frames are Ethernet; write `ether`"),
    ("wlan", "frames are Ethernet; write `ether`"),
];

/// Named constants of byte tests, as in pcap-filter(7).
const CONSTANTS: [(&str, u32); 49] = [
    ("tcpflags", 13),
    ("tcp-fin", 0x01),
    ("tcp-syn", 0x02),
    ("tcp-rst", 0x04),
    ("tcp-push", 0x08),
    ("tcp-ack", 0x10),
    ("tcp-urg", 0x20),
    ("tcp-ece", 0x40),
    ("tcp-cwr", 0x80),
    ("icmptype", 0),
    ("icmpcode", 1),
    ("icmp-echoreply", 0),
    ("icmp-unreach", 3),
    ("icmp-sourcequench", 4),
    ("icmp-redirect", 5),
    ("icmp-echo", 8),
    ("icmp-routeradvert", 9),
    ("icmp-routersolicit", 10),
    ("icmp-timxceed", 11),
    ("icmp-paramprob", 12),
    ("icmp-tstamp", 13),
    ("icmp-tstampreply", 14),
    ("icmp-ireq", 15),
    ("icmp-ireqreply", 16),
    ("icmp-maskreq", 17),
    ("icmp-maskreply", 18),
    ("icmp6type", 0),
    ("icmp6code", 1),
    ("icmp6-destinationunreach", 1),
    ("icmp6-packettoobig", 2),
    ("icmp6-timeexceeded", 3),
    ("icmp6-parameterproblem", 4),
    ("icmp6-echo", 128),
    ("icmp6-echoreply", 129),
    ("icmp6-multicastlistenerquery", 130),
    ("icmp6-multicastlistenerreportv1", 131),
    ("icmp6-multicastlistenerdone", 132),
    ("icmp6-routersolicit", 133),
    ("icmp6-routeradvert", 134),
    ("icmp6-neighborsolicit", 135),
    ("icmp6-neighboradvert", 136),
    ("icmp6-redirect", 137),
    ("icmp6-routerrenum", 138),
    ("icmp6-nodeinformationquery", 139),
    ("icmp6-nodeinformationresponse", 140),
    ("icmp6-ineighbordiscoverysolicit", 141),
    ("icmp6-ineighbordiscoveryadvert", 142),
    ("icmp6-multicastlistenerreportv2", 143),
    ("icmp6-homeagentdiscoveryrequest", 144),
];

fn find<T: Copy>(table: &[(&str, T)], word: &str) -> Option<T> {
    table.iter().find(|(name, _)| *name == word).map(|e| e.1)
}

/// True for a word that a class cannot be called.
pub(crate) fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word) || find(&UNSUPPORTED, word).is_some()
}

/// The port of a service.
pub(crate) fn service(word: &str) -> Option<u16> {
    let at = SERVICES.binary_search_by_key(&word, |(name, _)| *name).ok()?;
    SERVICES.get(at).map(|(_, port)| *port)
}

/// Services that are meant more often than others that are near.
const COMMON: [&str; 8] = ["http", "https", "dns", "domain", "ssh", "ntp", "smtp", "snmp"];

/// The service nearest to a word, for a suggestion.
pub(super) fn service_like(word: &str) -> Option<&'static str> {
    nearest(COMMON, word).or_else(|| nearest(SERVICES.iter().map(|s| s.0), word))
}

/// The word of the filter language nearest to a word, for a suggestion.
pub(super) fn keyword_like(word: &str) -> Option<&'static str> {
    nearest(KEYWORDS, word)
}

/// What to write for a primitive that is left out.
pub(super) fn unsupported(word: &str) -> Option<&'static str> {
    find(&UNSUPPORTED, word)
}

/// A named constant.
pub(super) fn constant(word: &str) -> Option<u32> {
    find(&CONSTANTS, word)
}

/// IP protocol numbers.
pub(super) fn ip_proto(word: &str) -> Option<u32> {
    Some(match word {
        "icmp" => 1,
        "igmp" => 2,
        "igrp" => 9,
        "tcp" => 6,
        "udp" => 17,
        "gre" => 47,
        "esp" => 50,
        "ah" => 51,
        "icmp6" => 58,
        "ospf" => 89,
        "pim" => 103,
        "vrrp" | "carp" => 112,
        "sctp" => 132,
        _ => return None,
    })
}

/// Ethernet types.
pub(super) fn ether_proto(word: &str) -> Option<u32> {
    Some(match word {
        "ip" => 0x0800,
        "arp" => 0x0806,
        "rarp" => 0x8035,
        "vlan" => 0x8100,
        "ip6" => 0x86dd,
        "mpls" => 0x8847,
        "pppoed" => 0x8863,
        "pppoes" => 0x8864,
        "lldp" => 0x88cc,
        "atalk" => 0x809b,
        "aarp" => 0x80f3,
        "decnet" => 0x6003,
        "iso" => 0xfe,
        "stp" => 0x42,
        "ipx" => 0xe0,
        "netbeui" => 0xf0,
        _ => return None,
    })
}

/// DSCP names of RFC 2474, 2597 and 3246.
pub(super) fn dscp(word: &str) -> Option<u32> {
    let digit = |at: usize| {
        let byte = word.as_bytes().get(at)?;
        byte.is_ascii_digit().then(|| u32::from(byte - b'0'))
    };
    match (word.get(..2)?, word.len()) {
        ("ef", 2) => Some(46),
        ("cs", 3) => digit(2).filter(|c| *c < 8).map(|c| c * 8),
        ("af", 4) => {
            let (class, drop) = (digit(2)?, digit(3)?);
            let known = (1..=4).contains(&class) && (1..=3).contains(&drop);
            known.then_some(class * 8 + drop * 2)
        }
        _ => None,
    }
}

/// Protocols that are a primitive by name.
pub(super) fn protocol(word: &str) -> Option<Protocol> {
    Protocol::ALL.into_iter().find(|protocol| protocol.word() == word)
}

/// What one packet carries another in.
pub(super) fn encapsulation(word: &str) -> Option<Encapsulation> {
    Encapsulation::ALL.into_iter().find(|by| by.word() == word)
}

/// Headers that can be read by offset.
pub(super) const HEADERS: [(&str, Header); 15] = [
    ("ether", Header::Ether),
    ("arp", Header::Arp),
    ("rarp", Header::Rarp),
    ("ip", Header::Ip),
    ("ip6", Header::Ip6),
    ("icmp", Header::Icmp),
    ("icmp6", Header::Icmp6),
    ("tcp", Header::Tcp),
    ("udp", Header::Udp),
    ("sctp", Header::Sctp),
    ("igmp", Header::Igmp),
    ("igrp", Header::Igrp),
    ("pim", Header::Pim),
    ("vrrp", Header::Vrrp),
    ("carp", Header::Carp),
];

/// The header of a name.
pub(super) fn header(word: &str) -> Option<Header> {
    find(&HEADERS, word)
}
