use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use nflib::{
    FlowTarget,
    flows::{FlowEnd, FlowEntry, FlowMatch, FlowNews, FlowRequest, Target},
    memory::{Geometry, Mapping, PacketFile, PrivateCopy, create_file},
};
use onvm_bundle::{Arm, SourceRef, filter::Expr};
use proptest::prelude::*;

use super::*;
use crate::{
    director::{Client, Director, News},
    generation::{HopCounters, PortTable},
};

/// As the worker decides on a packet of a burst.
fn decision<'b>(view: &mut View<'_>, length: u16, read: impl Fn(u16) -> &'b [u8]) -> Decision {
    let foreseen = view.keeps().then(|| view.foresee(&read));
    let known = foreseen.and_then(|foreseen| view.known(&foreseen, None));
    let (_, decision) = known.unwrap_or_else(|| view.classify(length, None, &read));
    decision
}

/// A frame of TCP or UDP between two of a few hosts and ports.
fn frame(udp: bool, ends: [u8; 4]) -> Vec<u8> {
    let [source, destination, near, far] = ends;
    let mut frame = vec![0; 64];
    frame[12..14].copy_from_slice(&[8, 0]);
    (frame[14], frame[17], frame[22]) = (0x45, 50, 64);
    frame[23] = if udp { 17 } else { 6 };
    (frame[29], frame[33], frame[35], frame[37]) = (source, destination, near, far);
    frame
}

fn generation(
    number: u64,
    rules: &[(&str, HopIndex)],
    otherwise: HopIndex,
    programs: Vec<Program>,
) -> Generation {
    let rules = rules.iter().map(|(filter, hop)| (filter.parse().unwrap(), *hop));
    let tables = vec![PortTable::new(rules.collect(), otherwise)];
    Generation {
        number,
        id: String::new(),
        max_hops: 1,
        hops: Vec::new(),
        runs: Vec::new(),
        chains: Vec::new(),
        reach: vec![Vec::new()],
        rules: Vec::new(),
        ahead: Vec::new(),
        counters: vec![HopCounters::new(0, &tables)],
        tables,
        programs,
    }
}

fn program(nf: &str, arms: &[(&str, &[&str])]) -> onvm_bundle::Program {
    let source = || SourceRef(String::new());
    let arms = arms.iter().map(|(filter, targets)| Arm {
        text: String::new(),
        filter: filter.parse().unwrap(),
        targets: targets.iter().map(|&t| t.to_owned()).collect(),
        source: source(),
    });
    onvm_bundle::Program {
        port: "wan".to_owned(),
        nf: nf.to_owned(),
        source: source(),
        arms: arms.collect(),
    }
}

/// First hops of chains.
const A: HopIndex = 10;
const B: HopIndex = 11;
const DROP: HopIndex = 12;

fn firsts() -> HashMap<&'static str, HopIndex> {
    [("a", A), ("b", B), ("drop", DROP)].into()
}

/// A director and the flows of one worker.
struct World {
    director: Director,
    flows: Flows,
    tables: Generation,
    targets: Vec<FlowTarget>,
    now: Instant,
    asked: u64,
}

impl World {
    fn new(rules: &[(&str, HopIndex)], programs: &[onvm_bundle::Program]) -> Self {
        let mut director = Director::new(1);
        let programs = director.renew(&["wan"], programs, &firsts());
        let tables = generation(1, rules, 0, programs);
        let mut flows = Flows::default();
        flows.renew(&tables);
        let target = |chain: &str| FlowTarget {
            port: "wan".to_owned(),
            chain: chain.to_owned(),
        };
        Self {
            director,
            flows,
            tables,
            targets: ["a", "b", "drop"].map(target).into(),
            now: Instant::now(),
            asked: 0,
        }
    }

