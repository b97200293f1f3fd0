//! NFs that share a process: packets go where they would go without it, and its loss is the loss of all.

use std::{collections::BTreeMap, path::PathBuf};

use onvm_api::InstanceState;
use onvm_tests::{
    Manager, Scratch, Summary, capture,
    manager::{SOON, instance},
    process, programs,
};
use rustix::process::Signal;

/// Packets of the capture.
const PACKETS: u32 = 4000;

/// UDP and TCP of 100 flows; every seventh packet has a payload that is looked for.
fn capture(scratch: &Scratch) {
    let packets: Vec<Vec<u8>> = (0..PACKETS)
        .map(|n| {
            let flow = (n % 100) as u16;
            let mut packet = match flow % 3 {
                0 => capture::udp(flow, n, 40),
                1 => capture::tcp(flow, 22, n, 40),
                _ => capture::tcp(flow, 80, n, 40),
            };
            if n % 7 == 0 {
                let end = packet.len();
                packet[end - 6..].copy_from_slice(b"needle");
            }
            packet
        })
        .collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    scratch.write("needle.patterns", "needle\n");
}

/// Three NFs that decide and one that does not, before a port; two of them have a second way. `fuse` says for each what follows in
/// its `with`.
fn program(scratch: &Scratch, settings: &str, repeat: bool, fuse: [&str; 4]) -> String {
    let with = |n: usize| match fuse[n] {
        "" => String::new(),
        settings => format!("with {{ {settings} }}"),
    };
    let out = |name: &str| scratch.path(&format!("{name}.pcap")).display().to_string();
    format!(
        "manager {{ {settings} }}\n\
         port a = pcap {{ read = file(\"in.pcap\"), repeat = {repeat} }}\n\
         port b = pcap {{ write = \"{}\" }}\nport jail = pcap {{ write = \"{}\" }}\n\
         nf fw = firewall {{ rules = {{ drop udp and src host 198.51.0.3\n drop tcp dst port 22 and src net 198.51.0.0/26 }}, \
         default = accept, on_deny = output }} {}\n\
         nf mon = monitor {}\n\
         nf scan = payload_scan {{ patterns = file(\"needle.patterns\") }} {}\n\
         nf fwd = forward {}\n\
         chain inspect = fw {{ denied -> mon -> jail }} -> mon -> scan {{ match -> jail }} -> fwd -> b\n\
         steer a {{ else -> inspect }}\nsteer b {{ else -> drop }}\nsteer jail {{ else -> drop }}\n",
        out("b"),
        out("jail"),
        with(0),
        with(1),
        with(2),
        with(3),
    )
}

/// What left, by port in order, and what each hop of the chain counted.
type Seen = (Vec<Vec<u8>>, Vec<Vec<u8>>, Vec<(String, u64, u64)>);

fn seen(settings: &str, fuse: [&str; 4]) -> (Seen, Summary) {
    let scratch = Scratch::new();
    capture(&scratch);
    let bundle = scratch.build(&program(&scratch, settings, false, fuse), "bundle");
    let manager = Manager::start(&bundle, "test", &scratch.run_dir(), &["--exit-when-done"]);
    let summary = manager.finish(SOON).summary();
    let read = |name: &str| {
        let packets = capture::read(&scratch.path(&format!("{name}.pcap")));
        capture::assert_in_order(&packets);
        let mut packets = packets;
        packets.sort();
        packets
    };
    let chain = summary
        .chains
        .iter()
        .find(|chain| chain.name == "inspect")
        .unwrap();
    let hops = chain.hops.iter();
    let hops = hops.map(|hop| (hop.at.clone(), hop.packets, hop.drops)).collect();
    ((read("b"), read("jail"), hops), summary)
}

#[test]
fn fused_and_split_packets_go_the_same_ways() {
    let fused = "fuse = \"edge\"";
    let (apart, _) = seen("", ["", "", "", ""]);
    assert_eq!(apart.0.len() + apart.1.len(), PACKETS as usize);
    assert!(apart.0.len() > 1000 && apart.1.len() > 500);
    for (settings, fuse) in [
        ("", [fused; 4]),
        ("workers = 2", [fused; 4]),
        ("", [fused, fused, "", fused]),
        ("", ["", fused, fused, ""]),
        ("workers = 2", ["fuse = \"edge\", replicas = 2"; 4]),
    ] {
        let (together, summary) = seen(settings, fuse);
        assert!(
            apart == together,
            "{settings} {fuse:?}: {:?} and {:?}",
            apart.2,
            together.2
        );
        assert_eq!(summary.dropped("nf_lost"), 0);
    }
}

