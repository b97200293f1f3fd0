//! The trait that an NF implements.

use std::time::Duration;

use crate::{
    Burst, Counter, CounterSet, Gauge, Histogram, Params, ParamsError,
    flows::{FlowNews, Flows},
    messages::{Message, Peers, Sent, Value},
    params::MemberParams,
    session::FromNf,
    time::{Clock, Time},
};

/// A network function: one value per instance, driven by [`crate::run`] on one thread.
pub trait Nf: Sized {
    /// Builds the NF from its parameters. An error is shown to the operator as it is.
    fn new(setup: &mut Setup) -> Result<Self, SetupError>;

    /// Handles a burst: looks at the packets and gives each a verdict (`Next` when it says nothing). Must not block.
    fn process(&mut self, burst: &mut Burst<'_>);

    /// Called about every [`Setup::tick_every`], between bursts, with the time.
    fn tick(&mut self, now: Time) {
        let _ = now;
    }

    /// What has become of requests about flow entries, and of entries; see [`flows`](crate::flows).
    fn flow_news(&mut self, news: &FlowNews) {
        let _ = news;
    }

    /// Takes a message of a kind that the manifest declares, between two bursts; see [`messages`](crate::messages). The answer, or why there
    /// is none, goes to the operator who sent it; to other instances none goes. Must not block, and answers at once: an operator waits 2 s.
    fn message(&mut self, message: &Message) -> Result<Value, String> {
        Err(message.unknown())
    }

    /// What has become of a message to the other instances of the service.
    fn sent(&mut self, sent: &Sent) {
        let _ = sent;
    }

    /// Takes new parameters while packets flow, between two bursts, where the manifest says `reconfigure = true`. Either all of them or
    /// none: after an error, which is shown to the operator as it is, or `Unsupported`, which has the manager replace the instance, the
    /// former ones are in force. The default says that it cannot.
    fn reconfigure(&mut self, params: &Params) -> Result<Reconfigured, SetupError> {
        let _ = params;
        Ok(Reconfigured::Unsupported)
    }
}

/// The outcome of new parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconfigured {
    Done,
    Unsupported,
}

/// Why an NF does not start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(transparent)]
    Params(#[from] ParamsError),
    #[error("the NF asks for more than {0} counters")]
    Counters(usize),
    #[error("{0}")]
    Other(String),
}

/// The start-up data of an NF.
#[derive(Debug)]
pub struct Setup {
    pub params: Params,
    instance: String,
    counters: CounterSet,
    names: Vec<String>,
    /// In front of each name: of one of several fused NFs.
    prefix: String,
    /// Places among the names.
    gauges: Vec<usize>,
    clock: Clock,
    tick: Option<Duration>,
    flows: Option<Flows>,
    peers: Option<Peers>,
    /// Which of several fused NFs is being built.
    member: u16,
}

impl Setup {
    pub(crate) fn new(instance: &str, params: Params, counters: CounterSet, clock: Clock) -> Self {
        Self {
            params,
            instance: instance.to_owned(),
            counters,
            names: Vec::new(),
            prefix: String::new(),
            gauges: Vec::new(),
            clock,
            tick: None,
            flows: None,
            peers: None,
            member: 0,
        }
    }

    /// The instance's name, e.g. `fw-0`.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// A new counter, shown by `onvmc status` and `/metrics` under `name`.
    pub fn counter(&mut self, name: impl Into<String>) -> Result<Counter, SetupError> {
        let counter = self
            .counters
            .get(self.names.len())
            .ok_or_else(|| SetupError::Counters(self.counters.capacity()))?;
        self.names.push(self.prefix.clone() + &name.into());
        Ok(counter)
    }

    /// A new gauge, shown as counters are. It takes the room of one.
    pub fn gauge(&mut self, name: impl Into<String>) -> Result<Gauge, SetupError> {
        let place = self.names.len();
        let word = self.counter(name)?;
        self.gauges.push(place);
        Ok(Gauge::new(word))
    }

