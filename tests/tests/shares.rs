//! What one network function takes from others: buffers, credit of sources, time, generations.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use onvm_api::Status;
use onvm_tests::{
    Manager, Scratch,
    manager::{SOON, dropped, instance},
    misused::{STOCK, scratch},
    namespace::Namespace,
    process::Background,
};

/// Whatever it keeps, an edit comes to its end, and no packet of an old generation meets a new one in its place.
#[test]
fn one_that_keeps_a_packet_of_each_generation_is_ended_each_time() {
    let scratch = scratch();
    let [outside, inside] = [('m', "10.8.4.1/24"), ('n', "10.8.4.2/24")].map(|(s, a)| Namespace::new(s, a));
    let (wan, lan) = (&outside.interface, &inside.interface);
    let chain = |number: u32| {
        // Fewer hops with each number, so that a hop of an old generation does not exist in a new one.
        let detour = "fwd -> ".repeat((20 - number) as usize);
        format!(
            "use \"misuse.nf.toml\" as misuse\nmanager {{ max_hops = 64 }}\n\
             port wan = af_packet {{ interface = \"{wan}\" }}\nport lan = af_packet {{ interface = \"{lan}\" }}\n\
             nf fwd = forward {{}}\nnf bad = misuse {{ how = \"keep_one\" }}\n\
             steer wan {{ udp port {number} -> drop else -> {detour}bad -> lan }}\nsteer lan {{ else -> fwd -> wan }}\n"
        )
    };
    let manager = Manager::ready(&scratch.build(&chain(1), "1"), "test", &scratch.run_dir(), &[]);
    let ping = ["-n", "-q", "-i", "0.05", "-W", "2", "-c", "1000", "10.8.4.2"];
    let ping = Background::start(outside.command("ping", &ping));
    for number in 2..=4 {
        manager.wait_for_traffic(20, SOON);
        let next = scratch.build(&chain(number), &number.to_string());
        manager
            .apply(&next, None)
            .unwrap_or_else(|e| panic!("edit {number}: {e}\n{}", manager.log()));
        manager.wait_until("it is ended for the packet that it kept", SOON, |s| {
            instance(s, "bad-0").restarts >= number - 1
        });
    }
    drop(ping);
    let summary: onvm_tests::Summary = serde_json::from_str(&manager.terminate().stdout).unwrap();
    assert!(
        summary.balanced && summary.dropped("nf_lost") >= 3,
        "{summary:#?}"
    );
}

/// A chain of a source's own for each: `bad` misuses `how`.
fn apart(scratch: &Scratch, how: &str) -> Manager {
    let chain = format!(
        "use \"pacer.nf.toml\" as pacer\nuse \"misuse.nf.toml\" as misuse\n\
         port a = pcap {{ read = file(\"in.pcap\"), repeat = true }}\nport b = pcap {{ write = \"/dev/null\" }}\n\
         port c = pcap {{ read = file(\"in.pcap\"), repeat = true }}\nport d = pcap {{ write = \"/dev/null\" }}\n\
         nf pace = pacer {{}}\nnf bad = misuse {{ how = \"{how}\" }}\n\
         steer a {{ else -> bad -> b }}\nsteer c {{ else -> pace -> d }}\n"
    );
    Manager::ready(&scratch.build(&chain, "apart"), "test", &scratch.run_dir(), &[])
}

/// Packets that a port has sent.
fn sent(status: &Status, port: &str) -> u64 {
    status.ports.iter().find(|p| p.name == port).unwrap().tx_packets
}

