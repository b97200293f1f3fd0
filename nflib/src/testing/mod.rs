//! Running an NF without a manager: for the unit tests of an NF's author, and for `onvmc trace`.
//!
//! The crate `nflib-testing` makes a [`Bench`] from the text of a manifest, and packets to send through it.

mod declared;
mod fields;

use std::{io, sync::Arc, time::Duration};

use onvm_filter::flow::flow_of;

use crate::{
    Burst, CounterSet, Descriptor, Nf, Params, Setup, SetupError, Verdict,
    burst::Blanks,
    descriptor::IGNORE_TAGS,
    flows::{FlowRequest, Flows},
    layout::MAX_COUNTERS,
    memory::{Geometry, Mapping, PacketFile, create_file},
    messages::{Peers, Value},
    session::FromNf,
    time::{Clock, Time},
};

pub use declared::Declared;

/// An NF with a packet file and counters of its own.
#[derive(Debug)]
pub struct Bench<N> {
    pub nf: N,
    /// The packets that the NF made of those that were sent last. The test may take them.
    pub made: Vec<Made>,
    /// The packets come from a port with `tags = ignored`.
    pub ignore_tags: bool,
    /// Stands still except for [`Self::advance`].
    now: Time,
    /// The period of [`Nf::tick`] and when the next is due.
    tick: Option<(Duration, Time)>,
    /// What the NF has to keep to; none: nothing is checked.
    declared: Option<Declared>,
    file: PacketFile,
    /// The same file as the NF has it mapped.
    seen: PacketFile,
    counters: CounterSet,
    names: Vec<String>,
    /// The NF has asked for it.
    flows: Option<Flows>,
    peers: Option<Peers>,
    /// None: the NF's manifest does not declare that it makes packets.
    blanks: Option<Blanks>,
}

/// A [`Bench`] of any NF.
pub trait AnyBench {
    /// Sends one packet of at most [`LONGEST`] bytes through the NF, as from a port with `tags = ignored` or one without.
    fn send_one(&mut self, packet: &[u8], ignore_tags: bool) -> Handled;

    /// Lets as much time pass as is left until the next [`Nf::tick`], and calls it. An NF that asked for no ticks gets one at once.
    fn tick(&mut self);

    /// The NF's counters by name, in the order in which it made them.
    fn counters(&self) -> Vec<(&str, u64)>;
}

/// The NF's result for a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    pub verdict: Verdict,
    pub data: Vec<u8>,
}

/// A packet that the NF made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Which of the packets that were sent it is in the name of, counted from 0.
    pub of: usize,
    pub handled: Handled,
}

/// Bytes of the longest packet that a bench takes: no buffer of a manager has room for a longer one.
pub const LONGEST: usize = 16_448;

const SLOT: u32 = LONGEST as u32 + 256;
const BURST: usize = 32;
/// Packets that an NF can make of a burst.
const BLANKS: u32 = 64;
/// Ticks of a bench are no closer than this, whatever the NF asked for.
const SHORTEST_TICK: Duration = Duration::from_millis(1);
/// When a bench begins: not at zero, which may mean something to an NF.
const START: Time = Time::from_nanos(1_000_000_000_000);

impl<N: Nf> Bench<N> {
    /// Builds the NF as instance `test-0`. It may write whatever it likes: for tests of an NF with a manifest see
    /// [`Self::declaring`].
    pub fn new(params: Params) -> Result<Self, SetupError> {
        Self::build(params, None)
    }

    /// Builds the NF as one whose manifest declares this: where that is no write, packets are mapped read-only, and
    /// [`Self::send`] panics when the NF has changed a header field, or a payload, that it does not declare, or has chosen
    /// an output that is not there.
    pub fn declaring(declared: Declared, params: Params) -> Result<Self, SetupError> {
        Self::build(params.with_outputs(&declared.outputs), Some(declared))
    }

    fn build(params: Params, declared: Option<Declared>) -> Result<Self, SetupError> {
        let other = |e: io::Error| SetupError::Other(e.to_string());
        let geometry = Geometry {
            first: 0,
            buffers: BURST as u32 + BLANKS,
            stride: SLOT,
            headroom: 128,
        };
        let fd = create_file("nf-test", geometry.bytes(), false).map_err(other)?;
        let map = |writable| PacketFile::new(Mapping::new(&fd, writable)?, geometry);
        let file = map(true).map_err(other)?;
        let seen = map(declared.as_ref().is_none_or(Declared::is_writable)).map_err(other)?;
        let fd = create_file("nf-counters", 8 * MAX_COUNTERS, false).map_err(other)?;
        let counters = CounterSet::new(Arc::new(Mapping::new(&fd, true).map_err(other)?), 0, MAX_COUNTERS);
        let mut setup = Setup::new("test-0", params, counters.clone(), Clock::Standing(START));
        let nf = N::new(&mut setup)?;
        let names = setup.counter_names().to_vec();
        let (flows, peers) = (setup.asked_flows(), setup.asked_peers());
        let tick = setup.tick_period().map(|period| period.max(SHORTEST_TICK));
        let tick = tick.map(|period| (period, START + period));
        let generates = declared.as_ref().is_none_or(|declared| declared.generates);
        Ok(Self {
            nf,
            made: Vec::new(),
            ignore_tags: false,
            now: START,
            tick,
            declared,
            file,
            seen,
            counters,
            names,
            flows,
            peers,
            blanks: generates.then(|| Blanks::new(None)),
        })
    }

