//! Captures of every variant are read as they were written, and as libpcap reads them where it does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use onvm_captures::{Capture, CaptureError, file_header, push_record};
use onvm_tests::{capture, variants};
use proptest::prelude::*;

/// Data, length on the wire and time of a packet.
type One = (Vec<u8>, u32, Option<u64>);
type Seen = Vec<One>;

/// The packets, and the error that ended them.
fn read(bytes: &[u8]) -> (Seen, Option<CaptureError>) {
    let from = std::io::Cursor::new(bytes.to_vec());
    let mut capture = match Capture::of(Path::new("in"), Box::new(from)) {
        Ok(capture) => capture,
        Err(e) => return (Vec::new(), Some(e)),
    };
    let mut seen = Vec::new();
    loop {
        match capture.next_packet() {
            Ok(Some(packet)) => {
                assert_eq!(packet.number, seen.len() as u64 + 1);
                seen.push((packet.data.to_vec(), packet.wire_length, packet.time));
            }
            Ok(None) => return (seen, None),
            Err(e) => return (seen, Some(e)),
        }
    }
}

fn whole(bytes: &[u8]) -> Seen {
    match read(bytes) {
        (seen, None) => seen,
        (seen, Some(e)) => panic!("after {} packets: {e}", seen.len()),
    }
}

fn packets() -> Vec<Vec<u8>> {
    (0..13)
        .map(|i| capture::udp(i, i.into(), 20 + 7 * usize::from(i)))
        .collect()
}

/// As libpcap reads the file; none where it refuses it, or stops.
fn by_libpcap(path: &Path) -> Option<Seen> {
    let nanoseconds = pcap::Precision::Nano;
    let mut capture = pcap::Capture::from_file_with_precision(path, nanoseconds).ok()?;
    let mut seen = Vec::new();
    loop {
        match capture.next_packet() {
            Ok(packet) => {
                let time = (packet.header.ts.tv_sec as u64).wrapping_mul(1_000_000_000);
                let time = time.wrapping_add(packet.header.ts.tv_usec as u64);
                seen.push((packet.data.to_vec(), packet.header.len, Some(time)));
            }
            Err(pcap::Error::NoMorePackets) => return Some(seen),
            Err(_) => return None,
        }
    }
}

#[test]
fn every_variant_is_read_as_it_was_written_and_as_libpcap_reads_it() {
    let packets = packets();
    let file = tempfile::NamedTempFile::new().unwrap();
    let (mut variants, mut agreed) = (0, 0);
    for variant in variants::all(&packets, 1) {
        variants += 1;
        let seen = whole(&variant.bytes);
        let expected: Seen = packets
            .iter()
            .zip(&variant.times)
            .map(|(data, time)| (data.clone(), data.len() as u32, *time))
            .collect();
        assert!(seen == expected, "{}", variant.name);
        fs::write(file.path(), &variant.bytes).unwrap();
        if let Some(theirs) = by_libpcap(file.path()) {
            agreed += 1;
            // libpcap cuts what is longer than the header's snap length, which only says what was asked for.
            let same = |(ours, theirs): (&One, &One)| {
                let cut = &ours.0[..theirs.0.len()];
                theirs.0 == cut
                    && (cut.len() == ours.0.len() || [64, 78].contains(&cut.len()))
                    && ours.1 == theirs.1
            };
            assert!(seen.len() == theirs.len(), "{}", variant.name);
            assert!(seen.iter().zip(&theirs).all(same), "{}", variant.name);
            let close = |ours: &Option<u64>, theirs: &Option<u64>| {
                ours.is_none() || ours.unwrap().abs_diff(theirs.unwrap()) <= 1
            };
            let times = seen.iter().zip(&theirs);
            assert!(times.clone().all(|(a, b)| close(&a.2, &b.2)), "{}", variant.name);
        }
    }
    // Interfaces that differ are all that libpcap refuses.
    assert!(agreed >= variants - 4, "{agreed} of {variants}");
}

fn input(name: &str) -> Vec<u8> {
    fs::read(
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/inputs")
            .join(name),
    )
    .unwrap()
}

#[test]
fn files_that_readers_differ_about_are_read_whole() {
    for name in [
        "fcs-bits.pcap",
        "modified-magic.pcap",
        "no-end-of-options.pcapng",
        "short-snaplen.pcap",
        "two-snaplens.pcapng",
    ] {
        let seen = whole(&input(name));
        assert_eq!(seen.len(), 10, "{name}");
        for (i, (data, length, _)) in seen.iter().enumerate() {
            // Packet 1 has 60 bytes in each of them, the next one more each, and the addresses count up.
            assert_eq!(data.len(), *length as usize, "{name}");
            assert_eq!(data[..6], [2, 0, 0, 0, 0, 2], "{name}");
            assert_eq!(data[23], 17, "{name}: packet {}", i + 1);
        }
    }
}