    /// Has requests of an NF carried out: the news for it.
    fn ask(&mut self, nf: &str, requests: Vec<FlowRequest>) -> FlowNews {
        let client = Client {
            instance: 3,
            life: 0,
            nf,
            targets: &self.targets,
        };
        let count = requests.len() as u64;
        let changes = self.director.take(&client, self.asked, requests, self.now);
        self.asked += count;
        let mut news = self.carry_out(&changes);
        news.pop().unwrap().news
    }

    fn carry_out(&mut self, changes: &Changes) -> Vec<News> {
        self.flows.change(changes, &self.tables);
        self.director.carried_out(changes.number)
    }

    fn hop(&mut self, frame: &[u8]) -> HopIndex {
        let mut view = self.flows.of(0, &self.tables);
        let decision = decision(&mut view, frame.len() as u16, |most| {
            &frame[..frame.len().min(most.into())]
        });
        let hop = view.hop(decision);
        let rules = &self.tables.counters[0].hits[0];
        let hits = Hits {
            decision,
            packets: 1,
            bytes: frame.len() as u64,
        };
        view.count(0, hits, rules);
        let again = view.again(frame.len() as u16, |most| &frame[..frame.len().min(most.into())]);
        assert_eq!(view.hop(again), hop, "what was kept is what is decided now");
        hop
    }

    /// So much time passes, and what is over ends.
    fn pass(&mut self, time: Duration) -> Vec<FlowEnd> {
        let end = self.now + time;
        let mut ended = Vec::new();
        while self.now < end {
            self.now += Duration::from_millis(20);
            if let Some(changes) = self.director.tick(self.now) {
                let news = self.carry_out(&changes);
                ended.extend(news.iter().flat_map(|n| &n.news.ended).map(|e| e.why));
            }
        }
        ended
    }
}

fn target(n: u16) -> Target {
    serde_json::from_value(n.into()).unwrap()
}

fn key(frame: &[u8]) -> FlowKey {
    flow_of(frame).key.unwrap()
}

fn put(n: u16, matches: FlowMatch, priority: u16) -> FlowEntry {
    FlowEntry::new(target(n), matches).priority(priority)
}

#[test]
fn an_entry_takes_what_it_matches_within_the_arms_of_its_target() {
    let arms: &[(&str, &[&str])] = &[("(tcp)", &["a", "b"]), ("(udp)", &["drop"])];
    let mut world = World::new(&[("(tcp-port dst 9)", 1)], &[program("sdn", arms)]);
    let [tcp, back, udp] = [
        frame(false, [1, 2, 5, 9]),
        frame(false, [2, 1, 9, 5]),
        frame(true, [1, 2, 5, 9]),
    ];
    let all: Expr = "(all)".parse().unwrap();
    assert_eq!([&tcp, &back, &udp].map(|f| world.hop(f)), [1, 0, 0]);
    let news = world.ask(
        "sdn",
        vec![FlowRequest::Put(put(0, FlowMatch::Flow(key(&tcp)), 5))],
    );
    assert_eq!(
        news,
        FlowNews {
            done: 1,
            ..FlowNews::default()
        }
    );
    assert_eq!([&tcp, &back, &udp].map(|f| world.hop(f)), [A, 0, 0]);
    world.ask(
        "sdn",
        vec![FlowRequest::Put(put(1, FlowMatch::BothWays(key(&back)), 6))],
    );
    assert_eq!([&tcp, &back, &udp].map(|f| world.hop(f)), [B, B, 0]);
    // Of all packets, the arm leaves those that it names.
    world.ask(
        "sdn",
        vec![FlowRequest::Put(put(2, FlowMatch::Filter(all.clone()), 9))],
    );
    assert_eq!([&tcp, &back, &udp].map(|f| world.hop(f)), [B, B, DROP]);
    world.ask(
        "sdn",
        vec![FlowRequest::Put(put(0, FlowMatch::Filter(all.clone()), 6))],
    );
    assert_eq!(world.hop(&tcp), B, "one for a flow goes before one by a filter");
    world.ask(
        "sdn",
        vec![FlowRequest::Put(put(0, FlowMatch::Filter(all.clone()), 7))],
    );
    assert_eq!([&tcp, &back, &udp].map(|f| world.hop(f)), [A, A, DROP]);
    let remove = |priority| FlowRequest::Remove {
        target: target(0),
        matches: FlowMatch::Filter(all.clone()),
        priority,
    };
    let news = world.ask("sdn", vec![remove(7), remove(8), remove(9)]);
    assert_eq!(news.refused, [(6, "there is no such entry".to_owned())]);
    assert_eq!([&tcp, &back, &udp].map(|f| world.hop(f)), [B, B, 0]);
}

