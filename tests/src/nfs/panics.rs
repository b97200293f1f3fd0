//! Panics at the first packet.

use nflib::{Burst, Nf, Setup, SetupError};

#[derive(Debug)]
pub(crate) struct Panics;

impl Nf for Panics {
    fn new(_: &mut Setup) -> Result<Self, SetupError> {
        Ok(Self)
    }

    #[allow(clippy::panic, reason = "what it is for")]
    fn process(&mut self, _: &mut Burst<'_>) {
        panic!("the table has no room");
    }
}
