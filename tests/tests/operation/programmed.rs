//! A function that programs the flow table: packets go by its entries once these are in force, within what the program permits.

use std::{path::PathBuf, process::Command};

use onvm_api::{FlowsReply, Status};
use onvm_tests::{
    Manager, Scratch, capture,
    manager::{SOON, instance},
    programs,
};
use rustix::process::{Pid, Signal, kill_process};

const FLOWS: u16 = 200;

/// A capture that is repeated through the sorter, until its entries send flows past it.
struct Run {
    scratch: Scratch,
    manager: Manager,
}

fn build(scratch: &Scratch, out: &str, nf: &str, allow: &str, threads: &str, repeat: bool) -> PathBuf {
    let chain = format!(
        "use \"sorter.nf.toml\" as sorter\nport wan = pcap {{ read = file(\"in.pcap\"), repeat = {repeat} }}\n\
         port lan = null\nnf sort = sorter {nf}\nnf mon = monitor\n\
         chain slow = sort -> lan\nchain fast = mon -> lan\n\
         steer wan {{ else -> slow }}\nallow sort to program wan {{ {allow} }}\n\
         manager {{ {threads} }}\n"
    );
    scratch.build(&chain, out)
}

fn start(nf: &str, allow: &str, threads: &str, repeat: bool) -> Run {
    let scratch = Scratch::new();
    let time = |name: &str| {
        format!("[[params]]\nname = \"{name}\"\ntype = \"time\"\noptional = true\ndoc = \"For entries.\"\n")
    };
    let effects = "[effects]\nreads = [\"tcp.dst_port\"]\nprograms = true\n";
    let manifest = scratch.manifest("sorter", &format!("{effects}{}{}", time("idle"), time("hard")));
    let text = std::fs::read_to_string(manifest).unwrap();
    scratch.write("sorter.nf.toml", format!("reconfigure = true\n{text}"));
    let packets = (0..FLOWS).map(|flow| capture::tcp(flow, 1000 + flow, flow.into(), 30));
    capture::write(&scratch.path("in.pcap"), &packets.collect::<Vec<_>>());
    let bundle = build(&scratch, "bundle", nf, allow, threads, repeat);
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    Run { scratch, manager }
}

const BOTH: &str = "tcp or udp -> fast, drop";

/// One capture has one reader: where there are several workers, receivers spread its flows over them.
const THREADS: [&str; 4] = [
    "workers = 1",
    "workers = 2, receivers = 1",
    "workers = 3, receivers = 1",
    "workers = 5, receivers = 2",
];

impl Run {
    fn onvmc(&self, args: &[&str]) -> String {
        let mut command: Command = programs::command("onvmc");
        command
            .arg("flows")
            .args(args)
            .arg("--run-dir")
            .arg(self.scratch.run_dir());
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned() + &error
    }

    fn flows(&self, args: &[&str]) -> FlowsReply {
        serde_json::from_str(&self.onvmc(&[&["--json"], args].concat())).unwrap()
    }

    fn await_entries(&self, entries: u64) -> Status {
        self.manager
            .wait_until("so many entries are there", SOON, |status| {
                programmed(status)
                    .iter()
                    .map(|(_, entries, _)| *entries)
                    .sum::<u64>()
                    == entries
            })
    }

    /// The part of the packets, in percent, that come to the sorter.
    fn seen(&self) -> u64 {
        let before = self.manager.status();
        let after = self
            .manager
            .wait_for_traffic(before.balance.received + 20_000, SOON);
        let seen = counter(&after, "seen") - counter(&before, "seen");
        100 * seen / (after.balance.received - before.balance.received)
    }
}

/// Chain, entries and packets of the port.
fn programmed(status: &Status) -> Vec<(String, u64, u64)> {
    let of = status.ports[0].programmed.iter();
    of.map(|of| (of.chain.clone(), of.entries, of.packets)).collect()
}

/// The sum over the sorter's instances.
fn counter(status: &Status, name: &str) -> u64 {
    let all = status.services.iter().flat_map(|s| &s.instances);
    all.map(|i| i.counters.get(name).copied().unwrap_or(0)).sum()
}

