//! A burst of packets, as an NF sees it.

#![allow(unsafe_code)]

mod generate;
mod resize;

use onvm_filter::{
    Expr, FlowRules,
    flow::{FlowKey, flow_of},
    without_tags,
};

use crate::{
    Descriptor, Verdict,
    descriptor::IGNORE_TAGS,
    headers::{Headers, HeadersMut},
    memory::PacketFile,
    time::{Clock, Time},
};

pub(crate) use generate::Blanks;
pub use generate::GenerateError;
pub use resize::ResizeError;

/// Packets that the NF holds at the moment, in order. Each has the verdict `Next` until the NF says otherwise.
#[derive(Debug)]
pub struct Burst<'a> {
    descriptors: &'a mut [Descriptor],
    file: &'a PacketFile,
    clock: Clock,
    /// Of an NF that makes packets.
    blanks: Option<&'a mut Blanks>,
}

impl<'a> Burst<'a> {
    /// The caller holds these descriptors, each buffer once.
    pub(crate) fn new(descriptors: &'a mut [Descriptor], file: &'a PacketFile, clock: Clock) -> Self {
        Self {
            descriptors,
            file,
            clock,
            blanks: None,
        }
    }

    /// What it is made of.
    pub(crate) fn parts(&mut self) -> (&mut [Descriptor], &'a PacketFile, Clock) {
        (self.descriptors, self.file, self.clock)
    }

    /// The time. Each call reads the clock, which takes some 20 ns: call it once a burst, and only if it is needed.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Packets in the burst, 1 to 32.
    pub fn len(&self) -> usize {
        self.descriptors.len()
    }

    pub fn is_empty(&self) -> bool {
        self.descriptors.is_empty()
    }

    /// Bytes of all packets together.
    pub fn bytes(&self) -> u64 {
        self.descriptors.iter().map(|d| u64::from(d.length)).sum()
    }

    /// One of the packets, counted from 0.
    pub fn packet(&mut self, n: usize) -> Option<Packet<'_>> {
        let descriptor = self.descriptors.get_mut(n)?;
        let file = self.file;
        Some(Packet { descriptor, file })
    }

    /// The packets in order. Their first lines are asked for ahead of use.
    pub fn packets(&mut self) -> impl Iterator<Item = Packet<'_>> {
        for d in self.descriptors.iter() {
            self.file.prefetch(d.buffer, d.offset);
        }
        let file = self.file;
        self.descriptors
            .iter_mut()
            .map(move |descriptor| Packet { descriptor, file })
    }
}

/// The packet file is mapped read-only, since the NF's manifest declares no write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("packets are read-only: the NF's manifest declares no write (`effects.writes`)")]
pub struct ReadOnly;

/// One packet of a burst.
#[derive(Debug)]
pub struct Packet<'a> {
    descriptor: &'a mut Descriptor,
    file: &'a PacketFile,
}

impl Packet<'_> {
    /// The packet from its first Ethernet byte.
    #[inline(always)]
    pub fn data(&self) -> &[u8] {
        self.file.bytes(
            self.descriptor.buffer,
            self.descriptor.offset,
            self.descriptor.length,
        )
    }

    /// The same for writing.
    #[inline(always)]
    pub fn data_mut(&mut self) -> Result<&mut [u8], ReadOnly> {
        let d = &*self.descriptor;
        // SAFETY: the run loop made the burst of descriptors that this NF holds, each buffer once, so `&mut self` is the
        // only way to the buffer's bytes while the returned reference lives.
        unsafe { self.file.bytes_mut(d.buffer, d.offset, d.length) }.ok_or(ReadOnly)
    }

    /// The flow of the packet, by its headers as they are by now; see [`FlowTable`](crate::state::FlowTable). None where
    /// there is none: not IP, truncated, an impossible IPv4 header length, IPv6 fragments, more than two VLAN tags. Later
    /// fragments of IPv4 are a flow of their own between two addresses, without ports, and so are IPv6 packets with
    /// extension headers.
    #[inline]
    pub fn flow(&self) -> Option<FlowKey> {
        flow_of(self.data()).key
    }

    /// The packet's headers.
    #[inline]
    pub fn headers(&self) -> Headers {
        Headers::parse(self.data())
    }

    /// The packet's headers for reading and writing.
    #[inline]
    pub fn headers_mut(&mut self) -> Result<HeadersMut<'_>, ReadOnly> {
        self.data_mut().map(HeadersMut::parse)
    }

    /// Bytes.
    #[inline(always)]
    #[allow(clippy::len_without_is_empty, reason = "no received packet is empty")]
    pub fn len(&self) -> usize {
        usize::from(self.descriptor.length)
    }

    /// Symmetric flow hash: both directions of a flow have the same.
    #[inline(always)]
    pub fn hash(&self) -> u32 {
        self.descriptor.hash
    }

    /// Whether a filter takes the packet. On ports with `tags = ignored` it looks behind VLAN tags.
    #[inline]
    pub fn matches(&self, filter: &Expr) -> bool {
        self.seen(|frame, length| filter.matches(frame, length))
    }

    /// The first of the rules that takes the packet, seen in the same way.
    #[inline]
    pub fn first(&self, rules: &mut FlowRules) -> Option<usize> {
        self.seen(|frame, length| rules.first(frame, length))
    }

    #[inline(always)]
    fn seen<T>(&self, with: impl FnOnce(&[u8], u32) -> T) -> T {
        let length = u32::from(self.descriptor.length);
        match self.descriptor.flags & IGNORE_TAGS {
            0 => with(self.data(), length),
            _ => without_tags(self.data(), length, with),
        }
    }

    #[inline(always)]
    pub fn set_verdict(&mut self, verdict: Verdict) {
        (self.descriptor.verdict, self.descriptor.destination) = verdict.encode();
    }

    #[inline(always)]
    #[allow(
        clippy::should_implement_trait,
        reason = "drop is the field's word for this verdict"
    )]
    pub fn drop(&mut self) {
        self.set_verdict(Verdict::Drop);
    }

    /// Sends the packet to an output: one that [`Params::output`](crate::Params::output) has found by its name, or the
    /// index in the manifest's list.
    #[inline(always)]
    pub fn output(&mut self, output: impl Into<u16>) {
        self.set_verdict(Verdict::Output(output.into()));
    }

    /// The verdict so far.
    pub fn verdict(&self) -> Verdict {
        Verdict::decode(self.descriptor.verdict, self.descriptor.destination).unwrap_or_default()
    }
}
