//! The example `chains/sdn`: a controller that decides on flows, a detector that diverts them and gets replicas under load.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use onvm_api::Status;
use onvm_tests::{
    Feed, Manager, Scratch, capture,
    manager::{SOON, all_have_left, instance},
    programs,
};

const ATTACK: &[u8] = b"GET /etc/passwd";
/// Of each kind.
const FLOWS: u16 = 10;

fn start(scratch: &Scratch, look: &str) -> (Manager, PathBuf) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../chains/sdn/sdn.chain");
    let path = |name: &str| scratch.path(name).to_str().unwrap().to_owned();
    let fifo = Feed::make(scratch, "wan");
    let set = [
        ("wan_in", path("wan")),
        ("lan_out", path("lan.pcap")),
        ("jail_out", path("jail.pcap")),
        ("look", look.to_owned()),
    ];
    let set: Vec<(&str, &str)> = set.iter().map(|(name, value)| (*name, &**value)).collect();
    let bundle = scratch.build_as(source.to_str().unwrap(), "sdn", "bundle", &set);
    let manager = Manager::start(&bundle, "sdn", &scratch.run_dir(), &[]);
    (manager, fifo)
}

/// Packet `number` of all flows: to each of these ports, and by UDP to the DNS, which no rule decides on.
fn round(number: u32) -> Vec<Vec<u8>> {
    let tcp =
        |port: u16, first: u16| (first..first + FLOWS).map(move |flow| capture::tcp(flow, port, number, 30));
    let mut packets: Vec<_> = tcp(443, 0).chain(tcp(80, 100)).chain(tcp(23, 200)).collect();
    packets.extend((300..300 + FLOWS).map(|flow| capture::udp(flow, number, 30)));
    packets
}

/// A packet of the first flow to port 80, with or without an attack in its payload.
fn web(number: u32, attack: bool) -> Vec<u8> {
    let mut packet = capture::tcp(100, 80, number, 30);
    if attack {
        let end = packet.len();
        packet[end - ATTACK.len()..].copy_from_slice(ATTACK);
    }
    packet
}

/// Over all instances of an NF.
fn counter(status: &Status, nf: &str, name: &str) -> u64 {
    let service = status.services.iter().find(|s| s.name == nf).unwrap();
    let values = service.instances.iter().map(|i| i.counters.get(name));
    values.map(|value| value.copied().unwrap_or(0)).sum()
}

/// Entries by NF and chain.
fn entries(status: &Status) -> Vec<(&str, &str, u64)> {
    let wan = status.ports.iter().find(|p| p.name == "wan").unwrap();
    let all = wan.programmed.iter();
    all.map(|of| (&*of.nf, &*of.chain, of.entries)).collect()
}

fn settled(manager: &Manager, packets: u64) -> Status {
    manager.wait_until("all packets have left", SOON, |s| all_have_left(s, packets))
}

#[test]
fn a_decided_flow_does_not_meet_the_controller_again() {
    let scratch = Scratch::new();
    let (manager, fifo) = start(&scratch, "0 ms");
    let mut feed = Feed::begin(&manager, &fifo);
    let flows = u64::from(FLOWS);

    feed.send(&round(0));
    settled(&manager, 4 * flows);
    let status = manager.wait_until("the controller's decisions are in force", SOON, |s| {
        counter(s, "ctl", "in_force") == 3 * flows
    });
    assert_eq!(counter(&status, "ctl", "seen"), 4 * flows);
    let met = |status: &Status| (counter(status, "ctl", "seen"), counter(status, "ids", "seen"));
    // All but those that are blocked.
    assert_eq!(met(&status), (4 * flows, 3 * flows));
    let decided = [
        ("ctl", "trusted", flows),
        ("ctl", "watched", flows),
        ("ctl", "drop", flows),
    ];
    assert_eq!(
        entries(&status),
        [&decided[..], &[("ids", "suspects", 0)]].concat()
    );

    // The controller sees those on which no rule decides, the detector those and the ones to be watched.
    feed.send(&round(1));
    let status = settled(&manager, 8 * flows);
    assert_eq!(met(&status), (5 * flows, 5 * flows));

    // One attack, and its flow is diverted before it comes to the detector, though the controller has it watched.
    feed.send(&[web(2, true)]);
    settled(&manager, 8 * flows + 1);
    let status = manager.wait_until("the flow is diverted", SOON, |s| {
        counter(s, "ids", "in_force") == 1
    });
    assert_eq!(met(&status), (5 * flows, 5 * flows + 1));
    assert_eq!(
        entries(&status),
        [&decided[..], &[("ids", "suspects", 1)]].concat()
    );
    feed.send(&[web(3, false)]);
    let status = settled(&manager, 8 * flows + 2);
    assert_eq!(met(&status), (5 * flows, 5 * flows + 1));

    let mut flows_command: Command = programs::command("onvmc");
    flows_command
        .args(["flows", "--nf", "ids", "--run-dir"])
        .arg(scratch.run_dir());
    let shown = flows_command.output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("203.0.113.9:80, both ways") && shown.contains("suspects"),
        "{shown}"
    );

    drop(feed);
    let summary = manager.terminate_whole(0);
    assert_eq!(
        (
            summary.dropped("nf_verdict"),
            summary.dropped("chain"),
            summary.balance.dropped
        ),
        (flows, flows, 2 * flows)
    );
    assert_eq!(
        capture::read(&scratch.path("jail.pcap")),
        [web(2, true), web(3, false)]
    );
    let lan = capture::read(&scratch.path("lan.pcap"));
    assert_eq!(lan.len() as u64, 6 * flows);
    capture::assert_in_order(&lan);
}

/// As its page says: traffic without end, for which one detector is not enough.
#[test]
fn under_load_the_detector_gets_replicas() {
    let scratch = Scratch::new();
    let (manager, fifo) = start(&scratch, "200 us");
    let traffic = Traffic::start(&fifo);
    manager.wait_for_log("READY");
    let what = "another replica gets packets, attacks were found, and most packets go past the controller";
    let status = manager.wait_until(what, SOON, |s| {
        let ids = s.services.iter().find(|s| s.name == "ids").unwrap();
        ids.instances.iter().filter(|i| i.rx_packets > 0).count() > 1
            && entries(s).iter().all(|(_, _, entries)| *entries > 0)
            && 2 * counter(s, "ctl", "seen") < s.balance.received
    });
    assert_eq!(instance(&status, "ctl-0").restarts, 0);
    let summary = manager.terminate_whole(0);
    drop(traffic);
    let jail = capture::read(&scratch.path("jail.pcap"));
    assert!(!jail.is_empty() && summary.balance.delivered > jail.len() as u64);
}

/// `sdn-traffic`, until this is dropped.
struct Traffic(Child);

impl Traffic {
    fn start(fifo: &Path) -> Self {
        // Opened for both, it does not wait for the other end.
        let to = File::options().read(true).write(true).open(fifo).unwrap();
        let mut command = programs::command("sdn-traffic");
        Self(command.stdout(to).spawn().unwrap())
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
