//! Changes the size of packets as its parameter `how` names: `push` adds VLAN tag 42, `strip` removes a tag, `trailer` appends
//! four bytes, `crop` leaves 40.

use nflib::{Burst, Nf, Packet, ResizeError, Setup, SetupError};

const TAG: [u8; 4] = [0x81, 0, 0, 42];
/// Both addresses of Ethernet, which stand before a tag.
const ADDRESSES: usize = 12;

#[derive(Debug)]
pub(crate) struct Tag {
    change: fn(&mut Packet<'_>) -> Result<(), ResizeError>,
}

impl Nf for Tag {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let how: String = setup.params.get("how")?;
        let change = match how.as_str() {
            "push" => push,
            "strip" => strip,
            "trailer" => trailer,
            "crop" => crop,
            other => return Err(SetupError::Other(format!("no change is named {other:?}"))),
        };
        Ok(Self { change })
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        for mut packet in burst.packets() {
            if (self.change)(&mut packet).is_err() {
                packet.drop();
            }
        }
    }
}

fn push(packet: &mut Packet<'_>) -> Result<(), ResizeError> {
    packet.push(TAG.len())?;
    let data = packet.data_mut()?;
    let tagged = ADDRESSES + TAG.len();
    if data.len() >= tagged {
        data.copy_within(TAG.len()..tagged, 0);
        data[ADDRESSES..tagged].copy_from_slice(&TAG);
    }
    Ok(())
}

fn strip(packet: &mut Packet<'_>) -> Result<(), ResizeError> {
    if packet.headers().vlan.is_none() {
        return Ok(());
    }
    packet.data_mut()?.copy_within(..ADDRESSES, TAG.len());
    packet.pull(TAG.len())
}

fn trailer(packet: &mut Packet<'_>) -> Result<(), ResizeError> {
    packet.extend(4)?.copy_from_slice(b"END!");
    Ok(())
}

fn crop(packet: &mut Packet<'_>) -> Result<(), ResizeError> {
    packet.truncate(40)
}