#[test]
fn one_that_hands_back_a_packet_now_and_then_does_not_stop_another_chain_and_is_ended() {
    let scratch = scratch();
    let manager = apart(&scratch, "trickle");
    manager.wait_until("it has all that its source may have inside", SOON, |s| {
        let bad = instance(s, "bad-0");
        bad.rx_packets >= bad.tx_packets + 900
    });
    let status = manager.status();
    let (restarts, from) = (instance(&status, "bad-0").restarts, sent(&status, "d"));
    let status = manager.wait_until("the other chain goes on", SOON, |s| sent(s, "d") >= from + 3000);
    assert_eq!(
        instance(&status, "bad-0").restarts,
        restarts,
        "it was not ended first"
    );
    manager.wait_until("it is ended", SOON, |s| instance(s, "bad-0").restarts > restarts);
    assert!(manager.log().contains("it kept a packet"), "{}", manager.log());
    manager.terminate_whole(2 * STOCK);
}

#[test]
fn those_that_hoard_what_live_ports_flood_them_with_leave_buffers_to_the_others() {
    let scratch = scratch();
    let flooded = |i: u32| {
        format!(
            "port f{i} = vdev {{ device = \"net_null{},size=64,copy=0\" }}\nnf bad{i} = misuse {{ how = \"trickle\" }}\n\
             steer f{i} {{ else -> bad{i} -> b }}\n",
            90 + i
        )
    };
    let chain = format!(
        "use \"pacer.nf.toml\" as pacer\nuse \"misuse.nf.toml\" as misuse\n\
         port b = pcap {{ write = \"/dev/null\" }}\nport d = null {{}}\nnf pace = pacer {{}}\n\
         port g = vdev {{ device = \"net_null99,size=64,copy=0\" }}\nsteer g {{ else -> pace -> d }}\n{}",
        (0..4).map(flooded).collect::<String>()
    );
    let manager = Manager::ready(&scratch.build(&chain, "flooded"), "test", &scratch.run_dir(), &[]);
    let kept = |s: &Status| -> u64 {
        let bad = (0..4).map(|i| instance(s, &format!("bad{i}-0")).clone());
        bad.map(|i| i.rx_packets - i.tx_packets).sum()
    };
    let status = manager.wait_until("they keep what they get", SOON, |s| kept(s) >= 5000);
    let from = sent(&status, "d");
    let status = manager.wait_until("the other chain goes on", SOON, |s| sent(s, "d") >= from + 10_000);
    assert!(dropped(&status.drops, "share_full") > 0, "{status:#?}");
    assert!(
        status.buffers.in_use < status.buffers.total / 2 + 1024,
        "{status:#?}"
    );
    manager.terminate_whole(0);
}

#[test]
fn two_captures_behind_functions_that_pause_get_as_much_each() {
    let scratch = scratch();
    let chain = "use \"pacer.nf.toml\" as pacer\n\
         port a = pcap { read = file(\"in.pcap\"), repeat = true }\nport b = pcap { write = \"/dev/null\" }\n\
         port c = pcap { read = file(\"in.pcap\"), repeat = true }\nport d = pcap { write = \"/dev/null\" }\n\
         nf one = pacer {}\nnf two = pacer {}\nsteer a { else -> one -> b }\nsteer c { else -> two -> d }\n";
    let manager = Manager::ready(&scratch.build(chain, "fair"), "test", &scratch.run_dir(), &[]);
    let status = manager.wait_until("both have passed much", SOON, |s| {
        sent(s, "b") >= 20_000 && sent(s, "d") >= 20_000
    });
    assert!(sent(&status, "b") < 4 * sent(&status, "d"), "{status:#?}");
    assert!(sent(&status, "d") < 4 * sent(&status, "b"), "{status:#?}");
    manager.terminate_whole(2 * STOCK);
}

