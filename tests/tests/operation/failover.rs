//! Network functions that are killed or hang in traffic: it goes on, and nothing is lost without a count.

use std::time::Duration;

use onvm_api::{InstanceState, Status};
use onvm_tests::{
    Manager, Scratch, capture, http,
    manager::{SOON, dropped, instance},
    process,
};
use rustix::process::Signal;

/// Packets of the capture that is repeated.
pub(super) const STOCK: usize = 640;

/// Endless traffic of 64 flows through a pacer, of which there are so many.
pub(super) fn pacers(scratch: &Scratch, replicas: u32) -> Manager {
    scratch.pacer();
    let packets: Vec<_> = (0..STOCK as u32)
        .map(|i| capture::udp((i % 64) as u16, i, 30))
        .collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    let chain = format!(
        "use \"pacer.nf.toml\" as pacer\nport a = pcap {{ read = file(\"in.pcap\"), repeat = true }}\n\
         port b = pcap {{ write = \"/dev/null\" }}\nnf fwd = forward {{}}\n\
         nf pace = pacer {{}} with {{ replicas = {replicas} }}\nsteer a {{ else -> fwd -> pace -> b }}\n"
    );
    let bundle = scratch.build(&chain, "bundle");
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    manager.wait_for_traffic(5000, SOON);
    manager
}

#[test]
fn the_status_says_why_one_was_lost_and_when_it_comes_back() {
    let scratch = Scratch::new();
    let manager = pacers(&scratch, 1);
    let mut pid = instance(&manager.status(), "pace-0").pid;
    assert_eq!(instance(&manager.status(), "pace-0").last_loss, None);
    // Each pause is twice as long as the one before it, from 0.1 s on.
    for _ in 0..5 {
        process::signal(pid.unwrap(), Signal::KILL);
        pid = Some(manager.wait_for_instance("pace-0", pid, SOON));
    }
    let status = manager.status();
    let running = instance(&status, "pace-0");
    assert!(
        running
            .last_loss
            .as_ref()
            .is_some_and(|why| why.contains("SIGKILL")),
        "{running:?}"
    );
    assert_eq!(running.restart_in_ms, None);
    process::signal(pid.unwrap(), Signal::KILL);
    manager.wait_until("it pauses", SOON, |s| {
        let pace = instance(s, "pace-0");
        pace.state == InstanceState::Lost && pace.restart_in_ms.is_some_and(|ms| (1..=1600).contains(&ms))
    });
    manager.wait_for_instance("pace-0", pid, SOON);
    manager.terminate_whole(STOCK);
}

#[test]
fn the_sibling_of_a_killed_instance_goes_on() {
    let scratch = Scratch::new();
    let manager = pacers(&scratch, 2);
    let before = manager.status();
    let (killed, sibling) = (instance(&before, "pace-0"), instance(&before, "pace-1"));
    assert!(
        killed.tx_packets > 0 && sibling.tx_packets > 0,
        "flows are spread: {before:#?}"
    );
    process::signal(killed.pid.unwrap(), Signal::KILL);
    let new = manager.wait_for_instance("pace-0", killed.pid, SOON);
    let after = manager.wait_for_traffic(10_000, SOON);
    assert_eq!(
        (
            instance(&after, "pace-1").pid,
            instance(&after, "pace-1").restarts
        ),
        (sibling.pid, 0)
    );
    assert!(instance(&after, "pace-1").tx_packets > sibling.tx_packets);
    assert_eq!(instance(&after, "pace-0").pid, Some(new));
    let summary = manager.terminate_whole(STOCK);
    assert_eq!(summary.dropped("no_instance"), 0, "there always was one");
    assert!(summary.dropped("nf_lost") > 0);
}

#[test]
fn an_instance_that_hangs_is_noticed_and_replaced() {
    let scratch = Scratch::new();
    let manager = pacers(&scratch, 1);
    let pid = instance(&manager.status(), "pace-0").pid.unwrap();
    process::signal(pid, Signal::STOP);
    manager.wait_for_instance("pace-0", Some(pid), Duration::from_secs(8));
    assert!(
        manager.log().contains("handed none back for 2 s"),
        "{}",
        manager.log()
    );
    manager.wait_for_traffic(5000, SOON);
    assert!(
        !manager.nf_processes().contains(&pid),
        "the stopped process is gone"
    );
    assert!(manager.terminate_whole(STOCK).dropped("nf_lost") > 0);
}

