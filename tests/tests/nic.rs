//! Network cards by their own drivers, in a virtual machine: `pci` ports. These run in `make test-nic`.
//!
//! The guest has two cards of a kind, joined to each other, and generates the traffic itself: what goes out of one comes in at the
//! other, is stamped there by one of two replicas, and is written into a capture.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use onvm_api::Status;
use onvm_tests::{
    Scratch, capture,
    guest::{Guest, Hardware, Machine},
    namespace::Wire,
    variants,
};

const FLOWS: u16 = 512;
const CARDS: [&str; 2] = ["0000:00:04.0", "0000:00:05.0"];
/// Bytes of a packet of its own that is too long for one page and for the buffers of ordinary packets.
const JUMBO: usize = 8900;

/// A frame on its way back: addresses and ports the other way around.
fn reversed(frame: &[u8]) -> Vec<u8> {
    let mut back = frame.to_vec();
    for (a, b, length) in [(0, 6, 6), (26, 30, 4), (34, 36, 2)] {
        back[a..a + length].copy_from_slice(&frame[b..b + length]);
        back[b..b + length].copy_from_slice(&frame[a..a + length]);
    }
    back
}

/// To any port: the symmetric hash is one of addresses and ports by XOR, of which `capture` makes one the other's shadow.
fn forth(flow: u16) -> Vec<u8> {
    capture::tcp(flow, flow.wrapping_mul(0x9e37) | 1, 0, 30)
}

/// The hash that a card with the symmetric key is to compute of addresses and ports: the specification of Microsoft's RSS, bit by bit.
fn toeplitz(frame: &[u8]) -> u32 {
    let key = [0x6d, 0x5a].repeat(10);
    let bit = |bytes: &[u8], n: usize| bytes[n / 8] >> (7 - n % 8) & 1 == 1;
    let input = &frame[26..38];
    let window = |n: usize| (n..n + 32).fold(0, |word, k| word << 1 | u32::from(bit(&key, k)));
    (0..8 * input.len())
        .filter(|&n| bit(input, n))
        .fold(0, |hash, n| hash ^ window(n))
}

/// The chain, with so many replicas; `cards` are settings of both ports.
fn bundle(scratch: &Scratch, out: &str, manager: &str, cards: &str, replicas: u16) -> std::path::PathBuf {
    scratch.manifest("stamp", "[effects]\npayload = \"write\"\n");
    let [first, second] = CARDS.map(|address| format!("pci {{ address = \"{address}\"{cards} }}"));
    let chain = format!(
        "use \"stamp.nf.toml\" as stamp\nmanager {{ {manager}, buffers = 8192 }}\n\
         port forth = pcap {{ read = \"/tmp/forth\" }}\nport back = pcap {{ read = \"/tmp/back\" }}\n\
         port first = {first}\nport second = {second}\n\
         port at_first = pcap {{ write = \"/tmp/at_first.pcap\", mtu = 9000 }}\n\
         port at_second = pcap {{ write = \"/tmp/at_second.pcap\", mtu = 9000 }}\n\
         nf mark = stamp {{}} with {{ replicas = {replicas} }}\n\
         steer forth {{ else -> first }}\nsteer back {{ else -> second }}\n\
         steer first {{ else -> mark -> at_first }}\nsteer second {{ else -> mark -> at_second }}\n"
    );
    scratch.build(&chain, out)
}

/// A guest with two cards, whose manager waits for what is sent.
struct Lab {
    machine: Machine,
    /// Packets that have come in at each card.
    received: [u64; 2],
}

impl Lab {
    fn start(scratch: &Scratch, captures: &Path, bundles: &[&str], hardware: &Hardware) -> Self {
        let guest = Guest::new();
        guest.add_cards();
        guest.add_own("onvmc");
        guest.add(captures, "in");
        for name in bundles {
            guest.add(&scratch.path(name), name);
        }
        let mut machine = guest.boot(hardware);
        machine.run("echo 256 > /proc/sys/vm/nr_hugepages");
        for module in [
            "irqbypass",
            "vfio",
            "vfio_virqfd",
            "vfio_iommu_type1",
            "vfio-pci-core",
            "vfio-pci",
        ] {
            machine.run(&format!("insmod /modules/{module}.ko"));
        }
        for card in CARDS {
            let device = format!("/sys/bus/pci/devices/{card}");
            machine.run(&format!(
                "echo vfio-pci > {device}/driver_override && echo {card} > /sys/bus/pci/drivers_probe"
            ));
        }
        let mut lab = Self {
            machine,
            received: [0; 2],
        };
        lab.manage(bundles[0]);
        lab
    }

