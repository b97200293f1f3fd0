//! Network functions that attack: the manager stays up, others' traffic goes on, every packet is accounted for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::time::{Duration, Instant};

use onvm_tests::{
    Manager, Scratch, capture,
    manager::{SOON, dropped},
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
    let chain = |attackers: &str, rules: &str| {
        format!(
            "use \"pacer.nf.toml\" as pacer\nuse \"hostile.nf.toml\" as hostile\nuse \"hostile_rw.nf.toml\" as hostile_rw\n\
             port a = pcap {{ read = file(\"in.pcap\"), repeat = true }}\nport b = pcap {{ write = \"/dev/null\" }}\n\
             nf pace = pacer {{ pause = 2 ms }}\nnf fwd = forward {{}}\n{attackers}\nsteer a {{ {rules} else -> pace -> fwd -> b }}\n"
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
    let honest = |s: &onvm_bundle::api::Status| {
        s.chains
            .iter()
            .flat_map(|c| &c.hops)
            .filter(|h| h.at == "fwd")
            .map(|h| h.packets)
            .sum::<u64>()
    };
    let began = Instant::now();
    let mut passed = honest(&manager.status());
    let mut progressed = 0;
    while began.elapsed() < ATTACK {
        std::thread::sleep(Duration::from_millis(250));
        let status = manager.status();
        progressed += u32::from(honest(&status) > passed);
        passed = honest(&status);
        let (code, metrics) = manager.get("/metrics");
        assert!(code == 200 && metrics.contains("# EOF"), "{metrics}");
    }
    let status = manager.status();
    let instances = || status.services.iter().flat_map(|s| &s.instances);
    let lives: u32 = instances().map(|i| i.restarts).sum();
    let refused: u64 = instances().map(|i| i.refused).sum();
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
    assert!(
        progressed >= 20,
        "honest traffic went on in {progressed} of 60 looks"
    );
    assert!(dropped(&status.drops, "nf_lost") > 0);

    manager
        .apply(&calm, None)
        .unwrap_or_else(|e| panic!("{e}\n{}", manager.log()));
    manager.wait_for_traffic(5000, SOON);
    let summary = manager.terminate_whole(STOCK);
    assert!(summary.balance.delivered > 5000);
}
