//! Counts packets by protocol and size, measures rates, and names the busiest senders. Changes nothing.

mod talkers;

use std::time::Duration;

use nflib::{
    Burst, Counter, Gauge, Message, Nf, Params, Reconfigured, Setup, SetupError, Time,
    filter::Expr,
    headers::{Headers, L3, protocol},
    messages::{Value, json},
};

use self::talkers::Talkers;
use crate::common::is_of;

/// Largest size in bytes of each bucket but the last, with the counters' names.
const SIZES: [(usize, &str); 7] = [
    (64, "size_to_64"),
    (127, "size_65_127"),
    (255, "size_128_255"),
    (511, "size_256_511"),
    (1023, "size_512_1023"),
    (1518, "size_1024_1518"),
    (usize::MAX, "size_from_1519"),
];

/// Counters that are named as they are in the manifest.
const NAMES: [&str; 10] = [
    "packets",
    "bytes",
    "ipv4",
    "ipv6",
    "arp",
    "tcp",
    "udp",
    "icmp",
    "other",
    "malformed",
];

/// Of `top = 0`.
const NO_TABLE: &str = "it keeps no table of senders; start it with a `top` of 1 or more";

/// Their places in a [`Tally`].
const PACKETS: usize = 0;
const BYTES: usize = 1;
const IPV4: usize = 2;
const IPV6: usize = 3;
const ARP: usize = 4;
const TCP: usize = 5;
const UDP: usize = 6;
const ICMP: usize = 7;
const OTHER: usize = 8;
const MALFORMED: usize = 9;

#[derive(Debug)]
pub struct Monitor {
    counters: [Counter; NAMES.len()],
    sizes: [Counter; SIZES.len()],
    packets_per_second: Gauge,
    bytes_per_second: Gauge,
    talkers: Option<Talkers>,
    ranks: Vec<Rank>,
    every: Duration,
    /// The packets that are counted; none: all.
    only: Option<Expr>,
    last: Published,
}

/// The gauges of one rank.
#[derive(Debug)]
struct Rank {
    packets: Gauge,
    error: Gauge,
    address_high: Gauge,
    address_low: Gauge,
}

/// State at the last publication, from which rates are measured.
#[derive(Debug)]
struct Published {
    at: Time,
    packets: u64,
    bytes: u64,
}

/// The sums of one burst, kept in registers and the stack before they go to the shared counters.
#[derive(Debug, Default)]
struct Tally {
    counters: [u64; NAMES.len()],
    sizes: [u64; SIZES.len()],
}

impl Nf for Monitor {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let Settings { every, top, only } = Settings::new(&setup.params)?;
        setup.tick_every(every);
        Ok(Self {
            counters: counters(setup, NAMES)?,
            sizes: counters(setup, SIZES.map(|(_, name)| name))?,
            packets_per_second: setup.gauge("packets_per_second")?,
            bytes_per_second: setup.gauge("bytes_per_second")?,
            talkers: (top > 0).then(|| Talkers::new(top)),
            ranks: (1..=top)
                .map(|rank| Rank::new(setup, rank))
                .collect::<Result<_, _>>()?,
            every,
            only,
            last: Published {
                at: setup.now(),
                packets: 0,
                bytes: 0,
            },
        })
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        let mut tally = Tally::default();
        for packet in burst.packets() {
            if !is_of(&self.only, &packet) {
                continue;
            }
            let headers = Headers::parse(packet.data());
            tally.add(&headers, packet.len());
            if let Some(talkers) = &mut self.talkers {
                match headers.l3 {
                    L3::Ipv4 { source, .. } => talkers.add(source.to_ipv6_mapped().into()),
                    L3::Ipv6 { source, .. } => talkers.add(source.into()),
                    L3::Arp | L3::Other => {}
                }
            }
        }
        for (counter, n) in self.counters.iter().chain(&self.sizes).zip(tally.all()) {
            if n > 0 {
                counter.add(n);
            }
        }
    }

    fn tick(&mut self, now: Time) {
        self.publish(now);
    }

    fn message(&mut self, message: &Message) -> Result<Value, String> {
        match message.kind.as_str() {
            "top" => self.top(message.fields.get("count").map_err(|e| e.to_string())?),
            "reset" => self.reset(),
            _ => Err(message.unknown()),
        }
    }

    /// The period is the run loop's and the ranks' counters are named at the start: a change of either needs a new
    /// instance, except fewer ranks.
    fn reconfigure(&mut self, params: &Params) -> Result<Reconfigured, SetupError> {
        let Settings { every, top, only } = Settings::new(params)?;
        if every != self.every || top > self.ranks.len() || (top > 0) != self.talkers.is_some() {
            return Ok(Reconfigured::Unsupported);
        }
        for rank in self.ranks.drain(top..) {
            rank.set(0, 0, 0);
        }
        self.only = only;
        Ok(Reconfigured::Done)
    }
}

