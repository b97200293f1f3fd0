//! Running an NF without a manager: for the unit tests of an NF's author.

use std::io;

use crate::{
    Burst, Descriptor, Nf, Params, Setup, SetupError, Verdict,
    memory::{Geometry, Mapping, PacketFile, create_file},
};

/// An NF with a packet file of its own.
#[derive(Debug)]
pub struct Bench<N> {
    pub nf: N,
    file: PacketFile,
}

/// What the NF made of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    pub verdict: Verdict,
    pub data: Vec<u8>,
}

const SLOT: u32 = 9_216 + 256;
const BURST: usize = 32;

impl<N: Nf> Bench<N> {
    /// Builds the NF as instance `test-0` with packets mapped writable.
    pub fn new(params: Params) -> Result<Self, SetupError> {
        let other = |e: io::Error| SetupError::Other(e.to_string());
        let geometry = Geometry {
            buffers: BURST as u32,
            stride: SLOT,
            headroom: 128,
        };
        let fd = create_file("nf-test", geometry.bytes(), false).map_err(other)?;
        let file = PacketFile::new(Mapping::new(&fd, true).map_err(other)?, geometry).map_err(other)?;
        let nf = N::new(&mut Setup::new("test-0", params, None))?;
        Ok(Self { nf, file })
    }

    /// Sends the packets through the NF in bursts of 32, each of at most 9216 bytes; the flow hash is zero.
    pub fn send<P: AsRef<[u8]>>(&mut self, packets: &[P]) -> Vec<Handled> {
        packets
            .chunks(BURST)
            .flat_map(|chunk| self.send_burst(chunk))
            .collect()
    }

    #[allow(unsafe_code)]
    fn send_burst<P: AsRef<[u8]>>(&mut self, packets: &[P]) -> Vec<Handled> {
        let mut descriptors = Vec::new();
        for (i, p) in packets.iter().enumerate() {
            let bytes = p.as_ref();
            let d = Descriptor {
                buffer: i as u32,
                offset: self.file.geometry().headroom as u16,
                length: bytes.len() as u16,
                ..Descriptor::default()
            };
            // SAFETY: this type alone has the file, and no other reference to its bytes lives here.
            let slot = unsafe { self.file.bytes_mut(d.buffer, d.offset, d.length) };
            assert!(
                bytes.len() <= 9_216,
                "a test packet of {} bytes does not fit a buffer",
                bytes.len()
            );
            if let Some(slot) = slot {
                slot.copy_from_slice(bytes);
            }
            descriptors.push(d);
        }
        self.nf.process(&mut Burst::new(&mut descriptors, &self.file));
        let handled = descriptors.iter().map(|d| Handled {
            verdict: Verdict::decode(d.verdict, d.destination).unwrap_or_default(),
            data: self.file.bytes(d.buffer, d.offset, d.length).to_vec(),
        });
        handled.collect()
    }
}
