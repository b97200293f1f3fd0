//! Network functions that attack: the manager stays up, others' traffic goes on, every packet is accounted for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::time::{Duration, Instant};

use onvm_api::ManagerState;
use onvm_tests::{
    Manager, Scratch, capture,
    manager::{SOON, dropped},
    namespace::Namespace,
    process::Background,
};

const STOCK: usize = 64;
/// How long the attacks go on: several lives of eight attackers, sixty rounds each.
const ATTACK: Duration = Duration::from_secs(15);

#[test]
fn attackers_harm_nobody_but_themselves() {
    let scratch = Scratch::new();
    // Zero: a seed from the clock; each attacker prints its own.
    let seed = std::env::var("ONVM_TEST_SEED").unwrap_or_else(|_| "0".into());
    let param =
        "[[params]]\nname = \"seed\"\ntype = \"int\"\ndoc = \"Zero: from the clock.\"\ndefault = \"0\"\n";
    scratch.manifest("hostile", &format!("[effects]\ndrops = true\n{param}"));
    let writer = "name = \"hostile_rw\"\nversion = \"0.1.0\"\nsummary = \"For tests\"\n\n[run]\nbinary = \"test-nf\"\nargs = [\"hostile\"]\n\n";
    scratch.write(
        "hostile_rw.nf.toml",
        format!("{writer}[effects]\npayload = \"write\"\ndrops = true\n{param}"),
    );
    scratch.pacer();
    let flows: Vec<_> = (0..STOCK as u32).map(|i| capture::udp(i as u16, i, 30)).collect();
    capture::write(&scratch.path("in.pcap"), &flows);
    // Between these two a ping goes through an honest function, beside the attackers.
    let [outside, inside] = [('x', "10.8.0.1/24"), ('y', "10.8.0.2/24")].map(|(s, a)| Namespace::new(s, a));
    let (wan, lan) = (&outside.interface, &inside.interface);
    let chain = |attackers: &str, rules: &str| {
        format!(
            "use \"pacer.nf.toml\" as pacer\nuse \"hostile.nf.toml\" as hostile\nuse \"hostile_rw.nf.toml\" as hostile_rw\n\
             port a = pcap {{ read = file(\"in.pcap\"), repeat = true }}\nport b = pcap {{ write = \"/dev/null\" }}\n\
             port wan = af_packet {{ interface = \"{wan}\" }}\nport lan = af_packet {{ interface = \"{lan}\" }}\n\
             nf pace = pacer {{ pause = 2 ms }}\nnf fwd = forward {{}}\n{attackers}\nsteer a {{ {rules} else -> pace -> b }}\n\
             steer wan {{ else -> fwd -> lan }}\nsteer lan {{ else -> fwd -> wan }}\n"
        )
    };
    let attackers = format!(
        "nf bad = hostile {{ seed = {seed} }} with {{ replicas = 4 }}\n\
         nf worse = hostile_rw {{ seed = {seed} }} with {{ replicas = 4 }}"
    );
    let rules = "ip[15] & 3 = 1 -> pace -> bad -> b ip[15] & 3 = 2 -> pace -> worse -> b";
    let under_attack = scratch.build(&chain(&attackers, rules), "attack");
    let calm = scratch.build(&chain("", ""), "calm");

    let manager = Manager::ready(&under_attack, "test", &scratch.run_dir(), &[]);
    let count = (ATTACK.as_millis() / 20).to_string();
    let ping = ["-n", "-q", "-i", "0.02", "-W", "2", "-c", &count, "10.8.0.2"];
    let ping = Background::start(outside.command("ping", &ping));
    let began = Instant::now();
    while began.elapsed() < ATTACK {
        std::thread::sleep(Duration::from_millis(250));
        assert_eq!(manager.status().state, ManagerState::Running);
        let (code, metrics) = manager.get("/metrics");
        assert!(code == 200 && metrics.contains("# EOF"), "{metrics}");
    }
    let status = manager.status();
    let instances = || status.services.iter().flat_map(|s| &s.instances);
    let lives: u32 = instances().map(|i| i.restarts).sum();
    let refused: u64 = instances().map(|i| i.refused).sum();
    let overruled: u64 = instances().map(|i| i.overruled).sum();
    println!("{lives} lives, {refused} descriptors refused, {overruled} overruled");
    for drop in &status.drops {
        println!("{} at {}: {}", drop.reason, drop.place, drop.packets);
    }
    assert!(
        lives >= 16,
        "there were several rounds of attacks: {lives} restarts"
    );
    assert!(refused > 1000, "forged descriptors were refused: {refused}");
    assert!(
        instances()
            .filter(|i| ["pace-0", "fwd-0"].contains(&i.name.as_str()))
            .all(|i| i.restarts == 0),
        "{status:#?}"
    );
    let ping = ping.finish(SOON);
    assert!(ping.contains(" 0% packet loss"), "{ping}");
    assert!(dropped(&status.drops, "nf_lost") > 0);

    manager
        .apply(&calm, None)
        .unwrap_or_else(|e| panic!("{e}\n{}", manager.log()));
    manager.wait_for_traffic(5000, SOON);
    let summary = manager.terminate_whole(STOCK);
    assert!(summary.balance.delivered > 5000);
}
