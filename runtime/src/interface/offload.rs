//! Work that a kernel leaves to a network card, done in software: checksums, and the cutting of long TCP and UDP
//! packets into segments.
//!
//! On veth pairs and wherever offloads are on, the kernel hands packets over with checksums unfinished and with segments of up to
//! 64 KiB in one. A header of virtio says so (`struct virtio_net_hdr`, virtio 1.2, 5.1.6), as it does to virtual machines.

use std::ops::Range;

/// Bytes of the header.
pub(super) const HEADER: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;
const GSO_UDP: u8 = 5;
/// A flag beside the kind: the packets may say that there was congestion.
const GSO_ECN: u8 = 0x80;

const ETHERNET: usize = 14;
const ETHERTYPE_IP4: u16 = 0x0800;
const ETHERTYPE_IP6: u16 = 0x86dd;
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const TAG: usize = 4;
const IP6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;
const TCP: u8 = 6;
const UDP: u8 = 17;
const FIN: u8 = 0x01;
const PUSH: u8 = 0x08;
const CONGESTION_WINDOW_REDUCED: u8 = 0x80;

/// What is left to do on a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    /// Where the checksum of the transport begins, and where in it it is written.
    checksum: Option<(usize, usize)>,
    /// Bytes of payload of a segment.
    segment: Option<usize>,
}

/// The packet cannot be made whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Left {
    /// From the header that the kernel put before a packet, in the machine's byte order.
    pub(super) fn new(header: &[u8; HEADER]) -> Result<Self, Malformed> {
        let [flags, kind, ..] = *header;
        let number = |at: usize| usize::from(u16::from_ne_bytes([header[at], header[at + 1]]));
        let segment = match kind & !GSO_ECN {
            0 => None,
            GSO_TCP4 | GSO_TCP6 | GSO_UDP => Some(number(4)).filter(|size| *size > 0),
            _ => return Err(Malformed),
        };
        Ok(Self {
            checksum: (flags & NEEDS_CHECKSUM != 0).then(|| (number(6), number(8))),
            segment,
        })
    }

    /// Nothing: the packet is as it goes over a wire.
    pub(super) fn nothing(self) -> bool {
        self.checksum.is_none() && self.segment.is_none()
    }

    /// The packet, or the segments of it, as they go over a wire.
    pub(super) fn finish(self, mut frame: Vec<u8>) -> Result<Vec<Vec<u8>>, Malformed> {
        if let Some(size) = self.segment {
            return Segments::of(&frame)?.cut(size);
        }
        if let Some((start, offset)) = self.checksum {
            complete(&mut frame, start, offset)?;
        }
        Ok(vec![frame])
    }
}

/// The field holds the sum over the pseudo header already.
fn complete(frame: &mut [u8], start: usize, offset: usize) -> Result<(), Malformed> {
    let sum = fold(add(0, frame.get(start..).ok_or(Malformed)?));
    // In UDP zero means that there is none.
    let sum = if sum == 0xffff { 0xffff } else { !sum };
    put16(frame, start + offset, sum)
}

/// A packet with more payload than goes over a wire at once.
struct Segments<'a> {
    frame: &'a [u8],
    network: usize,
    version: u8,
    protocol: u8,
    transport: usize,
    payload: Range<usize>,
}

impl<'a> Segments<'a> {
    fn of(frame: &'a [u8]) -> Result<Self, Malformed> {
        let (network, ethertype) = network(frame)?;
        let byte = |at: usize| frame.get(at).copied().ok_or(Malformed);
        let (version, protocol, transport, end) = match ethertype {
            ETHERTYPE_IP4 => {
                let header = usize::from(byte(network)? & 0xf) * 4;
                let total = usize::from(get16(frame, network + 2)?);
                // Zero for packets of more than 64 KiB.
                let end = if total == 0 { frame.len() } else { network + total };
                (4, byte(network + 9)?, network + header, end)
            }
            ETHERTYPE_IP6 => {
                let length = usize::from(get16(frame, network + 4)?);
                let whole = network + IP6_HEADER;
                let end = if length == 0 { frame.len() } else { whole + length };
                (6, byte(network + 6)?, whole, end)
            }
            _ => return Err(Malformed),
        };
        let header = match protocol {
            TCP => usize::from(byte(transport + 12)? >> 4) * 4,
            UDP => UDP_HEADER,
            // Behind extension headers, for one.
            _ => return Err(Malformed),
        };
        let payload = transport + header..end.min(frame.len());
        if payload.start > payload.end {
            return Err(Malformed);
        }
        Ok(Self {
            frame,
            network,
            version,
            protocol,
            transport,
            payload,
        })
    }

