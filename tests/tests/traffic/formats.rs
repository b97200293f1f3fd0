//! Captures of every format through real functions: what leaves is what the capture holds, byte for byte and with its times,
//! or an error says what is wrong with which packet. Nothing waits for ever.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use onvm_tests::{
    Finished, Manager, Scratch,
    capture::{self, Record},
    programs, variants,
};

const LONG: Duration = Duration::from_secs(60);

/// Each capture through a firewall, a scanner and a monitor; what leaves is in `out-N.pcap`.
fn through(scratch: &Scratch, captures: &[PathBuf]) -> Finished {
    along(scratch, captures, "fw -> scan { match -> drop } -> mon")
}

fn along(scratch: &Scratch, captures: &[PathBuf], chain_of_each: &str) -> Finished {
    scratch.write("all.rules", "accept all\n");
    scratch.write("none.patterns", "this-is-in-no-packet\n");
    let mut chain = "manager { mtu = 9000 }\n\
                     nf fw = firewall { rules = file(\"all.rules\"), default = accept }\n\
                     nf scan = payload_scan { patterns = file(\"none.patterns\") }\n\
                     nf mon = monitor\nnf fwd = forward {}\n"
        .to_owned();
    for (n, capture) in captures.iter().enumerate() {
        chain += &format!(
            "port p{n} = pcap {{ read = \"{}\", write = \"{}\", mtu = 9000 }}\n\
             steer p{n} {{ else -> {chain_of_each} -> p{n} }}\n",
            capture.display(),
            out(scratch, n).display()
        );
    }
    let bundle = scratch.build(&chain, "bundle");
    Manager::start(&bundle, "test", &scratch.run_dir(), &["--exit-when-done"]).finish(LONG)
}

fn out(scratch: &Scratch, n: usize) -> PathBuf {
    scratch.path(&format!("out-{n}.pcap"))
}

#[test]
fn every_variant_leaves_as_it_came() {
    let scratch = Scratch::new();
    let packets: Vec<_> = (0..40)
        .map(|i| capture::udp(i, i.into(), 20 + 31 * usize::from(i)))
        .collect();
    let mut variants = variants::all(&packets, 1);
    for (tool, of) in [("gzip", 0), ("zstd", 1), ("gzip", 30), ("zstd", 31)] {
        let plain = scratch.write("plain", &variants[of].bytes);
        fs::remove_file(scratch.path("packed")).ok();
        let packed = scratch.path("packed");
        let script = format!("{tool} -c '{}' > '{}'", plain.display(), packed.display());
        programs::tool("sh", &["-c", &script]);
        variants.push(variants::Variant {
            name: format!("{}, by {tool}", variants[of].name),
            bytes: fs::read(packed).unwrap(),
            times: variants[of].times.clone(),
        });
    }
    let write = |(n, v): (usize, &variants::Variant)| scratch.write(&format!("in-{n}"), &v.bytes);
    let captures: Vec<PathBuf> = variants.iter().enumerate().map(write).collect();
    // A bundle has 64 ports at most.
    for (captures, variants) in captures.chunks(60).zip(variants.chunks(60)) {
        let summary = through(&scratch, captures).summary();
        assert_eq!(summary.balance.delivered as usize, variants.len() * packets.len());
        for (n, variant) in variants.iter().enumerate() {
            assert_left(&out(&scratch, n), &packets, variant);
        }
    }
    let sizes = programs::tool("capinfos", &["-Mc", out(&scratch, 0).to_str().unwrap()]);
    assert!(sizes.contains(&packets.len().to_string()), "{sizes}");
}

fn assert_left(out: &Path, packets: &[Vec<u8>], variant: &variants::Variant) {
    let left = capture::records(out);
    assert_eq!(left.len(), packets.len(), "{}", variant.name);
    for ((packet, time), record) in packets.iter().zip(&variant.times).zip(&left) {
        assert!(record.data == *packet, "{}", variant.name);
        assert_eq!(record.wire_length as usize, packet.len(), "{}", variant.name);
        assert_eq!(record.time, time.unwrap_or(record.time), "{}", variant.name);
    }
}