    /// Starts the manager, and keeps what feeds it open.
    fn manage(&mut self, bundle: &str) {
        self.machine
            .run("rm -f /tmp/forth /tmp/back; mkfifo /tmp/forth /tmp/back");
        self.machine.run(&format!(
            "onvm-run /{bundle} --run-dir /run/onvm --json > /tmp/balance 2> /tmp/log & manager=$!"
        ));
        self.machine
            .run("exec 5<> /tmp/forth; exec 6<> /tmp/back; cat /in/head >&5; cat /in/head >&6");
        self.machine
            .wait_for("the manager is ready", "cat /tmp/log", |log| {
                assert!(!log.contains("error") && !log.contains("PANIC"), "{log}");
                log.contains("READY")
            });
        self.received = [0; 2];
    }

    /// Ends the manager: every packet has been delivered.
    fn end(&mut self) {
        self.machine
            .run("exec 5>&-; exec 6>&-; kill $manager; wait $manager");
        let summary = self.machine.run("cat /tmp/balance");
        let summary: onvm_tests::manager::Summary = serde_json::from_str(&summary).expect(&summary);
        let balance = &summary.balance;
        assert!(
            summary.balanced && balance.received == balance.delivered,
            "{summary:#?}"
        );
        assert_eq!((balance.dropped, balance.in_flight), (0, 0), "{summary:#?}");
        // Each of at most four queues keeps as many as it has descriptors, for receiving and for sending.
        let kept = CARDS.len() * 4 * 2 * 512;
        assert!(
            summary.buffers.in_use as usize <= kept,
            "buffers leaked: {summary:#?}"
        );
    }

    fn status(&mut self) -> Status {
        let text = self.machine.run("onvmc status --run-dir /run/onvm --json");
        serde_json::from_str(&text).expect(&text)
    }

    /// Sends the packets of a file out of one card and waits until all have come in at the other; gives how many each worker took.
    fn send(&mut self, from: usize, file: &str, packets: usize) -> Vec<u64> {
        let (pipe, port) = [(5, "second"), (6, "first")][from];
        let workers = |status: &Status| port_of(status, port).rx_by_worker.clone();
        let before = workers(&self.status());
        self.machine.run(&format!("cat /in/{file} >&{pipe}"));
        self.received[1 - from] += packets as u64;
        let all = self.received[1 - from];
        let text = self.machine.wait_for(
            &format!("{all} packets come in at {port}"),
            "onvmc status --run-dir /run/onvm --json",
            |text| port_of(&serde_json::from_str(text).expect(text), port).rx_packets >= all,
        );
        let status = serde_json::from_str(&text).unwrap();
        assert_eq!(port_of(&status, port).rx_packets, all, "{text}");
        workers(&status)
            .iter()
            .zip(before)
            .map(|(now, before)| now - before)
            .collect()
    }

    fn captured(&mut self, scratch: &Scratch, port: &str) -> Vec<Vec<u8>> {
        let bytes = self.machine.fetch(Path::new(&format!("/tmp/{port}.pcap")));
        capture::read(&scratch.write("fetched.pcap", bytes))
    }
}

fn port_of<'a>(status: &'a Status, name: &str) -> &'a onvm_api::PortStatus {
    status.ports.iter().find(|port| port.name == name).unwrap()
}

/// Packets as a pipe takes them after its head.
fn put(dir: &Path, name: &str, packets: &[Vec<u8>]) {
    let bytes = variants::pcap(packets, 1, false, 0xa1b2_c3d4, 65_535).bytes;
    fs::write(dir.join(name), &bytes[24..]).unwrap();
    fs::write(dir.join("head"), &bytes[..24]).unwrap();
}

/// Both directions of each flow have met one replica, and each replica some flows.
fn assert_one_replica(forth: &[Vec<u8>], back: &[Vec<u8>]) {
    let mut met: BTreeMap<u16, BTreeSet<u8>> = BTreeMap::new();
    for frame in forth.iter().chain(back) {
        let (flow, _) = capture::flow_and_number(frame);
        met.entry(flow).or_default().insert(*frame.last().unwrap());
    }
    assert_eq!(met.len(), usize::from(FLOWS));
    for (flow, replicas) in &met {
        assert_eq!(replicas.len(), 1, "flow {flow} met replicas {replicas:?}");
    }
    for replica in 0..2 {
        let flows = met
            .values()
            .filter(|replicas| replicas.contains(&replica))
            .count();
        assert!(
            flows > usize::from(FLOWS) / 4,
            "replica {replica} has {flows} flows"
        );
    }
}

