//! Ports that are captures: packets read from a file into packet buffers, and packets written from them to a file.
//!
//! A worker never waits for a file. A thread for each capture that is read reads ahead into a bounded queue
//! ([`Player`] takes from it), and one for each that is written writes what the worker has left for it ([`Recorder`]). Sources
//! that can wait do so while an output is behind; other packets that find no room are refused by the port.
//!
//! The metadata of a captured packet, its time and original length, goes with it to the output
//! ([`Stamps`]), whatever becomes of its bytes.

mod player;
mod recorder;

pub use player::{Chunk, Input, Player, Stock};
pub use recorder::{Lost, Output, Recorder};

/// The metadata of a captured packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds since 1970; none: that of the sending.
    pub time: Option<u64>,
    /// Bytes that it had on the wire and that were not captured.
    pub cut: u32,
}

/// The stamps of packets inside, by buffer. Callers know that the packet came from a capture.
#[derive(Debug, Default)]
pub struct Stamps(Vec<Stamp>);

impl Stamps {
    pub fn set(&mut self, buffer: u32, stamp: Stamp) {
        let at = buffer as usize;
        if self.0.len() <= at {
            self.0.resize((at + 1).next_power_of_two(), Stamp::default());
        }
        self.0[at] = stamp;
    }

    pub fn get(&self, buffer: u32) -> Stamp {
        self.0.get(buffer as usize).copied().unwrap_or_default()
    }
}
