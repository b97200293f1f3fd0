//! Programs whose NFs and ports are in several security domains do with packets what the same programs in one domain do.

use std::path::PathBuf;

use onvm_tests::{
    Manager, Scratch,
    capture::{self, Record},
    manager::{SOON, Summary},
};

const FLOWS: u32 = 96;
const PACKETS: u32 = 20_000;

/// Of different lengths, every third flow TCP.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.manifest("stamp", "[effects]\npayload = \"write\"\n");
    let packet = |i: u32| {
        let (flow, payload) = ((i % FLOWS) as u16, 30 + (i * 37 % 1400) as usize);
        match i % 3 {
            0 => capture::tcp(flow, 80, i, payload),
            _ => capture::udp(flow, i, payload),
        }
    };
    let packets: Vec<_> = (0..PACKETS).map(packet).collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    scratch
}

/// One program, in which `domains` gives the domains of its port and its NFs.
fn bundle(scratch: &Scratch, name: &str, workers: u16, domains: [Option<&str>; 4]) -> PathBuf {
    let [port, fwd, stamp, mon] = domains.map(|domain| match domain {
        Some(domain) => format!("domain = {domain:?}"),
        None => String::new(),
    });
    let out = scratch.path(&format!("{name}.pcap"));
    let chain = format!(
        "use \"stamp.nf.toml\" as stamp\nmanager {{ workers = {workers} }}\n\
         port a = pcap {{ read = file(\"in.pcap\"), {port} }}\nport b = pcap {{ write = {out:?} }}\n\
         nf fwd = forward {{}} with {{ {fwd} }}\nnf mark = stamp {{}} with {{ {stamp} }}\n\
         nf mon = monitor {{}} with {{ replicas = 2, {mon} }}\n\
         steer a {{ tcp -> fwd -> mark -> mon -> b  else -> mark -> fwd -> b }}\n"
    );
    scratch.build(&chain, name)
}

/// Runs it to the end of its capture; gives what came out, with the times of its capture, in some order, and the crossings by NF.
fn run(
    scratch: &Scratch,
    name: &str,
    workers: u16,
    domains: [Option<&str>; 4],
) -> (Vec<Record>, Summary, u64) {
    let bundle = bundle(scratch, name, workers, domains);
    let manager = Manager::start(&bundle, "test", &scratch.run_dir(), &[]);
    manager.wait_for_log("READY");
    let status = manager.wait_until("all packets have left", SOON, |status| {
        onvm_tests::manager::all_have_left(status, PACKETS.into())
    });
    let hops = status.chains.iter().flat_map(|chain| &chain.hops);
    let crossings = hops.map(|hop| hop.crossings).sum();
    let summary = manager.terminate().summary();
    let path = scratch.path(&format!("{name}.pcap"));
    capture::assert_in_order(&capture::read(&path));
    let mut out = capture::records(&path);
    out.sort_by(|a, b| a.data.cmp(&b.data));
    (out, summary, crossings)
}

#[test]
fn the_same_packets_leave_byte_for_byte() {
    let tcp = u64::from(PACKETS.div_ceil(3));
    let udp = u64::from(PACKETS) - tcp;
    for workers in [1, 2] {
        let scratch = scratch();
        let (expected, summary, crossings) = run(&scratch, "one", workers, [None; 4]);
        assert_eq!(
            (expected.len(), summary.balance.delivered, crossings),
            (PACKETS as usize, u64::from(PACKETS), 0)
        );
        // What comes in goes to `fwd` or `mark`, from each to the other, and from `mark` to `mon`.
        let splits = [
            ("all", [None, Some("a"), Some("b"), Some("c")], 3 * tcp + 2 * udp),
            ("port", [Some("a"), None, None, None], tcp + udp),
            (
                "mark",
                [Some("a"), Some("a"), Some("b"), Some("a")],
                2 * tcp + 2 * udp,
            ),
            ("named", [Some("a"); 4], 0),
        ];
        for (name, domains, crosses) in splits {
            let (out, summary, crossings) = run(&scratch, name, workers, domains);
            assert!(out == expected, "{name}: other packets leave");
            assert_eq!(
                summary.balance.delivered,
                u64::from(PACKETS),
                "{name}: {:?}",
                summary.drops
            );
            assert_eq!(crossings, crosses, "{name}, {workers} workers");
        }
    }
}
