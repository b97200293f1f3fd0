//! Speaks the protocol as far as it must to be given memory, then writes what no network function may write. Everything
//! follows from one seed, which it prints.

use std::{
    io,
    os::fd::OwnedFd,
    path::Path,
    process::ExitCode,
    sync::atomic::Ordering,
    time::{Duration, SystemTime},
};

use nflib::{
    Descriptor, Region, ShmRing,
    layout::ABI_VERSION,
    memory::{Geometry, Mapping},
    ring::{Consumer, Producer},
    session::{self, Configuration, FromNf, ToNf},
};
use rustix::net::SendFlags;

/// Rounds of one life before it does something that must end it.
const ROUNDS: u32 = 60;

pub(crate) fn run() -> ExitCode {
    match Attack::begin().and_then(|mut attack| attack.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("hostile: {e}");
            ExitCode::FAILURE
        }
    }
}

/// SplitMix64 (G. Steele, D. Lea, C. Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

struct Attack {
    random: Random,
    connection: OwnedFd,
    /// The whole region, without any notion of what lies where.
    raw: Mapping,
    /// The packet file, if it could be mapped for writing.
    packets: Option<Mapping>,
    geometry: Geometry,
    incoming: Consumer<ShmRing>,
    outgoing: Producer<ShmRing>,
    /// Descriptors that it was given last.
    held: Vec<Descriptor>,
}

fn other(e: impl std::fmt::Display) -> io::Error {
    io::Error::other(e.to_string())
}

impl Attack {
    fn begin() -> io::Result<Self> {
        let socket = std::env::var_os(session::SOCKET_VARIABLE).ok_or(io::ErrorKind::NotFound)?;
        let connection = session::attach(Path::new(&socket))?;
        let pid = std::process::id();
        session::send(
            &connection,
            &FromNf::Hello {
                abi: ABI_VERSION,
                pid,
            },
            &[],
        )?;
        let Some((ToNf::Welcome { geometry, .. }, mut fds)) = session::receive(&connection)? else {
            return Err(other("no welcome"));
        };
        if fds.len() < 3 {
            return Err(other("too few descriptors"));
        }
        let rest = fds.split_off(2);
        let seed: u64 = Configuration::receive(rest)?.get("seed").map_err(other)?;
        let seed = if seed == 0 { entropy() } else { seed };
        let region = Region::open(&fds[0]).map_err(other)?;
        let packets = Mapping::new(&fds[1], true).ok();
        eprintln!("hostile: seed {seed}, packets writable: {}", packets.is_some());
        session::send(&connection, &FromNf::Ready, &[])?;
        Ok(Self {
            random: Random(seed),
            connection,
            raw: Mapping::new(&fds[0], true)?,
            packets,
            geometry,
            incoming: region.to_nf_consumer(0),
            outgoing: region.from_nf_producer(0),
            held: Vec::new(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        for _ in 0..ROUNDS {
            self.take();
            match self.random.below(6) {
                0 | 1 => self.hand_back_honestly(),
                2 => self.forge(),
                3 => self.repeat(),
                4 => self.scribble_beside_indices(),
                _ => self.scribble_packets(),
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        match self.random.below(5) {
            0 => self.scribble_everything(),
            1 => self.damage_indices(),
            2 => self.send_garbage()?,
            3 => self.talk_without_end()?,
            // Holds what it has and does nothing more.
            _ => {}
        }
        std::thread::sleep(Duration::from_secs(1 + self.random.next() % 3));
        Ok(())
    }

    fn take(&mut self) {
        let mut burst = [Descriptor::default(); 256];
        // An error says that it has damaged its own ring.
        if let Ok(n) = self.incoming.pop(&mut burst) {
            self.held.extend(&burst[..n]);
        }
    }

    fn push(&mut self, descriptors: &[Descriptor]) {
        let _ = self.outgoing.push(descriptors);
    }

    fn hand_back_honestly(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.push(&held);
    }

    /// Buffers that it may not hold, impossible places, verdicts that there are not, destinations that it may not name.
    fn forge(&mut self) {
        let mut burst: Vec<Descriptor> = Vec::new();
        for _ in 0..32 {
            let [a, b] = [self.random.next(), self.random.next()];
            let mut d = Descriptor::from_words([a, b]);
            match self.random.below(4) {
                0 => d.buffer %= self.geometry.buffers,
                1 => {
                    d = self.held.pop().unwrap_or_default();
                    (d.verdict, d.destination) = (b as u8 % 8, u16::MAX - (b >> 8) as u16 % 4);
                }
                2 => {
                    d = self.held.pop().unwrap_or_default();
                    (d.offset, d.length, d.verdict) = (a as u16, (a >> 16) as u16, 0);
                }
                _ => {}
            }
            burst.push(d);
        }
        self.push(&burst);
    }

    /// Each of its buffers several times.
    fn repeat(&mut self) {
        let held = std::mem::take(&mut self.held);
        for _ in 0..3 {
            self.push(&held);
        }
    }

    /// Header, bells, counters and slots, but no ring index: 64 words, each at a place of its own.
    fn scribble_beside_indices(&mut self) {
        for _ in 0..64 {
            let at = self.random.below(self.raw.len() / 8);
            let value = self.random.next();
            let line = at / 8;
            let is_index = self.index_lines().contains(&line);
            if let (Some(words), false) = (self.raw.u64s_at(at * 8, 1), is_index) {
                words[0].store(value, Ordering::Relaxed);
            }
        }
    }

    /// Cache lines that hold indices, found as a reader of the layout finds them.
    fn index_lines(&self) -> Vec<usize> {
        let ring = self.outgoing.capacity();
        let layout = nflib::layout::Layout::new(1, ring, nflib::layout::MAX_COUNTERS as u32);
        let rings = layout.sections.iter().filter(|s| {
            matches!(
                s.kind,
                nflib::layout::SectionKind::ToNf | nflib::layout::SectionKind::FromNf
            )
        });
        rings.flat_map(|s| [s.offset / 64, s.offset / 64 + 1]).collect()
    }

    fn scribble_packets(&mut self) {
        let Some(packets) = &self.packets else { return };
        for _ in 0..256 {
            let at = self.random.below(packets.len() / 8) * 8;
            if let Some(words) = packets.u64s_at(at, 1) {
                words[0].store(self.random.next(), Ordering::Relaxed);
            }
        }
    }

    fn scribble_everything(&mut self) {
        for at in (0..self.raw.len()).step_by(8) {
            if let Some(words) = self.raw.u64s_at(at, 1) {
                words[0].store(self.random.next(), Ordering::Relaxed);
            }
        }
    }

    fn damage_indices(&mut self) {
        for line in self.index_lines() {
            if let Some(index) = self.raw.u32_at(line * 64) {
                index.store(self.random.next() as u32, Ordering::Relaxed);
            }
        }
    }

    fn send_garbage(&mut self) -> io::Result<()> {
        let bytes: Vec<u8> = (0..self.random.below(4000))
            .map(|_| self.random.next() as u8)
            .collect();
        rustix::net::send(&self.connection, &bytes, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    fn talk_without_end(&mut self) -> io::Result<()> {
        let names = vec!["x".repeat(200); 100];
        for first in 0..10_000 {
            let names = names.clone();
            session::send(
                &self.connection,
                &FromNf::Counters {
                    first,
                    names,
                    gauges: Vec::new(),
                },
                &[],
            )?;
        }
        Ok(())
    }
}

fn entropy() -> u64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    now.as_nanos() as u64 ^ u64::from(std::process::id()) << 40
}
