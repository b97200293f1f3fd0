//! What is proved of a program stays true whatever its functions do: random programs of functions that give any verdict, write
//! what they may and more, and die, under random traffic and edits.

mod program;

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    time::{Duration, SystemTime},
};

use onvm_api::Status;
use onvm_tests::{Manager, Scratch, Summary, capture, random::Random};
use program::{Assertion, Claim, FIELDS, IN_PORTS, PORTS, Program};

const PROGRAMS: u32 = 12;
const PACKETS: u32 = 2500;
const LONG: Duration = Duration::from_secs(60);

/// What happened in all programs together, so that nothing here is true because nothing happened.
#[derive(Debug, Default)]
struct Seen {
    proved: u64,
    /// Proved assertions of which some delivered packet was one.
    tried: u64,
    delivered: u64,
    unknown: u64,
    deaths: u64,
    /// Packets that went around functions that were lost.
    bypassed: u64,
    edits: u64,
    /// Permissions for lookups.
    lookups: usize,
    /// Packets that flow entries took.
    programmed: u64,
    overruled: u64,
    dropped: BTreeMap<String, u64>,
    verdicts: BTreeMap<String, u64>,
}

#[test]
fn no_proof_is_contradicted() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let given = std::env::var("ONVM_TEST_SEED").ok().and_then(|s| s.parse().ok());
    let seed = given.unwrap_or(now.as_nanos() as u64 | 1);
    println!("ONVM_TEST_SEED={seed}");
    let mut random = Random(seed);
    let mut seen = Seen::default();
    for n in 0..PROGRAMS {
        // Functions that write to packets that they do not hold, headers that rules read included, make no assertion about
        // headers true or false: such a proof rests on that they do not.
        attack(&mut random, n % 3 == 2, n % 2 == 0, &mut seen);
    }
    println!("{seen:#?}");
    assert!(
        seen.proved > 100 && seen.tried > 40 && seen.delivered > 1000,
        "{seen:#?}"
    );
    assert!(
        seen.deaths > 3
            && seen.bypassed > 0
            && seen.edits > 0
            && seen.lookups > 0
            && seen.overruled > 1000
            && seen.programmed > 100,
        "{seen:#?}"
    );
    for reason in ["nf_verdict", "nf_lost", "malformed"] {
        assert!(
            seen.dropped.get(reason).is_some_and(|n| *n > 0),
            "{reason}: {seen:#?}"
        );
    }
    for kind in [
        "next",
        "output",
        "drop",
        "steer",
        "out",
        "lookup",
        "unknown",
        "elsewhere",
    ] {
        assert!(
            seen.verdicts.get(kind).is_some_and(|n| *n > 0),
            "{kind}: {seen:#?}"
        );
    }
}

fn attack(random: &mut Random, wild: bool, edited: bool, seen: &mut Seen) {
    let scratch = Scratch::new();
    let sent: Vec<Vec<Vec<u8>>> = (0..IN_PORTS).map(|port| traffic(random, port as u8)).collect();
    for (port, packets) in sent.iter().enumerate() {
        capture::write(&scratch.path(&format!("p{port}.in")), packets);
    }
    let candidates = program::candidates(random, wild);
    let read: Vec<&str> = FIELDS.into_iter().filter(|_| random.one_in(2)).collect();
    let [first, second] = ["first", "second"].map(|name| {
        loop {
            let program = Program::random(random, &read, wild, &scratch);
            if let Some(proved) = program.prove(&scratch, &candidates) {
                break (scratch.build(&program.with(&proved), name), proved, program);
            }
        }
    });
    // Where both programs are run, a packet may have met either.
    let proved: Vec<&Assertion> = match edited {
        true => first.1.iter().filter(|a| second.1.contains(a)).collect(),
        false => first.1.iter().collect(),
    };
    let all = sent.iter().map(|s| s.len() as u64).sum();
    let summary = run(&scratch, &first.0, edited.then_some(&*second.0), all, seen);
    for drop in &summary.drops {
        *seen.dropped.entry(drop.reason.clone()).or_default() += drop.packets;
    }
    let text = || {
        format!(
            "{}\n--- then, if edited ({edited}):\n{}",
            first.2.text, second.2.text
        )
    };
    check(&scratch, &sent, &proved, wild, seen, &text);
    seen.proved += proved.len() as u64;
    seen.lookups += first.2.text.matches(" to lookup").count();
}

