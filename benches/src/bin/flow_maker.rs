//! An NF that makes flow entries as fast as its manager takes them, for benchmark B2: when so many are in force, its gauge `took_us`
//! says how long that took.

use std::{process::ExitCode, time::Duration};

use nflib::{
    Burst, Gauge, Nf, Setup, SetupError, Time,
    flows::{FlowEntry, FlowMatch, FlowNews, Flows, Target},
    state::FlowKey,
};

const LOOK_PERIOD: Duration = Duration::from_millis(1);

struct FlowMaker {
    flows: Flows,
    target: Target,
    wanted: u64,
    asked: u64,
    done: u64,
    refused: Gauge,
    took: Gauge,
    began: Option<Time>,
}

impl FlowMaker {
    /// Asks for as many as there is room to ask for.
    fn ask(&mut self) {
        while self.asked < self.wanted {
            // Addresses of IPv4, and one port.
            let key = FlowKey([self.asked, 0, 7, 0, 0x1234_5678 << 32, 0]);
            match self
                .flows
                .put(FlowEntry::new(self.target, FlowMatch::BothWays(key)))
            {
                Ok(_) => self.asked += 1,
                Err(_) => return,
            }
        }
    }
}

impl Nf for FlowMaker {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        setup.tick_every(LOOK_PERIOD);
        Ok(Self {
            flows: setup.flows(),
            target: setup.params.target("wan", "through")?,
            wanted: setup.params.get("entries")?,
            asked: 0,
            done: 0,
            refused: setup.gauge("refused")?,
            took: setup.gauge("took_us")?,
            began: None,
        })
    }

    fn process(&mut self, _: &mut Burst<'_>) {}

    fn tick(&mut self, now: Time) {
        let began = *self.began.get_or_insert(now);
        self.ask();
        if self.done >= self.wanted && self.took.get() == 0 {
            let took = (now - began).as_micros();
            self.took.set(u64::try_from(took).unwrap_or(u64::MAX));
        }
    }

    fn flow_news(&mut self, news: &FlowNews) {
        self.done = news.done;
        self.refused.set(self.refused.get() + news.refused.len() as u64);
        self.ask();
    }
}

fn main() -> ExitCode {
    nflib::run::<FlowMaker>()
}