    fn cut(&self, size: usize) -> Result<Vec<Vec<u8>>, Malformed> {
        let payload = &self.frame[self.payload.clone()];
        let count = payload.len().div_ceil(size);
        let pieces = payload.chunks(size).enumerate();
        pieces
            .map(|(number, piece)| self.segment(number, number + 1 == count, number * size, piece))
            .collect()
    }

    fn segment(&self, number: usize, last: bool, offset: usize, piece: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut frame = [&self.frame[..self.payload.start], piece].concat();
        let end = frame.len();
        let length = (end - self.transport) as u16;
        match self.protocol {
            TCP => {
                let at = self.transport;
                let sequence = get32(&frame, at + 4)?.wrapping_add(offset as u32);
                frame[at + 4..at + 8].copy_from_slice(&sequence.to_be_bytes());
                let mut flags = frame[at + 13];
                if !last {
                    flags &= !(FIN | PUSH);
                }
                if number > 0 {
                    flags &= !CONGESTION_WINDOW_REDUCED;
                }
                frame[at + 13] = flags;
            }
            _ => put16(&mut frame, self.transport + 4, length)?,
        }
        self.finish_network(&mut frame, number, length)?;
        let place = self.transport + if self.protocol == TCP { 16 } else { 6 };
        put16(&mut frame, place, 0)?;
        let addresses = match self.version {
            4 => self.network + 12..self.network + 20,
            _ => self.network + 8..self.network + 40,
        };
        let pseudo = add(u64::from(self.protocol) + u64::from(length), &frame[addresses]);
        let sum = !fold(add(pseudo, &frame[self.transport..]));
        let sum = if sum == 0 && self.protocol == UDP {
            0xffff
        } else {
            sum
        };
        put16(&mut frame, place, sum)?;
        Ok(frame)
    }

    fn finish_network(&self, frame: &mut [u8], number: usize, length: u16) -> Result<(), Malformed> {
        if self.version == 6 {
            return put16(frame, self.network + 4, length);
        }
        let header = self.transport - self.network;
        put16(frame, self.network + 2, length + header as u16)?;
        let id = get16(frame, self.network + 4)?.wrapping_add(number as u16);
        put16(frame, self.network + 4, id)?;
        put16(frame, self.network + 10, 0)?;
        let sum = !fold(add(0, &frame[self.network..self.transport]));
        put16(frame, self.network + 10, sum)
    }
}

/// Where the network header begins behind all tags, and its type.
fn network(frame: &[u8]) -> Result<(usize, u16), Malformed> {
    let mut at = ETHERNET - 2;
    loop {
        let ethertype = get16(frame, at)?;
        if !TAGS.contains(&ethertype) {
            return Ok((at + 2, ethertype));
        }
        at += TAG;
    }
}

