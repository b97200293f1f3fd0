//! A function that changes the size of packets: what leaves is what it wrote, byte for byte.

use onvm_tests::{Manager, Scratch, capture, manager::SOON};

const EACH: u32 = 500;

const PROGRAM: &str = "
use \"tag.nf.toml\" as tag
port wan = pcap { read = file(\"in.pcap\") }
port tagged = pcap { write = \"TAGGED\" }
port plain = pcap { write = \"PLAIN\" }
port ends = pcap { write = \"ENDS\" }
nf push = tag { how = \"push\" }
nf again = tag { how = \"push\" }
nf strip = tag { how = \"strip\" }
nf trailer = tag { how = \"trailer\" }
nf crop = tag { how = \"crop\" }
steer wan {
    udp -> push -> again -> tagged
    vlan -> strip -> plain
    tcp port 80 -> trailer -> ends
    else -> push -> strip -> crop -> plain
}
";

fn tagged(frame: &[u8], tag: u8) -> Vec<u8> {
    [&frame[..12], &[0x81, 0, 0, tag], &frame[12..]].concat()
}

#[test]
fn what_a_function_adds_and_removes_is_on_the_wire() {
    let scratch = Scratch::new();
    scratch.manifest(
        "tag",
        "[effects]\nwrites = [\"ether.type\", \"vlan\"]\npayload = \"write\"\ndrops = true\n\
         [[params]]\nname = \"how\"\ntype = \"string\"\ndoc = \"Which change.\"\n",
    );
    // Of each length that differs modulo a cache line, and the longest that fits a frame.
    let length = |n: u32| if n == 0 { 1450 } else { 30 + n as usize % 64 };
    let udp = |n: u32| capture::udp(n as u16, n, length(n));
    let tcp = |port, n: u32| capture::tcp(n as u16, port, n, length(n));
    let all = 0..EACH;
    let sent = all
        .clone()
        .flat_map(|n| [udp(n), tagged(&udp(n), 7), tcp(80, n), tcp(81, n)]);
    capture::write(&scratch.path("in.pcap"), &sent.collect::<Vec<_>>());
    let outputs = ["TAGGED", "PLAIN", "ENDS"].map(|name| (name, scratch.path(&format!("{name}.pcap"))));
    let program = outputs.iter().fold(PROGRAM.to_owned(), |text, (name, path)| {
        text.replace(name, &path.display().to_string())
    });
    let bundle = scratch.build(&program, "bundle");
    let run = Manager::start(&bundle, "test", &scratch.run_dir(), &["--exit-when-done"]);
    let summary = run.finish(SOON).summary();
    assert_eq!(summary.balance.delivered, u64::from(4 * EACH), "{summary:?}");

    let [twice, plain, ends] = outputs.map(|(_, path)| capture::read(&path));
    let expected: Vec<Vec<u8>> = all.clone().map(|n| tagged(&tagged(&udp(n), 42), 42)).collect();
    assert!(twice == expected, "tags added");
    let expected: Vec<Vec<u8>> = all.clone().map(|n| [&tcp(80, n)[..], b"END!"].concat()).collect();
    assert!(ends == expected, "bytes appended");
    let (whole, cropped): (Vec<_>, Vec<_>) = plain.into_iter().partition(|frame| frame[23] == 17);
    assert!(whole == all.clone().map(udp).collect::<Vec<_>>(), "a tag removed");
    let expected: Vec<Vec<u8>> = all.map(|n| tcp(81, n)[..40].to_vec()).collect();
    assert!(cropped == expected, "cut");
}
