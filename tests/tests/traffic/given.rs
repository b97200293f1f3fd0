//! Interpreter and manager agree on every packet with the same flow entries in front of the same rules.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use nflib_testing::packet;
use onvm_api::FlowsReply;
use onvm_bundle::filter::{
    FlowMatch,
    flow::{FlowKey, flow_of},
};
use onvm_tests::{
    Feed, Manager, Scratch, capture,
    manager::{SOON, all_have_left, instance},
    programs,
    random::Random,
};

const PACKETS: usize = 600;
const ENTRIES: usize = 60;
const OUTS: [&str; 3] = ["o0", "o1", "o2"];
const FILTERS: [&str; 11] = [
    "tcp",
    "udp",
    "tcp dst port 80",
    "dst host 203.0.113.9",
    "src net 198.51.128.0/17",
    "ip6",
    "vlan 5",
    "ip[6:2] & 0x1fff != 0",
    "greater 100",
    "not (tcp or udp)",
    "ip",
];
/// A receiver spreads the packets over several workers, each of which has its own copy of the entries.
const THREADS: [&str; 4] = [
    "workers = 1",
    "workers = 2, receivers = 1",
    "workers = 3, receivers = 1",
    "workers = 5, receivers = 2",
];
/// Of entries, as the compiler lowers them.
const LOWERED: [&str; 7] = [
    "(tcp)",
    "(udp)",
    "(tcp-port dst 80)",
    "(ip6)",
    "(not (or (tcp) (udp)))",
    "(and (ip) (udp-port dst 53))",
    "(vlan)",
];

fn frame(random: &mut Random) -> Vec<u8> {
    let (net, host, port) = (random.of(&[0, 128]), 1 + random.below(3), 4000 + random.below(2));
    let to = 9 + random.below(2);
    let (from, to) = match random.below(4) {
        0 => (format!("[2001:db8::{host}]:{port}"), format!("[2001:db8::{to}]")),
        _ => (format!("198.51.{net}.{host}:{port}"), format!("203.0.113.{to}")),
    };
    let (from, to) = (from.as_str(), format!("{to}:{}", random.of(&[80, 53])));
    let payload = vec![7; random.of(&[8, 80])];
    let (there, back) = (random.below(2), random.below(5));
    let (from, to) = match back {
        0 => (&*to, from),
        _ => (from, &*to),
    };
    let mut frame = match (there, random.below(8)) {
        (_, 0) => packet::arp_request("198.51.0.1", "203.0.113.9").build(),
        (_, 1) => packet::ping("198.51.0.1", "203.0.113.9").build(),
        (_, 2) => {
            let fragments = packet::udp("198.51.0.1:4000", "203.0.113.9:53")
                .payload(&[0; 64])
                .fragments(48);
            fragments[random.below(fragments.len())].clone()
        }
        (0, 3) => packet::udp(from, to)
            .payload(&payload)
            .service_vlan(6)
            .vlan(5)
            .build(),
        (0, _) => packet::udp(from, to).payload(&payload).build(),
        (_, 3) => packet::tcp(from, to).payload(&payload).vlan(5).build(),
        _ => packet::tcp(from, to).payload(&payload).build(),
    };
    if random.one_in(10) {
        frame.truncate(14 + random.below(frame.len() - 14));
    }
    frame
}

fn matches(random: &mut Random, packets: &[Vec<u8>]) -> FlowMatch {
    if random.one_in(10) {
        return FlowMatch::Filter(random.of(&LOWERED).parse().unwrap());
    }
    let keys: Vec<FlowKey> = packets.iter().filter_map(|packet| flow_of(packet).key).collect();
    let key = keys[random.below(keys.len())];
    match random.below(3) {
        0 => FlowMatch::Flow(key),
        1 => FlowMatch::Flow(key.reversed()),
        _ => FlowMatch::BothWays(key),
    }
}

/// A program whose NF makes entries; `entries.json` has those.
fn program(random: &mut Random, scratch: &Scratch, packets: &[Vec<u8>]) {
    const TARGETS: [&str; 4] = ["c0", "c1", "c2", "drop"];
    let arm = |random: &mut Random| {
        let (filter, target) = (random.of(&FILTERS), random.of(&TARGETS));
        format!("    {filter} -> {target}\n")
    };
    let arms: String = (0..2).map(|_| arm(random)).collect();
    let rules: String = (0..random.below(4)).map(|_| arm(random)).collect();
    let chains: Vec<&str> = TARGETS.into_iter().filter(|chain| arms.contains(chain)).collect();
    let entries = (0..ENTRIES).map(|_| {
        let matches = matches(random, packets);
        serde_json::json!({ "chain": random.of(&chains), "matches": matches, "priority": random.below(3) })
    });
    let entries = serde_json::Value::Array(entries.collect());
    scratch.write("entries.json", entries.to_string());
    let param = "[[params]]\nname = \"entries\"\ntype = \"file\"\ndoc = \"What to make.\"\n";
    scratch.manifest("plant", &format!("[effects]\nprograms = true\n{param}"));
    let outs = OUTS.map(|out| {
        let path = scratch.path(out);
        format!("port {out} = pcap {{ write = \"{}\" }}\n", path.display())
    });
    let source = format!(
        "use \"plant.nf.toml\" as plant_nf\n\
         port wan = pcap {{ read = \"{}\", tags = {} }}\n{}\
         nf plant = plant_nf {{ entries = file(\"entries.json\") }}\nnf mon = monitor\n\
         chain c0 = o0\nchain c1 = mon -> o1\nchain c2 = plant -> o2\n\
         steer wan {{\n{rules}    else -> c2\n}}\nallow plant to program wan {{\n{arms}}}\n\
         manager {{ {} }}\n",
        scratch.path("wan").display(),
        random.of(&["visible", "ignored"]),
        outs.concat(),
        random.of(&THREADS),
    );
    scratch.write("test.chain", source);
}

