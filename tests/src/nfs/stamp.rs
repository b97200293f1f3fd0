//! Writes the number of its instance, 0 to 8, into the last byte of each packet.

use nflib::{Burst, Nf, Setup, SetupError};

#[derive(Debug)]
pub(crate) struct Stamp(u8);

impl Nf for Stamp {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let (_, number) = setup.instance().rsplit_once('-').unwrap_or_default();
        match number.parse() {
            Ok(number @ 0..9) => Ok(Self(number)),
            _ => Err(SetupError::Other("its instance has no number below 9".to_owned())),
        }
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        for mut packet in burst.packets() {
            if let Ok(Some(last)) = packet.data_mut().map(<[u8]>::last_mut) {
                *last = self.0;
            }
        }
    }
}
