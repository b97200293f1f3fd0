//! The parts of a packet that a filter reads, for the flow cache: whether the decision on one packet of a flow
//! holds for the others.

use std::ops::{BitOr, BitOrAssign};

use crate::{Arith, Expr, Primitive, Test, Within};

/// A set of things that a filter reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Fields(u16);

impl Fields {
    /// Nothing: the filter takes all packets or none.
    pub const NONE: Self = Self(0);
    /// The EtherType behind the VLAN tags.
    pub const ETHER_TYPE: Self = Self(1);
    /// VLAN tags: whether there are, and their ids.
    pub const VLAN: Self = Self(1 << 1);
    /// Addresses of IPv4 and IPv6.
    pub const ADDRESSES: Self = Self(1 << 2);
    /// Protocol addresses of ARP and RARP.
    pub const ARP_ADDRESSES: Self = Self(1 << 3);
    /// The IPv4 protocol, the IPv6 next header, and the next header behind a fragment header that
    /// comes first.
    pub const PROTOCOL: Self = Self(1 << 4);
    /// Whether an IPv4 packet is a first fragment or whole.
    pub const FRAGMENT: Self = Self(1 << 5);
    /// Ports of TCP, UDP and SCTP.
    pub const PORTS: Self = Self(1 << 6);
    /// Ethernet addresses.
    pub const MAC: Self = Self(1 << 7);
    /// The length on the wire.
    pub const LENGTH: Self = Self(1 << 8);
    /// The differentiated services code point.
    pub const DSCP: Self = Self(1 << 9);
    /// Bytes that none of the others covers: TCP flags, LLC headers, loads by offset, and headers
    /// looked for behind VLAN tags that the packet may not have.
    pub const BYTES: Self = Self(1 << 10);

    const FLOW_KEY: Self = Self(
        Self::ETHER_TYPE.0
            | Self::VLAN.0
            | Self::ADDRESSES.0
            | Self::ARP_ADDRESSES.0
            | Self::PROTOCOL.0
            | Self::FRAGMENT.0
            | Self::PORTS.0,
    );

    /// True when everything in `other` is in this set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when any two packets of one flow meet the same decision.
    ///
    /// A flow is an EtherType, the whole stack of VLAN types and ids, the addresses, the protocol, the
    /// ports, and whether the packet is a first fragment. It must be IPv4 with a header length of at
    /// least 20 bytes, or IPv6 whose next header is not a fragment header (44), and captured at least
    /// through its ports (4 bytes behind the IP header); other packets, ARP among them, are classified
    /// one by one.
    pub fn flow_key_only(self) -> bool {
        Self::FLOW_KEY.contains(self)
    }
}

impl BitOr for Fields {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Fields {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl Expr {
    /// Everything that the filter's decision can depend on.
    pub fn uses(&self) -> Fields {
        let mut fields = Fields::NONE;
        self.walk(0, &mut fields);
        fields
    }

    /// Collects what is read, given that `known` tags are known to be there on entry; returns how many
    /// are known to be there when the result is true, and when it is false.
    fn walk(&self, known: u8, fields: &mut Fields) -> (u8, u8) {
        match self {
            Self::Const(true) => (known, u8::MAX),
            Self::Const(false) => (u8::MAX, known),
            Self::And(of) => {
                let (mut when_true, mut when_false) = (known, u8::MAX);
                for operand in of {
                    let (yes, no) = operand.walk(when_true, fields);
                    when_true = yes;
                    when_false = when_false.min(no);
                }
                (when_true, when_false)
            }
            Self::Or(of) => {
                let (mut when_true, mut when_false) = (u8::MAX, known);
                for operand in of {
                    let (yes, no) = operand.walk(when_false, fields);
                    when_true = when_true.min(yes);
                    when_false = no;
                }
                (when_true, when_false)
            }
            Self::Not(of) => {
                let (when_true, when_false) = of.walk(known, fields);
                (when_false, when_true)
            }
            Self::Test(primitive) => {
                *fields |= primitive.uses(known);
                match primitive.test {
                    Test::Vlan(_) => match primitive.place.tags() {
                        Some(tags) if tags <= known => (known.max(tags.saturating_add(1)), known),
                        _ => (known, known),
                    },
                    _ => (known, known),
                }
            }
        }
    }
}

impl Primitive {
    fn uses(&self, known_tags: u8) -> Fields {
        let fields = match &self.test {
            Test::Length(_) => return Fields::LENGTH,
            Test::Mac { .. } | Test::EtherMulticast => Fields::MAC,
            Test::EtherProto(0..=1500 | 0x809b | 0x80f3) => Fields::ETHER_TYPE | Fields::BYTES,
            Test::EtherProto(_) => Fields::ETHER_TYPE,
            Test::Vlan(_) => Fields::VLAN,
            Test::Mpls(of) if of.is_empty() => Fields::ETHER_TYPE,
            Test::Pppoes(of) if of.is_empty() => Fields::ETHER_TYPE,
            Test::Mpls(_) | Test::Pppoes(_) => Fields::ETHER_TYPE | Fields::BYTES,
            Test::Tunnel(..) => {
                Fields::ETHER_TYPE | Fields::PROTOCOL | Fields::FRAGMENT | Fields::PORTS | Fields::BYTES
            }
            Test::ProtoChain { .. } => Fields::ETHER_TYPE | Fields::PROTOCOL | Fields::BYTES,
            Test::Proto { .. } => Fields::ETHER_TYPE | Fields::PROTOCOL,
            Test::FirstFragment => Fields::FRAGMENT,
            Test::Net { within, .. } => {
                Fields::ETHER_TYPE
                    | match within {
                        Within::Any => Fields::ADDRESSES | Fields::ARP_ADDRESSES,
                        Within::Ip => Fields::ADDRESSES,
                        Within::Arp | Within::Rarp => Fields::ARP_ADDRESSES,
                    }
            }
            Test::Port { .. } => Fields::ETHER_TYPE | Fields::PROTOCOL | Fields::FRAGMENT | Fields::PORTS,
            Test::Dscp(_) => Fields::ETHER_TYPE | Fields::DSCP,
            Test::Relation { left, right, .. } => left.uses() | right.uses(),
        };
        // Behind a tag that may not be there, a test reads whatever stands in its place. No flow is told by what a label or a
        // tunnel carries.
        match self.place.tags() {
            Some(tags) if tags <= known_tags => fields,
            _ => fields | Fields::BYTES,
        }
    }
}

impl Arith {
    fn uses(&self) -> Fields {
        match self {
            Self::Const(_) => Fields::NONE,
            Self::Len => Fields::LENGTH,
            Self::Load { at, .. } => Fields::BYTES | at.uses(),
            Self::Neg(of) => of.uses(),
            Self::Binary { left, right, .. } => left.uses() | right.uses(),
        }
    }
}
