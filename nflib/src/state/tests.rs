//! The table against a list of flows that is searched from end to end.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use onvm_filter::flow::{FlowKey, flow_of};
use proptest::prelude::*;

use super::*;
use crate::Time;

const SECOND: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(60);
/// The longest tick of a table with this idle time.
const TICK: Duration = Duration::from_millis(60_000 / 127);

/// A packet of one of a few flows, in one direction or the other.
fn key(flow: u8, back: bool) -> FlowKey {
    let mut frame = vec![0; 12];
    frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0]);
    // Some flows are low to high, others the reverse.
    let (a, b) = ([10, 0, 0, flow], [10, 0, 0, 100]);
    let (there, ports) = (
        if back { [b, a] } else { [a, b] },
        if back { [0, 2, 0, 1] } else { [0, 1, 0, 2] },
    );
    frame.extend(there.concat());
    frame.extend(ports);
    flow_of(&frame).key.unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    Get(u8, bool),
    Entry(u8, bool),
    ExpireAfter(u8, Duration),
    Remove(u8),
    /// At most so many.
    Expire(usize),
    Pass(Duration),
}

fn step() -> impl Strategy<Value = Step> {
    let flow = 90..110u8;
    prop_oneof![
        2 => (flow.clone(), any::<bool>()).prop_map(|(flow, back)| Step::Get(flow, back)),
        4 => (flow.clone(), any::<bool>()).prop_map(|(flow, back)| Step::Entry(flow, back)),
        1 => (flow.clone(), 0..90u64).prop_map(|(flow, s)| Step::ExpireAfter(flow, Duration::from_secs(s))),
        1 => flow.prop_map(Step::Remove),
        1 => prop_oneof![Just(usize::MAX), 0..3usize].prop_map(Step::Expire),
        2 => (0..20_000u64).prop_map(|ms| Step::Pass(Duration::from_millis(ms))),
        1 => (0..1000u64).prop_map(|s| Step::Pass(Duration::from_secs(s))),
    ]
}

#[derive(Debug, Clone)]
struct Known {
    flow: u8,
    /// The direction of the first packet.
    back: bool,
    value: u32,
    idle: Duration,
    expires: Time,
}

#[derive(Debug)]
struct Model {
    capacity: usize,
    in_time: bool,
    flows: Vec<Known>,
    now: Time,
    next_value: u32,
}

impl Model {
    fn known(&mut self, flow: u8) -> Option<&mut Known> {
        self.flows.iter_mut().find(|known| known.flow == flow)
    }

    /// Takes out a flow that the table has given up, and checks that it may.
    fn gone(&mut self, gone: &Gone<u32>) -> Result<(), TestCaseError> {
        let at = self.flows.iter().position(|known| known.value == gone.value);
        prop_assert!(at.is_some(), "{:?} is in the table", gone);
        let known = self.flows.remove(at.unwrap());
        prop_assert_eq!(gone.key, key(known.flow, known.back));
        let expected = if known.expires <= self.now {
            Why::Expired
        } else {
            Why::Evicted
        };
        prop_assert_eq!(gone.why, expected);
        Ok(())
    }
}

/// With `in_time`, idle flows are taken out as soon as time has passed.
fn run(capacity: usize, steps: Vec<Step>, in_time: bool) -> Result<(), TestCaseError> {
    let mut table = FlowTable::new(capacity, IDLE);
    let mut model = Model {
        capacity,
        in_time,
        flows: Vec::new(),
        now: Time::from_nanos(7_777_777_777),
        next_value: 0,
    };
    let memory = (table.memory(), table.capacity());
    for step in steps {
        apply(&mut table, &mut model, &step)?;
        if in_time && matches!(step, Step::Pass(_)) {
            apply(&mut table, &mut model, &Step::Expire(usize::MAX))?;
        }
        prop_assert_eq!(table.len(), model.flows.len());
        let counts = table.counts();
        prop_assert!(counts.inserted >= counts.expired + counts.evicted + table.len() as u64);
        let mut all: Vec<(FlowKey, u32)> = table.iter().map(|(key, value)| (key, *value)).collect();
        let mut expected: Vec<_> = model
            .flows
            .iter()
            .map(|f| (key(f.flow, f.back), f.value))
            .collect();
        all.sort_by_key(|(_, value)| *value);
        expected.sort_by_key(|(_, value)| *value);
        prop_assert_eq!(all, expected);
    }
    prop_assert_eq!(
        memory,
        (table.memory(), table.capacity()),
        "nothing is allocated again"
    );
    Ok(())
}

