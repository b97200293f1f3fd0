//! An NF that writes what its manifest does not declare fails its test, by the name of the field.

#![allow(clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use nflib::{Burst, GenerateError, Nf, Params, Setup, SetupError, Verdict};
use nflib_testing::{bench, packet};
use proptest::prelude::*;

/// Flips bits of one byte.
#[derive(Debug)]
struct Flip {
    at: usize,
    mask: u8,
    refused: usize,
}

impl Nf for Flip {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        Ok(Self {
            at: setup.params.get("at")?,
            mask: setup.params.get("mask")?,
            refused: 0,
        })
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        for mut packet in burst.packets() {
            match packet.data_mut() {
                Ok(bytes) => bytes[self.at] ^= self.mask,
                Err(_) => self.refused += 1,
            }
        }
    }
}

fn manifest(effects: &str) -> String {
    format!(
        "name = \"flip\"\nversion = \"0.1.0\"\nsummary = \"Flips bits\"\n\
         run = {{ binary = \"flip\" }}\neffects = {{ {effects} }}\n"
    )
}

/// What the test of such an NF says, if it fails.
fn complaint(effects: &str, frame: &[u8], at: usize, mask: u8) -> Option<String> {
    let params = Params::default().with("at", at).with("mask", mask);
    let mut bench = bench::<Flip>(&manifest(effects), params).unwrap();
    let sent = catch_unwind(AssertUnwindSafe(|| bench.send(&[frame])));
    sent.err().map(|panic| *panic.downcast::<String>().unwrap())
}

/// Each field of the header at `at`: a byte and a bit of it.
fn each_is_found(frame: &[u8], at: usize, fields: &[(usize, u8, &str)]) {
    for &(byte, mask, field) in fields {
        let byte = at + byte;
        let writes = |field: &str| format!("writes = [\"{field}\", \"ether.src\"]");
        let complaint_about = |effects: &str| complaint(effects, frame, byte, mask);
        let text = complaint_about(&writes("ether.dst")).unwrap();
        let expected = format!(
            "the NF changed `{field}` (from byte {byte}), which its manifest does not declare: \
             add \"{field}\" to `writes` in `[effects]`, or leave the packet as it is"
        );
        assert!(text.contains(&expected), "{text}");
        assert_eq!(complaint_about(&writes(field)), None, "{field}");
        let (header, _) = field.split_once('.').unwrap();
        assert_eq!(complaint_about(&writes(header)), None, "{header}");
        assert!(complaint_about("payload = \"write\"").is_some() || field.ends_with("checksum"));
    }
}

#[test]
fn every_field_has_its_name() {
    let tcp = packet::tcp("10.0.0.1:1", "10.0.0.2:2").vlan(7).build();
    each_is_found(
        &tcp,
        0,
        &[
            (13, 1, "ether.type"),
            (14, 0x20, "vlan.priority"),
            (14, 0x01, "vlan.id"),
            (17, 1, "ether.type"),
        ],
    );
    each_is_found(
        &tcp,
        18,
        &[
            (0, 0x01, "ip.options"),
            (1, 0x04, "ip.dscp"),
            (1, 0x02, "ip.ecn"),
            (3, 1, "ip.length"),
            (4, 1, "ip.id"),
            (6, 0x20, "ip.fragment"),
            (8, 1, "ip.ttl"),
            (9, 1, "ip.protocol"),
            (10, 1, "ip.checksum"),
            (12, 1, "ip.src"),
            (19, 1, "ip.dst"),
        ],
    );
    each_is_found(
        &tcp,
        38,
        &[
            (1, 1, "tcp.src_port"),
            (2, 1, "tcp.dst_port"),
            (4, 1, "tcp.seq"),
            (8, 1, "tcp.ack"),
            (12, 0x10, "tcp.options"),
            (12, 0x01, "tcp.flags"),
            (13, 1, "tcp.flags"),
            (14, 1, "tcp.window"),
            (16, 1, "tcp.checksum"),
            (18, 1, "tcp.urgent_pointer"),
        ],
    );
    let udp6 = packet::udp("[::1]:1", "[::2]:2").build();
    each_is_found(
        &udp6,
        14,
        &[
            (0, 0x01, "ip.dscp"),
            (1, 0x80, "ip.dscp"),
            (1, 0x10, "ip.ecn"),
            (1, 0x08, "ip.flow_label"),
            (5, 1, "ip.length"),
            (6, 1, "ip.protocol"),
            (7, 1, "ip.ttl"),
            (8, 1, "ip.src"),
            (39, 1, "ip.dst"),
            (40, 1, "udp.src_port"),
            (42, 1, "udp.dst_port"),
            (44, 1, "udp.length"),
            (46, 1, "udp.checksum"),
        ],
    );
    let ping = packet::ping("10.0.0.1", "10.0.0.2").build();
    each_is_found(
        &ping,
        34,
        &[
            (0, 1, "icmp.type"),
            (1, 1, "icmp.code"),
            (2, 1, "icmp.checksum"),
            (4, 1, "icmp.id"),
            (6, 1, "icmp.sequence"),
        ],
    );
    let fragments = packet::udp("[::1]:1", "[::2]:2").payload(&[0; 64]).fragments(32);
    each_is_found(
        &fragments[1],
        54,
        &[
            (0, 1, "ip.protocol"),
            (1, 1, "ip.options"),
            (2, 1, "ip.fragment"),
            (7, 1, "ip.id"),
        ],
    );
}