#[test]
fn a_manager_told_to_stop_ends_a_hung_instance_as_well() {
    let scratch = Scratch::new();
    let manager = pacers(&scratch, 1);
    process::signal(instance(&manager.status(), "pace-0").pid.unwrap(), Signal::STOP);
    let summary = manager.terminate_whole(STOCK);
    assert!(summary.balance.delivered >= 5000);
}

/// Packets of a capture that an NF takes with it are not delivered, and a run that loses some has not done what it is for.
#[test]
fn a_run_to_the_end_that_lost_packets_with_an_nf_fails_and_says_so() {
    let scratch = Scratch::new();
    scratch.manifest("panics", "");
    let packets: Vec<_> = (0..500).map(|i| capture::udp(1, i, 30)).collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    let bundle = scratch.build(
        "use \"panics.nf.toml\" as panics\nport a = pcap { read = file(\"in.pcap\") }\n\
         port b = pcap { write = \"/dev/null\" }\nnf bad = panics {} with { restart = never }\nsteer a { else -> bad -> b }\n",
        "bundle",
    );
    let finished = Manager::start(&bundle, "test", &scratch.run_dir(), &["--exit-when-done"]).finish(SOON);
    finished.assert_nothing_left();
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let error = "error: 500 packets were lost because an NF ended: ";
    assert!(finished.stderr.contains(error), "{}", finished.stderr);
    let balance: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(balance["balanced"], true, "{balance}");
    assert_eq!(balance["balance"]["dropped"], 500);
    assert_eq!(balance["lost"]["packets"], 500);
    let lines: Vec<serde_json::Value> = finished
        .stderr
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let panic = lines
        .iter()
        .find(|l| l["fields"]["message"].to_string().contains("panicked at"));
    let panic = panic.unwrap_or_else(|| panic!("no panic is logged:\n{}", finished.stderr));
    assert_eq!(panic["level"], "ERROR");
    let message = panic["fields"]["message"].as_str().unwrap();
    assert!(message.ends_with(": the table has no room"), "{message}");
}

/// One that must be there drops packets meanwhile, and has a capture wait for it; around the other, packets go on.
#[test]
fn packets_go_around_a_lost_nf_where_the_source_says_so() {
    let scratch = Scratch::new();
    let packets: Vec<_> = (0..STOCK as u32)
        .map(|i| capture::udp((i % 64) as u16, i, 30))
        .collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    scratch.pacer();
    let chain = |on_loss: &str| {
        format!(
            "use \"pacer.nf.toml\" as pacer\nport a = pcap {{ read = file(\"in.pcap\"), repeat = true }}\n\
             port b = pcap {{ write = \"/dev/null\" }}\nnf pace = pacer {{}}\n\
             nf mon = monitor {{}} with {{ restart = never, on_loss = {on_loss} }}\n\
             steer a {{ else -> pace -> mon -> b }}\n"
        )
    };
    let bundle = scratch.build(&chain("bypass"), "bypass");
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    let before = manager.wait_for_traffic(1000, SOON);
    let hop = |status: &Status| status.chains[0].hops[1].clone();
    assert_eq!(hop(&before).bypassed, 0);
    process::signal(instance(&before, "mon-0").pid.unwrap(), Signal::KILL);
    manager.wait_until("it is not started again", SOON, |s| {
        instance(s, "mon-0").state == InstanceState::Failed
    });
    let from = manager.status();
    let status = manager.wait_for_traffic(2000, SOON);
    assert!(
        hop(&status).bypassed >= hop(&from).bypassed + 2000,
        "{:?}",
        hop(&status)
    );
    assert_eq!(dropped(&status.drops, "no_instance"), 0, "{:?}", status.drops);
    let (_, metrics) = http::request(&manager.socket(), "GET", "/metrics", None).unwrap();
    assert!(metrics.contains("onvm_hop_bypassed_total{"), "{metrics}");
    // The edit touches no instance: packets are dropped from now on.
    let reply = manager
        .apply(&scratch.build(&chain("drop"), "drop"), None)
        .unwrap();
    assert!(reply.started.is_empty() && reply.stopped.is_empty(), "{reply:?}");
    manager.wait_until("packets are dropped", SOON, |s| {
        dropped(&s.drops, "no_instance") > 100
    });
    manager.terminate_whole(STOCK);
}
