//! What a frame can hold, except IP.

use std::net::IpAddr;

use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType};

use super::Frame;

/// The content of a frame.
pub trait Body {
    fn ethertype(&self) -> u16;

    /// The bytes behind the link headers, of a frame between these MACs.
    fn bytes(&self, source: [u8; 6], destination: [u8; 6]) -> Vec<u8>;
}

/// Bytes of any EtherType.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    ethertype: u16,
    payload: Vec<u8>,
}

impl Unknown {
    pub(super) fn new(ethertype: u16, payload: &[u8]) -> Self {
        Self {
            ethertype,
            payload: payload.to_vec(),
        }
    }
}

impl Body for Unknown {
    fn ethertype(&self) -> u16 {
        self.ethertype
    }

    fn bytes(&self, _: [u8; 6], _: [u8; 6]) -> Vec<u8> {
        self.payload.clone()
    }
}

/// ARP for IPv4 (RFC 826). The hardware addresses are the frame's; a request leaves that of its target zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arp {
    reply: bool,
    sender: [u8; 4],
    target: [u8; 4],
}

impl Arp {
    pub(super) fn request(sender: IpAddr, target: IpAddr) -> Self {
        Self {
            reply: false,
            sender: v4(sender),
            target: v4(target),
        }
    }

    pub(super) fn reply(sender: IpAddr, target: IpAddr) -> Self {
        Self {
            reply: true,
            ..Self::request(sender, target)
        }
    }
}

impl Body for Arp {
    fn ethertype(&self) -> u16 {
        EtherType::ARP.0
    }

    #[expect(clippy::expect_used, reason = "the lengths are constants")]
    fn bytes(&self, source: [u8; 6], destination: [u8; 6]) -> Vec<u8> {
        let (operation, target_mac) = match self.reply {
            true => (ArpOperation::REPLY, destination),
            false => (ArpOperation::REQUEST, [0; 6]),
        };
        ArpPacket::new(
            ArpHardwareId::ETHERNET,
            EtherType::IPV4,
            operation,
            &source,
            &self.sender,
            &target_mac,
            &self.target,
        )
        .expect("the lengths agree")
        .to_bytes()
        .to_vec()
    }
}

#[expect(clippy::panic, reason = "a test with a wrong address is to fail")]
fn v4(address: IpAddr) -> [u8; 4] {
    match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => panic!("`{address}` is not an IPv4 address, which ARP is for"),
    }
}

impl Frame<Unknown> {
    /// Replaces the payload.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.body.payload = payload.to_vec();
        self
    }
}