/// The link of a card goes and comes back, and what is sent then arrives.
fn survives_a_lost_link(lab: &mut Lab, devices: [&str; 2]) {
    let link = |state: &'static str| {
        move |text: &str| {
            let status: Status = serde_json::from_str(text).expect(text);
            port_of(&status, "first").link.as_deref() == Some(state)
        }
    };
    let look = "onvmc status --run-dir /run/onvm --json";
    for (up, state) in [(false, "down"), (true, "up")] {
        lab.machine.set_link(devices[0], up);
        lab.machine
            .wait_for(&format!("the link is {state}"), look, link(state));
        lab.machine.wait_for("it is logged", "cat /tmp/log", |log| {
            log.contains(&format!("its link is {state}"))
        });
    }
    lab.send(0, "few", 64);
}

/// Goes over to three replicas while packets come; none is lost.
fn survives_an_edit(lab: &mut Lab) {
    const BURSTS: usize = 30;
    lab.machine.run(&format!(
        "for n in $(seq {BURSTS}); do cat /in/few >&5; usleep 30000; done & feeder=$!"
    ));
    let reply = lab
        .machine
        .run("onvmc apply /more.bundle --auto-approve --run-dir /run/onvm --json; wait $feeder");
    assert!(reply.contains("mark-2"), "{reply}");
    lab.received[1] += BURSTS as u64 * 64;
    let all = lab.received[1];
    let text = lab
        .machine
        .wait_for("all arrive", "onvmc status --run-dir /run/onvm --json", |text| {
            port_of(&serde_json::from_str(text).expect(text), "second").rx_packets >= all
        });
    let status: Status = serde_json::from_str(&text).unwrap();
    assert_eq!(port_of(&status, "second").rx_packets, all);
}

/// Long frames arrive whole. Starts the manager anew, and leaves it running.
fn carries_jumbo_frames(lab: &mut Lab, scratch: &Scratch, bundle: &str) {
    lab.manage(bundle);
    lab.send(0, "jumbo", 8);
    lab.end();
    // All but the stamp.
    let whole = |frame: &Vec<u8>| frame[..frame.len() - 1].to_vec();
    let mut came: Vec<_> = lab.captured(scratch, "at_second").iter().map(whole).collect();
    let mut sent: Vec<_> = (0..8).map(|flow| whole(&jumbo(flow))).collect();
    // Those of different flows may overtake each other.
    came.sort();
    sent.sort();
    assert!(
        came == sent,
        "of {} jumbo frames {} came, or some were changed",
        sent.len(),
        came.len()
    );
    lab.manage(bundle);
}

fn jumbo(flow: u16) -> Vec<u8> {
    let mut frame = capture::udp(flow, 0, JUMBO);
    // Something else in each place, so that nothing can be in another one's.
    for (n, byte) in frame.iter_mut().enumerate().skip(60) {
        *byte = (n * 7 + usize::from(flow)) as u8;
    }
    frame
}

#[test]
#[ignore = "needs QEMU and a kernel, which `make test-nic` fetches"]
fn virtio_with_four_queues_and_rss() {
    const QUEUES: usize = 4;
    let scratch = Scratch::new();
    let wire = Wire::new('v', QUEUES);
    let cards = ", queues = 4, mtu = 9000";
    for workers in [2, 4] {
        let manager = format!("workers = {workers}, mtu = 9000");
        bundle(&scratch, &format!("w{workers}.bundle"), &manager, cards, 2);
    }
    bundle(&scratch, "more.bundle", "workers = 4, mtu = 9000", cards, 3);
    let captures = scratch.path("in");
    fs::create_dir(&captures).unwrap();
    let by_queue = |queue: usize| -> Vec<Vec<u8>> {
        let flows = (0..FLOWS).map(forth);
        flows
            .filter(|frame| toeplitz(frame) as usize % QUEUES == queue)
            .collect()
    };
    let queues: Vec<Vec<Vec<u8>>> = (0..QUEUES).map(by_queue).collect();
    for (n, packets) in queues.iter().enumerate() {
        assert!(
            packets.len() > usize::from(FLOWS) / QUEUES / 4,
            "queue {n} has {}",
            packets.len()
        );
        put(&captures, &format!("forth{n}"), packets);
        let back: Vec<_> = packets.iter().map(|frame| reversed(frame)).collect();
        put(&captures, &format!("back{n}"), &back);
    }
    let all: Vec<_> = (0..FLOWS).map(forth).collect();
    put(&captures, "few", &all[..64]);
    put(&captures, "jumbo", &(0..8).map(jumbo).collect::<Vec<_>>());
    let card = |n: usize| {
        format!(
            "virtio-net-pci,netdev=wire{n},id=card{n},addr={},mq=on,vectors=12,rss=on,hash=on,disable-legacy=on,\
             iommu_platform=on,host_mtu=9000,romfile=",
            n + 4
        )
    };
    let hardware = Hardware {
        arguments: with_iommu(wire.netdevs().zip((0..2).map(card))),
        kernel: "intel_iommu=on",
        namespace: Some(wire.namespace().to_owned()),
    };
    let mut lab = Lab::start(
        &scratch,
        &captures,
        &["w2.bundle", "w4.bundle", "more.bundle"],
        &hardware,
    );
    for workers in [2, 4] {
        if workers == 4 {
            lab.manage("w4.bundle");
        }
        let status = lab.status();
        for port in ["first", "second"] {
            let rss = port_of(&status, port)
                .rss
                .as_ref()
                .expect("the card says how it spreads flows");
            assert!(rss.symmetric && rss.queues == 4, "{rss:?}");
            assert!(rss.kinds.iter().any(|kind| kind == "ipv4-tcp"), "{rss:?}");
        }
        // Each flow comes by the queue of its hash, and so does what comes back.
        for (n, packets) in queues.iter().enumerate() {
            for (from, file) in [(0, "forth"), (1, "back")] {
                let taken = lab.send(from, &format!("{file}{n}"), packets.len());
                let mut expected = vec![0; workers];
                expected[n % workers] = packets.len() as u64;
                assert_eq!(taken, expected, "{file}{n} with {workers} workers");
            }
        }
        if workers == 2 {
            lab.end();
            let [back, forth] = ["at_first", "at_second"].map(|port| lab.captured(&scratch, port));
            assert_one_replica(&forth, &back);
        }
    }
    lab.end();
    carries_jumbo_frames(&mut lab, &scratch, "w4.bundle");
    survives_an_edit(&mut lab);
    survives_a_lost_link(&mut lab, ["card0", "card1"]);
    lab.end();
}

