//! Random graphs of the shapes that the compiler makes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::graph::model::*;

/// A chain as the compiler makes them: a tree of lines and arms, and permitted visits that lead back to where their NF
/// goes on.
fn chain(name: String, seed: &[u8]) -> Chain {
    let hop = |at: At, next: Option<usize>| Hop {
        at,
        source: String::new(),
        next,
        outputs: BTreeMap::new(),
        steers: BTreeMap::new(),
    };
    let mut hops: Vec<Hop> = Vec::new();
    let mut arms: Vec<(usize, usize)> = Vec::new();
    let mut bytes = seed.iter().copied();
    let mut waiting = vec![None];
    while let Some(from) = waiting.pop() {
        let first = hops.len();
        arms.extend(from.map(|from| (from, first)));
        for _ in 0..bytes.next().unwrap_or(0) % 4 {
            let here = hops.len();
            let choice = bytes.next().unwrap_or(0);
            hops.push(hop(At::Nf(format!("nf{}", choice % 5)), Some(here + 1)));
            if choice >= 200 && hops.len() < 40 {
                waiting.push(Some(here));
            }
        }
        hops.push(hop(
            if bytes.next().unwrap_or(0) % 3 == 0 {
                At::Drop
            } else {
                At::Port(format!("p{}", hops.len() % 3))
            },
            None,
        ));
    }
    for (from, to) in arms {
        let name = format!("out{}", hops[from].outputs.len());
        hops[from].outputs.insert(name, to);
    }
    for here in 0..hops.len() {
        let (Some(next), choice) = (hops[here].next, bytes.next().unwrap_or(0)) else {
            continue;
        };
        if choice % 3 == 1 {
            let visit = hops.len();
            hops.push(hop(At::Nf(format!("nf{}", choice % 5)), Some(next)));
            hops[here].steers.insert("visit".into(), visit);
        }
    }
    Chain {
        name,
        doc: None,
        source: String::new(),
        hops,
    }
}

pub(super) fn any_graph() -> impl Strategy<Value = Graph> {
    let chains = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..7);
    (chains, proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(seeds, rules)| {
        let chains: Vec<Chain> = seeds
            .iter()
            .enumerate()
            .map(|(n, seed)| chain(format!("c{n}"), seed))
            .collect();
        let rule = |(n, choice): (usize, &u8)| Rule {
            order: n + 1,
            filter: Some(format!("port {choice} ").repeat(usize::from(choice % 9) + 1)),
            meaning: None,
            chain: format!("c{}", usize::from(*choice) % chains.len()),
            source: String::new(),
        };
        let programmed = |choice: &u8| Programmed {
            nf: format!("nf{}", choice % 5),
            filter: format!("port {choice}"),
            meaning: String::new(),
            chains: (0..usize::from(choice % 3))
                .map(|n| format!("c{}", n % chains.len()))
                .collect(),
            source: String::new(),
        };
        let steering = |(port, rules): (usize, &[u8])| Steering {
            port: format!("p{port}"),
            doc: None,
            programs: rules
                .iter()
                .filter(|choice| *choice % 5 == 2)
                .map(programmed)
                .collect(),
            rules: rules.iter().enumerate().map(rule).collect(),
        };
        let ports = (0..3).map(|n| Port {
            name: format!("p{n}"),
            kind: "tap",
            device: String::new(),
            domain: None,
            doc: None,
        });
        let service = |n| {
            let name = format!("nf{n}");
            let stands = |c: &&Chain| c.hops.iter().any(|h| h.at == At::Nf(name.clone()));
            let chains = chains.iter().filter(stands).map(|c| c.name.clone()).collect();
            Service {
                fuse: None,
                domain: None,
                name: name.clone(),
                nf_type: "forward".into(),
                summary: String::new(),
                doc: None,
                id: n,
                instances: vec![],
                drops: false,
                lookup: n % 3 == 1,
                chains,
            }
        };
        let half = rules.len() / 2;
        let steering = [(0, &rules[..half]), (1, &rules[half..])].map(steering).to_vec();
        Graph {
            version: 1,
            name: "any".into(),
            ports: ports.collect(),
            services: (0..5).map(service).collect(),
            steering,
            chains,
        }
    })
}
