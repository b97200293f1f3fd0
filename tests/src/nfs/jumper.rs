//! Rewrites the destination port of TCP packets to 99, and has every packet looked up.

use nflib::{
    Burst, Nf, Setup, SetupError, Verdict,
    headers::{Headers, L4},
};

#[derive(Debug)]
pub(crate) struct Jumper;

impl Nf for Jumper {
    fn new(_: &mut Setup) -> Result<Self, SetupError> {
        Ok(Self)
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        for mut packet in burst.packets() {
            let headers = Headers::parse(packet.data());
            if matches!(headers.l4, L4::Tcp { .. }) {
                let port = usize::from(headers.l4_offset) + 2;
                if let Ok(Some(bytes)) = packet.data_mut().map(|data| data.get_mut(port..port + 2)) {
                    bytes.copy_from_slice(&99_u16.to_be_bytes());
                }
            }
            packet.set_verdict(Verdict::Lookup);
        }
    }
}
