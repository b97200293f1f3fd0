//! Ethernet frames from packets of other link types.
//!
//! Where there is no link layer, or another one, an Ethernet header is put in front of the network layer. Addresses that the
//! packet does not say are made up: [`SOURCE`], and [`DESTINATION`] or the group's address of an IP multicast.

use crate::error::Fault;

const SOURCE: [u8; 6] = [2, 0, 0, 0, 0, 1];
const DESTINATION: [u8; 6] = [2, 0, 0, 0, 0, 2];
const BROADCAST: [u8; 6] = [0xff; 6];

const HEADER: usize = 14;
/// Destination and source.
const ADDRESSES: usize = 12;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// From here on a number is an Ethernet type, below it is something else.
const FIRST_TYPE: u16 = 0x0600;

/// Of `LINUX_SLL`: where a packet was going.
const TO_ALL: u16 = 1;
/// Of `LINUX_SLL`, in place of an Ethernet type: a frame that begins with the length of an LLC frame, which follows.
const SLL_802_3: u16 = 1;
const SLL_LLC: u16 = 4;
/// `ARPHRD_NETLINK`, `ARPHRD_IPGRE`, and the kinds of 802.11: what stands where the Ethernet type would is something else.
const WITHOUT_TYPE: [u16; 5] = [824, 778, 801, 802, 803];

/// A link type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Ethernet,
    /// Linux cooked, as captured on `any`.
    Cooked,
    Cooked2,
    /// IP of either version.
    Ip,
    Ipv4,
    Ipv6,
    /// An address family of the capturing host, then IP.
    Family,
    Other(u32),
}

impl Link {
    /// From a pcap file's header: in the upper bits, it says whether packets end with a frame check sequence.
    pub(crate) fn of_file(field: u32) -> Self {
        Self::of_number(field & 0x03ff_ffff)
    }

    pub(crate) fn of_interface(number: u32) -> Self {
        Self::of_number(number)
    }

    fn of_number(number: u32) -> Self {
        match number {
            1 => Self::Ethernet,
            113 => Self::Cooked,
            276 => Self::Cooked2,
            12 | 14 | 101 => Self::Ip,
            228 => Self::Ipv4,
            229 => Self::Ipv6,
            0 | 108 => Self::Family,
            other => Self::Other(other),
        }
    }

    /// Refuses packets of which no Ethernet frame can be made.
    pub(crate) fn check(self) -> Result<(), Fault> {
        match self {
            Self::Other(number) => {
                let name = name(number).map(|n| format!(" ({n})")).unwrap_or_default();
                Err(Fault::Link(format!("its link type is {number}{name}")))
            }
            _ => Ok(()),
        }
    }

    /// The packet as an Ethernet frame, and how long that was on the wire. One that is made is in `made`.
    pub(crate) fn to_ethernet<'a>(
        self,
        data: &'a [u8],
        wire_length: u32,
        made: &'a mut Vec<u8>,
    ) -> Result<(&'a [u8], u32), Fault> {
        self.check()?;
        let header = match self {
            Self::Ethernet | Self::Other(_) => return Ok((data, wire_length)),
            Self::Cooked => cooked(data, wire_length)?,
            Self::Cooked2 => cooked2(data, wire_length)?,
            Self::Ip => ip(data, 0)?,
            Self::Ipv4 => bare(IPV4, data, 0),
            Self::Ipv6 => bare(IPV6, data, 0),
            Self::Family => family(data)?,
        };
        made.clear();
        made.extend(header.bytes);
        made.extend(&data[header.replaces..]);
        let wire_length = (wire_length - header.replaces as u32).saturating_add(HEADER as u32);
        Ok((made, wire_length))
    }
}

/// An Ethernet header, and the bytes at a packet's beginning that it stands for.
struct Header {
    bytes: [u8; HEADER],
    replaces: usize,
}

impl Header {
    fn new(destination: [u8; 6], source: [u8; 6], kind: u16, replaces: usize) -> Self {
        let mut bytes = [0; HEADER];
        bytes[..6].copy_from_slice(&destination);
        bytes[6..ADDRESSES].copy_from_slice(&source);
        bytes[ADDRESSES..].copy_from_slice(&kind.to_be_bytes());
        Self { bytes, replaces }
    }
}

fn bare(kind: u16, data: &[u8], replaces: usize) -> Header {
    Header::new(destination(kind, &data[replaces..]), SOURCE, kind, replaces)
}

/// IP of the version that its first byte says.
fn ip(data: &[u8], replaces: usize) -> Result<Header, Fault> {
    match data.get(replaces).map(|first| first >> 4) {
        Some(4) => Ok(bare(IPV4, data, replaces)),
        Some(6) => Ok(bare(IPV6, data, replaces)),
        _ => Err(Fault::Link(
            "it is of the link type raw IP, and it is not an IP packet".to_owned(),
        )),
    }
}