/// Files that libraries read differently: what one counts, another does not receive.
#[test]
fn files_that_readers_differ_about_leave_whole() {
    let scratch = Scratch::new();
    let inputs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/captures/tests/inputs");
    let captures: Vec<_> = fs::read_dir(inputs).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(captures.len(), 5);
    // Some of the packets were cut, which a firewall drops.
    let summary = along(&scratch, &captures, "fwd -> mon").summary();
    assert_eq!(summary.balance.delivered, 50);
    for (n, capture) in captures.iter().enumerate() {
        let shown = capture.to_str().unwrap();
        let arguments = ["-n", "-r", shown, "-T", "fields", "-e", "frame.cap_len"];
        let lengths = programs::tool("tshark", &arguments);
        let left = capture::read(&out(&scratch, n));
        let left: Vec<String> = left.iter().map(|data| data.len().to_string()).collect();
        assert_eq!(left, lengths.lines().collect::<Vec<_>>(), "{shown}");
    }
}

#[test]
fn what_was_cut_of_packets_is_said_in_the_output() {
    let scratch = Scratch::new();
    let packets: Vec<_> = (0..20).map(|i| capture::udp(i, i.into(), 900)).collect();
    capture::write(&scratch.path("whole.pcap"), &packets);
    let (whole, cut) = (scratch.path("whole.pcap"), scratch.path("cut.pcapng"));
    programs::tool(
        "editcap",
        &["-s", "100", whole.to_str().unwrap(), cut.to_str().unwrap()],
    );
    // A firewall drops what says that it is longer than it is.
    along(&scratch, &[cut], "fwd -> mon").summary();
    let left = capture::records(&out(&scratch, 0));
    let expected: Vec<Record> = packets
        .iter()
        .enumerate()
        .map(|(i, packet)| Record {
            time: 1000 * i as u64,
            data: packet[..100].to_vec(),
            wire_length: packet.len() as u32,
        })
        .collect();
    assert_eq!(left, expected);
}

