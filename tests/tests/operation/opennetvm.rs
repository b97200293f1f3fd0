//! The eight failures of openNetVM v21.10, each with the test that fails if it happened here. What several tests share is in the
//! module of its subject.

use std::time::Duration;

use onvm_tests::{
    Feed, Manager, Scratch, capture,
    manager::{SOON, all_have_left, dropped, instance},
    misused, process,
};
use rustix::process::Signal;

use super::{
    failover::{self, pacers},
    programmed, replicas,
};

/// Failure 1: An NF that is killed stays "running": its share of the traffic is lost, and its buffers leak.
#[test]
fn a_killed_nf_is_replaced_and_its_buffers_come_back() {
    let scratch = Scratch::new();
    let manager = pacers(&scratch, 1);
    let level = manager.status().buffers.in_use;
    let mut lost = 0;
    for round in 1..=3 {
        let pid = instance(&manager.status(), "pace-0").pid.unwrap();
        process::signal(pid, Signal::KILL);
        manager.wait_for_instance("pace-0", Some(pid), SOON);
        let status = manager.wait_for_traffic(5000, SOON);
        assert_eq!(instance(&status, "pace-0").restarts, round);
        assert_eq!(instance(&status, "fwd-0").restarts, 0);
        let now = dropped(&status.drops, "nf_lost");
        assert!(
            now > lost,
            "what the killed instance held is counted: {:?}",
            status.drops
        );
        lost = now;
    }
    // Each instance held some hundred packets at least, which would be missing here.
    let what = format!("the buffers in use return to their level of {level} after {lost} were recovered");
    manager.wait_until(&what, SOON, |s| s.buffers.in_use <= level + 64);
    let summary = manager.terminate_whole(failover::STOCK);
    assert_eq!(summary.dropped("nf_lost"), lost);
    assert_eq!(
        summary.balance.dropped,
        lost + summary.dropped("no_instance") + summary.dropped("shutdown")
    );
}

/// Failure 2: Stock NFs cannot follow a chain that the manager drives, and chains of more than three hops corrupt themselves: twelve NFs,
/// most of them twice, on one chain.
#[test]
fn stock_nfs_follow_a_chain_of_any_length() {
    const PACKETS: u32 = 5000;
    let scratch = Scratch::new();
    let sent: Vec<Vec<u8>> = (0..PACKETS)
        .map(|n| capture::udp((n % 50) as u16, n, 30))
        .collect();
    capture::write(&scratch.path("in.pcap"), &sent);
    let out = scratch.path("out.pcap");
    let types = ["forward", "monitor", "firewall { default = accept }"];
    let nfs: String = (0..12).map(|n| format!("nf n{n} = {}\n", types[n % 3])).collect();
    let line: String = (0..20).map(|n| format!("n{} -> ", n % 12)).collect();
    let chain = format!(
        "port wan = pcap {{ read = file(\"in.pcap\") }}\nport lan = pcap {{ write = \"{}\" }}\n\
         {nfs}steer wan {{ else -> {line}lan }}\n",
        out.display()
    );
    let bundle = scratch.build(&chain, "bundle");
    let manager = Manager::start(&bundle, "test", &scratch.run_dir(), &["--exit-when-done"]);
    let summary = manager.finish(Duration::from_secs(60)).summary();
    assert_eq!(summary.balance.dropped, 0);
    assert_eq!(
        capture::read(&out),
        sent,
        "each packet once, unchanged and in order"
    );
    let chain = &summary.chains[0];
    assert_eq!(chain.hops.len(), 21);
    assert!(
        chain.hops.iter().all(|hop| hop.packets == u64::from(PACKETS)),
        "{chain:?}"
    );
}

