//! Sets of values in one test. A set keeps its members in the order written, because on truncated
//! packets the order of the `or` that it stands for decides, and an index beside them for the rest.

use std::net::IpAddr;

use ipnet::IpNet;

/// Prefixes: any number, IPv4 and IPv6 mixed, never empty. Lookup is logarithmic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NetSet {
    members: Vec<IpNet>,
    /// Disjoint, sorted, both ends included.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    first_v4: Option<(u32, u32)>,
}

impl NetSet {
    /// The set of `members` in this order, host bits cleared; none when there are no members.
    pub fn new(members: impl IntoIterator<Item = IpNet>) -> Option<Self> {
        let members: Vec<IpNet> = members.into_iter().map(|net| net.trunc()).collect();
        if members.is_empty() {
            return None;
        }
        let v4: Vec<_> = members.iter().filter_map(v4_range).collect();
        let v6: Vec<_> = members.iter().filter_map(v6_range).collect();
        Some(Self {
            first_v4: v4.first().copied(),
            v4: merge(v4),
            v6: merge(v6),
            members,
        })
    }

    /// The members in the order written.
    pub fn members(&self) -> &[IpNet] {
        &self.members
    }

    /// Whether `addr` is in one of the prefixes.
    pub fn contains(&self, addr: IpAddr) -> bool {
        match addr {
            IpAddr::V4(addr) => self.contains_v4(addr.to_bits()),
            IpAddr::V6(addr) => self.contains_v6(addr.to_bits()),
        }
    }

    /// The IPv4 members as disjoint ranges in ascending order, both ends included.
    pub fn ranges_v4(&self) -> &[(u32, u32)] {
        &self.v4
    }

    /// The IPv6 members as disjoint ranges in ascending order, both ends included.
    pub fn ranges_v6(&self) -> &[(u128, u128)] {
        &self.v6
    }

    pub(crate) fn contains_v4(&self, addr: u32) -> bool {
        within(&self.v4, addr)
    }

    pub(crate) fn contains_v6(&self, addr: u128) -> bool {
        within(&self.v6, addr)
    }

    /// Whether the first IPv4 member holds `addr`.
    pub(crate) fn first_v4_contains(&self, addr: u32) -> bool {
        self.first_v4
            .is_some_and(|(low, high)| low <= addr && addr <= high)
    }

    /// Whether one and the same IPv4 member holds both.
    pub(crate) fn one_v4_contains_both(&self, a: u32, b: u32) -> bool {
        self.members
            .iter()
            .filter_map(v4_range)
            .any(|(low, high)| low <= a && a <= high && low <= b && b <= high)
    }

    /// Whether one and the same IPv6 member holds both.
    pub(crate) fn one_v6_contains_both(&self, a: u128, b: u128) -> bool {
        self.members
            .iter()
            .filter_map(v6_range)
            .any(|(low, high)| low <= a && a <= high && low <= b && b <= high)
    }
}

/// A range of ports, both ends included, the smaller first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// The smallest.
    pub low: u16,
    /// The largest.
    pub high: u16,
}

impl PortRange {
    /// The range between two ports, in whichever order.
    pub fn new(a: u16, b: u16) -> Self {
        Self {
            low: a.min(b),
            high: a.max(b),
        }
    }

    /// A single port.
    pub fn one(port: u16) -> Self {
        Self {
            low: port,
            high: port,
        }
    }

    pub(crate) fn contains(self, port: u16) -> bool {
        self.low <= port && port <= self.high
    }
}

/// Ports and port ranges, never empty. Lookup is logarithmic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PortSet {
    members: Vec<PortRange>,
    ranges: Vec<(u16, u16)>,
}

impl PortSet {
    /// The set of `members` in this order; none when there are no members.
    pub fn new(members: impl IntoIterator<Item = PortRange>) -> Option<Self> {
        let members: Vec<PortRange> = members.into_iter().collect();
        if members.is_empty() {
            return None;
        }
        let ranges = merge(members.iter().map(|range| (range.low, range.high)).collect());
        Some(Self { members, ranges })
    }

    /// The members in the order written.
    pub fn members(&self) -> &[PortRange] {
        &self.members
    }

    /// The members as disjoint ranges in ascending order, both ends included.
    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.ranges
    }

    /// Whether `port` is in one of the ranges.
    pub fn contains(&self, port: u16) -> bool {
        within(&self.ranges, port)
    }

    /// Whether the first member holds `port`.
    pub(crate) fn first_contains(&self, port: u16) -> bool {
        self.members.first().is_some_and(|range| range.contains(port))
    }

    /// Whether one and the same member holds both.
    pub(crate) fn one_contains_both(&self, a: u16, b: u16) -> bool {
        self.members
            .iter()
            .any(|range| range.contains(a) && range.contains(b))
    }
}

/// Numbers and ranges of them. Lookup is logarithmic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct NumberSet(Vec<(u32, u32)>);

impl NumberSet {
    /// The set of these ranges, both ends included; an empty one is given a meaning by what it stands in.
    pub fn new(ranges: impl IntoIterator<Item = (u32, u32)>) -> Self {
        Self(merge(ranges.into_iter().collect()))
    }

    /// Disjoint ranges in ascending order, both ends included.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `number` is in one of the ranges.
    pub fn contains(&self, number: u32) -> bool {
        within(&self.0, number)
    }
}

/// Differentiated services code points, 0-63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DscpSet(u64);

impl DscpSet {
    /// The set of `values`; none when there are none or one is over 63.
    pub fn new(values: impl IntoIterator<Item = u8>) -> Option<Self> {
        let mut bits = 0;
        for value in values {
            bits |= 1_u64.checked_shl(u32::from(value))?;
        }
        (bits != 0).then_some(Self(bits))
    }

    /// Whether `value` is in the set.
    pub fn contains(self, value: u8) -> bool {
        1_u64
            .checked_shl(u32::from(value))
            .is_some_and(|bit| self.0 & bit != 0)
    }

    /// The values in ascending order.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..64).filter(move |value| self.contains(*value))
    }
}

pub(crate) fn v4_range(net: &IpNet) -> Option<(u32, u32)> {
    match net {
        IpNet::V4(net) => Some((net.network().to_bits(), net.broadcast().to_bits())),
        IpNet::V6(_) => None,
    }
}

pub(crate) fn v6_range(net: &IpNet) -> Option<(u128, u128)> {
    match net {
        IpNet::V6(net) => Some((net.network().to_bits(), net.broadcast().to_bits())),
        IpNet::V4(_) => None,
    }
}

fn within<T: Ord + Copy>(ranges: &[(T, T)], value: T) -> bool {
    let after = ranges.partition_point(|(low, _)| *low <= value);
    after
        .checked_sub(1)
        .and_then(|at| ranges.get(at))
        .is_some_and(|(_, high)| value <= *high)
}

/// Sorts and joins overlapping ranges. Touching ones stay apart: lookup does not care.
fn merge<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (low, high) in ranges {
        match merged.last_mut() {
            Some((_, last)) if low <= *last => *last = high.max(*last),
            _ => merged.push((low, high)),
        }
    }
    merged
}