#[test]
fn entries_end_when_their_time_is_over() {
    let mut world = World::new(&[], &[program("sdn", &[("(all)", &["a"])])]);
    let frames: Vec<Vec<u8>> = (0..3).map(|n| frame(false, [n, 9, 1, 1])).collect();
    let ms = Duration::from_millis;
    let entry = |n: usize| put(0, FlowMatch::Flow(key(&frames[n])), 0);
    world.ask(
        "sdn",
        vec![
            FlowRequest::Put(entry(0).idle(ms(400))),
            FlowRequest::Put(entry(1).hard(ms(1000)).idle(ms(400))),
            FlowRequest::Put(entry(2)),
        ],
    );
    // While packets come, an idle timeout does not end it.
    for _ in 0..9 {
        assert_eq!(world.pass(ms(100)), []);
        assert_eq!(frames.iter().map(|f| world.hop(f)).collect::<Vec<_>>(), [A; 3]);
    }
    assert_eq!(world.pass(ms(200)), [FlowEnd::Hard]);
    assert_eq!(world.pass(ms(180)), []);
    assert_eq!(world.pass(ms(180)), [FlowEnd::Idle]);
    assert_eq!(world.pass(Duration::from_secs(100)), []);
    assert_eq!(frames.iter().map(|f| world.hop(f)).collect::<Vec<_>>(), [0, 0, A]);
    assert_eq!(world.director.len(), 1);
}

#[test]
fn an_entry_is_changed_in_its_place_by_its_service_alone() {
    let arms: &[(&str, &[&str])] = &[("(all)", &["a", "b"])];
    let mut world = World::new(&[], &[program("sdn", arms), program("ids", arms)]);
    let f = frame(false, [1, 2, 3, 4]);
    let entry = |n, cookie| FlowRequest::Put(put(n, FlowMatch::Flow(key(&f)), 1).cookie(cookie));
    world.ask("sdn", vec![entry(0, 1)]);
    assert_eq!(world.hop(&f), A);
    let news = world.ask("ids", vec![entry(1, 2)]);
    assert_eq!(news.refused, [(1, "`sdn` has made that entry".to_owned())]);
    world.ask("sdn", vec![entry(1, 3)]);
    assert_eq!(world.hop(&f), B);
    let listed = world.ask("sdn", vec![FlowRequest::List { after: 0 }]).listed;
    assert_eq!(
        (listed.len(), listed[0].entry.cookie, listed[0].packets),
        (1, 3, 2)
    );
    assert_eq!(world.ask("ids", vec![FlowRequest::List { after: 0 }]).listed, []);
    let used: Vec<_> = world
        .director
        .used()
        .map(|u| (u.nf, u.chain, u.entries, u.total.0))
        .collect();
    assert_eq!(
        used,
        [
            ("sdn", "a", 0, 1),
            ("sdn", "b", 1, 1),
            ("ids", "a", 0, 0),
            ("ids", "b", 0, 0)
        ]
    );
}