/// One queue each: receivers share the flows among the workers.
#[test]
#[ignore = "needs QEMU and a kernel, which `make test-nic` fetches"]
fn e1000e_with_a_receiver() {
    let scratch = Scratch::new();
    let manager = "workers = 2, receivers = 1, mtu = 9000";
    bundle(&scratch, "first.bundle", manager, ", queues = 1, mtu = 9000", 2);
    bundle(&scratch, "more.bundle", manager, ", queues = 1, mtu = 9000", 3);
    let captures = scratch.path("in");
    fs::create_dir(&captures).unwrap();
    let all: Vec<_> = (0..FLOWS).map(forth).collect();
    let back: Vec<_> = all.iter().map(|frame| reversed(frame)).collect();
    // No more at once than there is room for at a worker that has not begun.
    for (n, (forth, back)) in all.chunks(64).zip(back.chunks(64)).enumerate() {
        put(&captures, &format!("forth{n}"), forth);
        put(&captures, &format!("back{n}"), back);
    }
    put(&captures, "few", &all[..64]);
    put(&captures, "jumbo", &(0..8).map(jumbo).collect::<Vec<_>>());
    let card = |n: usize| {
        let netdev = format!("hubport,id=wire{n},hubid=0");
        (
            netdev,
            format!("e1000e,netdev=wire{n},id=card{n},addr={},romfile=", n + 4),
        )
    };
    let hardware = Hardware {
        arguments: with_iommu((0..2).map(card)),
        kernel: "intel_iommu=on",
        namespace: None,
    };
    let mut lab = Lab::start(&scratch, &captures, &["first.bundle", "more.bundle"], &hardware);
    let mut taken = [0; 2];
    for part in 0..usize::from(FLOWS) / 64 {
        let forth = lab.send(0, &format!("forth{part}"), 64);
        assert_eq!(
            lab.send(1, &format!("back{part}"), 64),
            forth,
            "both directions are one worker's"
        );
        taken = [taken[0] + forth[0], taken[1] + forth[1]];
    }
    assert!(
        taken.iter().all(|taken| *taken > u64::from(FLOWS) / 4),
        "{taken:?}"
    );
    lab.end();
    let [back, forth] = ["at_first", "at_second"].map(|port| lab.captured(&scratch, port));
    assert_one_replica(&forth, &back);
    carries_jumbo_frames(&mut lab, &scratch, "first.bundle");
    survives_an_edit(&mut lab);
    survives_a_lost_link(&mut lab, ["card0", "card1"]);
    lab.end();
}

/// QEMU's arguments for two cards, each with what it is joined by, behind an IOMMU.
fn with_iommu(cards: impl Iterator<Item = (String, String)>) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "-smp",
        "2",
        "-machine",
        "q35",
        "-device",
        "intel-iommu,aw-bits=48",
    ]
    .map(str::to_owned)
    .to_vec();
    for (netdev, device) in cards {
        arguments.extend(["-netdev".to_owned(), netdev, "-device".to_owned(), device]);
    }
    arguments
}
