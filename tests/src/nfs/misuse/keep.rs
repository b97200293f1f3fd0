//! Keeping packets.

use std::{
    io,
    time::{Duration, Instant},
};

use nflib::Descriptor;

use super::Attached;

impl Attached {
    /// Takes all that it is given and hands nothing back, but pretends to.
    pub(super) fn hoard(&mut self) -> io::Result<()> {
        let forged = [Descriptor {
            buffer: u32::MAX,
            ..Descriptor::default()
        }];
        loop {
            for _ in 0..200 {
                self.take()?;
            }
            self.hand_back(&forged)?;
        }
    }

    /// Takes all that it is given and hands back the newest of it now and then, so that it is never without progress.
    pub(super) fn trickle(&mut self) -> io::Result<()> {
        let mut kept = Vec::new();
        let mut handed_back = Instant::now();
        loop {
            kept.extend(self.take()?);
            if handed_back.elapsed() >= Duration::from_millis(1500) {
                handed_back = Instant::now();
                let newest = kept.pop();
                self.hand_back(newest.as_slice())?;
            }
        }
    }

    /// Keeps the first packet that it is given, and is honest about the others.
    pub(super) fn keep_one(&mut self) -> io::Result<()> {
        let mut kept = None;
        loop {
            let burst = self.take()?;
            let from = usize::from(kept.is_none() && !burst.is_empty());
            kept = kept.or(burst.first().copied());
            self.hand_back(&burst[from..])?;
        }
    }

    /// Keeps up to 32 packets at a time, each for a while that is not too long, and is honest about the others.
    pub(super) fn detain(&mut self) -> io::Result<()> {
        let mut kept: Vec<(Instant, Descriptor)> = Vec::new();
        loop {
            for packet in self.take()? {
                match kept.len() {
                    0..32 => kept.push((Instant::now(), packet)),
                    _ => self.hand_back(&[packet])?,
                }
            }
            let over = |(since, _): &mut (Instant, _)| since.elapsed() >= Duration::from_millis(1500);
            let over: Vec<Descriptor> = kept.extract_if(.., over).map(|(_, packet)| packet).collect();
            self.hand_back(&over)?;
        }
    }
}
