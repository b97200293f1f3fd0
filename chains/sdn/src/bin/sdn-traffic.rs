//! `sdn-traffic [FLOWS]`: writes a capture of so many flows to stdout, or flows without end.
//!
//! 64 flows live at a time, and take turns. Each has 100 packets, then a new one takes its place.

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use nflib_testing::packet;

const LIVE: u64 = 64;
const PACKETS: u64 = 100;
/// Microseconds between two packets, by their time stamps.
const PACE: u64 = 10;

fn main() -> ExitCode {
    let flows = match std::env::args().nth(1).map(|n| n.parse()) {
        None => u64::MAX,
        Some(Ok(flows)) => flows,
        Some(Err(_)) => {
            eprintln!("error: sdn-traffic takes a number of flows, or nothing for flows without end");
            return ExitCode::from(2);
        }
    };
    match write(&mut BufWriter::new(io::stdout().lock()), flows) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has enough.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: cannot write packets to stdout: {e}");
            ExitCode::FAILURE
        }
    }
}

fn write(out: &mut impl Write, flows: u64) -> io::Result<()> {
    out.write_all(&[
        0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0,
    ])?;
    let mut time = 1_700_000_000_000_000;
    let mut record = |frame: &[u8]| {
        time += PACE;
        let length = frame.len() as u64;
        for field in [time / 1_000_000, time % 1_000_000, length, length] {
            out.write_all(&(field as u32).to_le_bytes())?;
        }
        out.write_all(frame)
    };
    for first in (0..flows).step_by(LIVE as usize) {
        let live = first..flows.min(first + LIVE);
        for number in 0..PACKETS {
            for flow in live.clone() {
                record(&frame(flow, number))?;
            }
        }
        record(&packet::arp_request("198.51.100.1", "203.0.113.9").build())?;
    }
    out.flush()
}

/// Packet `number` of a flow. Of eight flows four are HTTPS, one is Telnet, one DNS and two are HTTP, of which every second asks for
/// what it should not, in its tenth packet.
fn frame(flow: u64, number: u64) -> Vec<u8> {
    let from = format!(
        "198.18.{}.{}:{}",
        flow >> 8 & 0xff,
        flow & 0xff,
        1024 + (flow >> 16) % 60_000
    );
    let tcp = |port: u16, payload: &[u8]| {
        let to = format!("203.0.113.9:{port}");
        packet::tcp(&*from, &*to)
            .ack(1)
            .seq(number as u32)
            .payload(payload)
            .build()
    };
    match flow % 8 {
        0..4 => tcp(443, b"\x17\x03\x03\x00\x00"),
        4 => tcp(23, b"login: "),
        5 => packet::udp(&*from, "203.0.113.9:53").payload(b"query").build(),
        7 if number == 9 => tcp(80, b"GET /../../etc/passwd HTTP/1.1\r\n\r\n"),
        _ => tcp(80, b"GET /index.html HTTP/1.1\r\n\r\n"),
    }
}