/// Failure 3: Nothing checks where an NF sends a packet: a service that does not exist is an index out of bounds, an unknown port or action
/// leaks the packet.
#[test]
fn a_destination_that_does_not_exist_leaks_no_packet() {
    // Many times all that the NF sends packets to.
    const PACKETS: u32 = 4000;
    let scratch = misused::scratch();
    let sent: Vec<_> = (0..PACKETS)
        .map(|n| capture::udp((n % 50) as u16, n, 30))
        .collect();
    capture::write(&scratch.path("in.pcap"), &sent);
    let out = scratch.path("out.pcap");
    let chain = format!(
        "use \"misuse.nf.toml\" as misuse\nport a = pcap {{ read = file(\"in.pcap\") }}\n\
         port b = pcap {{ write = \"{}\" }}\nnf bad = misuse {{ how = \"misdirect\" }}\nnf mon = monitor\n\
         steer a {{ else -> bad -> mon -> b }}\n",
        out.display()
    );
    let manager = Manager::ready(&scratch.build(&chain, "bundle"), "test", &scratch.run_dir(), &[]);
    let status = manager.wait_until("every packet has left", SOON, |s| {
        s.balance.delivered == u64::from(PACKETS)
    });
    let bad = instance(&status, "bad-0");
    assert_eq!(
        (bad.overruled, bad.refused, bad.restarts),
        (PACKETS.into(), 0, 0),
        "{bad:?}"
    );
    let summary = manager.terminate_whole(0);
    assert_eq!(summary.drops, []);
    assert_eq!(capture::read(&out), sent, "all have followed the chain");
}

/// Failure 4: `hash % N` moves flows whenever the number of replicas changes, and packets of software ports have no hash.
#[test]
fn edits_of_replicas_move_no_live_flow() {
    for workers in [1, 2, 3, 5] {
        replicas::edits_move_no_live_flow(workers);
    }
}

/// Failure 5: An edited chain is read by the hop numbers of the former one, and freed while packets are on it: here half of the packets
/// change their chain with each edit, and the second edit replaces an NF on their way.
#[test]
fn each_packet_of_a_capture_is_delivered_once_and_in_order_through_edits() {
    let scratch = Scratch::new();
    scratch.pacer();
    let packets: Vec<_> = (0..60_000)
        .map(|i| capture::udp((i % 50) as u16, i, 30))
        .collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    let out = scratch.path("out.pcap");
    let build = |name: &str, rules: &str, fwd: &str| {
        let chain = format!(
            "use \"pacer.nf.toml\" as pacer\nport a = pcap {{ read = file(\"in.pcap\") }}\nport b = pcap {{ write = \"{}\" }}\n\
             nf pace = pacer {{}}\nnf fwd = {fwd}\nnf mon = monitor {{ every = 1 s }}\n\
             chain short = pace -> b\nchain long = pace -> fwd -> mon -> b\nsteer a {{ {rules} else -> short }}\n",
            out.display()
        );
        scratch.build(&chain, name)
    };
    let odd = "ip[15] & 1 = 1 -> long";
    let first = build("1", odd, "forward {}");
    let edits = [
        build("2", "ip[15] & 1 = 0 -> long", "forward {}"),
        build("3", "ip[15] & 1 = 0 -> long", "pacer { pause = 100 us }"),
        build("4", odd, "pacer { pause = 100 us }"),
    ];
    let manager = Manager::ready(&first, "test", &scratch.run_dir(), &["--exit-when-done"]);
    for bundle in &edits {
        manager.wait_for_traffic(5000, SOON);
        manager.apply(bundle, None).unwrap_or_else(|e| panic!("{e}"));
    }
    assert!(
        manager.status().balance.received < 60_000,
        "all edits came in mid-traffic"
    );
    let summary = manager.finish(Duration::from_secs(30)).summary();
    assert_eq!(
        (summary.balance.delivered, summary.balance.dropped),
        (60_000, 0),
        "{:?}",
        summary.drops
    );
    let delivered = capture::read(&out);
    assert!(
        capture::multiset(&delivered) == capture::multiset(&packets),
        "a packet is missing, doubled or changed"
    );
    capture::assert_in_order(&delivered);
}

/// Failure 6: Timeouts of flow entries are never enforced, and NFs write the table while the manager reads it.
#[test]
fn flow_entries_end_in_time_while_packets_are_looked_up() {
    programmed::entries_end_without_packets();
    programmed::entries_end_while_packets_come();
}

