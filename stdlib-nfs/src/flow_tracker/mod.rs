//! Packets, bytes and TCP state of each flow, both directions in one; a line in the log for each that has ended. Changes nothing.

mod flow;

use std::{net::IpAddr, time::Duration};

use nflib::{
    Burst, Counter, Gauge, Message, Nf, Packet, Params, Reconfigured, Setup, SetupError, Time,
    filter::Expr,
    headers::{Fragment, Headers, L3, L4},
    log::{self, Level},
    messages::{Value, json},
    state::{FlowKey, FlowTable, Gone, Why},
};

use self::flow::{End, Record, State};
use crate::common::is_of;

/// Flows that end are handed out so many at each burst: no burst makes more.
const ENDS_PER_BURST: usize = 64;
/// The same at each tick, when no packets come.
const ENDS_PER_TICK: usize = 4096;
const TICK: Duration = Duration::from_millis(100);
const EXPORT_WINDOW: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct FlowTracker {
    flows: FlowTable<Record>,
    settings: Settings,
    /// The longest idle time that the table was made for.
    longest: Duration,
    /// Raised by new parameters: each flow takes its new idle time with its next packet.
    epoch: u8,
    counters: Counters,
    /// When the present second of the export began, and lines that are left of it.
    window: (Time, u32),
    now: Time,
}

#[derive(Debug)]
struct Counters {
    packets: Counter,
    tracked: Counter,
    fragments: Counter,
    malformed: Counter,
    untracked: Counter,
    started: Counter,
    /// In the order of [`End::ALL`].
    ended: [Counter; End::ALL.len()],
    active: Gauge,
    exported: Counter,
    not_exported: Counter,
}

impl Nf for FlowTracker {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let settings = Settings::new(&setup.params)?;
        setup.tick_every(TICK);
        let longest = settings.longest();
        Ok(Self {
            flows: FlowTable::new(settings.flows, longest),
            longest,
            epoch: 0,
            counters: Counters::new(setup)?,
            window: (setup.now(), settings.export),
            now: setup.now(),
            settings,
        })
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        self.now = burst.now();
        for packet in burst.packets() {
            if is_of(&self.settings.only, &packet) {
                self.counters.packets.add(1);
                self.look_at(&packet);
            }
        }
        self.end_idle(ENDS_PER_BURST);
    }

    fn tick(&mut self, now: Time) {
        self.now = now;
        self.end_idle(ENDS_PER_TICK);
    }

    fn message(&mut self, message: &Message) -> Result<Value, String> {
        let failed = |e: nflib::ParamsError| e.to_string();
        match message.kind.as_str() {
            "flows" => Ok(self.largest(
                message.fields.get("count").map_err(failed)?,
                message.fields.optional("address").map_err(failed)?,
            )),
            _ => Err(message.unknown()),
        }
    }

    /// The room of the table and the longest of its times are fixed at the start.
    fn reconfigure(&mut self, params: &Params) -> Result<Reconfigured, SetupError> {
        let settings = Settings::new(params)?;
        if settings.flows != self.settings.flows || settings.longest() > self.longest {
            return Ok(Reconfigured::Unsupported);
        }
        self.epoch = self.epoch.wrapping_add(1);
        self.window.1 = self.window.1.min(settings.export);
        self.settings = settings;
        Ok(Reconfigured::Done)
    }
}

impl FlowTracker {
    fn look_at(&mut self, packet: &Packet<'_>) {
        let headers = Headers::parse(packet.data());
        let counters = &self.counters;
        let key = packet.flow();
        let uncounted = match (headers.l3, headers.fault, headers.fragment, &key) {
            (_, Some(_), ..) => Some(&counters.malformed),
            (L3::Ipv6 { .. }, None, Fragment::First, _) | (_, None, Fragment::Later(_), _) => {
                Some(&counters.fragments)
            }
            // The ports behind extension headers are not in the key: connections would become one.
            (_, None, _, Some(key)) if headers.protocol == Some(key.protocol()) => None,
            _ => Some(&counters.untracked),
        };
        match (uncounted, key) {
            (None, Some(key)) => {
                counters.tracked.add(1);
                self.count(&key, &headers, packet.len());
            }
            (counter, _) => counter.unwrap_or(&counters.untracked).add(1),
        }
    }

    fn count(&mut self, key: &FlowKey, headers: &Headers, length: usize) {
        let flags = match headers.l4 {
            L4::Tcp { flags, .. } => Some(flags),
            _ => None,
        };
        // A new connection with the ports of one that has ended.
        let begins = flags.is_some_and(flow::begins);
        if begins
            && self
                .flows
                .get(key, self.now)
                .is_some_and(|flow| flow.state.is_over())
        {
            self.end_now(key);
        }
        let (now, epoch) = (self.now, self.epoch);
        let (mut flow, gone) = self.flows.entry(key, now, || Record::new(now, flags, epoch));
        let (direction, is_new) = (flow.direction, flow.is_new);
        let before = flow.state;
        flow.add(direction, length, flags, now);
        if is_new || flow.state != before || flow.epoch != epoch {
            flow.epoch = epoch;
            let idle = self.settings.idle(flow.state);
            flow.expire_after(idle);
        }
        if is_new {
            self.counters.started.add(1);
        }
        if let Some(gone) = gone {
            self.end(&gone);
        }
    }

