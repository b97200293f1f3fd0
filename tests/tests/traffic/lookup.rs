//! A function that rewrites headers and has packets looked up: where they go is what the bundle permits.

use onvm_tests::{
    Manager, Scratch, Summary, capture,
    manager::{SOON, instance},
};

const TCP: usize = 100;
const UDP: usize = 40;

/// What went out by `lan` and by `secret_net`, how many verdicts were overruled, and the balance.
fn run(allow: &str) -> (Vec<Vec<u8>>, Vec<Vec<u8>>, u64, Summary) {
    let scratch = Scratch::new();
    scratch.manifest(
        "jumper",
        "[effects]\nreads = [\"tcp.dst_port\"]\nwrites = [\"tcp.dst_port\"]\nlookups = true\n",
    );
    let tcp = (0..TCP as u32).map(|n| capture::tcp(n as u16, 80, n, 30));
    let udp = (0..UDP as u32).map(|n| capture::udp(n as u16, n, 30));
    capture::write(&scratch.path("in.pcap"), &tcp.chain(udp).collect::<Vec<_>>());
    let [lan, secret] = ["lan.pcap", "secret.pcap"].map(|name| scratch.path(name));
    let (to_lan, to_secret) = (lan.display(), secret.display());
    let chain = format!(
        "use \"jumper.nf.toml\" as jumper\nport wan = pcap {{ read = file(\"in.pcap\") }}\n\
         port lan = pcap {{ write = \"{to_lan}\" }}\nport secret_net = pcap {{ write = \"{to_secret}\" }}\n\
         nf j = jumper\nnf fw = firewall {{ default = accept }}\n\
         steer wan {{\n    tcp dst port 99 -> fw -> secret_net\n    else -> j -> lan\n}}\n{allow}\n"
    );
    let bundle = scratch.build(&chain, "bundle");
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    let all = (TCP + UDP) as u64;
    manager.wait_until("every packet has left or is dropped", SOON, |s| {
        s.balance.delivered + s.balance.dropped == all
    });
    // Counters are read one after the other while packets move: now none does.
    let overruled = instance(&manager.status(), "j-0").overruled;
    let summary = manager.terminate_whole(0);
    (capture::read(&lan), capture::read(&secret), overruled, summary)
}

#[test]
fn without_a_permission_packets_follow_their_chain() {
    let (lan, secret, overruled, summary) = run("");
    assert_eq!((lan.len(), secret.len()), (TCP + UDP, 0));
    assert_eq!(overruled, (TCP + UDP) as u64);
    assert_eq!(summary.balance.dropped, 0);
    let rewritten = lan.iter().filter(|frame| frame[23] == 6);
    assert!(rewritten.into_iter().all(|frame| frame[36..38] == [0, 99]));
}

#[test]
fn with_it_they_go_by_their_headers() {
    let (lan, secret, overruled, summary) = run("allow j to lookup");
    assert_eq!((lan.len(), secret.len()), (0, TCP));
    assert_eq!(overruled, 0);
    assert!(secret.iter().all(|frame| frame[36..38] == [0, 99]));
    // A packet of UDP gets the rule that it had, until it has visited as many functions as it may.
    assert_eq!(summary.dropped("hop_limit"), UDP as u64);
}