/// Failure 7: An NF is noticed only when the statistics are next printed, and drops within chains are not counted. (The time to start is
/// bench B5.)
#[test]
fn an_nf_serves_from_the_answer_on_and_its_drops_are_counted() {
    let scratch = Scratch::new();
    let fifo = Feed::make(&scratch, "in");
    scratch.write("fw.rules", "drop tcp\naccept all\n");
    let chain = |nf: &str, path: &str| {
        format!(
            "port a = pcap {{ read = \"{}\" }}\nport b = pcap {{ write = \"/dev/null\" }}\n\
             nf fwd = forward\n{nf}\nchain main = fwd -> {path}b\nsteer a {{ else -> main }}\n",
            fifo.display()
        )
    };
    let before = scratch.build(&chain("", ""), "before");
    let fw = "nf fw = firewall { rules = file(\"fw.rules\"), default = drop }";
    let after = scratch.build(&chain(fw, "fw -> "), "after");
    let manager = Manager::start(&before, "test", &scratch.run_dir(), &[]);
    let mut feed = Feed::begin(&manager, &fifo);
    let packets: Vec<_> = (0..300)
        .map(|n| match n % 3 {
            0 => capture::tcp(n as u16, 80, n, 30),
            _ => capture::udp(n as u16, n, 30),
        })
        .collect();
    feed.send(&packets);
    manager.wait_until("all have left", SOON, |s| s.balance.delivered == 300);
    assert_eq!(manager.apply(&after, None).unwrap().started, ["fw-0"]);
    // The first packet after the answer meets it.
    feed.send(&packets);
    let status = manager.wait_until("all have left or are dropped", SOON, |s| all_have_left(s, 600));
    assert_eq!(status.balance.delivered, 500);
    let fw = instance(&status, "fw-0");
    assert_eq!(
        (fw.rx_packets, fw.tx_packets, fw.counters["denied"]),
        (300, 300, 100)
    );
    let main = status.chains.iter().find(|chain| chain.name == "main").unwrap();
    let hops = main.hops.iter();
    let hops: Vec<_> = hops.map(|hop| (&*hop.at, hop.packets, hop.drops)).collect();
    // Before the edit the port was the chain's second hop, which counts by itself.
    assert_eq!(hops, [("fwd", 600, 0), ("fw", 300, 100), ("b", 200, 0)]);
    drop(feed);
    let summary = manager.terminate_whole(0);
    let [drops] = &summary.drops[..] else {
        panic!("{:?}", summary.drops);
    };
    assert_eq!((&*drops.reason, drops.packets), ("nf_verdict", 100));
    assert!(
        drops.place.contains("main") && drops.place.ends_with("fw"),
        "{drops:?}"
    );
}

/// Failure 8: A second sending thread idles until there are 64 NFs, and a wrong message from an NF can end the manager.
#[test]
fn each_worker_works_for_one_nf_and_no_message_ends_the_manager() {
    const WORKERS: u16 = 5;
    const EACH: u32 = 1000;
    let scratch = Scratch::new();
    scratch.misuse();
    // A capture for each worker, which nobody else reads.
    let ports: String = (0..WORKERS)
        .map(|n| {
            let packets: Vec<_> = (0..EACH).map(|i| capture::udp(n, i, 30)).collect();
            capture::write(&scratch.path(&format!("in{n}.pcap")), &packets);
            format!("port in{n} = pcap {{ read = file(\"in{n}.pcap\") }}\nsteer in{n} {{ else -> PATHb }}\n")
        })
        .collect();
    let build = |nfs: &str, path: &str, out: &str| {
        let chain = format!(
            "use \"misuse.nf.toml\" as misuse\nmanager {{ workers = {WORKERS} }}\n{}\
             port b = pcap {{ write = \"/dev/null\" }}\nnf fwd = forward\n{nfs}\n",
            ports.replace("PATH", path)
        );
        scratch.build(&chain, out)
    };
    let bundle = build("", "fwd -> ", "bundle");
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    let all = u64::from(WORKERS) * u64::from(EACH);
    let status = manager.wait_until("each capture has been read", SOON, |s| s.balance.delivered == all);
    for port in &status.ports[..usize::from(WORKERS)] {
        assert_eq!(
            port.rx_packets,
            u64::from(EACH),
            "the worker of {} idles",
            port.name
        );
    }
    for (how, said) in [
        ("name_without_end", "empty list of counters"),
        ("babble", "malformed message"),
        ("interrupt", "before it was ready"),
    ] {
        let nfs = format!("nf bad = misuse {{ how = \"{how}\" }}");
        let with = build(&nfs, "fwd -> bad -> ", how);
        let error = manager.apply(&with, None).unwrap_err();
        assert!(error.message.contains(said), "{how}: {error:?}");
        assert_eq!(instance(&manager.status(), "fwd-0").restarts, 0);
    }
    manager.terminate_whole(0);
}