fn goes_past_the_sorter(nf: &str, threads: &str) {
    let run = start(nf, BOTH, threads, true);
    run.await_entries(FLOWS.into());
    // Those that came before the last entry was in force come out of its ring first.
    run.manager
        .wait_until("the sorter has nothing to do", SOON, |_| run.seen() == 0);
    let status = run.manager.wait_until("the sorter has heard of all", SOON, |s| {
        counter(s, "done") == counter(s, "requests") && counter(s, "listed") > 0
    });
    let of: Vec<(String, u64)> = programmed(&status).into_iter().map(|(c, n, _)| (c, n)).collect();
    let half = u64::from(FLOWS) / 2;
    assert_eq!(of, [("drop".to_owned(), half), ("fast".to_owned(), half)]);
    assert_eq!((counter(&status, "refused"), counter(&status, "full")), (0, 0));
    assert!(counter(&status, "requests") >= FLOWS.into());

    let all = run.flows(&["--limit", "150"]);
    assert_eq!(
        (all.total, all.entries.len(), all.more),
        (FLOWS.into(), 150, true)
    );
    let last = all.entries[149].id.to_string();
    assert_eq!(run.flows(&["--after", &last]).entries.len(), 50);
    assert!(
        all.entries
            .iter()
            .all(|e| e.packets > 0 && e.nf == "sort" && e.cookie == 7 && e.both_ways)
    );
    let odd = all.entries.iter().find(|e| e.chain == "drop").unwrap();
    assert!(
        odd.flow
            .as_ref()
            .is_some_and(|f| f.starts_with("tcp 198.51.0.") && f.contains(" > 203.0.113.9:1")),
        "{odd:?}"
    );
    assert!(
        run.onvmc(&["--nf", "sort", "--port", "wan"])
            .contains("203.0.113.9:1000, both ways")
    );

    // What an operator removes, the sorter hears of, and sorts again.
    let said = run.onvmc(&["delete", &last]);
    assert_eq!(said, "1 flow entry was removed.\n");
    let status = run
        .manager
        .wait_until("the flow is sorted again", SOON, |s| counter(s, "ended") == 1);
    assert!(counter(&status, "ended_packets") > 0);
    run.await_entries(FLOWS.into());
    assert!(!run.flows(&[]).entries.iter().any(|e| e.id.to_string() == last));
    let status = run.manager.status();
    let (taken, seen): (u64, u64) = (
        programmed(&status).iter().map(|(.., n)| n).sum(),
        counter(&status, "seen"),
    );
    assert!(taken > 20_000 && seen > 0);
    // Each packet came by an entry or by the rule.
    let verbose: Status = serde_json::from_str(&run.manager.get("/v1/status?verbose").1).unwrap();
    assert!(verbose.ports[0].rules[0].packets >= seen);
    run.manager.terminate_whole(FLOWS.into());
}

#[test]
fn packets_go_past_the_sorter_once_its_entries_are_in_force() {
    goes_past_the_sorter("", THREADS[0]);
}

#[test]
fn so_they_do_with_several_workers_and_replicas() {
    for threads in &THREADS[1..] {
        goes_past_the_sorter("with { replicas = 2 }", threads);
    }
}

#[test]
fn an_entry_takes_no_packet_that_the_program_does_not_permit() {
    let run = start("", "udp -> fast, drop", THREADS[0], true);
    run.await_entries(FLOWS.into());
    assert!(run.seen() > 90);
    let taken: u64 = programmed(&run.manager.status())
        .iter()
        .map(|(.., packets)| packets)
        .sum();
    assert_eq!(taken, 0);
    // An edit permits it: the entries that are there take packets from then on.
    let ids = |run: &Run| run.flows(&[]).entries.iter().map(|e| e.id).collect::<Vec<_>>();
    let before = ids(&run);
    let bundle = build(
        &run.scratch,
        "wider",
        "",
        "udp -> fast, drop tcp -> fast",
        THREADS[0],
        true,
    );
    let reply = run.manager.apply(&bundle, None).unwrap();
    assert_eq!(
        (reply.started.len(), reply.flow_entries_ended),
        (0, 0),
        "{reply:?}"
    );
    assert_eq!(ids(&run), before);
    let half = u64::from(FLOWS) / 2;
    let status = run
        .manager
        .wait_until("even flows go past the sorter", SOON, |_| {
            (45..=55).contains(&run.seen())
        });
    let entries: Vec<u64> = programmed(&status).iter().map(|(_, n, _)| *n).collect();
    assert_eq!(entries, [half, half]);
    run.manager.terminate_whole(FLOWS.into());
}

