//! The words of each test except those on bytes.

use onvm_bundle::filter::{Direction, Length, NumberSet, Test, Transport, Tunnel, Version, Within};

use super::{
    IP, IP6,
    text::{Written, list},
};

/// Any test but a relation.
pub(super) fn words(test: &Test) -> Written {
    let ranges = |set: &NumberSet| list(set.ranges().iter().map(|(low, high)| range(*low, *high)));
    let numbered = |word: &str, set: String| match set.is_empty() {
        true => word.to_owned(),
        false => format!("{word} {set}"),
    };
    let version = |version: &Version| match version {
        Version::V4 => "ip ",
        Version::V6 => "ip6 ",
        Version::Any => "",
    };
    Written::one(match test {
        Test::Mac { dir, macs } => format!("ether {}host {}", direction(*dir), list(macs)),
        Test::EtherMulticast => "ether multicast".to_owned(),
        Test::EtherProto(IP) => "ip".to_owned(),
        Test::EtherProto(IP6) => "ip6".to_owned(),
        Test::EtherProto(0x0806) => "arp".to_owned(),
        Test::EtherProto(0x8035) => "rarp".to_owned(),
        Test::EtherProto(number) => format!("ether proto {number:#06x}"),
        Test::Vlan(ids) => numbered("vlan", list(runs(ids))),
        Test::Mpls(labels) => numbered("mpls", ranges(labels)),
        Test::Pppoes(sessions) => numbered("pppoes", ranges(sessions)),
        Test::Tunnel(Tunnel::Geneve, networks) => numbered("geneve", ranges(networks)),
        Test::Tunnel(Tunnel::Vxlan, networks) => numbered("vxlan", ranges(networks)),
        Test::ProtoChain { version: of, number } => format!("{}protochain {number}", version(of)),
        Test::Proto { version: of, number } => match (of, number) {
            (Version::Any, 6) => "tcp".to_owned(),
            (Version::Any, 17) => "udp".to_owned(),
            (Version::Any, 132) => "sctp".to_owned(),
            (Version::V4, 1) => "icmp".to_owned(),
            (Version::V6, 58) => "icmp6".to_owned(),
            _ => format!("{}proto {number}", version(of)),
        },
        Test::Net { within, dir, nets } => {
            let within = match within {
                Within::Any => "",
                Within::Ip => "ip ",
                Within::Arp => "arp ",
                Within::Rarp => "rarp ",
            };
            let members = nets.members();
            let hosts = members.iter().all(|net| net.prefix_len() == net.max_prefix_len());
            let (word, members) = match hosts {
                true => ("host", list(members.iter().map(|net| net.addr()))),
                false => ("net", list(members)),
            };
            format!("{within}{}{word} {members}", direction(*dir))
        }
        Test::Port {
            transport,
            dir,
            ports,
        } => {
            let transport = match transport {
                Transport::Any => "",
                Transport::Tcp => "tcp ",
                Transport::Udp => "udp ",
                Transport::Sctp => "sctp ",
            };
            let members = ports.members();
            let word = match members.iter().all(|range| range.low == range.high) {
                true => "port",
                false => "portrange",
            };
            format!("{transport}{}{word} {}", direction(*dir), list(members))
        }
        Test::Length(Length::AtMost(bytes)) => format!("less {bytes}"),
        Test::Length(Length::AtLeast(bytes)) => format!("greater {bytes}"),
        Test::Dscp(values) => format!("dscp {}", list(values.iter())),
        // Written by the tests around them.
        Test::FirstFragment | Test::Relation { .. } => String::new(),
    })
}

fn direction(dir: Direction) -> &'static str {
    match dir {
        Direction::Src => "src ",
        Direction::Dst => "dst ",
        Direction::Either => "",
        Direction::Both => "src and dst ",
    }
}

fn range(low: u32, high: u32) -> String {
    match low == high {
        true => low.to_string(),
        false => format!("{low}-{high}"),
    }
}

/// Three numbers or more in a row are a range.
fn runs(ids: &[u16]) -> Vec<String> {
    let runs = ids.chunk_by(|a, b| a.checked_add(1) == Some(*b));
    let text = |run: &[u16]| match run {
        [low, _, .., high] => vec![range((*low).into(), (*high).into())],
        few => few.iter().map(u16::to_string).collect(),
    };
    runs.flat_map(text).collect()
}