/// `LINUX_SLL`: what happened to the packet, the kind of interface, a sender's address with its length, the protocol.
fn cooked(data: &[u8], wire_length: u32) -> Result<Header, Fault> {
    let words = data.as_chunks().0;
    let [to, interface, length, a, b, c, _, protocol, ..] = words else {
        return Err(too_short("cooked"));
    };
    let address = (u16::from_be_bytes(*length), [*a, *b, *c]);
    of_cooked(data, wire_length, 16, *to, *interface, address, *protocol)
}

/// `LINUX_SLL2`: the protocol, the interface's number and kind, what happened to the packet, a sender's address.
fn cooked2(data: &[u8], wire_length: u32) -> Result<Header, Fault> {
    let words = data.as_chunks().0;
    let [protocol, _, _, _, interface, [to, length], a, b, c, _, ..] = words else {
        return Err(too_short("cooked v2"));
    };
    let address = (u16::from(*length), [*a, *b, *c]);
    of_cooked(data, wire_length, 20, [0, *to], *interface, address, *protocol)
}

fn of_cooked(
    data: &[u8],
    wire_length: u32,
    replaces: usize,
    to: [u8; 2],
    interface: [u8; 2],
    (length, address): (u16, [[u8; 2]; 3]),
    protocol: [u8; 2],
) -> Result<Header, Fault> {
    let interface = u16::from_be_bytes(interface);
    let protocol = u16::from_be_bytes(protocol);
    let content = wire_length - replaces as u32;
    let kind = match protocol {
        _ if WITHOUT_TYPE.contains(&interface) => None,
        FIRST_TYPE.. => Some(protocol),
        SLL_802_3 | SLL_LLC => u16::try_from(content).ok().filter(|length| *length < FIRST_TYPE),
        _ => None,
    };
    let Some(kind) = kind else {
        return Err(Fault::Link(format!(
            "it is of the link type Linux cooked, and of interface type {interface} and protocol {protocol:#06x}, which no \
             Ethernet frame has"
        )));
    };
    let mut source = SOURCE;
    if length == 6 {
        source.copy_from_slice(address.as_flattened());
    }
    let destination = match u16::from_be_bytes(to) {
        TO_ALL => BROADCAST,
        _ => destination(kind, &data[replaces..]),
    };
    Ok(Header::new(destination, source, kind, replaces))
}

/// `NULL` and `LOOP`: four bytes of an address family, in the byte order of the capturing host.
fn family(data: &[u8]) -> Result<Header, Fault> {
    let Some(word) = data.first_chunk::<4>() else {
        return Err(too_short("null or loop"));
    };
    let family = u32::from_le_bytes(*word).min(u32::from_be_bytes(*word));
    match family {
        2 => Ok(bare(IPV4, data, 4)),
        // Linux, the BSDs, and macOS.
        10 | 24 | 28 | 30 => Ok(bare(IPV6, data, 4)),
        other => Err(Fault::Link(format!(
            "it is of the link type null or loop, and of the address family {other}, which is not IP"
        ))),
    }
}

/// The address that a sender on Ethernet would have used, as far as the packet says.
fn destination(kind: u16, packet: &[u8]) -> [u8; 6] {
    match kind {
        IPV4 => match packet.get(16..20) {
            Some(&[224..=239, b, c, d]) => [1, 0, 0x5e, b & 0x7f, c, d],
            Some([255, 255, 255, 255]) => BROADCAST,
            _ => DESTINATION,
        },
        IPV6 => match packet.get(24..40) {
            Some(&[0xff, .., a, b, c, d]) => [0x33, 0x33, a, b, c, d],
            _ => DESTINATION,
        },
        _ => DESTINATION,
    }
}

fn too_short(link: &str) -> Fault {
    Fault::Damaged(format!(
        "the next packet is shorter than the header of its link type, {link}"
    ))
}

/// Names, as tcpdump says them, of link types that are met often.
fn name(number: u32) -> Option<&'static str> {
    Some(match number {
        9 => "PPP",
        50 => "PPP_SERIAL",
        51 => "PPP_ETHER",
        104 => "C_HDLC",
        105 => "IEEE802_11",
        107 => "FRELAY",
        127 => "IEEE802_11_RADIO",
        147..=162 => "USER0 to USER15",
        187 => "BLUETOOTH_HCI_H4",
        189 => "USB_LINUX",
        192 => "PPI",
        195 => "IEEE802_15_4",
        201 => "BLUETOOTH_HCI_H4_WITH_PHDR",
        220 => "USB_LINUX_MMAPPED",
        227 => "CAN_SOCKETCAN",
        239 => "NFLOG",
        240 => "NETANALYZER",
        249 => "USBPCAP",
        251 => "BLUETOOTH_LE_LL",
        253 => "NETLINK",
        _ => return None,
    })
}
