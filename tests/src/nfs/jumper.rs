//! Rewrites the destination port of TCP packets to 99, and has every packet looked up.

use nflib::{Burst, Nf, Setup, SetupError, Verdict, headers::L4};

#[derive(Debug)]
pub(crate) struct Jumper;

impl Nf for Jumper {
    fn new(_: &mut Setup) -> Result<Self, SetupError> {
        Ok(Self)
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        for mut packet in burst.packets() {
            if let Ok(mut headers) = packet.headers_mut()
                && matches!(headers.l4, L4::Tcp { .. })
            {
                let _ = headers.set_destination_port(99);
            }
            packet.set_verdict(Verdict::Lookup);
        }
    }
}
