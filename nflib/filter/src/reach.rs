//! How far into a packet a filter reads: before it is evaluated on memory that others write, so much of the packet is
//! copied.

use crate::{Arith, Expr, Primitive, Test, arith::Base};

/// The longest header of IPv4.
const IP4_HEADER: usize = 60;

impl Expr {
    /// Bytes from the frame's first on that the decision can depend on, beside the length on the wire: with these alone, or with more,
    /// it is the same. `usize::MAX` where no number says it.
    pub fn reach(&self) -> usize {
        match self {
            Self::Const(_) => 0,
            Self::And(of) | Self::Or(of) => of.iter().map(Self::reach).max().unwrap_or(0),
            Self::Not(of) => of.reach(),
            Self::Test(primitive) => primitive.reach(),
        }
    }
}

impl Primitive {
    fn reach(&self) -> usize {
        let l3 = self.place.most_before();
        // Behind a tunnel it may be as far as the network header.
        let link = if self.place.begins_link() { l3 } else { 0 };
        match &self.test {
            Test::Mac { .. } => link + 12,
            Test::EtherMulticast => link + 1,
            Test::Length(_) => 0,
            Test::EtherProto(_) | Test::FirstFragment => l3 + 8,
            Test::Vlan(_) | Test::Dscp(_) => l3 + 2,
            Test::Mpls(_) | Test::Pppoes(_) => l3 + 4,
            Test::Tunnel(..) => l3 + IP4_HEADER + 16,
            // As far as the chain of headers goes.
            Test::ProtoChain { .. } => usize::MAX,
            // The next header behind a fragment header.
            Test::Proto { .. } => l3 + 41,
            Test::Net { .. } => l3 + 40,
            Test::Port { .. } => l3 + IP4_HEADER + 4,
            Test::Relation { left, right, .. } => left.reach(link, l3).max(right.reach(link, l3)),
        }
    }
}

impl Arith {
    fn reach(&self, link: usize, l3: usize) -> usize {
        match self {
            Self::Const(_) | Self::Len => 0,
            Self::Load { base, at, size } => {
                let Self::Const(at) = **at else { return usize::MAX };
                let base = match base {
                    Base::Frame => link,
                    Base::L3 => l3,
                    Base::Ip4Payload => l3 + IP4_HEADER,
                    Base::Ip6Payload => l3 + 40,
                };
                (at as usize).saturating_add(base + size.bytes())
            }
            Self::Neg(of) => of.reach(link, l3),
            Self::Binary { left, right, .. } => left.reach(link, l3).max(right.reach(link, l3)),
        }
    }
}