    /// Sends the packets through the NF in bursts of 32, each of at most [`LONGEST`] bytes and with the flow hash that the manager
    /// would give it.
    ///
    /// # Panics
    /// When a packet is longer, and when the NF changed what its manifest does not declare (see [`Self::declaring`]).
    pub fn send<P: AsRef<[u8]>>(&mut self, packets: &[P]) -> Vec<Handled> {
        self.made.clear();
        packets
            .chunks(BURST)
            .enumerate()
            .flat_map(|(n, chunk)| self.send_burst(chunk, n * BURST))
            .collect()
    }

    /// What the NF has asked about flow entries since the last call, in order. Nothing is carried out: say what would be by
    /// [`Nf::flow_news`].
    pub fn flow_requests(&mut self) -> Vec<FlowRequest> {
        let taken = || self.flows.as_ref().and_then(Flows::take);
        std::iter::from_fn(taken)
            .flat_map(|(_, requests)| requests)
            .collect()
    }

    /// The kinds and fields of what the NF has said to the other instances of its service since the last call, in order. Nothing is
    /// delivered.
    pub fn messages(&mut self) -> Vec<(String, Value)> {
        let taken = || self.peers.as_ref().and_then(Peers::take);
        let said = std::iter::from_fn(taken).filter_map(|said| match said {
            FromNf::Message { kind, fields, .. } => Some((kind, Value::Object(fields))),
            _ => None,
        });
        said.collect()
    }

    /// The time that the NF sees. It does not pass by itself.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Lets time pass. The NF gets each [`Nf::tick`] that it asked for, when it is due.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some((period, due)) = self.tick
            && due <= end
        {
            self.now = due;
            self.nf.tick(due);
            self.tick = Some((period, due + period));
        }
        self.now = end;
    }

    #[allow(unsafe_code)]
    fn send_burst<P: AsRef<[u8]>>(&mut self, packets: &[P], first: usize) -> Vec<Handled> {
        let mut descriptors = Vec::new();
        for (i, p) in packets.iter().enumerate() {
            let bytes = p.as_ref();
            let d = Descriptor {
                buffer: i as u32,
                offset: self.file.geometry().headroom as u16,
                length: bytes.len() as u16,
                hash: flow_of(bytes).hash,
                flags: if self.ignore_tags { IGNORE_TAGS } else { 0 },
                ..Descriptor::default()
            };
            // SAFETY: this type alone has the file, and no reference to its bytes lives here, through this mapping or the other:
            // those of a burst end with `process`.
            let slot = unsafe { self.file.bytes_mut(d.buffer, d.offset, d.length) };
            assert!(
                bytes.len() <= LONGEST,
                "a test packet of {} bytes does not fit a buffer",
                bytes.len()
            );
            if let Some(slot) = slot {
                slot.copy_from_slice(bytes);
            }
            descriptors.push(d);
        }
        // As many for each burst, whatever the last one took.
        self.blanks = self.blanks.as_ref().map(|_| {
            let mut blanks = Blanks::new(None);
            blanks.give(BURST as u32..BURST as u32 + BLANKS);
            blanks
        });
        let burst = Burst::new(&mut descriptors, &self.seen, Clock::Standing(self.now));
        self.nf.process(&mut burst.with_blanks(self.blanks.as_mut()));
        let after = |d: &Descriptor| Handled {
            verdict: Verdict::decode(d.verdict, d.destination).unwrap_or_default(),
            data: self.file.bytes(d.buffer, d.offset, d.length).to_vec(),
        };
        let handled: Vec<Handled> = descriptors.iter().map(after).collect();
        let made = self.blanks.iter().flat_map(Blanks::made).map(|(d, parent)| Made {
            of: first + parent as usize,
            handled: after(d),
        });
        self.made.extend(made);
        for made in &self.made {
            let declared = self.declared.as_ref();
            let refused = declared.and_then(|d| d.check_verdict(made.handled.verdict).err());
            assert!(
                refused.is_none(),
                "a packet made in the name of packet {}: {}",
                made.of,
                refused.unwrap_or_default()
            );
        }
        for (n, (before, handled)) in packets.iter().zip(&handled).enumerate() {
            let declared = self.declared.as_ref();
            let refused = declared.and_then(|d| d.check(before.as_ref(), handled).err());
            assert!(
                refused.is_none(),
                "packet {n} of a burst: {}",
                refused.unwrap_or_default()
            );
        }
        handled
    }
}

impl<N: Nf> AnyBench for Bench<N> {
    fn send_one(&mut self, packet: &[u8], ignore_tags: bool) -> Handled {
        self.ignore_tags = ignore_tags;
        let mut handled = self.send(&[packet]);
        // There is no table that could be programmed.
        self.flow_requests();
        // Nor are there other instances.
        self.messages();
        handled.pop().unwrap_or_else(|| unreachable!("a packet was sent"))
    }

    fn tick(&mut self) {
        match self.tick {
            Some((_, due)) => self.advance(due - self.now),
            None => self.nf.tick(self.now),
        }
    }

    fn counters(&self) -> Vec<(&str, u64)> {
        let values = self.names.iter().enumerate();
        values
            .map(|(i, name)| (name.as_str(), self.counters.value(i)))
            .collect()
    }
}