#[test]
fn the_payload_is_declared_by_its_own_key() {
    let frame = packet::udp("10.0.0.1:1", "10.0.0.2:2")
        .payload(b"payload")
        .build();
    let last = frame.len() - 1;
    let text = complaint("writes = [\"ip\", \"udp\"]", &frame, last, 1).unwrap();
    assert!(
        text.contains("changed the payload (from byte 48), which its manifest does not declare: add `payload = \"write\"`"),
        "{text}"
    );
    for effects in ["payload = \"write\"", "writes = [\"gtp.teid\"]"] {
        assert_eq!(complaint(effects, &frame, last, 1), None, "{effects}");
    }
    // What stands in a later fragment, in ARP, and behind a malformed header is payload.
    let later = &packet::tcp("10.0.0.1:1", "10.0.0.2:2")
        .payload(&[0; 64])
        .fragments(32)[1];
    let arp = packet::arp_request("10.0.0.1", "10.0.0.2").build();
    let mut malformed = frame.clone();
    malformed[14] = 0x44;
    for frame in [later, &arp, &malformed] {
        let all = "writes = [\"ether\", \"ip\", \"udp\", \"tcp\"]";
        assert!(
            complaint(all, frame, 36, 1)
                .unwrap()
                .contains("changed the payload")
        );
    }
}

/// Adds VLAN tag 7, or cuts packets to a length.
#[derive(Debug)]
struct Resize(Option<usize>);

impl Nf for Resize {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        Ok(Self(setup.params.optional("length")?))
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        for mut packet in burst.packets() {
            match self.0 {
                Some(length) => packet.truncate(length).unwrap(),
                None => {
                    packet.push(4).unwrap();
                    let data = packet.data_mut().unwrap();
                    data.copy_within(4..16, 0);
                    data[12..16].copy_from_slice(&[0x81, 0, 0, 7]);
                }
            }
        }
    }
}

/// What the test of such an NF says, if it fails.
fn resized(effects: &str, length: Option<usize>) -> Option<String> {
    let frame = packet::udp("10.0.0.1:1", "10.0.0.2:2").payload(b"payload");
    let params = match length {
        Some(length) => Params::default().with("length", length),
        None => Params::default(),
    };
    let mut bench = bench::<Resize>(&manifest(effects), params).unwrap();
    match catch_unwind(AssertUnwindSafe(|| bench.send(&[frame.build()]))) {
        Ok(handled) => {
            let whole = frame.build();
            let expected = length.map_or(frame.vlan(7).build(), |length| whole[..length].to_vec());
            assert_eq!(handled[0].data, expected);
            None
        }
        Err(panic) => Some(*panic.downcast::<String>().unwrap()),
    }
}

#[test]
fn a_changed_length_is_declared_as_a_written_payload() {
    let fields = "writes = [\"vlan\", \"ether.type\"]";
    let text = resized(fields, None).unwrap();
    let expected = "the NF changed the packet's length from 49 to 53, which its manifest does not declare: add \
                    `payload = \"write\"` in `[effects]`";
    assert!(text.contains(expected), "{text}");
    assert_eq!(resized(&format!("{fields}, payload = \"write\""), None), None);
    // Chains are checked by the fields that are named: those of a header that comes or goes are written.
    let text = resized("payload = \"write\"", None).unwrap();
    let expected = "changed `ether.type`, `vlan.id`, `vlan.priority` (from byte 12)";
    assert!(text.contains(expected), "{text}");
    // No header field changes its value.
    assert_eq!(resized("payload = \"write\"", Some(45)), None);
    // The UDP header is cut off and counts as payload.
    let text = resized("payload = \"write\"", Some(40)).unwrap();
    assert!(text.contains("`udp.dst_port`, `udp.length`"), "{text}");
}

/// Answers each packet by a short one, and sends it to an output.
#[derive(Debug)]
struct Answer {
    output: u16,
    failed: Option<GenerateError>,
}

impl Nf for Answer {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let (output, failed) = (setup.params.get("output")?, None);
        Ok(Self { output, failed })
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        for n in 0..burst.len() {
            match burst.generate(n, b"an answer") {
                Ok(mut made) => made.output(self.output),
                Err(e) => self.failed = Some(e),
            }
        }
    }
}