#[test]
fn a_compressed_capture_is_what_was_compressed() {
    let variants = variants::all(&packets(), 1);
    for variant in variants.iter().step_by(9) {
        let expected = whole(&variant.bytes);
        for tool in [&["gzip"][..], &["zstd"], &["zstd", "-19", "--long=24"]] {
            let compressed = through(tool, &variant.bytes);
            assert!(whole(&compressed) == expected, "{} by {tool:?}", variant.name);
            let cut = &compressed[..compressed.len() - 30];
            let error = read(cut).1.unwrap_or_else(|| panic!("{}: not cut", variant.name));
            assert!(
                matches!(error, CaptureError::CutShort { .. }),
                "{tool:?}: {error}"
            );
        }
        // Several members or frames, one after the other, and one that is to be skipped.
        let (first, second) = variant.bytes.split_at(variant.bytes.len() / 2);
        let joined = [through(&["gzip"], first), through(&["gzip"], second)].concat();
        assert!(whole(&joined) == expected, "{}", variant.name);
        let skipped = [0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9];
        let joined = [
            &skipped[..],
            &through(&["zstd"], first),
            &skipped,
            &through(&["zstd"], second),
        ]
        .concat();
        assert!(whole(&joined) == expected, "{}", variant.name);
    }
}

fn through(tool: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(tool[0])
        .args(&tool[1..])
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}", tool[0]));
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// At whatever byte a capture ends: the whole packets before are read, and the rest is said to be cut short.
#[test]
fn a_capture_is_read_up_to_where_it_is_cut_short() {
    let packets = packets();
    let variants = variants::all(&packets, 1);
    for variant in variants.iter().step_by(5) {
        let all = whole(&variant.bytes);
        let mut ends = 0;
        for cut in 0..variant.bytes.len() {
            let (seen, error) = read(&variant.bytes[..cut]);
            assert!(seen[..] == all[..seen.len()], "{} cut at {cut}", variant.name);
            match error {
                None => ends += 1,
                Some(CaptureError::CutShort { after, .. }) => assert_eq!(after, seen.len() as u64),
                Some(CaptureError::NotACapture { .. }) => assert!(cut < 24),
                Some(other) => panic!("{} cut at {cut}: {other}", variant.name),
            }
        }
        assert!(ends >= packets.len(), "{}: {ends}", variant.name);
    }
}

#[test]
fn what_is_wrong_is_said_with_the_place() {
    let good = variants::pcap(&packets(), 1, false, 0xa1b2_c3d4, 65_535).bytes;
    let says = |bytes: &[u8], words: &[&str]| {
        let text = read(bytes).1.unwrap().to_string();
        for word in [&["in: "], words].concat() {
            assert!(text.contains(word), "{word:?} in: {text}");
        }
    };
    says(b"", &["neither a pcap nor a pcapng"]);
    says(
        b"hello, this is a longer text",
        &["neither a pcap nor a pcapng", "tcpdump -w"],
    );
    says(&good[..good.len() - 7], &["cut short after packet 12", "editcap"]);
    // The second packet claims one byte more than a capture can hold.
    let mut long = good.clone();
    let second = 24 + 16 + packets()[0].len();
    long[second + 8..second + 12].copy_from_slice(&262_145_u32.to_le_bytes());
    says(&long, &["damaged after packet 1", "262145", "262144"]);
    let mut version = good;
    version[4] = 9;
    says(&version, &["damaged after packet 0", "9.4", "2.4"]);
    let radio = variants::pcap(&packets(), 127, false, 0xa1b2_c3d4, 65_535).bytes;
    says(
        &radio,
        &[
            "packet 1",
            "127 (IEEE802_11_RADIO)",
            "tcprewrite --dlt=enet",
            "editcap -T ether",
        ],
    );
}

#[test]
fn what_is_written_is_what_libpcap_reads() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let expected: Seen = packets()
        .into_iter()
        .enumerate()
        .map(|(i, data)| {
            let wire_length = data.len() as u32 + 1000 * (i as u32 % 3);
            (data, wire_length, Some(1_700_000_000_123_456_789 + i as u64))
        })
        .collect();
    let mut bytes = file_header().to_vec();
    for (data, wire_length, time) in &expected {
        push_record(&mut bytes, time.unwrap(), data, *wire_length);
    }
    fs::write(file.path(), &bytes).unwrap();
    assert!(by_libpcap(file.path()).unwrap() == expected);
    assert!(whole(&bytes) == expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Changed bytes end in packets or in an error, never in a panic or without an end; and what libpcap reads of it to its
    /// end is what is read here.
    #[test]
    fn a_damaged_capture_ends_as_for_libpcap_or_in_an_error(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let variants = variants::all(&packets()[..4], 1);
        let mut bytes = which.get(&variants).bytes.clone();
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        let (seen, error) = read(&bytes);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &bytes).unwrap();
        if let (Some(theirs), None) = (by_libpcap(file.path()), error) {
            let data = |seen: &Seen| seen.iter().map(|(d, ..)| d.clone()).collect::<Vec<_>>();
            prop_assert_eq!(data(&seen).len(), data(&theirs).len());
        }
    }
}
