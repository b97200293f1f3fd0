//! The same packets as a capture in every variant of the pcap and pcapng formats, written byte by byte from the formats'
//! descriptions, so that what reads them is held against something else than itself.

/// A capture, and what it says of its packets.
#[derive(Debug, Clone)]
pub struct Variant {
    /// What is special about it.
    pub name: String,
    pub bytes: Vec<u8>,
    /// When each packet was, in nanoseconds since 1970, as exactly as the variant can say it; none where it says no time.
    pub times: Vec<Option<u64>>,
}

/// When packet `number`, from 0, was.
fn time(number: usize) -> u64 {
    1_700_000_000_000_000_000 + number as u64 * 1_000_001_003
}

/// Bytes in one byte order.
struct Writer {
    big_endian: bool,
    bytes: Vec<u8>,
}

impl Writer {
    fn new(big_endian: bool) -> Self {
        Self {
            big_endian,
            bytes: Vec::new(),
        }
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes.extend(if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        });
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes.extend(if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        });
        self
    }

    fn padded(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    fn option(&mut self, code: u16, value: &[u8]) -> &mut Self {
        self.u16(code).u16(value.len() as u16).padded(value)
    }

    /// A block of a type around what `content` writes.
    fn block(&mut self, kind: u32, content: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::new(self.big_endian);
        content(&mut inner);
        let length = inner.bytes.len() as u32 + 12;
        self.u32(kind).u32(length).padded(&inner.bytes).u32(length)
    }
}

/// All variants. `link` is the link type that the packets have; 1 is Ethernet.
pub fn all(packets: &[Vec<u8>], link: u16) -> Vec<Variant> {
    let mut all = Vec::new();
    for big_endian in [false, true] {
        for magic in [0xa1b2_c3d4, 0xa1b2_3c4d, 0xa1b2_cd34] {
            // Four bytes of frame check sequence; a snap length below the packets', and none.
            for (upper, snap_length) in [(0, 65_535), (0x1400_0000, 65_535), (0, 64), (0, 0)] {
                all.push(pcap(
                    packets,
                    u32::from(link) | upper,
                    big_endian,
                    magic,
                    snap_length,
                ));
            }
        }
        for options in ["none", "ended", "without an end", "not UTF-8"] {
            for resolution in [None, Some(6), Some(9), Some(0x80 | 20)] {
                all.push(enhanced(packets, link, big_endian, options, resolution));
            }
        }
        all.push(simple(packets, link, big_endian));
        all.push(old(packets, link, big_endian));
        all.push(sections(packets, link, big_endian));
        all.push(interfaces(packets, link, big_endian));
    }
    all
}

fn order(big_endian: bool) -> &'static str {
    if big_endian { "big-endian" } else { "little-endian" }
}

/// A pcap file with this magic.
pub fn pcap(packets: &[Vec<u8>], link: u32, big_endian: bool, magic: u32, snap_length: u32) -> Variant {
    let mut out = Writer::new(big_endian);
    out.u32(magic)
        .u16(2)
        .u16(4)
        .u32(0)
        .u32(0)
        .u32(snap_length)
        .u32(link);
    let unit = if magic == 0xa1b2_3c4d { 1 } else { 1000 };
    let mut times = Vec::new();
    for (i, packet) in packets.iter().enumerate() {
        let (seconds, nanoseconds) = (time(i) / 1_000_000_000, time(i) % 1_000_000_000);
        times.push(Some(time(i) / unit * unit));
        out.u32(seconds as u32).u32((nanoseconds / unit) as u32);
        out.u32(packet.len() as u32).u32(packet.len() as u32);
        if magic == 0xa1b2_cd34 {
            out.u32(2).u16(0x0800).u16(0);
        }
        out.bytes.extend(packet);
    }
    Variant {
        name: format!(
            "pcap {} {magic:08x}, link {link:08x}, snap length {snap_length}",
            order(big_endian)
        ),
        bytes: out.bytes,
        times,
    }
}

fn section(out: &mut Writer, options: &str) {
    out.block(0x0a0d_0d0a, |b| {
        b.u32(0x1a2b_3c4d).u16(1).u16(0).u32(u32::MAX).u32(u32::MAX);
        text_options(b, options);
    });
}

fn text_options(b: &mut Writer, options: &str) {
    match options {
        "ended" => _ = b.option(3, b"an operating system").u32(0),
        "without an end" => _ = b.option(2, b"some hardware").option(3, b"abcd"),
        "not UTF-8" => _ = b.option(1, b"caf\xe9 \xff\xfe").u32(0),
        _ => {}
    }
}

fn interface(out: &mut Writer, link: u16, snap_length: u32, options: &str, resolution: Option<u8>) {
    out.block(1, |b| {
        b.u16(link).u16(0).u32(snap_length);
        if let Some(resolution) = resolution {
            b.option(9, &[resolution]);
        }
        text_options(b, options);
    });
}

/// Units of a second.
fn units(resolution: Option<u8>) -> u128 {
    match resolution {
        None => 1_000_000,
        Some(r) if r & 0x80 != 0 => 1 << (r & 0x7f),
        Some(r) => 10_u128.pow(r.into()),
    }
}