#[test]
fn entries_go_on_over_an_edit_that_permits_them() {
    let arms: &[(&str, &[&str])] = &[("(all)", &["a", "b"])];
    let mut world = World::new(&[], &[program("sdn", arms)]);
    let frames: Vec<Vec<u8>> = (0..2).map(|n| frame(false, [n, 9, 1, 1])).collect();
    let wild: Expr = "(udp)".parse().unwrap();
    let entry = |n: usize| put(n as u16, FlowMatch::Flow(key(&frames[n])), 0);
    world.ask(
        "sdn",
        vec![
            FlowRequest::Put(entry(0)),
            FlowRequest::Put(entry(1)),
            FlowRequest::Put(put(1, FlowMatch::Filter(wild), 0)),
        ],
    );
    let udp = frame(true, [0, 9, 1, 1]);
    let all = [frames[0].clone(), frames[1].clone(), udp];
    let hops = |world: &mut World| [0, 1, 2].map(|n| world.hop(&all[n]));
    assert_eq!(hops(&mut world), [A, B, B]);
    // Chains may lie elsewhere in the tables, arms may be fewer, and targets gone.
    let firsts = [("b", 20)].into();
    let programs = [program("sdn", &[("(udp)", &["b"])])];
    let programs = world.director.renew(&["wan"], &programs, &firsts);
    world.tables = generation(2, &[], 0, programs);
    world.flows.renew(&world.tables);
    assert_eq!(hops(&mut world), [0, 0, 20]);
    let (ended, changes) = world.director.end_unpermitted().unwrap();
    let news = world.carry_out(&changes);
    assert_eq!((ended, news[0].news.ended[0].why), (1, FlowEnd::NotPermitted));
    assert_eq!(world.director.len(), 2);
    let refused = world.ask("sdn", vec![FlowRequest::Put(entry(0))]).refused;
    assert_eq!(
        refused[0].1,
        "the program does not permit entries of port `wan` that lead to `a` any more"
    );
    let changes = world.director.end_service("sdn").unwrap();
    world.carry_out(&changes);
    assert_eq!((hops(&mut world), world.director.len()), ([0; 3], 0));
}

#[test]
fn no_nf_takes_the_room_of_another() {
    let arms: &[(&str, &[&str])] = &[("(all)", &["a"])];
    let mut world = World::new(&[], &[program("sdn", arms), program("ids", arms)]);
    let wild = |n: u16| FlowRequest::Put(put(0, FlowMatch::Filter("(all)".parse().unwrap()), n));
    let news = world.ask("sdn", (0..1000).map(wild).collect());
    assert_eq!(news.refused.len(), 1000 - 512);
    assert!(
        news.refused[0].1.contains("512 entries by filter"),
        "{:?}",
        news.refused[0]
    );
    assert!(
        world
            .ask("ids", (2000..2512).map(wild).collect())
            .refused
            .is_empty()
    );
}

/// Neither times that are noted for ever nor filters that `nflib` would not send take the manager's memory or time.
#[test]
fn what_an_nf_asks_without_end_leaves_nothing_behind() {
    let mut world = World::new(&[], &[program("sdn", &[("(all)", &["a"])])]);
    let f = frame(false, [1, 2, 3, 4]);
    for n in 0..10_000u64 {
        let hard = Duration::from_secs(40 * 24 * 3600 - n);
        let entry = put(0, FlowMatch::Flow(key(&f)), 0).hard(hard);
        world.ask("sdn", vec![FlowRequest::Put(entry)]);
    }
    assert!(world.director.noted() < 1100, "{}", world.director.noted());
    let entry = put(0, FlowMatch::Flow(key(&f)), 0).hard(Duration::from_secs(1));
    world.ask("sdn", vec![FlowRequest::Put(entry)]);
    assert_eq!(world.pass(Duration::from_secs(2)), [FlowEnd::Hard]);
    let long = format!("(or{})", " (tcp-port dst 1)".repeat(1000))
        .parse()
        .unwrap();
    let news = world.ask("sdn", vec![FlowRequest::Put(put(0, FlowMatch::Filter(long), 0))]);
    assert!(news.refused[0].1.contains("4096 bytes"), "{news:?}");
    let wild = put(0, FlowMatch::Filter("(all)".parse().unwrap()), 0).hard(Duration::from_millis(100));
    world.ask("sdn", vec![FlowRequest::Put(wild)]);
    assert_eq!(world.hop(&f), A);
    assert_eq!(world.pass(Duration::from_secs(10)), [FlowEnd::Hard]);
}