fn apply(table: &mut FlowTable<u32>, model: &mut Model, step: &Step) -> Result<(), TestCaseError> {
    let now = model.now;
    match *step {
        Step::Pass(time) => model.now = now + time,
        Step::Get(flow, back) => {
            let found = table
                .get(&key(flow, back), now)
                .map(|f| (*f, f.direction, f.is_new));
            let known = model.known(flow).filter(|known| known.expires > now);
            let expected = known.map(|known| {
                known.expires = now + known.idle;
                (known.value, direction(known.back == back), false)
            });
            prop_assert_eq!(found, expected);
        }
        Step::ExpireAfter(flow, idle) => {
            if let Some(mut found) = table.get(&key(flow, false), now) {
                found.expire_after(idle);
                let known = model.known(flow).unwrap();
                known.idle = idle.min(IDLE);
                known.expires = now + known.idle;
            }
        }
        Step::Entry(flow, back) => entry(table, model, flow, back)?,
        Step::Remove(flow) => {
            let removed = table.remove(&key(flow, true), now);
            let at = model
                .flows
                .iter()
                .position(|known| known.flow == flow && known.expires > now);
            prop_assert_eq!(removed, at.map(|at| model.flows.remove(at).value));
        }
        Step::Expire(most) => {
            let gone: Vec<Gone<u32>> = table.expire(now).take(most).collect();
            for gone in &gone {
                prop_assert_eq!(gone.why, Why::Expired);
                model.gone(gone)?;
            }
            if gone.len() < most {
                let late = model.flows.iter().find(|known| known.expires + TICK <= now);
                prop_assert!(late.is_none(), "{:?} has been idle for long", late);
            }
        }
    }
    Ok(())
}

fn entry(table: &mut FlowTable<u32>, model: &mut Model, flow: u8, back: bool) -> Result<(), TestCaseError> {
    let now = model.now;
    let value = model.next_value;
    model.next_value += 1;
    let (found, gone) = table.entry(&key(flow, back), now, || value);
    let seen = (*found, found.direction, found.is_new);
    if let Some(known) = model.known(flow).filter(|known| known.expires > now) {
        known.expires = now + known.idle;
        prop_assert_eq!(seen, (known.value, direction(known.back == back), false));
        prop_assert!(gone.is_none());
        return Ok(());
    }
    prop_assert_eq!(seen, (value, Direction::Original, true));
    let same = model.known(flow).map(|known| known.value);
    let full = model.flows.len() == model.capacity;
    prop_assert_eq!(gone.is_some(), same.is_some() || full);
    if let Some(gone) = gone {
        match same {
            Some(same) => prop_assert_eq!(gone.value, same),
            None => {
                let expires = |value: u32| {
                    model
                        .flows
                        .iter()
                        .find(|known| known.value == value)
                        .unwrap()
                        .expires
                };
                let first = model.flows.iter().map(|known| known.expires).min().unwrap();
                prop_assert!(
                    !model.in_time || expires(gone.value) <= first + TICK,
                    "another one would expire first"
                );
            }
        }
        model.gone(&gone)?;
    }
    model.flows.push(Known {
        flow,
        back,
        value,
        idle: IDLE,
        expires: now + IDLE,
    });
    Ok(())
}

fn direction(same: bool) -> Direction {
    if same {
        Direction::Original
    } else {
        Direction::Reply
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_table_is_a_list_of_flows(capacity in 1..24usize, steps in prop::collection::vec(step(), 0..200), in_time: bool) {
        run(capacity, steps, in_time)?;
    }
}

#[test]
fn the_flow_idle_longest_makes_room() {
    let mut table = FlowTable::new(3, IDLE);
    let mut now = Time::from_nanos(0);
    for flow in [1, 2, 3] {
        now = now + SECOND;
        table.entry(&key(flow, false), now, || flow);
    }
    now = now + SECOND;
    assert!(table.get(&key(1, true), now).is_some());
    let (_, gone) = table.entry(&key(4, false), now, || 4);
    let gone = gone.unwrap();
    assert_eq!((gone.value, gone.why), (2, Why::Evicted));
    // A short time of its own comes first, however lately it was seen.
    table.get(&key(1, false), now).unwrap().expire_after(SECOND);
    let (_, gone) = table.entry(&key(5, false), now, || 5);
    assert_eq!(gone.unwrap().value, 1);
    let counts = table.counts();
    assert_eq!((counts.inserted, counts.evicted, counts.expired), (5, 2, 0));
    assert_eq!(table.len(), 3);
}

#[test]
fn an_idle_flow_is_not_found_and_comes_out_once() {
    let mut table = FlowTable::new(10, IDLE);
    let start = Time::from_nanos(5);
    table.entry(&key(1, true), start, || "one");
    table.entry(&key(2, false), start, || "two");
    assert!(table.get(&key(2, true), start + (IDLE - SECOND)).is_some());
    assert!(table.get(&key(1, false), start + IDLE).is_none());
    // The same flow comes again before the first was handed out.
    let (new, gone) = table.entry(&key(2, false), start + 3 * IDLE, || "again");
    assert!(new.is_new);
    assert_eq!(gone.map(|gone| gone.value), Some("two"));
    let gone: Vec<Gone<&str>> = table.expire(start + 3 * IDLE).collect();
    let [one] = gone.as_slice() else {
        unreachable!("{gone:?}")
    };
    assert_eq!((one.key, one.value, one.why), (key(1, true), "one", Why::Expired));
    assert_eq!(
        table.counts(),
        Counts {
            inserted: 3,
            expired: 2,
            evicted: 0
        }
    );
    assert_eq!(table.iter().count(), 1);
}

#[test]
fn a_flow_takes_as_much_memory_as_documented() {
    assert_eq!(FlowTable::<u64>::BYTES_PER_FLOW, 92 + size_of::<Option<u64>>());
    assert_eq!(FlowTable::<[u8; 3]>::BYTES_PER_FLOW, 92 + 4 + 4);
}