fn stamp(number: usize, resolution: Option<u8>) -> (u64, Option<u64>) {
    let units = units(resolution);
    let stamp = u128::from(time(number)) * units / 1_000_000_000;
    (stamp as u64, Some((stamp * 1_000_000_000 / units) as u64))
}

fn packet(out: &mut Writer, interface: u32, stamp: u64, packet: &[u8], options: &str) {
    out.block(6, |b| {
        b.u32(interface).u32((stamp >> 32) as u32).u32(stamp as u32);
        b.u32(packet.len() as u32).u32(packet.len() as u32).padded(packet);
        match options {
            "ended" => _ = b.option(2, &[0; 4]).u32(0),
            "without an end" => _ = b.option(2, &[0; 4]),
            "not UTF-8" => _ = b.option(1, b"\xff\xfe"),
            _ => {}
        }
    });
}

/// Enhanced packets, with blocks among them that hold none.
fn enhanced(
    packets: &[Vec<u8>],
    link: u16,
    big_endian: bool,
    options: &str,
    resolution: Option<u8>,
) -> Variant {
    let mut out = Writer::new(big_endian);
    section(&mut out, options);
    interface(&mut out, link, 262_144, options, resolution);
    let mut times = Vec::new();
    for (i, bytes) in packets.iter().enumerate() {
        let (stamp, time) = stamp(i, resolution);
        times.push(time);
        packet(&mut out, 0, stamp, bytes, options);
        match i % 4 {
            // Names of addresses, of which one is not UTF-8; statistics; a block of nobody's.
            0 => {
                _ = out.block(4, |b| {
                    b.u16(1).u16(9).padded(b"\x0a\0\0\x01h\xf6st\0").u32(0);
                })
            }
            1 => {
                _ = out.block(5, |b| {
                    b.u32(0).u32(0).u32(0);
                })
            }
            2 => {
                _ = out.block(0x8000_1234, |b| {
                    b.padded(b"anything");
                })
            }
            _ => {}
        }
    }
    Variant {
        name: format!(
            "pcapng {}, options {options}, resolution {resolution:?}",
            order(big_endian)
        ),
        bytes: out.bytes,
        times,
    }
}

fn simple(packets: &[Vec<u8>], link: u16, big_endian: bool) -> Variant {
    let mut out = Writer::new(big_endian);
    section(&mut out, "none");
    interface(&mut out, link, 0, "none", None);
    for packet in packets {
        out.block(3, |b| {
            b.u32(packet.len() as u32).padded(packet);
        });
    }
    Variant {
        name: format!("pcapng {}, simple packets", order(big_endian)),
        bytes: out.bytes,
        times: vec![None; packets.len()],
    }
}

fn old(packets: &[Vec<u8>], link: u16, big_endian: bool) -> Variant {
    let mut out = Writer::new(big_endian);
    section(&mut out, "none");
    interface(&mut out, link, 65_535, "none", Some(9));
    for (i, packet) in packets.iter().enumerate() {
        let stamp = stamp(i, Some(9)).0;
        out.block(2, |b| {
            b.u16(0).u16(u16::MAX).u32((stamp >> 32) as u32).u32(stamp as u32);
            b.u32(packet.len() as u32).u32(packet.len() as u32).padded(packet);
        });
    }
    Variant {
        name: format!("pcapng {}, packet blocks of before 2004", order(big_endian)),
        bytes: out.bytes,
        times: (0..packets.len()).map(|i| stamp(i, Some(9)).1).collect(),
    }
}

/// Sections of either byte order, each with another snap length and resolution.
fn sections(packets: &[Vec<u8>], link: u16, big_endian: bool) -> Variant {
    let (mut bytes, mut times) = (Vec::new(), Vec::new());
    for (i, packets) in packets.chunks(3).enumerate() {
        let mut out = Writer::new(big_endian ^ (i % 2 == 1));
        let resolution = Some(if i % 2 == 0 { 6 } else { 9 });
        section(&mut out, "none");
        interface(&mut out, link, 100 + 1000 * i as u32, "ended", resolution);
        for bytes in packets {
            let (stamp, time) = stamp(times.len(), resolution);
            times.push(time);
            packet(&mut out, 0, stamp, bytes, "none");
        }
        bytes.extend(out.bytes);
    }
    Variant {
        name: format!("pcapng of sections, the first {}", order(big_endian)),
        bytes,
        times,
    }
}

/// Two interfaces with snap lengths and resolutions of their own.
fn interfaces(packets: &[Vec<u8>], link: u16, big_endian: bool) -> Variant {
    let mut out = Writer::new(big_endian);
    section(&mut out, "none");
    interface(&mut out, link, 262_144, "none", Some(6));
    interface(&mut out, link, 65_535, "none", Some(9));
    let mut times = Vec::new();
    for (i, bytes) in packets.iter().enumerate() {
        let (stamp, time) = stamp(i, Some([6, 9][i % 2]));
        times.push(time);
        packet(&mut out, i as u32 % 2, stamp, bytes, "none");
    }
    Variant {
        name: format!("pcapng {}, two interfaces", order(big_endian)),
        bytes: out.bytes,
        times,
    }
}