/// Runs the bundle, and the other one after it, until every packet has left.
fn run(scratch: &Scratch, bundle: &Path, edit: Option<&Path>, all: u64, seen: &mut Seen) -> Summary {
    let manager = Manager::ready(bundle, "test", &scratch.run_dir(), &[]);
    if let Some(edit) = edit {
        // A function that dies just then is a reason to refuse; then the first program goes on.
        seen.edits += u64::from(manager.apply(edit, None).is_ok());
    }
    let over = |s: &Status| s.balance.delivered + s.balance.dropped == all;
    let status = manager.wait_until("every packet has left or is dropped", LONG, over);
    let programmed = status.ports.iter().flat_map(|port| &port.programmed);
    seen.programmed += programmed.map(|of| of.packets).sum::<u64>();
    let hops = status.chains.iter().flat_map(|chain| &chain.hops);
    seen.bypassed += hops.map(|hop| hop.bypassed).sum::<u64>();
    for instance in status.services.iter().flat_map(|s| &s.instances) {
        seen.deaths += u64::from(instance.restarts);
        seen.overruled += instance.overruled;
        for (name, n) in &instance.counters {
            *seen.verdicts.entry(name.clone()).or_default() += n;
        }
    }
    manager.terminate_whole(0)
}

fn check(
    scratch: &Scratch,
    sent: &[Vec<Vec<u8>>],
    proved: &[&Assertion],
    wild: bool,
    seen: &mut Seen,
    text: &dyn Fn() -> String,
) {
    let (mut tried, mut met) = (HashSet::new(), HashSet::new());
    for out in PORTS {
        for packet in capture::read(&scratch.path(&format!("{out}.out"))) {
            seen.delivered += 1;
            let Some((port, number)) = identity(&packet, sent) else {
                assert!(wild, "by {out} came what was not sent: {packet:02x?}");
                seen.unknown += 1;
                continue;
            };
            assert!(
                met.insert((port, number)),
                "packet {number} of p{port} came twice\n{}",
                text()
            );
            let stamps = packet[packet.len() - 5];
            for (n, assertion) in proved.iter().enumerate() {
                if assertion.port == port && assertion.filter.matches(&sent[port][number]) {
                    tried.insert(n);
                    assert!(
                        assertion.claim.holds(out, stamps),
                        "`{assertion}` is proved, and a packet came to {out} (stamps {stamps:#010b}): \
                         {packet:02x?}\nwas {:02x?}\n{}",
                        sent[port][number],
                        text()
                    );
                }
            }
        }
    }
    seen.tried += tried.len() as u64;
}

/// Packets of even length whose last bytes say which they are.
fn traffic(random: &mut Random, port: u8) -> Vec<Vec<u8>> {
    let packet = |number| {
        let (flow, payload) = (random.below(1 << 16) as u16, random.of(&[30, 60, 200]));
        let mut packet = match random.one_in(3) {
            true => capture::udp(flow, number, payload),
            false => capture::tcp(flow, random.of(&[53, 80, 99, 443]), number, payload),
        };
        packet[11] = random.of(&[1, 1, 9]);
        packet[15] = random.of(&[0, 0, 46 << 2]);
        packet[22] = random.of(&[64, 64, 7]);
        packet[33] = random.of(&[9, 9, 10]);
        let tail = packet.len() - 16;
        packet[tail..].copy_from_slice(&name(port, number));
        packet
    };
    (0..PACKETS).map(packet).collect()
}

/// Number, port, a check of both, room for the stamps, and zeroes.
fn name(port: u8, number: u32) -> [u8; 16] {
    let mut name = [0; 16];
    name[..4].copy_from_slice(&number.to_be_bytes());
    name[4] = port;
    let check = (u64::from(number) << 8 | u64::from(port)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    name[5..11].copy_from_slice(&check.to_be_bytes()[..6]);
    name
}

/// Port and number of a packet that is one of those sent, whatever became of its headers.
fn identity(packet: &[u8], sent: &[Vec<Vec<u8>>]) -> Option<(usize, usize)> {
    let tail = packet.last_chunk::<16>()?;
    let number = u32::from_be_bytes(*tail.first_chunk()?);
    let mut named = *tail;
    named[11] = 0;
    let was = sent.get(usize::from(tail[4]))?.get(number as usize)?;
    let same = named == name(tail[4], number) && was.len() == packet.len();
    same.then_some((usize::from(tail[4]), number as usize))
}

/// What holds of a packet that came to a port.
impl Claim {
    fn holds(&self, out: &str, stamps: u8) -> bool {
        let visited = |nf: &usize| stamps >> nf & 1 == 1;
        match self {
            Self::ReachesPort(port) => *port == out,
            Self::NeverReachesPort(port) => *port != out,
            Self::Passes(nf) => visited(nf),
            Self::PassesBefore(nf, port) => *port != out || visited(nf),
            Self::NeverPasses(nf) => !visited(nf),
            Self::Dropped => false,
        }
    }
}
