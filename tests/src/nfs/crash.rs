//! Writes to the first packet of every 1000th burst without a right to: its manifest declares no write.

#![allow(unsafe_code)]

use nflib::{Burst, Nf, Setup, SetupError};

#[derive(Debug)]
pub(crate) struct Crash {
    bursts: u32,
}

impl Nf for Crash {
    fn new(_: &mut Setup) -> Result<Self, SetupError> {
        Ok(Self { bursts: 0 })
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        self.bursts += 1;
        if !self.bursts.is_multiple_of(1000) {
            return;
        }
        if let Some(packet) = burst.packets().next()
            && let Some(first) = packet.data().first()
        {
            let address = std::ptr::from_ref(first).cast_mut();
            // SAFETY: there is none, on purpose: the byte lies in a mapping that is read-only, so the store must end this
            // process by SIGSEGV. Were it to succeed, the suite that runs this program would find the changed byte.
            unsafe { address.write_volatile(!*first) };
        }
    }
}