#[test]
fn packets_are_made_where_the_manifest_declares_it() {
    let frames: Vec<_> = (0..40).map(|n| packet::ether(0x88b5, &[n]).build()).collect();
    let run = |effects: &str, output: u16| {
        let manifest = manifest(effects) + "[[outputs]]\nname = \"back\"\ndoc = \"Answers\"\n";
        let mut bench = bench::<Answer>(&manifest, Params::default().with("output", output)).unwrap();
        let handled = bench.send(&frames);
        assert!(handled.iter().zip(&frames).all(|(h, frame)| h.data == *frame));
        (std::mem::take(&mut bench.made), bench.nf.failed)
    };
    let (made, failed) = run("generates = true", 0);
    assert_eq!(failed, None);
    assert!(made.iter().map(|made| made.of).eq(0..40), "{made:?}");
    assert!(made.iter().all(|made| made.handled.data == b"an answer"));
    assert!(made.iter().all(|made| made.handled.verdict == Verdict::Output(0)));
    let undeclared = (Vec::new(), Some(GenerateError::Undeclared));
    assert_eq!(run("payload = \"write\"", 0), undeclared);
    let wrong = catch_unwind(AssertUnwindSafe(|| run("generates = true", 1)));
    let text = *wrong.unwrap_err().downcast::<String>().unwrap();
    assert!(
        text.contains("in the name of packet 0: the NF chose output 1"),
        "{text}"
    );
}

/// As the compiler assumes of every NF that writes more than the link header.
#[test]
fn checksums_need_not_be_named() {
    let frame = packet::udp("10.0.0.1:1", "10.0.0.2:2").build();
    for (at, refused) in [(24, "ip.checksum"), (40, "udp.checksum")] {
        assert_eq!(complaint("writes = [\"ip.src\"]", &frame, at, 1), None);
        assert_eq!(complaint("payload = \"write\"", &frame, at, 1), None);
        assert!(
            complaint("writes = [\"ether.src\"]", &frame, at, 1)
                .unwrap()
                .contains(refused)
        );
    }
}

/// As the manager maps them.
#[test]
fn without_a_declared_write_packets_are_read_only() {
    let params = || Params::default().with("at", 0).with("mask", 1);
    let frame = packet::ether(0x88b5, b"x").build();
    let mut read_only = bench::<Flip>(&manifest("drops = true"), params()).unwrap();
    assert_eq!(read_only.send(&[&frame])[0].data, frame);
    assert_eq!(read_only.nf.refused, 1);
    let mut writable = bench::<Flip>(&manifest("writes = [\"ether.dst\"]"), params()).unwrap();
    assert_eq!(writable.send(&[&frame])[0].data[0], frame[0] ^ 1);
}

/// Sends packets to an output by its name, or by a number.
#[derive(Debug)]
struct Divert(u16);

impl Nf for Divert {
    fn new(setup: &mut Setup) -> Result<Self, SetupError> {
        let number: Option<u16> = setup.params.optional("number")?;
        match number {
            Some(number) => Ok(Self(number)),
            None => Ok(Self(setup.params.output("suspect")?.into())),
        }
    }

    fn process(&mut self, burst: &mut Burst<'_>) {
        for mut packet in burst.packets() {
            packet.output(self.0);
        }
    }
}

#[test]
fn outputs_are_those_of_the_manifest() {
    let frame = packet::ether(0x88b5, b"x").build();
    let outputs = |names: &[&str]| {
        let output = |name: &&str| format!("[[outputs]]\nname = \"{name}\"\ndoc = \"An output\"\n");
        manifest("drops = true") + &names.iter().map(output).collect::<String>()
    };
    let mut named = bench::<Divert>(&outputs(&["denied", "suspect"]), Params::default()).unwrap();
    assert_eq!(named.send(&[&frame])[0].verdict, Verdict::Output(1));
    let error = bench::<Divert>(&outputs(&["denied"]), Params::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the NF has no output `suspect`: its manifest declares `denied`"
    );
    let mut wrong = bench::<Divert>(&outputs(&["denied"]), Params::default().with("number", 1)).unwrap();
    let sent = catch_unwind(AssertUnwindSafe(|| wrong.send(&[&frame])));
    let text = *sent.unwrap_err().downcast::<String>().unwrap();
    assert!(
        text.contains("chose output 1, which its manifest does not declare"),
        "{text}"
    );
}

#[test]
fn a_manifest_that_is_not_valid_is_refused() {
    let error = bench::<Flip>("name = 7", Params::default()).unwrap_err();
    assert!(
        error.to_string().starts_with("the manifest is not valid: "),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was sent, a change is either refused or declared, and nothing else panics.
    #[test]
    fn any_frame_can_be_checked(frame in prop::collection::vec(any::<u8>(), 1..120), at in 0..120usize, mask in 1..=255u8) {
        let at = at % frame.len();
        let everything = "payload = \"write\", writes = [\"ether\", \"vlan\", \"ip\", \"tcp\", \"udp\", \"sctp\", \"icmp\"]";
        prop_assert_eq!(complaint(everything, &frame, at, mask), None);
    }
}
