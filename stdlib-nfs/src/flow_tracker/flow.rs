//! What is known of one flow: packets and bytes each way, and how far a TCP connection is.
//!
//! A connection whose first packet is a SYN without ACK is *opening* until the side that began has acknowledged the other's SYN. One of
//! which another packet comes first, since the NF was started or the flow forgotten meanwhile, counts as established. After a FIN of both
//! sides it is closed, after a RST of either reset; packets that follow count, and change nothing, until a SYN begins another one.

use nflib::{
    Time,
    headers::TcpFlags,
    messages::{Value, json},
    state::{Direction, FlowKey},
};

#[derive(Debug, Clone)]
pub(super) struct Record {
    /// By direction, that of the first packet first.
    packets: [u64; 2],
    bytes: [u64; 2],
    started: Time,
    last: Time,
    pub(super) state: State,
    /// The side that was asked has sent its SYN and ACK.
    is_answered: bool,
    /// By direction.
    fin: [bool; 2],
    pub(super) epoch: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Opening,
    Established,
    /// One side has closed it.
    HalfClosed,
    Closed,
    Reset,
    /// It is not TCP.
    Other,
}

impl State {
    /// A SYN begins another connection.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Reset)
    }

    fn word(self) -> Option<&'static str> {
        match self {
            Self::Opening => Some("opening"),
            Self::Established => Some("established"),
            Self::HalfClosed => Some("half_closed"),
            Self::Closed => Some("closed"),
            Self::Reset => Some("reset"),
            Self::Other => None,
        }
    }
}

/// Why a flow has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Closed,
    Reset,
    Idle,
    Evicted,
}

impl End {
    pub(super) const ALL: [Self; 4] = [Self::Closed, Self::Reset, Self::Idle, Self::Evicted];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Idle => "idle",
            Self::Evicted => "evicted",
        }
    }
}

/// Whether a packet with these flags begins a connection.
pub(super) fn begins(flags: TcpFlags) -> bool {
    flags.contains(TcpFlags::SYN)
        && !flags.contains(TcpFlags::ACK)
        && !flags.contains(TcpFlags::RST)
        && !flags.contains(TcpFlags::FIN)
}

impl Record {
    /// Of a flow whose first packet has these flags; it is not counted yet.
    pub(super) fn new(now: Time, flags: Option<TcpFlags>, epoch: u8) -> Self {
        let state = match flags {
            None => State::Other,
            Some(flags) if begins(flags) => State::Opening,
            Some(_) => State::Established,
        };
        Self {
            packets: [0; 2],
            bytes: [0; 2],
            started: now,
            last: now,
            state,
            is_answered: false,
            fin: [false; 2],
            epoch,
        }
    }

    /// Counts a packet.
    pub(super) fn add(&mut self, direction: Direction, length: usize, flags: Option<TcpFlags>, now: Time) {
        let way = usize::from(direction == Direction::Reply);
        self.packets[way] += 1;
        self.bytes[way] += length as u64;
        self.last = now;
        if let Some(flags) = flags {
            self.follow(way, flags);
        }
    }

    fn follow(&mut self, way: usize, flags: TcpFlags) {
        if self.state.is_over() {
            return;
        }
        if flags.contains(TcpFlags::RST) {
            self.state = State::Reset;
            return;
        }
        if self.state == State::Opening {
            self.is_answered |= way == 1 && flags.contains(TcpFlags::SYN) && flags.contains(TcpFlags::ACK);
            if self.is_answered && way == 0 && flags.contains(TcpFlags::ACK) {
                self.state = State::Established;
            }
        }
        self.fin[way] |= flags.contains(TcpFlags::FIN);
        self.state = match self.fin {
            [true, true] => State::Closed,
            [false, false] => self.state,
            _ => State::HalfClosed,
        };
    }

    /// The reason if it ends by time.
    pub(super) fn end(&self) -> End {
        match self.state {
            State::Closed => End::Closed,
            State::Reset => End::Reset,
            _ => End::Idle,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.iter().sum()
    }

    /// When its last packet came.
    pub(super) fn last(&self) -> Time {
        self.last
    }

    /// The flow at a time, in the direction of its first packet.
    pub(super) fn json(&self, key: &FlowKey, now: Time) -> Value {
        let (source, destination) = key.addresses();
        let (source_port, destination_port) = key.ports();
        let vlans: Vec<u16> = key.vlans().into_iter().flatten().collect();
        let mut shown = json!({
            "source": source,
            "destination": destination,
            "protocol": key.protocol(),
            "packets": self.packets,
            "bytes": self.bytes,
            "duration_ms": (self.last - self.started).as_millis() as u64,
        });
        let idle = (now - self.last).as_millis() as u64;
        let optional = [
            ("vlans", (!vlans.is_empty()).then(|| json!(vlans))),
            ("source_port", (source_port > 0).then(|| source_port.into())),
            (
                "destination_port",
                (destination_port > 0).then(|| destination_port.into()),
            ),
            ("state", self.state.word().map(Value::from)),
            ("idle_ms", (idle > 0).then(|| idle.into())),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                shown[name] = value;
            }
        }
        shown
    }
}
