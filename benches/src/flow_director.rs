//! B2: what the flow director costs: packets that all take one chain, packets of known flows, and packets of new flows.

use std::{collections::HashSet, time::Duration};

use onvm_bundle::{filter::flow::flow_of, tables::PortTable};

use crate::{
    BenchError, Effort,
    results::{Goal, Record, rounded},
    rig::{self, Head, MOST_FED, Rig},
    rules::{Traffic, frames::Random, lists::Kind},
};

pub const ID: &str = "b2";

const RULES: usize = 10_000;
const FLOWS: [usize; 3] = [1, 10_000, 1_000_000];
/// Flows that are used for what does not depend on their number.
const SOME: usize = 10_000;
const SIZES: [u16; 3] = [64, 512, 1518];
/// The share of the default chain's rate that packets of known flows are to have, with the most flows.
const GOAL_SHARE: f64 = 0.9;
/// Nanoseconds that a packet of a new flow may take.
const GOAL_MISS: f64 = 2000.0;

/// Two workers that differ in nothing but the table of their port.
struct Course {
    /// Without rules.
    default: Rig,
    /// With [`RULES`] rules, of which each leads to the same chain.
    lookup: Rig,
    heads: Vec<Head>,
    random: Random,
    /// Packets of one sample.
    packets: usize,
}

pub fn run(effort: Effort) -> Result<Record, BenchError> {
    let mut record = Record::new(
        ID,
        "Flow director",
        "The worker of onvm-run in one thread, called round by round, with packets of N flows in random order through one NF: its time alone \
         is counted, and not that of the NF, which answers at once. *Default chain*: a port without rules. *Lookup*: 10,000 rules in the \
         manner of ClassBench, and flows that the worker knows. *New flows*: the same, of which it knows none.",
        "paper: latency 4.4 us by the default chain, 6.9 us with the optimised lookup, 24.9 us with a naive hash",
    );
    let _lcore = rig::register()?;
    let mut course = course(effort)?;
    for flows in FLOWS {
        eprintln!("{ID}: {flows} flows");
        let [default, lookup] = course.rates(effort, flows, SIZES[0])?;
        let default = record.add(format!("default chain, {flows} flows"), "Mpps", default);
        let lookup = record.add(format!("lookup, {flows} flows"), "Mpps", lookup);
        if let (Some(default), Some(lookup)) = (default, lookup) {
            let share = rounded(100.0 * lookup / default);
            record.notes.push(format!(
                "{flows} flows: lookup has {share} % of the default chain's rate"
            ));
            if flows == FLOWS[FLOWS.len() - 1] {
                let text = "known flows, 1,000,000 of them: 90 % of the default chain's rate";
                record
                    .goals
                    .push(Goal::at_least(text, "Mpps", GOAL_SHARE * default, lookup));
            }
        }
    }
    for size in &SIZES[1..] {
        let [default, lookup] = course.rates(effort, SOME, *size)?;
        record.add(
            format!("default chain, {size} bytes, {SOME} flows"),
            "Mpps",
            default,
        );
        record.add(format!("lookup, {size} bytes, {SOME} flows"), "Mpps", lookup);
    }
    let missed = (0..effort.repetitions)
        .map(|_| course.missed())
        .collect::<Result<_, _>>()?;
    crate::flow_entries::run(effort, &mut record)?;
    if let Some(found) = record.add("new flows, whole path of a packet", "ns", missed) {
        let text = "a new flow with 10,000 rules, whole path of its packet";
        record.goals.push(Goal::below(text, "ns", GOAL_MISS, found));
    }
    Ok(record)
}

fn course(effort: Effort) -> Result<Course, BenchError> {
    let mut traffic = Traffic::new(Kind::Acl, RULES);
    let lookup = Rig::fed(1, traffic.table(0)?)?;
    Ok(Course {
        default: Rig::fed(1, PortTable::new(Vec::new(), 0))?,
        lookup,
        heads: heads(&mut traffic, FLOWS[FLOWS.len() - 1])?,
        random: Random(1),
        packets: if effort.quick { 100 } else { 400 } * MOST_FED,
    })
}

/// The beginnings of packets of so many different flows.
pub(crate) fn heads(traffic: &mut Traffic, flows: usize) -> Result<Vec<Head>, BenchError> {
    let (mut known, mut heads) = (HashSet::with_capacity(flows), Vec::with_capacity(flows));
    // Rules for single flows give the same ones again.
    for n in 0..20 * flows {
        let mut frame = traffic.frame(n % 2 == 0);
        frame.resize(size_of::<Head>(), 0);
        if let (Ok(head), Some(key)) = (Head::try_from(frame.as_slice()), flow_of(&frame).key)
            && known.insert(key)
        {
            heads.push(head);
            if heads.len() == flows {
                return Ok(heads);
            }
        }
    }
    Err(BenchError::Needs("as many different flows as it is to measure"))
}

impl Course {
    /// Millions of packets a second by the default chain and by lookup, in turn, once all flows are known.
    fn rates(&mut self, effort: Effort, flows: usize, size: u16) -> Result<[Vec<f64>; 2], BenchError> {
        let Self {
            default,
            lookup,
            heads,
            random,
            packets,
        } = self;
        let heads = &heads[..flows];
        // The cache takes more room as it fills, and what lies elsewhere then is learnt again.
        for _ in 0..2 {
            in_turn(lookup, heads, size)?;
        }
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..effort.repetitions {
            for (rig, rates) in [&mut *default, &mut *lookup].into_iter().zip(&mut rates) {
                let (mut time, mut left) = (Duration::ZERO, *packets);
                while left > 0 {
                    let some = (0..MOST_FED).map(|_| &heads[random.below(flows)]);
                    let given = rig.feed(some, size)?;
                    time += rig.serve(given)?;
                    left = left.saturating_sub(MOST_FED);
                }
                rates.push(*packets as f64 / time.as_secs_f64() / 1e6);
            }
        }
        Ok(rates)
    }

    /// Nanoseconds for a packet where each begins a flow.
    fn missed(&mut self) -> Result<f64, BenchError> {
        self.lookup.forget();
        let heads = &self.heads[..SOME];
        let time = in_turn(&mut self.lookup, heads, SIZES[0])?;
        Ok(time.as_nanos() as f64 / heads.len() as f64)
    }
}

/// The time for one packet of each flow.
fn in_turn(rig: &mut Rig, heads: &[Head], size: u16) -> Result<Duration, BenchError> {
    heads.chunks(MOST_FED).try_fold(Duration::ZERO, |time, some| {
        let given = rig.feed(some.iter(), size)?;
        Ok(time + rig.serve(given)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fed_leaves_and_flows_differ() {
        let mut traffic = Traffic::new(Kind::Acl, 100);
        let mut rig = Rig::fed(2, traffic.table(0).unwrap()).unwrap();
        let heads = heads(&mut traffic, 3000).unwrap();
        for _ in 0..2 {
            in_turn(&mut rig, &heads, 64).unwrap();
        }
        rig.forget();
        in_turn(&mut rig, &heads, 1518).unwrap();
        assert_eq!(rig.delivered(), 3 * 3000);
    }
}
