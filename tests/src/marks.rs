//! Packets that can be recognised wherever they lie: what the network function `scan` of `test-nf` looks for.

use onvm_api::Status;

use crate::{
    ByHand, Manager, Scratch, capture,
    manager::{SOON, instance},
    programs,
};

/// Packets of each port.
const STOCK: usize = 64;

/// The two scanners of [`program`].
const SCANNERS: [&str; 2] = ["look_r-0", "look_b-0"];

/// Packets of a port, all of which hold a mark.
fn write(scratch: &Scratch, name: &str, mark: u8) {
    let packet = |i| {
        let mut packet = capture::udp(i as u16, i, 60);
        let at = packet.len() - 16;
        // What `test-nf scan` looks for.
        (0..16).for_each(|n| packet[at + n] = mark.wrapping_mul(2 * n as u8 + 3) ^ 0xa7);
        packet
    };
    let packets: Vec<_> = (0..STOCK as u32).map(packet).collect();
    capture::write(&scratch.path(name), &packets);
}

/// A bundle of two ports and two network functions that look for the marks, each pair in one of these domains, with `hugepages` set so.
pub fn program(scratch: &Scratch, [red, blue]: [&str; 2], pages: &str) -> std::path::PathBuf {
    scratch.manifest("scan", "[effects]\nreads = [\"payload\"]\n");
    write(scratch, "red.pcap", b'R');
    write(scratch, "blue.pcap", b'B');
    let chain = format!(
        "use \"scan.nf.toml\" as scan\nmanager {{ buffers = 1024, ring = 64, hugepages = {pages} }}\n\
         port r = pcap {{ read = file(\"red.pcap\"), repeat = true, domain = \"{red}\" }}\n\
         port b = pcap {{ read = file(\"blue.pcap\"), repeat = true, domain = \"{blue}\" }}\n\
         port out = pcap {{ write = \"/dev/null\" }}\n\
         nf look_r = scan with {{ domain = \"{red}\" }}\nnf look_b = scan with {{ domain = \"{blue}\" }}\n\
         steer r {{ else -> look_r -> out }}\nsteer b {{ else -> look_b -> out }}\n"
    );
    scratch.build(&chain, "bundle")
}

/// What a scanner counts.
fn counted(status: &Status, scanner: &str, name: &str) -> u64 {
    instance(status, scanner).counters[name]
}

/// How often each has found the mark of `red` and that of `blue` once both have gone over all their memory under traffic. Ends the
/// manager.
pub fn found(manager: Manager) -> [[u64; 2]; 2] {
    manager.wait_for_log("READY");
    manager.wait_for_traffic(10_000, SOON);
    let before = manager.status();
    let scans = |status: &Status| SCANNERS.map(|scanner| counted(status, scanner, "scans"));
    let first = scans(&before);
    let again = |status: &Status| {
        scans(status)
            .iter()
            .zip(first)
            .all(|(now, first)| *now >= first + 2)
    };
    let status = manager.wait_until("both have looked again at all their memory", SOON, again);
    manager.terminate_whole(2 * STOCK);
    for scanner in SCANNERS {
        assert!(
            counted(&status, scanner, "mappings") > 10,
            "{scanner} sees its memory"
        );
    }
    SCANNERS.map(|scanner| ["red", "blue"].map(|mark| counted(&status, scanner, mark)))
}

/// The same by processes that nothing confines, which see the addresses of all their memory.
pub fn found_by_hand(domains: [&str; 2], pages: &str) -> [[u64; 2]; 2] {
    let scratch = Scratch::new();
    let bundle = program(&scratch, domains, pages);
    let manager = Manager::start(&bundle, "test", &scratch.run_dir(), &["--nfs", "external"]);
    let _scanners = SCANNERS.map(|instance| {
        let mut command = programs::command("test-nf");
        command.arg("scan");
        ByHand::start(command, &manager.nf_socket(instance))
    });
    found(manager)
}

/// Each has found the packets of its own domain, and none of the other's.
pub fn assert_apart([[own, theirs], [others, its]]: [[u64; 2]; 2]) {
    assert!(own > 0 && its > 0, "each finds the packets of its own domain");
    assert_eq!((theirs, others), (0, 0), "and those of no other");
}