/// What one NF writes the next one reads, also another length; a packet that is looked up in the middle of a run meets no more
/// NFs than it may.
#[test]
fn fused_nfs_write_and_have_packets_looked_up() {
    let run = |fuse: &str| {
        let scratch = Scratch::new();
        let param = "[[params]]\nname = \"how\"\ntype = \"string\"\ndoc = \"Which change.\"\n";
        let writes = "payload = \"write\"\ndrops = true\n";
        let tag = format!("fuses = true\n[effects]\nwrites = [\"ether.type\", \"vlan\"]\n{writes}{param}");
        scratch.manifest("tag", &tag);
        scratch.manifest("stamp", &format!("fuses = true\n[effects]\n{writes}"));
        let jumper = "fuses = true\n[effects]\nreads = [\"tcp.dst_port\"]\nwrites = [\"tcp.dst_port\"]\nlookups = true\n";
        scratch.manifest("jumper", jumper);
        let sent: Vec<_> = (0..400_u32)
            .map(|n| match n % 3 {
                0 => capture::udp(n as u16, n, 60),
                1 => capture::tcp(n as u16, 80, n, 60),
                _ => capture::tcp(n as u16, 81, n, 60),
            })
            .collect();
        capture::write(&scratch.path("in.pcap"), &sent);
        let out = |name: &str| scratch.path(name).display().to_string();
        let program = format!(
            "manager {{ max_hops = 5 }}\n\
             use \"tag.nf.toml\" as tag\nuse \"stamp.nf.toml\" as stamp\nuse \"jumper.nf.toml\" as jumper\n\
             port a = pcap {{ read = file(\"in.pcap\") }}\nport b = pcap {{ write = \"{}\" }}\n\
             port c = pcap {{ write = \"{}\" }}\n\
             nf push = tag {{ how = \"push\" }} {fuse}\nnf mark = stamp {fuse}\n\
             nf strip = tag {{ how = \"strip\" }} {fuse}\nnf jump = jumper {fuse}\nnf end = tag {{ how = \"trailer\" }} {fuse}\n\
             chain through = push -> mark -> strip -> end -> b\nchain again = mark -> jump -> end -> b\n\
             steer a {{\n    tcp dst port 81 -> through\n    tcp dst port 99 -> end -> c\n    else -> again\n}}\n\
             allow jump to lookup\n",
            out("b.pcap"),
            out("c.pcap"),
        );
        let bundle = scratch.build(&program, "bundle");
        let manager = Manager::start(&bundle, "test", &scratch.run_dir(), &["--exit-when-done"]);
        let summary = manager.finish(SOON).summary();
        let hops: Vec<_> = (summary.chains.iter())
            .map(|chain| {
                let hops = chain.hops.iter();
                (
                    chain.name.clone(),
                    hops.map(|hop| (hop.at.clone(), hop.packets, hop.drops))
                        .collect::<Vec<_>>(),
                )
            })
            .collect();
        let [b, c] = ["b.pcap", "c.pcap"].map(|name| capture::read(&scratch.path(name)));
        (b, c, hops, summary.dropped("hop_limit"))
    };
    let (apart, together) = (run(""), run("with { fuse = \"one\" }"));
    assert_eq!(apart, together);
    let (b, c, _, limited) = together;
    assert_eq!((b.len(), c.len(), limited), (133, 133, 134));
    assert!(
        b.iter().chain(&c).all(|frame| frame.ends_with(b"\0END!")),
        "stamped, then longer"
    );
}

/// A process that says anything of the runs that it is given, beside an honest chain.
#[test]
fn steps_that_were_not_taken_lead_nowhere() {
    let scratch = Scratch::new();
    capture(&scratch);
    std::fs::copy(programs::path("test-nf"), scratch.path("misuse-nf")).unwrap();
    for name in ["one", "two", "three"] {
        let manifest = format!(
            "name = \"{name}\"\nversion = \"0.1.0\"\nsummary = \"For tests\"\n[run]\nbinary = \"misuse-nf\"\n\
             args = [\"{name}\"]\nfuses = true\n[effects]\ndrops = true\n"
        );
        scratch.write(&format!("{name}.nf.toml"), manifest);
    }
    let program = "use \"one.nf.toml\" as one\nuse \"two.nf.toml\" as two\nuse \"three.nf.toml\" as three\n\
        port a = pcap { read = file(\"in.pcap\"), repeat = true }\nport b = null\n\
        port c = pcap { read = file(\"in.pcap\"), repeat = true }\nport d = null\n\
        nf x = one with { fuse = \"bad\" }\nnf y = two with { fuse = \"bad\" }\nnf z = three with { fuse = \"bad\" }\n\
        nf mon = monitor\nnf fwd = forward\n\
        steer a { udp -> x -> y -> z -> mon -> b else -> x -> mon -> y -> z -> b }\nsteer c { else -> fwd -> d }\n";
    let bundle = scratch.build(program, "bundle");
    let path = scratch.path("");
    let manager = Manager::ready(
        &bundle,
        "test",
        &scratch.run_dir(),
        &["--nf-path", path.to_str().unwrap()],
    );
    let sent = |status: &onvm_api::Status, port: &str| {
        let port = status.ports.iter().find(|p| p.name == port);
        port.map_or(0, |port| port.tx_packets)
    };
    let status = manager.wait_until("much was said of steps that there are not", SOON, |s| {
        instance(s, "bad-0").overruled > 10_000 && sent(s, "b") > 1000
    });
    let bad = instance(&status, "bad-0");
    assert_eq!(
        (bad.restarts, bad.refused),
        (0, 0),
        "each packet was its own: {bad:?}"
    );
    let from = sent(&status, "d");
    let status = manager.wait_until("the other chain goes on", SOON, |s| sent(s, "d") > from + 10_000);
    for name in ["fwd-0", "mon-0"] {
        assert_eq!(instance(&status, name).restarts, 0);
    }
    let summary = manager.terminate_whole(2 * STOCK);
    let reasons: Vec<&str> = summary.drops.iter().map(|drop| &*drop.reason).collect();
    let expected = ["nf_verdict", "shutdown", "hop_limit"];
    assert!(
        reasons.iter().all(|reason| expected.contains(reason)),
        "{reasons:?}"
    );
}

