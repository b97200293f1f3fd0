//! Everything at once for a long time: full rate, a killed function every second, another number of replicas every five, flow
//! entries that come and end all the while.

use std::{
    collections::VecDeque,
    path::PathBuf,
    time::{Duration, Instant},
};

use onvm_api::{ApiError, FlowsReply, InstanceState, Status};
use onvm_tests::{
    Manager, Scratch, capture,
    holdings::{Holdings, memory},
    manager::SOON,
    process, programs,
};
use rustix::process::Signal;

const FLOWS: u16 = 200;
const SECOND: Duration = Duration::from_secs(1);
/// Rounds before the first look at what the manager holds, at most; else half of all.
const WARM_UP: usize = 20;
/// KiB that the manager's memory may grow by after that.
const MARGIN: usize = 8 << 10;

fn bundle(scratch: &Scratch) -> PathBuf {
    let time = |name: &str| {
        format!("[[params]]\nname = \"{name}\"\ntype = \"time\"\noptional = true\ndoc = \"Of entries.\"\n")
    };
    let effects = "[effects]\nreads = [\"tcp.dst_port\"]\nprograms = true\n";
    scratch.manifest("sorter", &format!("{effects}{}{}", time("idle"), time("hard")));
    let packets = (0..FLOWS).map(|flow| capture::tcp(flow, 1000 + flow, flow.into(), 30));
    capture::write(&scratch.path("in.pcap"), &packets.collect::<Vec<_>>());
    let chain = "use \"sorter.nf.toml\" as sorter\n\
        port wan = pcap { read = file(\"in.pcap\"), repeat = true }\nport gen = null\nport lan = null\n\
        nf sort = sorter { hard = 500 ms } with { replicas = 3 }\n\
        nf work = forward with { replicas = 1..4, affinity = none }\n\
        nf first = forward with { replicas = 3 }\nnf last = monitor with { replicas = 3 }\n\
        chain slow = sort -> first -> lan\nchain fast = work -> last -> lan\nchain made = first -> last -> lan\n\
        steer wan { else -> slow }\nsteer gen { else -> made }\n\
        allow sort to program wan { tcp or udp -> fast, drop }\nmanager { workers = 2 }\n";
    scratch.build(chain, "bundle")
}

/// The processes of functions, the longest at work first.
#[derive(Default)]
struct Oldest(VecDeque<u32>);

impl Oldest {
    /// Kills one that runs.
    fn kill(&mut self, status: &Status) {
        let instances = status.services.iter().flat_map(|s| &s.instances);
        let running = instances.filter(|i| i.state == InstanceState::Running);
        let running: Vec<u32> = running.filter_map(|i| i.pid).collect();
        self.0.retain(|pid| running.contains(pid));
        let new = running.into_iter().filter(|pid| !self.0.contains(pid));
        let new: Vec<u32> = new.collect();
        self.0.extend(new);
        if let Some(pid) = self.0.pop_front() {
            process::signal(pid, Signal::KILL);
        }
    }
}

/// The manager with two replicas of `work`, once all functions are there that should be.
fn settled(manager: &Manager, scratch: &Scratch) -> (Holdings, usize) {
    manager.scale("work", Some(2)).unwrap();
    manager.wait_until("all functions run", SOON, |s| {
        let instances: Vec<_> = s.services.iter().flat_map(|s| &s.instances).collect();
        instances.len() == 11
            && instances.iter().all(|i| i.state == InstanceState::Running)
            && manager.nf_processes().len() == 11
    });
    // What the last of those that were killed had may still be going: it is waited for until nothing goes any more.
    let (mut holds, mut looks) = (Holdings::of(manager, scratch), 0);
    process::wait_for(SOON, || {
        std::thread::sleep(SECOND / 10);
        let now = Holdings::of(manager, scratch);
        looks = if now == holds { looks + 1 } else { 0 };
        holds = now;
        (looks == 10).then_some(())
    });
    (holds, memory(manager))
}

fn last_entry(scratch: &Scratch) -> u64 {
    let mut command = programs::command("onvmc");
    command.args(["flows", "--json", "--limit", "10000", "--run-dir"]);
    let output = command.arg(scratch.run_dir()).output().unwrap();
    let reply: FlowsReply = serde_json::from_slice(&output.stdout).unwrap();
    reply.entries.iter().map(|entry| entry.id).max().unwrap_or(0)
}

/// A round takes a second; `ONVM_TEST_ROUNDS=600` for ten minutes, as in `make soak`.
#[test]
fn nothing_is_left_behind() {
    let rounds: usize = std::env::var("ONVM_TEST_ROUNDS").map_or(8, |n| n.parse().unwrap());
    let scratch = Scratch::new();
    let manager = Manager::ready(&bundle(&scratch), "test", &scratch.run_dir(), &[]);
    let mut oldest = Oldest::default();
    let mut before = None;
    for round in 0..rounds {
        let began = Instant::now();
        oldest.kill(&manager.status());
        if round % 5 == 0 {
            match manager.scale("work", Some([4, 1, 3][round / 5 % 3])) {
                Ok(_) => {}
                // The one that was killed was just being added.
                Err(e) if e.code == ApiError::NOT_READY => {}
                Err(e) => panic!("{e}\n{}", manager.log()),
            }
        }
        std::thread::sleep(SECOND.saturating_sub(began.elapsed()));
        if round + 1 == WARM_UP.min(rounds / 2) {
            before = Some(settled(&manager, &scratch));
        }
    }
    let (before, memory_before) = before.expect("there are two rounds at least");
    let (mut after, mut now) = settled(&manager, &scratch);
    // What replaced functions had goes a moment after them.
    process::wait_for(SOON, || {
        (after, now) = (Holdings::of(&manager, &scratch), memory(&manager));
        (after == before).then_some(())
    });
    assert_eq!(after, before, "after {rounds} rounds, and before");
    let status = manager.status();
    let (entries, passed) = (last_entry(&scratch), status.balance.delivered);
    println!(
        "{rounds} rounds: {now} KiB, {memory_before} KiB after the first; {entries} flow entries; {passed} packets; {:?}",
        status.drops
    );
    assert!(
        now < memory_before + MARGIN,
        "memory has grown from {memory_before} to {now} KiB in {rounds} rounds"
    );
    assert!(entries > 2 * u64::from(FLOWS), "entries ended and were made anew");
    let programmed: u64 = status
        .ports
        .iter()
        .flat_map(|p| &p.programmed)
        .map(|of| of.packets)
        .sum();
    assert!(programmed > 0);
    let summary = manager.terminate_whole(FLOWS.into());
    // Of a port that does not wait, some come faster than what is left of killed functions takes them.
    let expected = [
        "chain",
        "nf_lost",
        "no_instance",
        "shutdown",
        "backpressure",
        "share_full",
        "ring_full",
    ];
    for drop in &summary.drops {
        assert!(expected.contains(&drop.reason.as_str()), "{drop:?}");
    }
}
