//! `rogue`: any verdict at random, to any destination; random values in what it is told to write, in packets that it holds and
//! in whatever lies in the packet file; and a sudden end now and then. It hands each packet back once, so that where packets
//! come to is up to permissions and proofs alone.
//!
//! Parameters: `held` and `elsewhere` name header fields, with commas between; `life` is how many packets it serves (0: for ever);
//! `stamp` is the bit that it sets in each packet that it holds, fifth byte from the end. With `wild` it writes all headers
//! of all packets, and says now and then that a packet has another place or length. Where it may program flows, it asks for entries
//! of any kind.

#![allow(unsafe_code)]

use std::{
    io,
    ops::Range,
    os::fd::OwnedFd,
    path::Path,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use nflib::{
    Counter, Descriptor, Region, ShmRing,
    flows::{FlowEntry, FlowMatch, FlowRequest, Target},
    headers::{Headers, L4},
    layout::ABI_VERSION,
    memory::{Mapping, PacketFile},
    ring::{Consumer, Producer},
    session::{self, Command, Configuration, FromNf, ToNf},
};
use onvm_bundle::filter::flow::flow_of;
use onvm_tests::random::Random;
use rustix::net::RecvFlags;

/// By kind of verdict, 6 being one that does not exist; then packets written elsewhere.
const COUNTERS: [&str; 8] = [
    "next",
    "output",
    "drop",
    "steer",
    "out",
    "lookup",
    "unknown",
    "elsewhere",
];
/// More of those that keep a packet alive.
const VERDICTS: [u8; 16] = [0, 0, 0, 0, 0, 0, 1, 1, 3, 3, 4, 4, 5, 5, 2, 6];
const HEADERS: u16 = 54;

pub(crate) fn run() -> ExitCode {
    match Rogue::begin().and_then(|mut rogue| rogue.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("rogue: {e}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Default)]
struct Writes {
    fields: Vec<String>,
    wild: bool,
}

struct Rogue {
    random: Random,
    held: Writes,
    elsewhere: Writes,
    /// None: its manifest declares no write.
    packets: Option<Arc<PacketFile>>,
    stamp: u8,
    /// Packets until it ends.
    life: Option<usize>,
    region: Region,
    counters: Vec<Counter>,
    incoming: Consumer<ShmRing>,
    outgoing: Producer<ShmRing>,
    /// The manager takes its end for the NF's.
    connection: OwnedFd,
    /// Where its flow entries may lead.
    targets: u16,
    /// What it has asked about flow entries.
    requests: u64,
}

fn other(e: impl std::fmt::Display) -> io::Error {
    io::Error::other(e.to_string())
}

impl Rogue {
    fn begin() -> io::Result<Self> {
        let socket = std::env::var_os(session::SOCKET_VARIABLE).ok_or(io::ErrorKind::NotFound)?;
        let connection = session::attach(Path::new(&socket))?;
        let (abi, pid) = (ABI_VERSION, std::process::id());
        session::send(&connection, &FromNf::Hello { abi, pid }, &[])?;
        let Some((ToNf::Welcome { geometry, .. }, mut fds)) = session::receive(&connection)? else {
            return Err(other("no welcome"));
        };
        let params = Configuration::receive(fds.split_off(2))?;
        let region = Region::open(&fds[0]).map_err(other)?;
        let names = COUNTERS.map(str::to_owned).into();
        session::send(
            &connection,
            &FromNf::Counters {
                first: 0,
                names,
                gauges: Vec::new(),
            },
            &[],
        )?;
        session::send(&connection, &FromNf::Ready, &[])?;
        let number = |name: &str| params.get::<u64>(name).map_err(other);
        let wild = params.get("wild").map_err(other)?;
        let writes = |name: &str| {
            let text: String = params.get(name).map_err(other)?;
            let fields = text.split(',').filter(|f| !f.is_empty()).map(str::to_owned);
            io::Result::Ok(Writes {
                fields: fields.collect(),
                wild,
            })
        };
        let mut random = Random((number("seed")? ^ u64::from(pid) << 20) | 1);
        let life = number("life")? as usize;
        let mapping = Mapping::new(&fds[1], true).ok();
        Ok(Self {
            held: writes("held")?,
            elsewhere: writes("elsewhere")?,
            packets: mapping
                .map(|m| PacketFile::new(m, geometry).map(Arc::new))
                .transpose()?,
            stamp: 1 << number("stamp")?,
            life: (life > 0).then(|| life + random.below(life)),
            counters: (0..COUNTERS.len())
                .filter_map(|n| region.counters().get(n))
                .collect(),
            incoming: region.to_nf_consumer(0),
            outgoing: region.from_nf_producer(0),
            targets: params.targets().count() as u16,
            connection,
            requests: 0,
            region,
            random,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        self.write_elsewhere();
        let mut burst = [Descriptor::default(); 32];
        loop {
            let n = self.incoming.pop(&mut burst).map_err(other)?;
            if n == 0 {
                if self.region.command().load(Ordering::Acquire) == Command::Stop as u32 {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_micros(100));
                continue;
            }
            for descriptor in &mut burst[..n] {
                self.treat(descriptor);
            }
            if self.targets > 0 && self.random.one_in(8) {
                self.program(&burst[0])?;
            }
            if let Some(life) = &mut self.life {
                *life = life.saturating_sub(n);
                if *life == 0 {
                    std::process::exit(1);
                }
            }
            let mut rest = &burst[..n];
            while !rest.is_empty() {
                let pushed = self.outgoing.push(rest).map_err(other)?;
                rest = &rest[pushed..];
            }
        }
    }

    /// Asks for some entries, or for their removal, and takes no notice of what becomes of that.
    fn program(&mut self, packet: &Descriptor) -> io::Result<()> {
        const FILTERS: [&str; 4] = ["(all)", "(tcp)", "(udp-port dst 53)", "(not (greater 120))"];
        let key = self.packets.as_ref().and_then(|packets| {
            let data = packets.bytes(packet.buffer, packet.offset, packet.length);
            flow_of(data).key
        });
        let mut requests = Vec::new();
        for _ in 0..1 + self.random.below(20) {
            // One of them does not exist.
            let target = self.random.below(usize::from(self.targets) + 1);
            let target: Target = serde_json::from_value(target.into()).map_err(other)?;
            let matches = match (key, self.random.below(3)) {
                (Some(key), 0) => FlowMatch::Flow(key),
                (Some(key), 1) => FlowMatch::BothWays(key),
                _ => FlowMatch::Filter(self.random.of(&FILTERS).parse().map_err(other)?),
            };
            let priority = self.random.below(3) as u16;
            requests.push(match self.random.below(4) {
                0 => FlowRequest::Remove {
                    target,
                    matches,
                    priority,
                },
                _ => {
                    let idle = Duration::from_millis(1 + self.random.below(200) as u64);
                    let entry = FlowEntry::new(target, matches).priority(priority).idle(idle);
                    FlowRequest::Put(entry)
                }
            });
        }
        let (first, count) = (self.requests, requests.len() as u64);
        let message = session::encode(&FromNf::Flows { first, requests })?;
        if session::try_send(&self.connection, &message)? {
            self.requests += count;
        }
        let mut news = vec![0; session::MAX_MESSAGE];
        while rustix::net::recv(&self.connection, &mut news, RecvFlags::DONTWAIT).is_ok() {}
        Ok(())
    }

    fn treat(&mut self, d: &mut Descriptor) {
        if let Some(packets) = &self.packets {
            // SAFETY: the NF holds the packet. That others write it, too, is what this program is for.
            if let Some(data) = unsafe { packets.bytes_mut(d.buffer, d.offset, d.length) } {
                if let Some(stamp) = data.len().checked_sub(5) {
                    data[stamp] |= self.stamp;
                }
                scribble(data, &self.held, &mut self.random);
            }
            if self.held.wild && self.random.below(50) == 0 {
                // An odd length, which no packet that is sent has.
                (d.offset, d.length) = (self.random.below(300) as u16, self.random.below(3000) as u16 | 1);
            }
        }
        d.verdict = self.random.of(&VERDICTS);
        let destinations = match d.verdict {
            1 => 3,
            _ => 10,
        };
        d.destination = self.random.below(destinations) as u16;
        self.counters[usize::from(d.verdict)].add(1);
    }

    /// A thread that writes to every buffer, whoever holds it.
    fn write_elsewhere(&self) {
        let (Some(packets), writes, mut random) =
            (self.packets.clone(), self.elsewhere.clone(), self.random.clone())
        else {
            return;
        };
        if writes.fields.is_empty() && !writes.wild {
            return;
        }
        let counter = self.region.counters().get(COUNTERS.len() - 1);
        std::thread::spawn(move || {
            let geometry = packets.geometry();
            loop {
                for buffer in 0..geometry.buffers {
                    let offset = geometry.headroom as u16;
                    // SAFETY: there is none, on purpose: the NF holds few of these buffers.
                    let Some(data) = (unsafe { packets.bytes_mut(buffer, offset, HEADERS) }) else {
                        return;
                    };
                    scribble(data, &writes, &mut random);
                    if let Some(counter) = &counter {
                        counter.add(1);
                    }
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        });
    }
}

/// Writes some of the fields.
fn scribble(data: &mut [u8], writes: &Writes, random: &mut Random) {
    if writes.wild && random.below(4) == 0 {
        let end = data.len().min(usize::from(HEADERS));
        if end > 0 {
            data[random.below(end)] = random.below(256) as u8;
        }
    }
    if writes.fields.is_empty() {
        return;
    }
    let headers = Headers::parse(data);
    for field in &writes.fields {
        let Some((range, values)) = field_of(&headers, field) else {
            continue;
        };
        if let (true, Some(to)) = (random.below(2) == 0, data.get_mut(range)) {
            to.copy_from_slice(&random.of(values).to_be_bytes()[4 - to.len()..]);
        }
    }
}

/// Where a field stands, and values that rules speak of.
fn field_of(headers: &Headers, field: &str) -> Option<(Range<usize>, &'static [u32])> {
    const PORTS: &[u32] = &[53, 80, 99, 443];
    let l3 = usize::from(headers.l3_offset);
    let l4 = usize::from(headers.l4_offset);
    let (tcp, udp) = (
        matches!(headers.l4, L4::Tcp { .. }),
        matches!(headers.l4, L4::Udp { .. }),
    );
    Some(match field {
        "ether.src" => (8..12, &[0, 1, 9]),
        _ if !headers.is_ip() => return None,
        "ip.dscp" => (l3 + 1..l3 + 2, &[0, 46 << 2]),
        "ip.ttl" => (l3 + 8..l3 + 9, &[7, 64]),
        "ip.src" => (l3 + 12..l3 + 16, &[0xc633_0001, 0xc633_c801]),
        "ip.dst" => (l3 + 16..l3 + 20, &[0xcb00_7109, 0xcb00_710a]),
        "tcp.dst_port" if tcp => (l4 + 2..l4 + 4, PORTS),
        "udp.dst_port" if udp => (l4 + 2..l4 + 4, PORTS),
        "tcp.window" if tcp => (l4 + 14..l4 + 16, &[0, 0xffff]),
        _ => return None,
    })
}
