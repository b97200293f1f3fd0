//! Prints fifty long lines for each burst.

use nflib::{Burst, Nf, Setup, SetupError};

#[derive(Debug)]
pub(crate) struct Shout;

impl Nf for Shout {
    fn new(_: &mut Setup) -> Result<Self, SetupError> {
        Ok(Self)
    }

    fn process(&mut self, _: &mut Burst<'_>) {
        let line = "shout ".repeat(20);
        for _ in 0..50 {
            println!("{line}");
        }
    }
}
