//! Rules that remember flows answer as rules that do not.

use std::cell::Cell;

use onvm_filter::{Expr, FlowRules, Rule, Rules};
use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};

use crate::packets::{
    carried::carried,
    frames::{Random, damage, frames},
    lists::{Kind, list},
    trees::trees,
};

fn rules(filters: impl IntoIterator<Item = Expr>) -> Rules {
    let rule = |(n, filter)| Rule {
        verdict: 0,
        name: format!("rule_{n}"),
        filter,
    };
    Rules::new(filters.into_iter().enumerate().map(rule).collect())
}

/// Twice, so that what is remembered is asked for.
fn compare(rules: &mut FlowRules, frames: &[Vec<u8>]) -> Result<(), String> {
    for round in 0..2 {
        for frame in frames {
            for length in [frame.len() as u32, 1500] {
                let (found, right) = (rules.first(frame, length), rules.rules().first(frame, length));
                if found != right {
                    return Err(format!(
                        "round {round}: {found:?} and not {right:?}\n{frame:02x?}"
                    ));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn random_rules_by_flow_and_others() {
    let config = ProptestConfig {
        cases: 300,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(11),
        ..ProptestConfig::default()
    };
    let by_flow = Cell::new(0);
    let lists = prop::collection::vec(trees(), 1..40);
    let result = TestRunner::new(config).run(&(lists, any::<bool>(), any::<u64>()), |(trees, pure, seed)| {
        let filters = trees.iter().map(|tree| tree.lower(&mut 0));
        // Most lists have a filter that reads more than the key.
        let filters = filters.filter(|filter| !pure || filter.uses().flow_key_only());
        let mut rules = FlowRules::new(rules(filters));
        by_flow.set(by_flow.get() + u32::from(rules.remembers()));
        let mut all = frames(seed, 200);
        all.extend(carried(seed, 50));
        compare(&mut rules, &all).map_err(TestCaseError::fail)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!((60..250).contains(&by_flow.get()), "{by_flow:?}");
}

/// More flows than there is room for, and frames cut off behind their ports.
#[test]
fn many_flows_of_a_list() {
    let mut random = Random(2);
    let list = list(&mut random, Kind::Ipc, 300, 3);
    let mut rules = FlowRules::new(rules(list.iter().map(|rule| rule.filter().parse().unwrap())));
    assert!(rules.remembers());
    let mut all: Vec<Vec<u8>> = (0..60_000)
        .map(|n| {
            let mut frame = list[random.below(list.len())].frame(&mut random);
            if n % 5 == 0 {
                damage(&mut random, &mut frame);
            }
            frame
        })
        .collect();
    compare(&mut rules, &all).unwrap_or_else(|error| panic!("{error}"));
    all.truncate(100);
    compare(&mut rules, &all).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn what_is_remembered_depends_on_what_tells_flows_apart() {
    let pure = ["(tcp-port dst 22)", "(udp)", "(net 10.0.0.0/8)", "(all)"];
    let read = |texts: &[&str]| FlowRules::new(rules(texts.iter().map(|text| text.parse().unwrap())));
    assert!(read(&pure).remembers());
    assert!(!read(&pure[..3]).remembers(), "few rules are asked");
    assert!(!read(&[&pure[..], &["(greater 100)"]].concat()).remembers());
    assert!(!read(&[&pure[..], &["(= (ip4-payload 13 1) 2)"]].concat()).remembers());
}
