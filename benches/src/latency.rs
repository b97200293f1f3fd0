//! B3: how long a packet takes through one NF, from port to port: alone, and at half of the rate that the chain carries.

use std::{
    collections::VecDeque,
    thread,
    time::{Duration, Instant},
};

use onvm_bundle::tables::PortTable;

use crate::{
    BenchError, Effort,
    flow_director::heads,
    host::{self, Host},
    results::{Goal, Record, rounded},
    rig::{self, BURST, Head, Rig},
    rules::{Traffic, frames::Random, lists::Kind},
};

pub const ID: &str = "b3";

const RULES: usize = 10_000;
const FLOWS: usize = 10_000;
const SIZE: u16 = 64;
/// Packets that are kept inside to learn what the chain carries.
const MANY: u64 = 1024;
const DEADLINE: Duration = Duration::from_secs(5);
/// Runnable threads of others.
const BUSY: f64 = 0.5;
/// Microseconds: the median alone, and p99 at half load.
const GOAL_ALONE: f64 = 3.0;
const GOAL_HALF: f64 = 20.0;
/// The median of known flows, of that by the default chain.
const GOAL_LOOKUP: f64 = 1.1;

/// How packets are classified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Default,
    Lookup,
    NewFlows,
}

const WAYS: [(Way, &str); 3] = [
    (Way::Default, "default chain"),
    (Way::Lookup, "lookup"),
    (Way::NewFlows, "new flows"),
];
const PERCENTILES: [(f64, &str); 3] = [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")];

/// Microseconds, by percentile, then repetition.
type Spread = [Vec<f64>; PERCENTILES.len()];

pub fn run(effort: Effort, host: &Host) -> Result<Record, BenchError> {
    let mut record = Record::new(
        ID,
        "Latency",
        "From the moment that a packet can be received until the worker has sent it, through a `forward` process on another core; worker \
         and NF spin. *Alone*: one packet at a time. *Half load*: packets are due at half of the rate that the same chain carries, and wait \
         counts from when they were due. The worker is that of onvm-run; default chain, lookup and new flows are those of b2.",
        "paper: 4.4 us by the default chain, 6.9 us with the optimised lookup, 24.9 us with a naive hash, by a card and its wire",
    );
    let cores = host::two_cores()?;
    // DPDK keeps to the thread that starts it, which is to be one that stays.
    let _lcore = rig::register()?;
    let mut found: [(Spread, Spread); WAYS.len()] = Default::default();
    let mut rates = Vec::new();
    for repetition in 1..=effort.repetitions {
        eprintln!("{ID}: repetition {repetition} of {}", effort.repetitions);
        for ((way, _), (alone, half)) in WAYS.iter().zip(&mut found) {
            // Bound to a core, as programs that are started later must not be.
            let measured = thread::scope(|scope| scope.spawn(|| measure(*way, cores, effort)).join());
            let broken = |_| BenchError::Needs("its thread to end well");
            let (times, loaded) = measured.map_err(broken)??;
            spread(alone, times);
            if let Some((rate, times)) = loaded {
                spread(half, times);
                if *way == Way::Default {
                    rates.push(rate / 1e6);
                }
            }
        }
    }
    describe(&mut record, found);
    record.add("default chain: full load", "Mpps", rates);
    if host.load > BUSY {
        record.notes.push(format!(
            "BUSY MACHINE: a load of {} when it began. Where others take the cores, half load and p99.9 show how long they keep them",
            rounded(host.load)
        ));
    }
    Ok(record)
}

fn describe(record: &mut Record, found: [(Spread, Spread); WAYS.len()]) {
    let mut add = |name: &str, kind: &str, spread: Spread| {
        let metrics = PERCENTILES.iter().zip(spread);
        let medians =
            metrics.map(|((_, p), samples)| record.add(format!("{name}, {kind}: {p}"), "us", samples));
        medians.collect::<Vec<_>>()
    };
    let (mut alone, mut half) = (Vec::new(), Vec::new());
    for ((_, name), (single, loaded)) in WAYS.iter().zip(found) {
        alone.push(add(name, "alone", single)[0]);
        half.push(add(name, "half load", loaded)[1]);
    }
    if let (Some(&Some(default)), Some(&Some(lookup)), Some(&Some(half))) =
        (alone.first(), alone.get(1), half.first())
    {
        let goals = [
            Goal::below("default chain, alone: p50", "us", GOAL_ALONE, default),
            Goal::below("default chain, half load: p99", "us", GOAL_HALF, half),
            Goal::below(
                "lookup, alone: p50 within 1.1 x of the default chain's",
                "us",
                GOAL_LOOKUP * default,
                lookup,
            ),
        ];
        record.goals.extend(goals);
    }
}

/// Adds the percentiles of times in microseconds.
fn spread(to: &mut Spread, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    for ((part, _), samples) in PERCENTILES.iter().zip(to) {
        let at = (times.len() as f64 * part) as usize;
        samples.extend(times.get(at.min(times.len().saturating_sub(1))));
    }
}

/// Times alone, and with the rate that the chain carries those at half of it: not for new flows, which would be known by then.
type Measured = (Vec<f64>, Option<(f64, Vec<f64>)>);

fn measure(way: Way, [worker, nf]: [usize; 2], effort: Effort) -> Result<Measured, BenchError> {
    let _lcore = rig::register()?;
    let mut traffic = Traffic::new(Kind::Acl, RULES);
    let table = match way {
        Way::Default => PortTable::new(Vec::new(), 0),
        Way::Lookup | Way::NewFlows => traffic.table(0)?,
    };
    // The NF's process stays on the core that this thread is bound to when it starts.
    host::pin(nf)?;
    let mut rig = Rig::beside_process(table)?;
    host::pin(worker)?;
    let mut course = Course {
        heads: heads(&mut traffic, FLOWS)?,
        random: Random(1),
    };
    for _ in 0..2 {
        for n in 0..FLOWS {
            course.alone(&mut rig, n)?;
        }
    }
    let packets = if effort.quick { 5_000 } else { 20_000 };
    let mut times = Vec::new();
    for _ in 0..packets {
        if way == Way::NewFlows {
            rig.forget();
        }
        let n = course.random.below(FLOWS);
        times.push(course.alone(&mut rig, n)?);
    }
    if way == Way::NewFlows {
        return Ok((times, None));
    }
    let (_, window) = effort.windows();
    let rate = course.full_load(&mut rig, window / 4)?;
    let loaded = course.half_load(&mut rig, rate / 2.0, window / 2)?;
    Ok((times, Some((rate, loaded))))
}

struct Course {
    heads: Vec<Head>,
    random: Random,
}

impl Course {
    /// Microseconds that a packet of one flow takes when there is no other.
    fn alone(&self, rig: &mut Rig, flow: usize) -> Result<f64, BenchError> {
        let before = rig.delivered();
        rig.feed(self.heads.get(flow).into_iter(), SIZE)?;
        let began = Instant::now();
        while rig.delivered() == before {
            rig.turn();
            overdue(began)?;
        }
        Ok(began.elapsed().as_secs_f64() * 1e6)
    }

    fn feed(&mut self, rig: &mut Rig, packets: usize) -> Result<(), BenchError> {
        let Self { heads, random } = self;
        let some = (0..packets).map(|_| &heads[random.below(FLOWS)]);
        rig.feed(some, SIZE).map(|_| ())
    }

    /// Packets a second where always many are inside.
    fn full_load(&mut self, rig: &mut Rig, period: Duration) -> Result<f64, BenchError> {
        let (before, began) = (rig.delivered(), Instant::now());
        let mut given = before;
        while began.elapsed() < period {
            if given - rig.delivered() <= MANY - BURST as u64 {
                self.feed(rig, BURST)?;
                given += BURST as u64;
            }
            rig.turn();
        }
        let rate = (rig.delivered() - before) as f64 / began.elapsed().as_secs_f64();
        let ending = Instant::now();
        while rig.delivered() < given {
            rig.turn();
            overdue(ending)?;
        }
        Ok(rate)
    }

    /// Microseconds of each packet from when it was due, whoever kept it from coming in then.
    fn half_load(&mut self, rig: &mut Rig, rate: f64, period: Duration) -> Result<Vec<f64>, BenchError> {
        let (mut times, mut inside) = (Vec::new(), VecDeque::new());
        let (mut left, began) = (rig.delivered(), Instant::now());
        let all = (rate * period.as_secs_f64()) as usize;
        let mut given = 0;
        while times.len() < all {
            let now = began.elapsed().as_secs_f64();
            let due = ((now * rate) as usize).min(all) - given;
            // Not more than find room.
            let due = due.min(BURST).min(MANY as usize - inside.len());
            if due > 0 {
                self.feed(rig, due)?;
                inside.extend((given..given + due).map(|n| n as f64 / rate));
                given += due;
            }
            rig.turn();
            let (delivered, now) = (rig.delivered(), began.elapsed().as_secs_f64());
            // One NF hands packets back in the order in which they came.
            for due in inside.drain(..(delivered - left) as usize) {
                times.push((now - due) * 1e6);
            }
            left = delivered;
            overdue(began)?;
        }
        Ok(times)
    }
}

fn overdue(began: Instant) -> Result<(), BenchError> {
    match began.elapsed() > DEADLINE {
        true => Err(BenchError::Nf("did not hand a packet back in time".to_owned())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let mut found = Spread::default();
        spread(&mut found, (0..1000).rev().map(f64::from).collect());
        spread(&mut found, vec![7.0]);
        assert_eq!(found, [vec![500.0, 7.0], vec![990.0, 7.0], vec![999.0, 7.0]]);
    }
}