/// What entries say when each is asked.
fn by_walk(entries: &[(u64, FlowEntry)], frame: &[u8], rules: &[(Expr, HopIndex)]) -> HopIndex {
    let (tcp, udp): (Expr, Expr) = ("(tcp)".parse().unwrap(), "(udp)".parse().unwrap());
    let takes = |entry: &&(u64, FlowEntry)| {
        let arms = [vec![&tcp], vec![&tcp, &udp], vec![&udp]];
        let of = flow_of(frame).key;
        let matched = match &entry.1.matches {
            FlowMatch::Flow(key) => of == Some(*key),
            FlowMatch::BothWays(key) => of == Some(*key) || of == Some(key.reversed()),
            FlowMatch::Filter(filter) => filter.matches(frame, frame.len() as u32),
        };
        matched
            && arms[entry.1.target.index()]
                .iter()
                .any(|arm| arm.matches(frame, frame.len() as u32))
    };
    let rank = |entry: &&(u64, FlowEntry)| {
        let wild = matches!(entry.1.matches, FlowMatch::Filter(_));
        (std::cmp::Reverse(entry.1.priority), wild, entry.0)
    };
    if let Some((_, entry)) = entries.iter().filter(takes).min_by_key(rank) {
        return [A, B, DROP][entry.target.index()];
    }
    let rule = rules
        .iter()
        .find(|(filter, _)| filter.matches(frame, frame.len() as u32));
    rule.map_or(0, |rule| rule.1)
}