fn endless(scratch: &Scratch, out: &str, fuse: [&str; 4]) -> PathBuf {
    scratch.build(&program(scratch, "", true, fuse), out)
}

/// As many packets as the capture that is repeated has.
const STOCK: usize = PACKETS as usize;

#[test]
fn edits_that_fuse_and_split_lose_nothing() {
    let scratch = Scratch::new();
    capture(&scratch);
    let fused = "fuse = \"edge\"";
    let manager = Manager::ready(&endless(&scratch, "0", [""; 4]), "test", &scratch.run_dir(), &[]);
    manager.wait_for_traffic(2 * u64::from(PACKETS), SOON);
    let edits: [([&str; 4], &[&str]); 4] = [
        ([fused; 4], &["edge-0"]),
        ([fused, fused, "", ""], &["edge-0", "fwd-0", "scan-0"]),
        (["", "", fused, fused], &["edge-0", "fw-0", "mon-0"]),
        ([""; 4], &["fw-0", "fwd-0", "mon-0", "scan-0"]),
    ];
    for (n, (fuse, running)) in edits.into_iter().enumerate() {
        manager
            .apply(&endless(&scratch, &format!("{}", n + 1), fuse), None)
            .unwrap();
        let status = manager.wait_for_traffic(u64::from(PACKETS), SOON);
        let mut names: Vec<&str> = (status.services.iter())
            .flat_map(|service| &service.instances)
            .map(|instance| instance.name.as_str())
            .collect();
        names.sort_unstable();
        assert_eq!(names, running);
    }
    // The same program again: nothing is replaced.
    let reply = manager.apply(&endless(&scratch, "5", [""; 4]), None).unwrap();
    assert!(reply.started.is_empty() && reply.stopped.is_empty(), "{reply:?}");
    let summary = manager.terminate_whole(STOCK);
    assert_eq!(summary.drops, [], "nothing is dropped in this program");
}

#[test]
fn the_loss_of_the_process_is_the_loss_of_all_its_nfs() {
    let scratch = Scratch::new();
    capture(&scratch);
    let fused = "fuse = \"edge\"";
    let bundle = endless(&scratch, "0", [fused, fused, "", fused]);
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    let status = manager.wait_for_traffic(u64::from(PACKETS), SOON);
    let edge = instance(&status, "edge-0");
    assert_eq!(edge.state, InstanceState::Running);
    let counters: BTreeMap<&str, u64> = edge
        .counters
        .iter()
        .map(|(name, n)| (name.as_str(), *n))
        .collect();
    for name in ["fw.accepted", "mon.packets", "fwd.packets"] {
        assert!(counters.get(name).is_some_and(|n| *n > 0), "{name}: {counters:?}");
    }
    let pid = edge.pid.unwrap();
    process::signal(pid, Signal::KILL);
    manager.wait_for_instance("edge-0", Some(pid), SOON);
    let status = manager.wait_for_traffic(u64::from(PACKETS), SOON);
    assert_eq!(instance(&status, "edge-0").restarts, 1);
    assert_eq!(instance(&status, "scan-0").restarts, 0);
    // One by one they are not there to be scaled.
    for name in ["edge", "mon"] {
        let refused = manager.scale(name, Some(2)).unwrap_err();
        assert!(
            refused
                .message
                .contains("`edge` is the process of fw + mon + fwd"),
            "{refused:?}"
        );
    }
    let summary = manager.terminate_whole(STOCK);
    assert_eq!(
        summary.dropped("nf_lost") + summary.dropped("no_instance"),
        summary.balance.dropped
    );
}
