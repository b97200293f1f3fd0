//! The words of the language, for completion and highlighting.

use crate::filter::names;

/// The words that begin a declaration.
pub const DECLARATIONS: [&str; 12] = crate::parse::chunk::KEYWORDS;

/// The words inside declarations that are not names: of chains, permissions, assertions and tests.
pub const CLAUSES: [&str; 25] = [
    "as", "with", "drop", "else", "to", "program", "lookup", "max_hops", "passes", "never", "reaches",
    "dropped", "before", "send", "times", "replay", "expect", "file", "secret", "at", "counter", "packet",
    "packets", "same", "steer",
];

/// The words that begin, qualify or join the primitives of a filter.
pub const FILTER: [&str; 46] = names::KEYWORDS;

/// The words that join primitives.
pub const CONNECTIVES: [&str; 3] = ["and", "or", "not"];

/// Whether no declaration may take this word as its name.
///
/// See [`is_filter_word`] for more words that no class can be called.
pub fn is_reserved(word: &str) -> bool {
    DECLARATIONS.contains(&word) || names::RESERVED.contains(&word)
}

/// Whether a word means something in filters, so that no class may have it as its name.
pub fn is_filter_word(word: &str) -> bool {
    names::is_keyword(word)
}

/// What a word of filters means, in one line.
pub fn filter_summary(word: &str) -> Option<&'static str> {
    Some(match word {
        "ether" => "Ethernet: `ether host MAC`, `ether proto N`, `ether[0]`",
        "vlan" => "`vlan [ID]`: a VLAN tag; everything to the right looks behind it",
        "mpls" => "`mpls [LABEL]`: an MPLS label; everything to the right looks behind it",
        "pppoed" => "PPPoE discovery (EtherType 0x8863)",
        "pppoes" => "`pppoes [SESSION]`: a PPPoE session; everything to the right looks into it",
        "geneve" => "`geneve [VNI]`: Geneve (UDP port 6081); everything to the right looks into it",
        "vxlan" => "`vxlan [VNI]`: VXLAN (UDP port 4789); everything to the right looks into it",
        "arp" => "ARP (EtherType 0x0806)",
        "rarp" => "RARP (EtherType 0x8035)",
        "ip" => "IPv4 (EtherType 0x0800)",
        "ip6" => "IPv6 (EtherType 0x86dd)",
        "icmp" => "ICMP (IPv4 protocol 1)",
        "icmp6" => "ICMPv6 (IPv6 next header 58)",
        "tcp" => "TCP (protocol 6)",
        "udp" => "UDP (protocol 17)",
        "sctp" => "SCTP (protocol 132)",
        "igmp" => "IGMP (IPv4 protocol 2)",
        "igrp" => "IGRP (IPv4 protocol 9)",
        "pim" => "PIM (protocol 103)",
        "vrrp" => "VRRP (IPv4 protocol 112)",
        "carp" => "CARP (IPv4 protocol 112)",
        "ah" => "IPsec authentication header (protocol 51)",
        "esp" => "IPsec encapsulating security payload (protocol 50)",
        "atalk" => "AppleTalk",
        "aarp" => "AppleTalk ARP",
        "decnet" => "DECnet (EtherType 0x6003)",
        "iso" => "OSI over LLC",
        "stp" => "spanning tree over LLC",
        "ipx" => "IPX, in each of its framings",
        "netbeui" => "NetBEUI over LLC",
        "multicast" => "`ether multicast`, `ip multicast`, `ip6 multicast`: sent to a group",
        "broadcast" => "`ether broadcast`: sent to ff:ff:ff:ff:ff:ff",
        "proto" => "`proto N`, `ip proto N`, `ether proto N`: the protocol by number or name",
        "protochain" => "`ip6 protochain N`: the protocol, or one of those behind extension headers",
        "mask" => "`net ADDR mask MASK`: a network by its mask",
        "src" => "the source: `src host ADDR`, `src port N`",
        "dst" => "the destination: `dst host ADDR`, `dst port N`",
        "host" => "`host ADDR`: an address",
        "net" => "`net PREFIX`: a network",
        "port" => "`port N`: a port of TCP, UDP or SCTP, by number or service",
        "portrange" => "`portrange A-B`: ports, both ends included",
        "less" => "`less N`: frames of at most N bytes",
        "greater" => "`greater N`: frames of at least N bytes",
        "dscp" => "`dscp N`: the differentiated services code point, by number or name",
        "len" => "the length of the frame in bytes, in arithmetic: `len > 100`",
        "all" => "every packet",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_word_of_filters_has_a_summary() {
        for word in super::FILTER {
            assert!(super::filter_summary(word).is_some(), "{word}");
        }
    }
}
