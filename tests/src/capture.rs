//! Packets and captures.

use std::{collections::HashMap, fs::File, io::BufReader, path::Path, time::Duration};

use pcap_file::{
    TsResolution,
    pcap::{PcapPacket, PcapReader, PcapWriter},
};

/// A UDP packet over IPv4 of a flow (0 to 65535) with a number and the flow in its payload; 64 bytes and more.
pub fn udp(flow: u16, number: u32, payload: usize) -> Vec<u8> {
    packet(17, flow, 53, number, payload)
}

/// As [`udp`], over TCP to a port.
pub fn tcp(flow: u16, port: u16, number: u32, payload: usize) -> Vec<u8> {
    packet(6, flow, port, number, payload)
}

fn packet(protocol: u8, flow: u16, port: u16, number: u32, payload: usize) -> Vec<u8> {
    let mut data = Vec::from(number.to_be_bytes());
    data.extend(flow.to_be_bytes());
    data.resize(payload.max(22), 0xa5);
    let mut transport = Vec::new();
    transport.extend((10_000 + flow % 50_000).to_be_bytes());
    transport.extend(port.to_be_bytes());
    match protocol {
        17 => {
            transport.extend((8 + data.len() as u16).to_be_bytes());
            // No checksum.
            transport.extend([0, 0]);
        }
        _ => {
            transport.extend(number.to_be_bytes());
            transport.extend([0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
        }
    }
    transport.extend(data);
    let length = 20 + transport.len() as u16;
    let mut ip = vec![
        0x45,
        0,
        (length >> 8) as u8,
        length as u8,
        0,
        0,
        0x40,
        0,
        64,
        protocol,
        0,
        0,
    ];
    ip.extend([198, 51, (flow >> 8) as u8, flow as u8, 203, 0, 113, 9]);
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend(ip);
    frame.extend(transport);
    frame
}

fn checksum(header: &[u8]) -> u16 {
    let words = header.as_chunks::<2>().0.iter();
    let sum: u32 = words.map(|&w| u32::from(u16::from_be_bytes(w))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// Flow and number of a packet made by [`udp`] or [`tcp`].
pub fn flow_and_number(frame: &[u8]) -> (u16, u32) {
    let at = if frame[23] == 17 { 42 } else { 54 };
    let number = u32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
    (
        u16::from_be_bytes(frame[at + 4..at + 6].try_into().unwrap()),
        number,
    )
}

pub fn write(path: &Path, packets: &[Vec<u8>]) {
    let mut writer = PcapWriter::new(File::create(path).unwrap()).unwrap();
    for (i, packet) in packets.iter().enumerate() {
        let time = Duration::from_micros(i as u64);
        writer
            .write_packet(&PcapPacket::new(time, packet.len() as u32, packet))
            .unwrap();
    }
}

pub fn read(path: &Path) -> Vec<Vec<u8>> {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut reader = PcapReader::new(BufReader::new(file)).unwrap();
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet() {
        packets.push(
            packet
                .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
                .data
                .into_owned(),
        );
    }
    packets
}

/// How often each packet occurs.
pub fn multiset<'a>(packets: impl IntoIterator<Item = &'a Vec<u8>>) -> HashMap<&'a [u8], usize> {
    let mut set = HashMap::new();
    for packet in packets {
        *set.entry(packet.as_slice()).or_default() += 1;
    }
    set
}

/// Within each flow, numbers rise: no packet of a flow has passed another or come twice.
pub fn assert_in_order(packets: &[Vec<u8>]) {
    let mut last: HashMap<u16, u32> = HashMap::new();
    for (i, packet) in packets.iter().enumerate() {
        let (flow, number) = flow_and_number(packet);
        if let Some(before) = last.insert(flow, number) {
            assert!(
                before < number,
                "packet {i}: {number} of flow {flow} comes after {before}"
            );
        }
    }
}

/// A packet of a pcap file, as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Nanoseconds since 1970.
    pub time: u64,
    pub data: Vec<u8>,
    pub wire_length: u32,
}

/// The records of a pcap file, whatever they are.
pub fn records(path: &Path) -> Vec<Record> {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut reader = PcapReader::new(BufReader::new(file)).unwrap();
    let unit = match reader.header().ts_resolution {
        TsResolution::MicroSecond => 1000,
        TsResolution::NanoSecond => 1,
    };
    let mut records = Vec::new();
    while let Some(record) = reader.next_raw_packet() {
        let record = record.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        records.push(Record {
            time: u64::from(record.ts_sec) * 1_000_000_000 + u64::from(record.ts_frac) * unit,
            data: record.data.to_vec(),
            wire_length: record.orig_len,
        });
    }
    records
}
