//! The trait that an NF implements.

use std::time::Duration;

use crate::{
    Burst, Counter, CounterSet, Params, ParamsError,
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

    /// Takes new parameters while packets flow. The default says that it cannot. The present manager does not ask, and
    /// replaces the instance.
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
    clock: Clock,
    tick: Option<Duration>,
}

impl Setup {
    pub(crate) fn new(instance: &str, params: Params, counters: CounterSet, clock: Clock) -> Self {
        Self {
            params,
            instance: instance.to_owned(),
            counters,
            names: Vec::new(),
            clock,
            tick: None,
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
        self.names.push(name.into());
        Ok(counter)
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Asks for [`Nf::tick`] about every `period`; without it there are no ticks.
    pub fn tick_every(&mut self, period: Duration) {
        self.tick = Some(period);
    }

    pub(crate) fn tick_period(&self) -> Option<Duration> {
        self.tick
    }

    pub(crate) fn counter_names(&self) -> &[String] {
        &self.names
    }
}
