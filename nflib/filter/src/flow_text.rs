//! The text of a flow key, both ways.

use std::{
    fmt::{self, Display},
    net::{IpAddr, SocketAddr},
    str::{FromStr, SplitWhitespace},
};

use crate::flow::{Ends, FlowKey, IPV4, IPV6, SCTP, TCP, UDP};

const VLAN: u32 = 0x8100;
const PROTOCOLS: [(&str, u8); 5] = [
    ("tcp", TCP),
    ("udp", UDP),
    ("sctp", SCTP),
    ("icmp", 1),
    ("icmp6", 58),
];

/// As in `tcp 10.0.0.1:4000 > 10.0.0.2:80`, with `vlan 5` behind it for a tag, `vlan 5 of 0x88a8` for one that is not of the type 0x8100.
impl Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PROTOCOLS.iter().find(|(_, number)| *number == self.protocol()) {
            Some((word, _)) => f.write_str(word)?,
            None => write!(f, "proto {}", self.protocol())?,
        }
        let ((source, destination), (near, far)) = (self.addresses(), self.ports());
        match has_ports(self.protocol()) && !self.is_later() {
            true => write!(
                f,
                " {} > {}",
                SocketAddr::new(source, near),
                SocketAddr::new(destination, far)
            )?,
            false => write!(f, " {source} > {destination}")?,
        }
        for tag in self.tags().into_iter().filter(|tag| *tag != 0) {
            write!(f, " vlan {}", tag as u16)?;
            if tag >> 16 != VLAN {
                write!(f, " of {:#06x}", tag >> 16)?;
            }
        }
        match self.is_later() {
            true => f.write_str(" later fragments"),
            false => Ok(()),
        }
    }
}

fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | SCTP)
}

/// A text that names no flow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a flow, such as `tcp 10.0.0.1:4000 > 10.0.0.2:80`")]
pub struct NotAFlow(pub String);

/// What [`Display`] writes.
impl FromStr for FlowKey {
    type Err = NotAFlow;

    fn from_str(text: &str) -> Result<Self, NotAFlow> {
        let key = parse(text.split_whitespace()).filter(|key| key.to_string() == text);
        key.ok_or_else(|| NotAFlow(text.to_owned()))
    }
}

/// What is not exactly the text of the key that it gives is not one.
fn parse(mut words: SplitWhitespace<'_>) -> Option<FlowKey> {
    let protocol = match words.next()? {
        "proto" => words.next()?.parse().ok()?,
        word => PROTOCOLS.iter().find(|(known, _)| *known == word)?.1,
    };
    let (source, near) = end(words.next()?)?;
    let (">", destination) = (words.next()?, words.next()?) else {
        return None;
    };
    let (destination, far) = end(destination)?;
    let mut tags = [0; 2];
    let mut first_fragment = true;
    let mut count = 0;
    let mut rest = words.peekable();
    while let Some(word) = rest.next() {
        match word {
            "vlan" => {
                let number: u16 = rest.next()?.parse().ok()?;
                let kind = match rest.next_if_eq(&"of") {
                    Some(_) => u32::from_str_radix(rest.next()?.strip_prefix("0x")?, 16).ok()?,
                    None => VLAN,
                };
                *tags.get_mut(count)? = (kind & 0xffff) << 16 | u32::from(number);
                count += 1;
            }
            "later" => first_fragment = rest.next()? != "fragments",
            _ => return None,
        }
    }
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (IPV4, u128::from(address.to_bits())),
        IpAddr::V6(address) => (IPV6, address.to_bits()),
    };
    let ((ethertype, source), (other, destination)) = (bits(source), bits(destination));
    let ends = Ends {
        source,
        destination,
        ports: u32::from(near) << 16 | u32::from(far),
        protocol,
        first_fragment,
    };
    (ethertype == other).then(|| ends.key(ethertype, tags))
}

/// An address, with a port or without.
fn end(word: &str) -> Option<(IpAddr, u16)> {
    let with_port = word.parse::<SocketAddr>().map(|end| (end.ip(), end.port()));
    with_port
        .or_else(|_| word.parse().map(|address| (address, 0)))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::flow_of;

    fn frame(tags: &[u16], network: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        for (n, tag) in tags.iter().enumerate() {
            frame.extend(tag.to_be_bytes());
            frame.extend([0, 5 + n as u8]);
        }
        frame.extend(network);
        frame.resize(100, 9);
        frame
    }

    #[test]
    fn the_text_of_a_key_is_read_as_that_key() {
        let ipv4 = |protocol: u8, fragment: u8| {
            let mut header = vec![8, 0, 0x45, 0, 0, 60, 0, 0, 0, fragment, 64, protocol, 0, 0];
            header.extend([10, 0, 0, 1, 10, 0, 0, 2]);
            header
        };
        let ipv6 = |next: u8| {
            let mut header = vec![0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, next, 64];
            header.extend([0x20, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            header.extend([0; 16]);
            header
        };
        let mut texts = Vec::new();
        for tags in [&[][..], &[0x8100], &[0x88a8, 0x8100], &[0x9100, 0x9100]] {
            for protocol in [6, 17, 132, 1, 58, 47, 0, 255] {
                for network in [ipv4(protocol, 0), ipv4(protocol, 9), ipv6(protocol)] {
                    let Some(key) = flow_of(&frame(tags, &network)).key else {
                        unreachable!("{network:?}");
                    };
                    assert_eq!(key.to_string().parse(), Ok(key));
                    texts.push(key.to_string());
                }
            }
        }
        for text in [
            "tcp 10.0.0.1:2313 > 10.0.0.2:2313",
            "udp 10.0.0.1 > 10.0.0.2 later fragments",
            "proto 47 10.0.0.1 > 10.0.0.2 vlan 5 of 0x88a8 vlan 6",
            "tcp [2001:db8::1]:2313 > [::]:2313 vlan 5",
        ] {
            assert!(texts.iter().any(|known| known == text), "{text}: {texts:#?}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "tcp",
            "tcp 10.0.0.1:1 > 10.0.0.2",
            "tcp 10.0.0.1:1 < 10.0.0.2:2",
            "tcp 10.0.0.1:1 > [::1]:2",
            "icmp 10.0.0.1:1 > 10.0.0.2:2",
            "tcp 10.0.0.1:1 > 10.0.0.2:2 vlan",
            "tcp 10.0.0.1:1 > 10.0.0.2:2 vlan 5 vlan 6 vlan 7",
            "tcp 10.0.0.1:1 > 10.0.0.2:2 later",
            "proto 6 10.0.0.1:1 > 10.0.0.2:2",
            "tcp 10.0.0.1:1 > 10.0.0.2:2 ",
        ] {
            let error = text.parse::<FlowKey>().map_err(|e| e.to_string());
            assert!(error.is_err(), "{text}: {error:?}");
        }
    }
}