/// The Internet checksum's sum (RFC 1071), over bytes of which each pair is a number.
fn add(sum: u64, bytes: &[u8]) -> u64 {
    let pairs = bytes.chunks(2);
    let numbers = pairs.map(|p| u64::from(u16::from_be_bytes([p[0], p.get(1).copied().unwrap_or(0)])));
    sum + numbers.sum::<u64>()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn get16(bytes: &[u8], at: usize) -> Result<u16, Malformed> {
    let pair = bytes.get(at..at + 2).ok_or(Malformed)?;
    Ok(u16::from_be_bytes([pair[0], pair[1]]))
}

fn get32(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    Ok(u32::from(get16(bytes, at)?) << 16 | u32::from(get16(bytes, at + 2)?))
}

fn put16(bytes: &mut [u8], at: usize, value: u16) -> Result<(), Malformed> {
    let place = bytes.get_mut(at..at + 2).ok_or(Malformed)?;
    place.copy_from_slice(&value.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, SlicedPacket, TransportSlice, VlanId};
    use proptest::prelude::*;

    use super::*;

    const SOURCE: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

    fn header(kind: u8, segment: u16, start: u16, offset: u16) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[0] = NEEDS_CHECKSUM;
        header[1] = kind;
        header[4..6].copy_from_slice(&segment.to_ne_bytes());
        header[6..8].copy_from_slice(&start.to_ne_bytes());
        header[8..10].copy_from_slice(&offset.to_ne_bytes());
        header
    }

    /// A packet as another library makes it, with all checksums right.
    fn packet(v6: bool, tcp: bool, tagged: bool, payload: &[u8]) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let (source, destination) = ([192, 0, 2, 1], [192, 0, 2, 2]);
        let ip = match (tagged, v6) {
            (false, false) => ethernet.ipv4(source, destination, 64),
            (false, true) => ethernet.ipv6(SOURCE, SOURCE, 64),
            (true, false) => ethernet.single_vlan(VlanId::ZERO).ipv4(source, destination, 64),
            (true, true) => ethernet.single_vlan(VlanId::ZERO).ipv6(SOURCE, SOURCE, 64),
        };
        let mut bytes = Vec::new();
        let written = match tcp {
            true => {
                let tcp = ip.tcp(1000, 80, 0xffff_ff00, 512).psh().fin().ack(5);
                tcp.write(&mut bytes, payload)
            }
            false => ip.udp(1000, 53).write(&mut bytes, payload),
        };
        written.unwrap();
        bytes
    }

    /// The payload of a segment, whose checksums and lengths must be what the other library computes.
    fn checked(frame: &[u8]) -> (u32, bool, Vec<u8>) {
        let sliced = SlicedPacket::from_ethernet(frame).unwrap();
        let net = sliced.net.as_ref().unwrap();
        let ip4 = net.ipv4_ref();
        if let Some(ip4) = ip4 {
            let header = ip4.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
        }
        match sliced.transport.unwrap() {
            TransportSlice::Tcp(tcp) => {
                let expected = match ip4 {
                    Some(ip) => tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination()),
                    None => tcp.calc_checksum_ipv6(SOURCE, SOURCE),
                };
                assert_eq!(tcp.checksum(), expected.unwrap());
                (tcp.sequence_number(), tcp.fin(), tcp.payload().to_vec())
            }
            TransportSlice::Udp(udp) => {
                let header = udp.to_header();
                let expected = match ip4 {
                    Some(ip) => {
                        let ip = ip.header();
                        header.calc_checksum_ipv4_raw(ip.source(), ip.destination(), udp.payload())
                    }
                    None => header.calc_checksum_ipv6_raw(SOURCE, SOURCE, udp.payload()),
                };
                assert_eq!(udp.checksum(), expected.unwrap());
                assert_eq!(usize::from(udp.length()), 8 + udp.payload().len());
                (0, false, udp.payload().to_vec())
            }
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn segments_are_whole_packets_and_hold_all_of_the_payload(
            v6: bool, tcp: bool, tagged: bool, payload in proptest::collection::vec(any::<u8>(), 1..6000), size in 1_u16..2000,
        ) {
            let whole = packet(v6, tcp, tagged, &payload);
            let kind = match (tcp, v6) {
                (true, false) => GSO_TCP4,
                (true, true) => GSO_TCP6,
                (false, _) => GSO_UDP,
            };
            let left = Left::new(&header(kind, size, 0, 0)).unwrap();
            let segments = left.finish(whole).unwrap();
            let (mut all, mut last) = (Vec::new(), false);
            for segment in &segments {
                prop_assert!(!last, "only the last one ends the connection");
                let (sequence, fin, piece) = checked(segment);
                if tcp {
                    prop_assert_eq!(sequence, 0xffff_ff00_u32.wrapping_add(all.len() as u32));
                }
                prop_assert!(piece.len() <= usize::from(size));
                all.extend(piece);
                last = fin;
            }
            prop_assert_eq!(all, payload);
            prop_assert_eq!(last, tcp);
        }

        #[test]
        fn unfinished_checksums_are_finished(v6: bool, tcp: bool, tagged: bool, payload in proptest::collection::vec(any::<u8>(), 0..1500)) {
            let whole = packet(v6, tcp, tagged, &payload);
            let start = 14 + if tagged { 4 } else { 0 } + if v6 { 40 } else { 20 };
            let offset = if tcp { 16 } else { 6 };
            let mut unfinished = whole.clone();
            // As the kernel leaves it: the sum of the pseudo header.
            let protocol = if tcp { TCP } else { UDP };
            let addresses = if v6 { start - 32..start } else { start - 8..start };
            let length = (whole.len() - start) as u64;
            let pseudo = fold(add(u64::from(protocol) + length, &whole[addresses]));
            put16(&mut unfinished, start + offset, pseudo).unwrap();
            let left = Left::new(&header(0, 0, start as u16, offset as u16)).unwrap();
            prop_assert_eq!(left.finish(unfinished).unwrap(), vec![whole]);
        }

        #[test]
        fn nothing_that_a_header_says_is_too_much(header: [u8; HEADER], frame in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(left) = Left::new(&header) {
                let _ = left.finish(frame);
            }
        }
    }
}