#[test]
fn one_that_keeps_an_old_generation_alive_is_ended_though_no_packet_is_kept_too_long() {
    let scratch = scratch();
    let chain = |rules: &str| {
        format!(
            "use \"pacer.nf.toml\" as pacer\nuse \"misuse.nf.toml\" as misuse\nmanager {{ max_hops = 64 }}\n\
             port a = pcap {{ read = file(\"in.pcap\"), repeat = true }}\nport b = pcap {{ write = \"/dev/null\" }}\n\
             nf pace = pacer {{}}\nnf bad = misuse {{ how = \"detain\" }}\nsteer a {{ {rules} else -> pace -> b }}\n"
        )
    };
    let round = format!("ip[15] & 3 = 1 -> {}b", "bad -> ".repeat(40));
    let old = scratch.build(&chain(&round), "old");
    // It stays, and is given nothing new.
    let new = scratch.build(&chain("src host 203.0.113.250 -> bad -> b"), "new");
    let manager = Manager::ready(&old, "test", &scratch.run_dir(), &[]);
    manager.wait_for_traffic(20_000, SOON);
    manager
        .apply(&new, None)
        .unwrap_or_else(|e| panic!("{e}\n{}", manager.log()));
    manager.wait_until("it is ended", SOON, |s| instance(s, "bad-0").restarts >= 1);
    let log = manager.log();
    assert!(log.contains("packets of a generation that was replaced"), "{log}");
    assert!(!log.contains("it kept a packet"), "{log}");
    manager.wait_for_traffic(5000, SOON);
    let summary = manager.terminate_whole(STOCK);
    assert!(summary.dropped("nf_lost") > 0, "{summary:#?}");
}

/// What is turned away for a function far down a chain costs those before it nothing, and other chains nothing at all.
#[test]
fn packets_that_could_not_pass_are_turned_away_as_they_come_in() {
    for workers in [1, 2, 3, 5] {
        turns_away(workers);
    }
}

/// Each worker has a port of its own that floods it, and rings of its own to each instance.
fn turns_away(workers: u16) {
    let scratch = scratch();
    let flood = |n: u16| format!("vdev {{ device = \"net_null{},size=64,copy=0\" }}", 80 + n);
    let floods: String = (0..workers)
        .map(|n| {
            format!(
                "port f{n} = {}\nsteer f{n} {{ else -> fwd -> pace -> b }}\n",
                flood(n)
            )
        })
        .collect();
    let chain = |backpressure: &str| {
        format!(
            "use \"pacer.nf.toml\" as pacer\nport b = null {{}}\nport d = null {{}}\n{floods}port g = {}\n\
             nf fwd = forward\nnf pace = pacer {{ pause = 5 ms }}\nnf mon = monitor\nsteer g {{ else -> mon -> d }}\n\
             manager {{ workers = {workers}, backpressure = {backpressure} }}\n",
            flood(workers)
        )
    };
    let on = scratch.build(&chain("on"), "on");
    let manager = Manager::ready(&on, "test", &scratch.run_dir(), &[]);
    let at_ports = |s: &Status| {
        let of = s.ports.iter().filter(|p| p.name.starts_with('f'));
        of.filter_map(|p| p.drops.get("backpressure")).sum::<u64>()
    };
    let at_slow = |s: &Status| {
        let of = s.drops.iter().filter(|d| d.place.ends_with(" pace"));
        of.map(|d| d.packets).sum::<u64>()
    };
    let status = manager.wait_until("much is turned away", SOON, |s| at_ports(s) > 200_000);
    let worked_on = instance(&status, "fwd-0").tx_packets;
    let turned_away = at_ports(&status);
    assert!(
        worked_on < turned_away / 4,
        "{worked_on} worked on, {turned_away} not"
    );
    assert!(at_slow(&status) < worked_on / 2, "{status:#?}");
    let from = sent(&status, "d");
    manager.wait_until("the other chain goes on", SOON, |s| sent(s, "d") > from + 10_000);
    // An edit turns it off, and on again.
    let off = scratch.build(&chain("off"), "off");
    manager.apply(&off, None).unwrap();
    let before = manager.status();
    let status = manager.wait_until("packets are dropped at the slow one", SOON, |s| {
        at_slow(s) > at_slow(&before) + 200_000
    });
    assert_eq!(at_ports(&status), at_ports(&before));
    manager.apply(&on, None).unwrap();
    manager.wait_until("they are turned away again", SOON, |s| {
        at_ports(s) > turned_away + 200_000
    });
    manager.terminate_whole(0);
}
