//! The flow cache beside a function that writes to packets that it does not hold.

use onvm_api::InstanceState;
use onvm_tests::{
    Manager, Scratch, capture,
    manager::{SOON, instance},
    process,
};
use rustix::process::Signal;

const FLOWS: u32 = 12_000;

/// A function flips the ports of all packets in memory, and is killed. What had a port 99 when it came went by the rule for it;
/// flows of port 80 do not go on by that rule.
#[test]
fn a_writer_leaves_no_flow_on_a_wrong_chain() {
    let scratch = Scratch::new();
    scratch.pacer();
    scratch.manifest(
        "misuse",
        "[effects]\nwrites = [\"tcp.dst_port\"]\n\n[[params]]\nname = \"how\"\ntype = \"string\"\ndoc = \"Which.\"\n",
    );
    let packets = (0..2 * FLOWS).map(|n| capture::tcp((n % FLOWS) as u16, 80, n, 30));
    capture::write(&scratch.path("in.pcap"), &packets.collect::<Vec<_>>());
    capture::write(&scratch.path("other.pcap"), &[capture::udp(0, 0, 30)]);
    let [lan, secret] = ["lan.pcap", "secret.pcap"].map(|name| scratch.path(name));
    let (to_lan, to_secret) = (lan.display(), secret.display());
    let chain = format!(
        "use \"misuse.nf.toml\" as misuse\nuse \"pacer.nf.toml\" as pacer\nmanager {{ buffers = 2048 }}\n\
         port wan = pcap {{ read = file(\"in.pcap\") }}\nport other = pcap {{ read = file(\"other.pcap\") }}\n\
         port lan = pcap {{ write = \"{to_lan}\" }}\nport secret = pcap {{ write = \"{to_secret}\" }}\n\
         nf flip = misuse {{ how = \"flip\" }} with {{ restart = never }}\nnf pace = pacer {{ pause = 500 us }}\n\
         steer wan {{\n    tcp dst port 99 -> secret\n    else -> pace -> lan\n}}\n\
         steer other {{\n    arp -> flip -> drop\n    else -> drop\n}}\n"
    );
    let bundle = scratch.build(&chain, "bundle");
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    let received = |s: &onvm_api::Status| s.ports[0].rx_packets;
    let status = manager.wait_until("half of the packets have come", SOON, |s| {
        received(s) >= FLOWS.into()
    });
    assert!(!status.ports[0].done, "all packets came before it was killed");
    process::signal(instance(&status, "flip-0").pid.unwrap(), Signal::KILL);
    let status = manager.wait_until("it is gone", SOON, |s| {
        instance(s, "flip-0").state != InstanceState::Running
    });
    let before = received(&status);
    assert!(
        before < (2 * FLOWS - 1000).into(),
        "{before} packets came before it was gone"
    );
    manager.wait_until("every packet has left", SOON, |s| {
        s.ports[0].done && s.ports[2].tx_packets + s.ports[3].tx_packets == u64::from(2 * FLOWS)
    });
    manager.terminate_whole(0);
    let strayed: Vec<u32> = capture::read(&secret)
        .iter()
        .map(|frame| capture::flow_and_number(frame).1)
        .collect();
    assert!(strayed.len() > 10, "it changed nothing in time: {strayed:?}");
    let after: Vec<_> = strayed.iter().filter(|n| u64::from(**n) >= before).collect();
    assert!(
        after.is_empty(),
        "of {} packets, after its death: {after:?}",
        strayed.len()
    );
}