/// By their idle time, where nothing comes that they would take.
pub(super) fn entries_end_without_packets() {
    let run = start("{ idle = 300 ms }", BOTH, THREADS[1], false);
    let status = run.manager.wait_until("entries end by themselves", SOON, |s| {
        counter(s, "ended") == u64::from(FLOWS)
    });
    assert_eq!(counter(&status, "requests"), counter(&status, "done"));
    run.await_entries(0);
    assert_eq!(run.onvmc(&[]), "There are no such flow entries.\n");
    run.manager.terminate_whole(0);
}

/// By their hard time, where each worker finds packets by them without a pause: their flows are sorted anew.
pub(super) fn entries_end_while_packets_come() {
    for threads in THREADS {
        let run = start("{ hard = 200 ms }", BOTH, threads, true);
        let flows = u64::from(FLOWS);
        let what = "each entry has ended and was made anew, several times";
        let status = run.manager.wait_until(what, SOON, |s| {
            counter(s, "ended") >= 4 * flows && counter(s, "requests") >= 5 * flows
        });
        assert_eq!((counter(&status, "refused"), counter(&status, "full")), (0, 0));
        let summary = run.manager.terminate_whole(FLOWS.into());
        // A packet is dropped by a decision, or as the manager stops.
        let decided = ["chain", "shutdown"].map(|reason| summary.dropped(reason));
        assert_eq!(
            summary.balance.dropped,
            decided.iter().sum::<u64>(),
            "{:?}",
            summary.drops
        );
    }
}

/// Its entries were made by the former parameters: new ones come with new instances, also where it could take them while it runs.
#[test]
fn one_that_programs_flows_is_replaced_for_new_parameters() {
    let run = start("{ idle = 1 h }", BOTH, THREADS[0], true);
    let manifest = std::fs::read_to_string(run.scratch.path("sorter.nf.toml")).unwrap();
    assert!(manifest.contains("reconfigure = true"));
    run.await_entries(FLOWS.into());
    let next = build(&run.scratch, "next", "{ idle = 2 h }", BOTH, THREADS[0], true);
    let reply = run.manager.apply(&next, None).unwrap();
    assert_eq!(
        (reply.reconfigured.len(), &*reply.started),
        (0, &["sort-0".to_owned()][..])
    );
    run.await_entries(FLOWS.into());
    run.manager.terminate_whole(FLOWS.into());
}

/// Entries are the service's: they outlive an instance that is started again, and no service that is not.
#[test]
fn entries_live_as_long_as_their_service() {
    let kill = |run: &Run| {
        let pid = instance(&run.manager.status(), "sort-0").pid.unwrap();
        kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
        pid
    };
    let run = start("", BOTH, THREADS[0], true);
    run.await_entries(FLOWS.into());
    let before = run.flows(&[]).entries;
    let pid = kill(&run);
    run.manager.wait_for_instance("sort-0", Some(pid), SOON);
    assert_eq!(run.seen(), 0, "packets go on by the entries");
    let ids = |entries: &[onvm_api::FlowEntry]| entries.iter().map(|e| e.id).collect::<Vec<_>>();
    assert_eq!(ids(&run.flows(&[]).entries), ids(&before));
    run.manager.terminate();

    let run = start("with { restart = never }", BOTH, THREADS[0], true);
    run.await_entries(FLOWS.into());
    kill(&run);
    run.await_entries(0);
    run.manager.terminate();
}

#[test]
fn nobody_deletes_all_by_a_slip() {
    let run = start("", BOTH, THREADS[0], true);
    let refused = |args: &[&str]| {
        let mut command: Command = programs::command("onvmc");
        command
            .arg("flows")
            .args(args)
            .arg("--run-dir")
            .arg(run.scratch.run_dir());
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, said) = refused(&["delete"]);
    assert_eq!(code, Some(2), "{said}");
    for (args, word) in [
        (["--nf", "ids"], "no NF `ids`"),
        (["--port", "dmz"], "no port `dmz`"),
    ] {
        let (code, said) = refused(&args);
        assert!(code != Some(0) && said.contains(word), "{code:?} {said}");
    }
    run.await_entries(FLOWS.into());
    assert_eq!(
        run.onvmc(&["delete", "--all"]),
        format!("{FLOWS} flow entries were removed.\n")
    );
    run.manager.terminate_whole(FLOWS.into());
}
