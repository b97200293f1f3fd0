//! A function that makes packets: they go where the packets might go in whose names they are, and are counted.

use onvm_tests::{
    Manager, Scratch, capture,
    manager::{SOON, all_have_left, instance},
    process,
};
use rustix::process::Signal;

const PACKETS: u32 = 3000;

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.manifest(
        "maker",
        "[effects]\ngenerates = true\n[[outputs]]\nname = \"mirror\"\ndoc = \"A copy of each packet.\"\n",
    );
    let packets: Vec<_> = (0..PACKETS).map(packet).collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    scratch
}

fn packet(n: u32) -> Vec<u8> {
    capture::udp(n as u16, n, 30 + n as usize % 200)
}

#[test]
fn copies_and_answers_leave_by_their_outputs() {
    copy("", "");
}

/// The NF's blanks are of its own security domain, and so are the packets in whose names it makes others.
#[test]
fn copies_and_answers_leave_from_another_domain() {
    copy("", "with { domain = \"red\" }");
}

/// Captures leave room in their rings for the packets made, so that none of all is lost.
#[test]
fn in_rings_that_are_short_none_is_lost() {
    copy("manager { ring = 64 }", "");
}

fn copy(manager: &str, with: &str) {
    let scratch = scratch();
    let [lan, tap] = ["lan.pcap", "tap.pcap"].map(|name| scratch.path(name));
    let chain = format!(
        "use \"maker.nf.toml\" as maker\nport wan = pcap {{ read = file(\"in.pcap\") }}\n\
         port lan = pcap {{ write = \"{}\" }}\nport tap = pcap {{ write = \"{}\" }}\nnf make = maker {{}} {with}\n\
         {manager}\nsteer wan {{ else -> make {{ mirror -> tap }} -> lan }}\n",
        lan.display(),
        tap.display()
    );
    let bundle = scratch.build(&chain, "bundle");
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    let status = manager.wait_until("every packet has left", SOON, |s| {
        all_have_left(s, u64::from(PACKETS))
    });
    let made = instance(&status, "make-0");
    let (copies, answers, lacking) = (
        made.counters["copies"],
        made.counters["answers"],
        made.counters["lacking"],
    );
    assert!(copies > 0 && answers > 0, "{made:?}");
    assert!(copies + lacking >= PACKETS.into(), "{made:?}");
    assert_eq!((made.generated, made.refused), (copies + answers, 0), "{made:?}");
    assert_eq!(made.tx_packets, u64::from(PACKETS), "handed back: {made:?}");
    let (_, metrics) = manager.get("/metrics");
    let line = format!(
        "onvm_nf_generated_total{{nf=\"make\",instance=\"make-0\"}} {}",
        made.generated
    );
    assert!(
        metrics.lines().any(|l| l == line),
        "{line} is missing:\n{metrics}"
    );
    let summary = manager.terminate_whole(0);
    assert_eq!(summary.balance.generated, copies + answers);
    assert_eq!(summary.balance.dropped, 0);

    let (lan, tap) = (capture::read(&lan), capture::read(&tap));
    let (answered, passed): (Vec<_>, Vec<_>) = lan.into_iter().partition(|frame| frame[12] == 0x88);
    assert!(
        passed == (0..PACKETS).map(packet).collect::<Vec<_>>(),
        "packets are as they were"
    );
    assert_eq!(answered.len() as u64, answers);
    assert!(
        answered
            .iter()
            .all(|frame| frame.len() == 60 && frame[14..] == [0xaa; 46])
    );
    assert_eq!(tap.len() as u64, copies);
    let mut numbers = Vec::new();
    for mut copy in tap {
        copy[0] ^= 0xff;
        let (_, number) = capture::flow_and_number(&copy);
        assert!(copy == packet(number), "the copy of {number}");
        numbers.push(number);
    }
    assert!(
        numbers.is_sorted_by(|a, b| a < b),
        "each was copied once, in order"
    );
}

#[test]
fn the_blanks_of_a_killed_instance_come_back() {
    let scratch = scratch();
    let chain = "use \"maker.nf.toml\" as maker\nport wan = pcap { read = file(\"in.pcap\"), repeat = true }\n\
                 port lan = pcap { write = \"/dev/null\" }\nnf make = maker { }\nnf again = maker { }\n\
                 steer wan { else -> make { mirror -> again { mirror -> drop } -> lan } -> again { mirror -> drop } -> lan }\n";
    let bundle = scratch.build(chain, "bundle");
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    for life in 1..=4 {
        let pid = manager.wait_for_instance("make-0", None, SOON);
        manager.wait_for_traffic(2000, SOON);
        process::signal(pid, Signal::KILL);
        manager.wait_until("it is started again", SOON, |s| {
            instance(s, "make-0").restarts >= life
        });
    }
    manager.wait_for_instance("make-0", None, SOON);
    let status = manager.wait_for_traffic(2000, SOON);
    assert!(status.balance.generated > 0, "{status:?}");
    // Every packet and every buffer is counted once.
    let summary = manager.terminate_whole(PACKETS as usize);
    assert!(summary.balance.generated >= status.balance.generated);
}
