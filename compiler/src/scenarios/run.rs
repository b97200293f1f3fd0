//! Running tests: packets on the interpreter, and what was seen of a replay against what was expected.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path as FilePath,
};

use super::{Expectation, Expected, Failure, Replay, Statement};
use crate::{
    interpret::{Exit, Interpreter, Path, Story},
    source::sources::{Place, Sources},
};

/// What was seen of a replay.
pub trait Observed {
    /// Packets that left by the port.
    fn packets(&self, port: &str) -> Option<u64>;

    /// An NF's counter, over all its instances.
    fn counter(&self, nf: &str, counter: &str) -> Option<u64>;

    /// Whether what left by the port is what the capture holds.
    ///
    /// # Errors
    /// In what way it is not.
    fn same_as(&self, port: &str, capture: &FilePath) -> Result<(), String>;
}

/// Packets that are under the eyes of the next expectations: those sent since the last ones.
struct Sent {
    place: Place,
    /// Ways with how many packets took each.
    ways: Vec<(Path, u64)>,
}

/// Follows the packets of a test in order, through NFs that have just started. Gives the expectations that do not hold.
pub fn run(interpreter: &mut Interpreter<'_>, sources: &Sources, statements: &[Statement]) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mut under_eyes: Vec<Sent> = Vec::new();
    let mut left: BTreeMap<u16, u64> = BTreeMap::new();
    let mut assumed = BTreeSet::new();
    let mut judged = false;
    for statement in statements {
        match statement {
            Statement::Send(send) => {
                if std::mem::take(&mut judged) {
                    under_eyes.clear();
                }
                let Some(port) = interpreter.port(&send.port) else {
                    continue;
                };
                let mut ways: Vec<(Path, u64)> = Vec::new();
                for _ in 0..send.times {
                    let way = interpreter.send(port, &send.frame, send.frame.len() as u32);
                    if let Exit::Port(id) = way.exit {
                        *left.entry(id).or_default() += 1;
                    }
                    match ways.iter_mut().find(|(known, _)| *known == way) {
                        Some((_, n)) => *n += 1,
                        None => {
                            assumed.extend(interpreter.tell(&way, &[]).assumed().map(str::to_owned));
                            ways.push((way, 1));
                        }
                    }
                }
                under_eyes.push(Sent {
                    place: send.place,
                    ways,
                });
            }
            Statement::Expect(expectation) => {
                judged = true;
                let failed = match &expectation.what {
                    Expected::Packets { port, count } => {
                        let id = interpreter.port(port);
                        let found = id.and_then(|id| left.get(&id)).copied().unwrap_or(0);
                        let failed = packets(expectation, port, found, *count);
                        failed.map(|failure| failure.assuming(assumed.iter().map(String::as_str)))
                    }
                    Expected::Counter { nf, counter, value } => {
                        number(expectation, nf, counter, interpreter.counter(nf, counter), *value)
                    }
                    _ => ways(expectation, interpreter, sources, &under_eyes),
                };
                failures.extend(failed);
            }
        }
    }
    failures
}

/// The expectations of a replay that do not hold.
pub fn compare(replay: &Replay, seen: &dyn Observed) -> Vec<Failure> {
    let failed = replay.expectations.iter().filter_map(|e| match &e.what {
        Expected::Packets { port, count } => packets(e, port, seen.packets(port).unwrap_or(0), *count),
        Expected::Counter { nf, counter, value } => number(e, nf, counter, seen.counter(nf, counter), *value),
        Expected::SameAs { port, capture } => match seen.same_as(port, &capture.path) {
            Ok(()) => None,
            Err(how) => Some(e.unlike(
                format!("what leaves by `{port}` is not what `{}` holds", capture.name),
                how,
            )),
        },
        Expected::Path(_) | Expected::Passes(_) | Expected::Drop { .. } => None,
    });
    failed.collect()
}

fn packets(expectation: &Expectation, port: &str, found: u64, expected: u64) -> Option<Failure> {
    let of = format!("the number of packets that leave by `{port}`");
    (found != expected).then(|| expectation.other_number(&of, found, expected))
}

fn number(
    expectation: &Expectation,
    nf: &str,
    counter: &str,
    found: Option<u64>,
    expected: u64,
) -> Option<Failure> {
    match found {
        Some(found) if found == expected => None,
        Some(found) => Some(expectation.other_number(&format!("`{counter}` of `{nf}`"), found, expected)),
        None => Some(expectation.unlike(
            format!("`{nf}` shows no counter `{counter}`"),
            "only a running NF makes it: a third-party NF needs a `replay`, and some counters need a parameter or a \
             rule"
                .to_owned(),
        )),
    }
}

/// The first packet that went another way than expected, if there is one.
fn ways(
    expectation: &Expectation,
    interpreter: &Interpreter<'_>,
    sources: &Sources,
    sent: &[Sent],
) -> Option<Failure> {
    let mut first: Option<(Place, Story)> = None;
    let (mut wrong, mut all) = (0, 0);
    for sent in sent {
        for (way, n) in &sent.ways {
            let story = interpreter.tell(way, &[]);
            all += n;
            if !holds(&expectation.what, &story) {
                wrong += n;
                first.get_or_insert((sent.place, story));
            }
        }
    }
    let (place, story) = first?;
    Some(expectation.other_way(sources, place, story, wrong, all))
}

fn holds(expected: &Expected, story: &Story) -> bool {
    match expected {
        Expected::Path(nodes) => story.names() == *nodes,
        Expected::Passes(nf) => story.hops.iter().any(|h| h.at == *nf && h.verdict.is_some()),
        Expected::Drop { at } => {
            story.exit.dropped.is_some() && at.as_ref().is_none_or(|at| story.last_node() == at)
        }
        Expected::Packets { .. } | Expected::SameAs { .. } | Expected::Counter { .. } => true,
    }
}