impl Drop for Monitor {
    /// The last period ends with the instance: its senders are published too.
    fn drop(&mut self) {
        self.publish_talkers();
    }
}

impl Monitor {
    fn publish(&mut self, now: Time) {
        let elapsed = now - self.last.at;
        if elapsed.is_zero() {
            return;
        }
        let (packets, bytes) = (self.counters[PACKETS].get(), self.counters[BYTES].get());
        let rate = |n: u64| (n as f64 / elapsed.as_secs_f64()).round() as u64;
        self.packets_per_second
            .set(rate(packets.wrapping_sub(self.last.packets)));
        self.bytes_per_second
            .set(rate(bytes.wrapping_sub(self.last.bytes)));
        self.last = Published {
            at: now,
            packets,
            bytes,
        };
        self.publish_talkers();
    }

    /// The busiest senders now, at most as many as are published.
    fn top(&mut self, count: usize) -> Result<Value, String> {
        let talkers = self.talkers.as_mut().ok_or(NO_TABLE)?;
        let talkers = talkers.busiest().take(count).map(|talker| {
            json!({
                "address": std::net::Ipv6Addr::from(talker.address).to_canonical(),
                "packets": talker.packets,
                "error": talker.error,
            })
        });
        Ok(json!({
            "packets": self.counters[PACKETS].get(),
            "bytes": self.counters[BYTES].get(),
            "talkers": talkers.collect::<Vec<_>>(),
        }))
    }

    /// Forgets all senders; counters go on.
    fn reset(&mut self) -> Result<Value, String> {
        self.talkers.as_mut().ok_or(NO_TABLE)?.clear();
        self.ranks.iter().for_each(|rank| rank.set(0, 0, 0));
        Ok(Value::Null)
    }

    fn publish_talkers(&mut self) {
        let Some(talkers) = &mut self.talkers else { return };
        for (rank, talker) in self.ranks.iter().zip(talkers.busiest()) {
            rank.set(talker.packets, talker.error, talker.address);
        }
    }
}

impl Tally {
    #[inline(always)]
    fn add(&mut self, headers: &Headers, length: usize) {
        let c = &mut self.counters;
        c[PACKETS] += 1;
        c[BYTES] += length as u64;
        c[MALFORMED] += u64::from(headers.fault.is_some());
        let by_protocol = match (headers.l3, headers.protocol) {
            (L3::Arp, _) => ARP,
            (_, Some(protocol::TCP)) => TCP,
            (_, Some(protocol::UDP)) => UDP,
            (L3::Ipv4 { .. }, Some(protocol::ICMP)) | (L3::Ipv6 { .. }, Some(protocol::ICMPV6)) => ICMP,
            _ => OTHER,
        };
        c[by_protocol] += 1;
        match headers.l3 {
            L3::Ipv4 { .. } => c[IPV4] += 1,
            L3::Ipv6 { .. } => c[IPV6] += 1,
            L3::Arp | L3::Other => {}
        }
        let bucket = SIZES
            .iter()
            .position(|&(largest, _)| length <= largest)
            .unwrap_or(SIZES.len() - 1);
        self.sizes[bucket] += 1;
    }

    fn all(&self) -> impl Iterator<Item = u64> {
        self.counters.iter().chain(&self.sizes).copied()
    }
}

impl Rank {
    fn new(setup: &mut Setup, rank: usize) -> Result<Self, SetupError> {
        Ok(Self {
            packets: setup.gauge(format!("top_{rank}_packets"))?,
            error: setup.gauge(format!("top_{rank}_error"))?,
            address_high: setup.gauge(format!("top_{rank}_address_high"))?,
            address_low: setup.gauge(format!("top_{rank}_address_low"))?,
        })
    }

    fn set(&self, packets: u64, error: u64, address: u128) {
        self.packets.set(packets);
        self.error.set(error);
        self.address_high.set((address >> 64) as u64);
        self.address_low.set(address as u64);
    }
}

/// Reads the parameters as the NF does when it starts.
pub fn check(params: &Params) -> Result<(), SetupError> {
    Settings::new(params).map(drop)
}

/// The parameters, read.
struct Settings {
    every: Duration,
    top: usize,
    only: Option<Expr>,
}

impl Settings {
    fn new(params: &Params) -> Result<Self, SetupError> {
        let every: Option<u64> = params.optional("every")?;
        let top: Option<usize> = params.optional("top")?;
        Ok(Self {
            every: every.map_or(Duration::from_secs(1), Duration::from_nanos),
            top: top.unwrap_or(10),
            only: params.optional_filter("only")?,
        })
    }
}

fn counters<const N: usize>(setup: &mut Setup, names: [&str; N]) -> Result<[Counter; N], SetupError> {
    let counters = names
        .iter()
        .map(|&name| setup.counter(name))
        .collect::<Result<Vec<_>, _>>()?;
    counters.try_into().map_err(|_| SetupError::Counters(N))
}

#[cfg(test)]
mod tests;
