//! Takes its time over each burst, so that a test's traffic lasts and leaves the processor to others.

use std::time::Duration;

use nflib::{Burst, Nf, Setup, SetupError};

#[derive(Debug)]
pub(crate) struct Pacer {
    pause: Duration,
}

impl Nf for Pacer {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        std::thread::sleep(setup.params.duration("startup")?);
        Ok(Self {
            pause: setup.params.duration("pause")?,
        })
    }

    fn process(&mut self, _: &mut Burst<'_>) {
        std::thread::sleep(self.pause);
    }
}