    /// Ends flows that have been idle for their time.
    fn end_idle(&mut self, most: usize) {
        for _ in 0..most {
            let gone = self.flows.expire(self.now).next();
            match gone {
                Some(gone) => self.end(&gone),
                None => break,
            }
        }
        self.counters.active.set(self.flows.len() as u64);
    }

    /// Ends a flow before its time is over.
    fn end_now(&mut self, key: &FlowKey) {
        let first = self.flows.get(key, self.now).map(|flow| flow.direction);
        let Some(value) = self.flows.remove(key, self.now) else {
            return;
        };
        let key = match first {
            Some(nflib::state::Direction::Reply) => key.reversed(),
            _ => *key,
        };
        let why = Why::Expired;
        self.end(&Gone { key, value, why });
    }

    /// Counts and exports a flow that is gone.
    fn end(&mut self, gone: &Gone<Record>) {
        let end = match gone.why {
            Why::Evicted => End::Evicted,
            Why::Expired => gone.value.end(),
        };
        self.counters.ended[end as usize].add(1);
        if self.settings.export == 0 {
            return;
        }
        if self.now - self.window.0 >= EXPORT_WINDOW {
            self.window = (self.now, self.settings.export);
        }
        if self.window.1 == 0 || !log::log_enabled!(Level::Info) {
            self.counters.not_exported.add(1);
            return;
        }
        self.window.1 -= 1;
        self.counters.exported.add(1);
        let mut line = gone.value.json(&gone.key, gone.value.last());
        line["end"] = end.word().into();
        log::info!("{line}");
    }

    /// The active flows with the most bytes.
    fn largest(&self, count: usize, address: Option<IpAddr>) -> Value {
        let is_of = |key: &FlowKey| {
            let (source, destination) = key.addresses();
            address.is_none_or(|address| [source, destination].contains(&address))
        };
        let mut found: Vec<_> = self.flows.iter().filter(|(key, _)| is_of(key)).collect();
        let active = found.len();
        let by_bytes = |(key, flow): &(FlowKey, &Record)| (std::cmp::Reverse(flow.bytes()), key.0);
        if active > count {
            found.select_nth_unstable_by_key(count, by_bytes);
            found.truncate(count);
        }
        found.sort_unstable_by_key(by_bytes);
        let shown = found.iter().map(|(key, flow)| flow.json(key, self.now));
        json!({ "active": active, "flows": shown.collect::<Vec<_>>() })
    }
}

impl Counters {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let [packets, tracked, fragments, malformed, untracked, started] = [
            "packets",
            "tracked",
            "fragments",
            "malformed",
            "untracked",
            "started",
        ]
        .map(|name| setup.counter(name));
        let [closed, reset, idle, evicted] =
            End::ALL.map(|end| setup.counter(format!("ended_{}", end.word())));
        Ok(Self {
            packets: packets?,
            tracked: tracked?,
            fragments: fragments?,
            malformed: malformed?,
            untracked: untracked?,
            started: started?,
            ended: [closed?, reset?, idle?, evicted?],
            active: setup.gauge("active")?,
            exported: setup.counter("exported")?,
            not_exported: setup.counter("not_exported")?,
        })
    }
}

/// Reads the parameters as the NF does when it starts.
pub fn check(params: &Params) -> Result<(), SetupError> {
    Settings::new(params).map(drop)
}

/// The parameters, read.
#[derive(Debug)]
struct Settings {
    flows: usize,
    tcp_opening: Duration,
    tcp_established: Duration,
    tcp_closing: Duration,
    other: Duration,
    export: u32,
    only: Option<Expr>,
}

impl Settings {
    fn new(params: &Params) -> Result<Self, SetupError> {
        let time = |name: &str, default: u64| -> Result<Duration, SetupError> {
            let given: Option<u64> = params.optional(name)?;
            Ok(given.map_or(Duration::from_secs(default), Duration::from_nanos))
        };
        let flows: Option<usize> = params.optional("flows")?;
        let export: Option<u32> = params.optional("export")?;
        Ok(Self {
            flows: flows.unwrap_or(65_536),
            tcp_opening: time("tcp_opening", 10)?,
            tcp_established: time("tcp_established", 300)?,
            tcp_closing: time("tcp_closing", 5)?,
            other: time("other", 30)?,
            export: export.unwrap_or(100),
            only: params.optional_filter("only")?,
        })
    }

    fn idle(&self, state: State) -> Duration {
        match state {
            State::Opening => self.tcp_opening,
            State::Established | State::HalfClosed => self.tcp_established,
            State::Closed | State::Reset => self.tcp_closing,
            State::Other => self.other,
        }
    }

    fn longest(&self) -> Duration {
        let tcp = self.tcp_opening.max(self.tcp_established).max(self.tcp_closing);
        tcp.max(self.other)
    }
}

#[cfg(test)]
mod tests;
