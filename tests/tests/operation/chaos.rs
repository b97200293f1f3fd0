//! Edits, killed and stopped network functions in random order through one capture: every packet is delivered once or
//! counted as dropped.

use std::time::{Duration, SystemTime};

use onvm_api::ApiError;
use onvm_tests::{Manager, Scratch, capture, process, random::Random};
use rustix::process::Signal;

const PACKETS: u32 = 300_000;
/// Edits and kills; then the rest of the capture passes in peace.
const ACTIONS: u32 = 80;

#[test]
fn every_packet_is_delivered_once_or_counted() {
    // Another seed in each run; ONVM_TEST_SEED repeats one.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let given = std::env::var("ONVM_TEST_SEED").ok().and_then(|s| s.parse().ok());
    let seed = given.unwrap_or(now.as_nanos() as u64 | 1);
    println!("ONVM_TEST_SEED={seed}");
    let mut random = Random(seed);

    let scratch = Scratch::new();
    scratch.pacer();
    let packets: Vec<_> = (0..PACKETS)
        .map(|i| capture::udp((i % 1000) as u16, i, 30))
        .collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    let out = scratch.path("out.pcap");
    let variants = [
        ("nf x = forward {}", "else -> pace -> x -> b"),
        (
            "nf x = forward {} with { replicas = 3 }",
            "else -> pace -> x -> b",
        ),
        (
            "nf x = monitor {}\nnf y = forward {}",
            "src net 198.51.1.0/24 -> y -> b else -> pace -> x -> y -> b",
        ),
        (
            "nf y = forward {} with { replicas = 2 }",
            "ip[15] & 1 = 1 -> pace -> y -> b else -> pace -> b",
        ),
        (
            "nf x = pacer { pause = 200 us }\nnf y = pacer { pause = 100 us }",
            "ip[15] & 1 = 0 -> pace -> x -> b else -> pace -> y -> b",
        ),
    ];
    let bundles: Vec<_> = variants
        .iter()
        .enumerate()
        .map(|(i, (nfs, rules))| {
            let chain = format!(
                "use \"pacer.nf.toml\" as pacer\nport a = pcap {{ read = file(\"in.pcap\") }}\n\
                 port b = pcap {{ write = \"{}\" }}\nnf pace = pacer {{ pause = 500 us }}\n{nfs}\nsteer a {{ {rules} }}\n",
                out.display()
            );
            scratch.build(&chain, &i.to_string())
        })
        .collect();

    let manager = Manager::ready(&bundles[0], "test", &scratch.run_dir(), &[]);
    let (mut actions, mut applied, mut killed) = (0, 0, 0);
    let done = |m: &Manager| {
        let status = m.status();
        status.ports[0].done && status.balance.in_flight == 0
    };
    let over = process::wait_for(Duration::from_secs(60), || {
        if actions == ACTIONS {
            std::thread::sleep(Duration::from_millis(50));
            return done(&manager).then_some(());
        }
        actions += 1;
        match random.below(3) {
            0 | 1 => match manager.apply(&bundles[random.below(bundles.len())], None) {
                Ok(_) => applied += 1,
                // A function of the new generation was killed before it was ready.
                Err(e) if e.code == ApiError::NOT_READY => {}
                Err(e) => panic!("{e}\n{}", manager.log()),
            },
            _ => {
                let nfs = manager.nf_processes();
                // One that ends by itself in this instant needs no signal.
                if let Some(pid) = nfs
                    .get(random.below(nfs.len().max(1)))
                    .and_then(|&p| rustix::process::Pid::from_raw(p as i32))
                {
                    killed += u32::from(rustix::process::kill_process(pid, Signal::KILL).is_ok());
                }
            }
        }
        std::thread::sleep(Duration::from_millis(random.below(100) as u64));
        done(&manager).then_some(())
    });
    assert!(
        over.is_some(),
        "the capture has not passed: {:#?}\n{}",
        manager.status(),
        manager.log()
    );
    println!("{applied} edits, {killed} kills");
    assert!(applied >= 10 && killed >= 3, "{applied} edits, {killed} kills");
    let summary = manager.terminate_whole(0);
    println!("{:?}", summary.drops);
    assert_eq!(summary.balance.received, u64::from(PACKETS));
    for drop in &summary.drops {
        assert!(
            ["nf_lost", "no_instance"].contains(&drop.reason.as_str()),
            "{drop:?}"
        );
    }
    let delivered = capture::read(&out);
    assert_eq!(delivered.len() as u64, summary.balance.delivered);
    let sent = capture::multiset(&packets);
    for (packet, times) in capture::multiset(&delivered) {
        assert!(
            times == 1 && sent.contains_key(packet),
            "delivered {times} times or changed: {packet:02x?}"
        );
    }
}