#[test]
fn packets_of_other_link_types_leave_as_ethernet_frames() {
    let scratch = Scratch::new();
    let frames: Vec<_> = (0..30).map(|i| capture::udp(i, i.into(), 40)).collect();
    let with =
        |header: &[u8]| -> Vec<Vec<u8>> { frames.iter().map(|f| [header, &f[14..]].concat()).collect() };
    let cooked = [0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0];
    let cooked2 = [8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
    let cases: [(u16, &[u8]); 6] = [
        (113, &cooked),
        (276, &cooked2),
        (101, &[]),
        (12, &[]),
        (228, &[]),
        (0, &[2, 0, 0, 0]),
    ];
    let write = |(n, (link, header)): (usize, &(u16, &[u8]))| {
        let variant = variants::pcap(&with(header), u32::from(*link), false, 0xa1b2_c3d4, 65_535);
        scratch.write(&format!("in-{n}"), variant.bytes)
    };
    let captures: Vec<PathBuf> = cases.iter().enumerate().map(write).collect();
    through(&scratch, &captures).summary();
    for (n, (link, _)) in cases.iter().enumerate() {
        assert!(capture::read(&out(&scratch, n)) == frames, "link type {link}");
    }
}

#[test]
fn what_is_wrong_with_a_capture_is_an_error_with_the_packet() {
    let scratch = Scratch::new();
    let packets: Vec<_> = (0..10).map(|i| capture::udp(i, i.into(), 40)).collect();
    let good = variants::pcap(&packets, 1, false, 0xa1b2_c3d4, 262_144).bytes;
    let mut long = good[..24 + 16 + packets[0].len()].to_vec();
    long.extend([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 4, 0, 1, 0, 4, 0]);
    long.resize(long.len() + 262_145, 0x78);
    let radio = variants::pcap(&packets, 127, false, 0xa1b2_c3d4, 65_535).bytes;
    let mut sections = variants::pcap(&packets, 1, false, 0xa1b2_c3d4, 65_535).bytes;
    sections.truncate(good.len() - 1);
    for (bytes, words) in [
        (long, ["damaged after packet 1", "262145"]),
        (radio, ["packet 1", "tcprewrite --dlt=enet"]),
        (sections, ["cut short after packet 9", "editcap"]),
        (
            b"GIF89a and so on, no capture".to_vec(),
            ["neither a pcap nor a pcapng", "tcpdump -w"],
        ),
    ] {
        let capture = scratch.write("wrong", bytes);
        let name = capture.display().to_string();
        through(&scratch, &[capture]).assert_refused(&[&[&name[..], "port `p0`"][..], &words].concat());
    }
}

/// All captures that Debian's packages ship: those of some packages, which the set-up has unpacked, and those that are installed.
#[test]
fn captures_of_debians_packages_leave_as_they_came_or_are_refused() {
    let scratch = Scratch::new();
    let unpacked = programs::directory().join("../captures");
    let unpacked: Vec<_> = fs::read_dir(&unpacked)
        .into_iter()
        .flatten()
        .flatten()
        .map(|f| f.path())
        .collect();
    assert!(unpacked.len() > 20, "captures are missing: run `make setup`");
    for capture in unpacked.into_iter().chain(shipped()) {
        let shown = capture.display().to_string();
        let finished = through(&scratch, std::slice::from_ref(&capture));
        if finished.code != Some(0) {
            let words = ["link type", "damaged after", "cut short after", "neither a pcap"];
            assert!(finished.stderr.contains(&shown), "{}", finished.stderr);
            assert!(
                words.iter().any(|w| finished.stderr.contains(w)),
                "{}",
                finished.stderr
            );
            continue;
        }
        let summary = finished.summary();
        let plain = scratch.path("plain.pcap");
        let converted = Command::new("editcap")
            .args(["-F", "nsecpcap", &shown])
            .arg(&plain)
            .output()
            .unwrap();
        // That format holds packets of one link type, and nothing else.
        if !converted.status.success() {
            let frames = programs::tool(
                "tshark",
                &["-n", "-r", &shown, "-T", "fields", "-e", "frame.number"],
            );
            assert!(
                summary.balance.received as usize <= frames.lines().count(),
                "{shown}"
            );
            continue;
        }
        let before = capture::records(&plain);
        let left = capture::records(&out(&scratch, 0));
        assert_eq!(summary.balance.received as usize, before.len(), "{shown}");
        assert_eq!(summary.balance.delivered as usize, left.len(), "{shown}");
        let dropped = ["too_long", "malformed", "nf_verdict"].map(|reason| summary.dropped(reason));
        assert_eq!(
            dropped.iter().sum::<u64>(),
            summary.balance.dropped,
            "{shown}: {summary:#?}"
        );
        if is_ethernet(&plain) {
            let before = counted(&before);
            for (data, times) in counted(&left) {
                assert!(times <= before.get(data).copied().unwrap_or(0), "{shown}");
            }
        }
    }
}

fn counted(records: &[Record]) -> HashMap<&[u8], usize> {
    let mut counts = HashMap::new();
    records
        .iter()
        .for_each(|r| *counts.entry(r.data.as_slice()).or_default() += 1);
    counts
}

fn is_ethernet(plain: &Path) -> bool {
    fs::read(plain).unwrap()[20..22] == [1, 0]
}

fn shipped() -> Vec<PathBuf> {
    let lists = fs::read_dir("/var/lib/dpkg/info").into_iter().flatten().flatten();
    let lists = lists.filter(|entry| entry.path().extension().is_some_and(|e| e == "list"));
    let files = lists.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let files = files.flat_map(|text| text.lines().map(PathBuf::from).collect::<Vec<_>>());
    let is_capture = |path: &PathBuf| {
        let name = path.to_string_lossy();
        let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
        [".pcap", ".pcapng", ".cap"].iter().any(|end| name.ends_with(end)) && path.is_file()
    };
    files.filter(is_capture).collect()
}