fn onvmc(directory: &Path, arguments: &[&str]) -> String {
    let mut command: Command = programs::command("onvmc");
    let output = command.args(arguments).current_dir(directory).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn flows(scratch: &Scratch) -> (String, FlowsReply) {
    let run_dir = scratch.run_dir();
    let arguments = ["flows", "--json", "--run-dir", run_dir.to_str().unwrap()];
    let text = onvmc(&scratch.path(""), &arguments);
    let reply = serde_json::from_str(&text).unwrap();
    (text, reply)
}

/// What the interpreter says.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    /// By port.
    leaving: BTreeMap<String, Vec<Vec<u8>>>,
    dropped: u64,
    /// Packets that entries took, by id.
    taken: BTreeMap<u64, u64>,
}

fn expected(scratch: &Scratch, packets: &[Vec<u8>]) -> Expected {
    let arguments = [
        "trace",
        "test.chain",
        "wan",
        "--pcap",
        "in.pcap",
        "--each",
        "--json",
    ];
    let said = onvmc(
        &scratch.path(""),
        &[&arguments[..], &["--flows", "flows.json"]].concat(),
    );
    let mut expected = Expected::default();
    for (line, packet) in said.lines().zip(packets) {
        let told: serde_json::Value = serde_json::from_str(line).unwrap();
        let path = &told["path"];
        match path["exit"]["port"].as_str() {
            Some(port) => expected
                .leaving
                .entry(port.to_owned())
                .or_default()
                .push(packet.clone()),
            None => expected.dropped += 1,
        }
        let rule = path["rule"]["text"].as_str().unwrap_or_default();
        if let Some(entry) = rule.strip_prefix("flow entry ") {
            let id = entry.split(' ').next().unwrap().parse().unwrap();
            *expected.taken.entry(id).or_default() += 1;
        }
    }
    assert_eq!(said.lines().count(), packets.len());
    expected
}

/// Packets that an entry for a flow took, one by a filter, and none.
fn agree(random: &mut Random) -> [u64; 3] {
    let scratch = Scratch::new();
    let packets: Vec<Vec<u8>> = (0..PACKETS).map(|_| frame(random)).collect();
    program(random, &scratch, &packets);
    let fifo = Feed::make(&scratch, "wan");
    let bundle = scratch.build_as("test.chain", "test", "bundle", &[]);
    let manager = Manager::start(&bundle, "test", &scratch.run_dir(), &[]);
    let mut feed = Feed::begin(&manager, &fifo);
    let status = manager.wait_until("all entries are in force", SOON, |s| {
        instance(s, "plant-0").counters.get("done") == Some(&(ENTRIES as u64))
    });
    assert_eq!(instance(&status, "plant-0").counters["refused"], 0);

    let (text, before) = flows(&scratch);
    fs::write(scratch.path("flows.json"), text).unwrap();
    capture::write(&scratch.path("in.pcap"), &packets);
    let expected = expected(&scratch, &packets);
    feed.send(&packets);
    manager.wait_until("all packets have left", SOON, |s| {
        all_have_left(s, PACKETS as u64)
    });
    let taken = flows(&scratch).1.entries;
    let taken = taken
        .iter()
        .filter(|entry| entry.packets > 0)
        .map(|entry| (entry.id, entry.packets));
    let source = || fs::read_to_string(scratch.path("test.chain")).unwrap();
    assert_eq!(
        taken.collect::<BTreeMap<_, _>>(),
        expected.taken,
        "{}\n{before:#?}",
        source()
    );
    drop(feed);
    let summary = manager.terminate_whole(0);
    assert_eq!(summary.balance.dropped, expected.dropped, "{}", source());
    for out in OUTS {
        let (seen, wanted) = (capture::read(&scratch.path(out)), expected.leaving.get(out));
        let wanted = wanted.map(Vec::as_slice).unwrap_or_default();
        assert!(
            capture::multiset(&seen) == capture::multiset(wanted),
            "{out}: {} packets, expected {}:\n{}\n{before:#?}",
            seen.len(),
            wanted.len(),
            source()
        );
    }
    let by = |filter: bool| {
        let of = before
            .entries
            .iter()
            .filter(|entry| entry.filter.is_some() == filter);
        of.filter_map(|entry| expected.taken.get(&entry.id)).sum::<u64>()
    };
    let (flow, filter) = (by(false), by(true));
    [flow, filter, PACKETS as u64 - flow - filter]
}

#[test]
fn interpreter_and_manager_agree_with_the_same_flow_entries() {
    let mut random = Random(0x5eed_f10e);
    let mut all = [0; 3];
    for _ in 0..12 {
        let taken = agree(&mut random);
        all = [0, 1, 2].map(|n| all[n] + taken[n]);
    }
    println!("by entries for flows, by those with filters, by rules: {all:?}");
    assert!(all.iter().all(|packets| *packets >= 300), "{all:?}");
}