fn any_match() -> impl Strategy<Value = FlowMatch> {
    let ends = (any::<bool>(), [0..3u8, 0..3, 1..3, 1..3]);
    let filters = prop::sample::select(vec![
        "(all)",
        "(udp)",
        "(tcp-port dst 1)",
        "(and (ip) (not (udp-port src 2)))",
        "(greater 60)",
    ]);
    prop_oneof![
        4 => ends.clone().prop_map(|(udp, ends)| FlowMatch::Flow(key(&frame(udp, ends)))),
        4 => ends.prop_map(|(udp, ends)| FlowMatch::BothWays(key(&frame(udp, ends)))),
        1 => filters.prop_map(|text| FlowMatch::Filter(text.parse().unwrap())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn packets_go_where_a_walk_over_all_entries_says(
        steps in prop::collection::vec((0..8u8, 0..3u16, any_match(), 0..3u16), 1..60),
        by_flow: bool,
    ) {
        let rules: &[(&str, HopIndex)] = match by_flow {
            true => &[("(tcp-port dst 2)", 1)],
            false => &[("(udp-port src 1)", 1), ("(dscp 0)", 2)],
        };
        let parsed: Vec<(Expr, HopIndex)> = rules.iter().map(|(f, h)| (f.parse().unwrap(), *h)).collect();
        let arms: &[(&str, &[&str])] = &[("(tcp)", &["a", "b"]), ("(udp)", &["b", "drop"])];
        let mut world = World::new(rules, &[program("sdn", arms)]);
        let mut entries: Vec<(u64, FlowEntry)> = Vec::new();
        let mut id = 0;
        for (what, to, matches, priority) in steps {
            let at = entries.iter().position(|(_, e)| e.matches == matches && e.priority == priority);
            let request = match what {
                0..6 => {
                    let entry = put(to, matches, priority);
                    match at {
                        Some(at) => entries[at].1 = entry.clone(),
                        None => {
                            id += 1;
                            entries.push((id, entry.clone()));
                        }
                    }
                    FlowRequest::Put(entry)
                }
                _ => {
                    if let Some(at) = at {
                        entries.remove(at);
                    }
                    FlowRequest::Remove { target: target(to), matches, priority }
                }
            };
            world.ask("sdn", vec![request]);
            for n in 0..24u8 {
                let f = frame(n & 1 != 0, [n % 3, n / 3 % 3, 1 + n % 2, 1 + n / 4 % 2]);
                prop_assert_eq!(world.hop(&f), by_walk(&entries, &f, &parsed), "{:?}", f);
            }
        }
        prop_assert_eq!(world.director.len(), entries.len());
    }
}

/// A packet in memory that an NF may write meanwhile.
mod flipped {
    use super::*;

    const GEOMETRY: Geometry = Geometry {
        first: 0,
        buffers: 2,
        stride: 512,
        headroom: 128,
    };
    const AT: usize = 128;
    /// The word of a frame that begins with the destination port.
    const PORT_AT: usize = 36;
    const PLAIN: u16 = 80;
    const SECRET: u16 = 99;

    /// Writes a frame of TCP, all but the word with its port, as an NF does that maps the file.
    fn write(to: &Mapping, flow: u32) {
        let mut frame = [0; 64];
        frame[12..14].copy_from_slice(&[8, 0]);
        (frame[14], frame[17], frame[22], frame[23]) = (0x45, 50, 64, 6);
        frame[26..30].copy_from_slice(&flow.to_be_bytes());
        for (i, word) in frame.as_chunks().0.iter().enumerate() {
            if i * 4 != PORT_AT {
                store(to, i * 4, *word);
            }
        }
    }

    fn write_port(to: &Mapping, port: u16) {
        let [high, low] = port.to_be_bytes();
        store(to, PORT_AT, [high, low, 0, 0]);
    }

    fn store(to: &Mapping, at: usize, word: [u8; 4]) {
        let value = u32::from_ne_bytes(word);
        to.u32_at(AT + at).unwrap().store(value, Ordering::Relaxed);
    }

    /// An NF that flips the port of a packet while it is classified cannot have the rule of one port kept for the other.
    #[test]
    fn what_is_kept_of_a_flow_is_true_whoever_writes_meanwhile() {
        const FLOWS: u32 = 100_000;
        let fd = create_file("flips", GEOMETRY.bytes(), false).unwrap();
        let packets = PacketFile::new(Mapping::new(&fd, true).unwrap(), GEOMETRY).unwrap();
        let nf = Mapping::new(&fd, true).unwrap();
        let tables = generation(1, &[("(tcp-port dst 99)", 1)], 0, vec![Program::default()]);
        let mut flows = Flows::default();
        flows.renew(&tables);
        let mut copy = PrivateCopy::new(&packets);
        let mut classify = |flow: u32| {
            write(&nf, flow);
            let mut view = flows.of(0, &tables);
            let decision = if view.keeps() {
                let foreseen = view.foresee(|most| copy.take(&packets, 0, AT as u16, most.min(64)));
                view.known(&foreseen, None)
            } else {
                None
            };
            let (_, decision) = decision.unwrap_or_else(|| {
                view.classify(64, None, |most| copy.take(&packets, 0, AT as u16, most.min(64)))
            });
            view.hop(decision)
        };
        let over = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    write_port(&nf, SECRET);
                    write_port(&nf, PLAIN);
                }
            });
            let mut seen = [0; 2];
            for flow in 0..FLOWS {
                seen[usize::from(classify(flow))] += 1;
            }
            over.store(true, Ordering::Relaxed);
            seen
        });
        assert!(
            seen.iter().all(|&n| n > 100),
            "the port was not flipped: {seen:?}"
        );
        for (port, hop) in [(PLAIN, 0), (SECRET, 1)] {
            write_port(&nf, port);
            for flow in 0..FLOWS {
                assert_eq!(classify(flow), hop, "port {port} of flow {flow}");
            }
        }
    }
}