    /// A new histogram of the values up to each of the bounds, which ascend, and of those above the last. It is shown as
    /// counters: for the name `wait_ns` and the bounds 100 and 1000 they are `wait_ns_to_100` (values of at most 100),
    /// `wait_ns_to_1000` (of 101 to 1000), `wait_ns_above_1000` and `wait_ns_sum`. It takes their room.
    pub fn histogram(&mut self, name: &str, bounds: &[u64]) -> Result<Histogram, SetupError> {
        let Some(last) = bounds.last().filter(|_| bounds.is_sorted_by(|a, b| a < b)) else {
            let reason = format!(
                "histogram `{name}`: expected one bound or more, each larger than the one before, found {bounds:?}"
            );
            return Err(SetupError::Other(reason));
        };
        let names = bounds.iter().map(|bound| format!("{name}_to_{bound}"));
        let names = names.chain([format!("{name}_above_{last}")]);
        let ranges = names.map(|name| self.counter(name)).collect::<Result<_, _>>()?;
        Ok(Histogram::new(
            bounds,
            ranges,
            self.counter(format!("{name}_sum"))?,
        ))
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Asks for [`Nf::tick`] about every `period`; without it there are no ticks.
    pub fn tick_every(&mut self, period: Duration) {
        self.tick = Some(period);
    }

    /// The way to program flows. Where they may lead, [`Params::target`] says.
    pub fn flows(&mut self) -> Flows {
        self.flows.get_or_insert_default().clone()
    }

    /// The same, if the NF has asked for it.
    pub(crate) fn asked_flows(&self) -> Option<Flows> {
        self.flows.clone()
    }

    /// The way to the other instances of the service.
    pub fn peers(&mut self) -> Peers {
        self.peers.get_or_insert_default().of(self.member)
    }

    /// The same, if the NF has asked for it.
    pub(crate) fn asked_peers(&self) -> Option<Peers> {
        self.peers.clone()
    }

    /// Builds one of several fused NFs: with its own name and parameters, and counters among those of all. Gives the period of the
    /// ticks that it asks for, too.
    pub(crate) fn member<T>(
        &mut self,
        place: u16,
        member: MemberParams,
        build: impl FnOnce(&mut Self) -> Result<T, SetupError>,
    ) -> Result<(T, Option<Duration>), SetupError> {
        let MemberParams { name, params, .. } = member;
        let service = name
            .rsplit_once('-')
            .map_or(name.as_str(), |(service, _)| service);
        self.prefix = format!("{service}.");
        self.member = place;
        let instance = std::mem::replace(&mut self.instance, name);
        let own = std::mem::replace(&mut self.params, params);
        let built = build(self);
        self.prefix.clear();
        self.params = own;
        let member = std::mem::replace(&mut self.instance, instance);
        match built {
            Ok(built) => Ok((built, self.tick.take())),
            Err(e) => Err(SetupError::Other(format!("{member}: {e}"))),
        }
    }

    pub(crate) fn tick_period(&self) -> Option<Duration> {
        self.tick
    }

    pub(crate) fn counter_names(&self) -> &[String] {
        &self.names
    }

    /// What the manager is told of the counters, in messages that are short enough.
    pub(crate) fn counter_messages(&self) -> impl Iterator<Item = FromNf> {
        const NAMES: usize = 200;
        let chunks = self.names.chunks(NAMES).enumerate();
        chunks.map(|(n, names)| {
            let first = NAMES * n;
            let here = first..first + names.len();
            let gauges = self.gauges.iter().filter(|place| here.contains(place));
            FromNf::Counters {
                first,
                names: names.to_vec(),
                gauges: gauges.map(|place| place - first).collect(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;
    use crate::memory::{Mapping, create_file};

    #[test]
    fn the_manager_is_told_which_counters_are_gauges() {
        let memory = Mapping::new(create_file("counters", 4096, false).unwrap(), true).unwrap();
        let counters = CounterSet::new(Arc::new(memory), 0, 300);
        let mut setup = Setup::new("test-0", Params::default(), counters, Clock::Monotonic);
        for n in 0..300 {
            match n % 100 {
                99 => drop(setup.gauge(format!("g{n}")).unwrap()),
                _ => drop(setup.counter(format!("c{n}")).unwrap()),
            }
        }
        let refused = setup.gauge("one more").unwrap_err().to_string();
        assert_eq!(refused, "the NF asks for more than 300 counters");
        let mut told = Vec::new();
        for message in setup.counter_messages() {
            let FromNf::Counters { first, names, gauges } = message else {
                unreachable!("{message:?}")
            };
            assert_eq!(first, told.len());
            let named = names.into_iter().enumerate();
            told.extend(named.map(|(n, name)| (gauges.contains(&n), name)));
        }
        assert_eq!(told.len(), 300);
        assert!(
            told.iter().all(|(gauge, name)| *gauge == name.starts_with('g')),
            "{told:?}"
        );
    }
}
