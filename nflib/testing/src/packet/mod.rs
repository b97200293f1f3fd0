//! Packets with right lengths and checksums, in a line each.
//!
//! ```
//! use nflib_testing::packet;
//!
//! let web = packet::tcp("198.51.100.7:40000", "203.0.113.9:80").ack(7).payload(b"GET / HTTP/1.1\r\n\r\n");
//! let frame: Vec<u8> = web.vlan(42).build();
//! assert_eq!(frame[12..16], [0x81, 0x00, 0, 42]);
//! let [first, rest] = &packet::udp(([10, 0, 0, 1], 5000), ([10, 0, 0, 2], 53))
//!     .payload(&[0; 100])
//!     .fragments(64)[..]
//! else {
//!     panic!("108 bytes make two fragments of at most 64");
//! };
//! assert_eq!((first.len(), rest.len()), (14 + 20 + 64, 14 + 20 + 44));
//! ```

mod address;
mod body;
mod ip;

pub use address::{Address, Endpoint};
pub use body::{Arp, Body, Unknown};
pub use ip::{Icmp, Ip, Other, Tcp, Transport, Udp};

/// Sender of a frame unless [`Frame::macs`] gives another; locally administered.
pub const SOURCE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Its receiver.
pub const DESTINATION_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Bytes of the shortest Ethernet frame without its frame check sequence.
const SHORTEST: usize = 60;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;

/// An Ethernet frame that is being put together, without a frame check sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<B> {
    source: [u8; 6],
    destination: [u8; 6],
    /// EtherType and VLAN number, the outermost first.
    tags: Vec<(u16, u16)>,
    padded: bool,
    body: B,
}

/// A TCP segment without flags: `packet::tcp("10.0.0.1:40000", "10.0.0.2:80")`, and `"[2001:db8::1]:80"` for IPv6. Sequence
/// number 1, window 65,535.
pub fn tcp(source: impl Endpoint, destination: impl Endpoint) -> Frame<Ip<Tcp>> {
    let (source, destination) = (source.endpoint(), destination.endpoint());
    let header = Tcp::new(source.port(), destination.port());
    Frame::new(Ip::new(source.ip(), destination.ip(), header))
}

/// A UDP datagram.
pub fn udp(source: impl Endpoint, destination: impl Endpoint) -> Frame<Ip<Udp>> {
    let (source, destination) = (source.endpoint(), destination.endpoint());
    let header = Udp::new(source.port(), destination.port());
    Frame::new(Ip::new(source.ip(), destination.ip(), header))
}

/// An echo request, of ICMP or ICMPv6: `packet::ping("10.0.0.1", "10.0.0.2")`. Identifier and sequence number 1.
pub fn ping(source: impl Address, destination: impl Address) -> Frame<Ip<Icmp>> {
    let (source, destination) = (source.address(), destination.address());
    Frame::new(Ip::new(source, destination, Icmp::echo(source)))
}

/// A message of ICMP or ICMPv6. The payload begins behind its first eight bytes, of which the last four are zero.
pub fn icmp(source: impl Address, destination: impl Address, kind: u8, code: u8) -> Frame<Ip<Icmp>> {
    let (source, destination) = (source.address(), destination.address());
    Frame::new(Ip::new(source, destination, Icmp::new(kind, code)))
}

/// A packet of any other IP protocol: what follows the IP header is the payload.
pub fn ip(source: impl Address, destination: impl Address, protocol: u8) -> Frame<Ip<Other>> {
    let (source, destination) = (source.address(), destination.address());
    Frame::new(Ip::new(source, destination, Other::new(protocol)))
}

/// Asks everybody for the MAC of an IPv4 address.
pub fn arp_request(sender: impl Address, target: impl Address) -> Frame<Arp> {
    let request = Arp::request(sender.address(), target.address());
    Frame::new(request).macs(SOURCE_MAC, [0xff; 6])
}

/// Answers that the sender's address has the MAC that the frame comes from.
pub fn arp_reply(sender: impl Address, target: impl Address) -> Frame<Arp> {
    Frame::new(Arp::reply(sender.address(), target.address()))
}

/// A frame of any EtherType.
pub fn ether(ethertype: u16, payload: &[u8]) -> Frame<Unknown> {
    Frame::new(Unknown::new(ethertype, payload))
}

impl<B: Body> Frame<B> {
    fn new(body: B) -> Self {
        Self {
            source: SOURCE_MAC,
            destination: DESTINATION_MAC,
            tags: Vec::new(),
            padded: false,
            body,
        }
    }

    #[must_use]
    pub fn macs(mut self, source: [u8; 6], destination: [u8; 6]) -> Self {
        (self.source, self.destination) = (source, destination);
        self
    }

    /// Adds an 802.1Q tag with this VLAN number, 0 to 4095, behind those that there are.
    #[must_use]
    pub fn vlan(mut self, id: u16) -> Self {
        self.tags.push((VLAN, id));
        self
    }

    /// The same with the EtherType of an outer tag (802.1ad).
    #[must_use]
    pub fn service_vlan(mut self, id: u16) -> Self {
        self.tags.push((SERVICE_VLAN, id));
        self
    }

    /// Appends zeroes up to the 60 bytes that frames have at least on a wire.
    #[must_use]
    pub fn padded(mut self) -> Self {
        self.padded = true;
        self
    }

    /// The frame's bytes.
    ///
    /// # Panics
    /// When the packet is longer than its IP version allows, or a VLAN number larger than 4095.
    pub fn build(&self) -> Vec<u8> {
        self.frame(
            self.body.ethertype(),
            &self.body.bytes(self.source, self.destination),
        )
    }

    /// A frame of these link headers around a network packet.
    fn frame(&self, ethertype: u16, packet: &[u8]) -> Vec<u8> {
        let mut frame = [self.destination, self.source].concat();
        for &(kind, id) in &self.tags {
            assert!(id < 4096, "{id} is not a VLAN number: expected at most 4095");
            frame.extend(kind.to_be_bytes());
            frame.extend(id.to_be_bytes());
        }
        frame.extend(ethertype.to_be_bytes());
        frame.extend(packet);
        if self.padded {
            frame.resize(frame.len().max(SHORTEST), 0);
        }
        frame
    }
}

impl<B: Body> From<Frame<B>> for Vec<u8> {
    fn from(frame: Frame<B>) -> Self {
        frame.build()
    }
}
