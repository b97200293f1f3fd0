//! New flows against N rules: what the manager's steering takes to classify a packet that the flow cache does not know.

use std::{hint::black_box, time::Instant};

use onvm_bundle::{
    filter::{Expr, ParseError},
    tables::{HopIndex, PortTable},
};

use self::{
    frames::Random,
    lists::{Kind, Rule, list},
};
use crate::{
    BenchError, Effort,
    results::{Goal, Record},
};

#[allow(dead_code, clippy::unwrap_used, reason = "the tests of filters use the rest")]
#[path = "../../nflib/filter/tests/filters/packets/frames.rs"]
pub(crate) mod frames;
#[path = "../../nflib/filter/tests/filters/packets/lists.rs"]
pub(crate) mod lists;

pub const ID: &str = "rules";

const KINDS: [(&str, Kind); 3] = [
    ("access list", Kind::Acl),
    ("firewall", Kind::Fw),
    ("mixed", Kind::Ipc),
];
const FRAMES: usize = 10_000;
/// Rules, and the most nanoseconds that a packet may take.
const GOALS: [(usize, f64); 2] = [(1_000, 1_000.0), (10_000, 2_000.0)];

/// Rules of one kind, and packets for them.
pub(crate) struct Traffic {
    rules: Vec<Rule>,
    random: Random,
}

impl Traffic {
    pub(crate) fn new(kind: Kind, rules: usize) -> Self {
        let mut random = Random(rules as u64);
        Self {
            rules: list(&mut random, kind, rules, 8),
            random,
        }
    }

    /// What a rule takes goes to hop 0, all else to `otherwise`.
    pub(crate) fn table(&self, otherwise: HopIndex) -> Result<PortTable, BenchError> {
        let filters = self.rules.iter().map(|rule| Ok((rule.filter().parse()?, 0)));
        let filters: Result<Vec<(Expr, HopIndex)>, ParseError> = filters.collect();
        let filters = filters.map_err(|_| BenchError::Needs("rules that can be read"))?;
        let table = PortTable::new(filters, otherwise);
        table.prepare();
        Ok(table)
    }

    /// A frame that a rule takes, or one like it with other addresses.
    pub(crate) fn frame(&mut self, as_is: bool) -> Vec<u8> {
        let Self { rules, random } = self;
        let mut frame = rules[random.below(rules.len())].frame(random);
        if !as_is {
            for byte in frame.iter_mut().take(34).skip(26) {
                if random.one_in(4) {
                    *byte = random.next() as u8;
                }
            }
        }
        frame
    }
}

/// Rules of one kind, and frames of which each begins a flow.
struct Course {
    table: PortTable,
    frames: Vec<Vec<u8>>,
}

/// A list of rules and frames that its rules take, half of them with other addresses.
fn course(kind: Kind, rules: usize, frames: usize) -> Result<Course, BenchError> {
    let mut traffic = Traffic::new(kind, rules);
    Ok(Course {
        table: traffic.table(1)?,
        frames: (0..frames).map(|n| traffic.frame(n % 2 == 0)).collect(),
    })
}

/// Classifies frames against lists of each kind and of several lengths.
pub fn run(effort: Effort) -> Result<Record, BenchError> {
    let mut record = Record::new(
        ID,
        "New flows against N rules",
        "`PortTable::classify`, the manager's steering, on frames of which each begins a flow, in one thread; lists in the manner of \
         ClassBench, one rule in eight of IPv6. *Walk*: each rule asked in turn.",
        "design: a flow that is not in the cache under 2 us with 10,000 rules",
    );
    let lengths: &[usize] = if effort.quick {
        &[8, 1_000, 10_000]
    } else {
        &[8, 100, 1_000, 10_000, 100_000]
    };
    for &length in lengths {
        eprintln!("{ID}: {length} rules");
        for (name, kind) in KINDS {
            let course = course(kind, length, FRAMES)?;
            let classify = |frame: &[u8]| course.table.classify(frame, frame.len() as u32);
            let walk = |frame: &[u8]| {
                let takes = |(filter, _): &(Expr, u16)| filter.matches(frame, frame.len() as u32);
                course.table.rules.iter().position(takes).map_or(1, |_| 0)
            };
            // As many as keep a walk within a second.
            let few = &course.frames[..(5_000_000 / length).clamp(10, FRAMES)];
            let (mut index, mut walked) = (Vec::new(), Vec::new());
            for _ in 0..effort.repetitions {
                index.push(nanoseconds(&course.frames, classify));
                walked.push(nanoseconds(few, walk));
            }
            let found = record.add(format!("{length} rules, {name}"), "ns", index);
            record.add(format!("{length} rules, {name}: walk"), "ns", walked);
            let goal = GOALS.iter().find(|(rules, _)| *rules == length);
            if let (Some(found), Some(&(_, most))) = (found, goal) {
                record.goals.push(Goal::below(
                    format!("{length} rules, {name}: under {most} ns"),
                    "ns",
                    most,
                    found,
                ));
            }
        }
    }
    Ok(record)
}

/// For one frame.
fn nanoseconds(frames: &[Vec<u8>], classify: impl Fn(&[u8]) -> u16) -> f64 {
    let began = Instant::now();
    for frame in frames {
        black_box(classify(black_box(frame)));
    }
    began.elapsed().as_nanos() as f64 / frames.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_frames_of_a_list_are_taken_by_a_rule() {
        for (_, kind) in KINDS {
            let course = course(kind, 200, 500).unwrap();
            let taken = course
                .frames
                .iter()
                .filter(|f| course.table.classify(f, f.len() as u32) == 0);
            assert!(taken.count() > 250);
        }
    }
}
