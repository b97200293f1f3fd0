//! Security domains: what their NFs see of each other's packets, and edits and losses across them.

use std::path::PathBuf;

use onvm_api::ApiError;
use onvm_tests::{
    Manager, Scratch, capture,
    manager::{SOON, Summary, dropped, instance},
    marks, process,
};
use rustix::process::Signal;

/// Packets of a repeated capture.
const STOCK: usize = 64;

#[test]
fn an_nf_finds_the_packets_of_its_own_domain_in_its_memory_and_of_no_other() {
    marks::assert_apart(marks::found_by_hand(["red", "blue"], "off"));
    let together = marks::found_by_hand(["both", "both"], "off");
    assert!(
        together.as_flattened().iter().all(|found| *found > 0),
        "in one domain they see all: {together:?}"
    );
}

/// Endless traffic through these NFs and chains.
fn endless(scratch: &Scratch, name: &str, declarations: &str) -> PathBuf {
    let chain = format!(
        "use \"pacer.nf.toml\" as pacer\nmanager {{ workers = 2, buffers = 4096, ring = 256 }}\n\
         port a = pcap {{ read = file(\"in.pcap\"), repeat = true, domain = \"outer\" }}\n\
         port b = pcap {{ write = \"/dev/null\" }}\n{declarations}\n"
    );
    scratch.build(&chain, name)
}

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.pacer();
    let packets: Vec<_> = (0..STOCK as u32)
        .map(|i| capture::udp(i as u16, i, 200))
        .collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    scratch
}

/// What became of packets, whose losses are those of NFs that were killed.
fn assert_lost_with_nfs_alone(summary: &Summary) {
    let explained = ["nf_lost", "no_instance", "chain", "shutdown"].map(|reason| summary.dropped(reason));
    assert_eq!(
        explained.iter().sum::<u64>(),
        summary.balance.dropped,
        "{:?}",
        summary.drops
    );
}

#[test]
fn domains_come_change_and_go_under_traffic() {
    let scratch = scratch();
    let nfs = |pace: &str, fwd: &str| {
        format!(
            "nf pace = pacer {{}} with {{ {pace} }}\nnf fwd = forward {{}} with {{ {fwd} }}\nsteer a {{ else -> pace -> fwd -> b }}"
        )
    };
    let first = endless(&scratch, "0", &nfs("", "domain = \"a\""));
    let manager = Manager::ready(&first, "test", &scratch.run_dir(), &[]);
    let edits = [
        ("another domain", nfs("", "domain = \"b\""), vec!["fwd-0"]),
        ("both", nfs("domain = \"c\"", "domain = \"b\""), vec!["pace-0"]),
        (
            "that of the port",
            nfs("domain = \"outer\"", "domain = \"outer\""),
            vec!["fwd-0", "pace-0"],
        ),
        ("none", nfs("", ""), vec!["fwd-0", "pace-0"]),
        (
            "back again",
            nfs("", "domain = \"a\", on_loss = bypass"),
            vec!["fwd-0"],
        ),
    ];
    for (number, (what, declarations, replaced)) in edits.iter().enumerate() {
        manager.wait_for_traffic(1000, SOON);
        let edit = endless(&scratch, &(number + 1).to_string(), declarations);
        let reply = manager.apply(&edit, None).unwrap();
        assert_eq!(
            (&reply.started, &reply.stopped),
            (&own(replaced), &own(replaced)),
            "{what}"
        );
    }
    let status = manager.wait_for_traffic(1000, SOON);
    let domains: Vec<(&str, Vec<&str>)> = status
        .domains
        .iter()
        .map(|d| (d.name.as_str(), d.members.iter().map(String::as_str).collect()))
        .collect();
    // The memory of those that are gone is kept.
    let expected = [
        ("default", vec!["b", "pace"]),
        ("outer", vec!["a"]),
        ("a", vec!["fwd"]),
        ("b", vec![]),
        ("c", vec![]),
    ];
    assert_eq!(domains, expected);
    let gone = status.domains.iter().filter(|d| d.members.is_empty());
    assert_eq!(
        gone.map(|d| d.buffers.in_use).sum::<u64>(),
        0,
        "nothing is in them"
    );
    let hops = &status.chains.last().unwrap().hops;
    assert!(hops[0].crossings > 0 && hops[1].crossings > 0, "{hops:?}");

    // Lost, and packets go around it meanwhile, or through the next one.
    for nf in ["fwd-0", "pace-0"] {
        let pid = instance(&manager.status(), nf).pid.unwrap();
        process::signal(pid, Signal::KILL);
        manager.wait_for_instance(nf, Some(pid), SOON);
        manager.wait_for_traffic(1000, SOON);
    }
    let summary = manager.terminate_whole(STOCK);
    assert_lost_with_nfs_alone(&summary);
}

fn own(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn an_edit_that_moves_a_port_or_has_one_domain_too_many_is_refused() {
    let scratch = scratch();
    let nf = |domain: usize| {
        format!("nf fwd = forward {{}} with {{ domain = \"d{domain}\" }}\nsteer a {{ else -> fwd -> b }}")
    };
    let manager = Manager::ready(&endless(&scratch, "0", &nf(0)), "test", &scratch.run_dir(), &[]);
    // With those of the two ports.
    for domain in 1..14 {
        let edit = endless(&scratch, &domain.to_string(), &nf(domain));
        manager.apply(&edit, None).unwrap();
    }
    manager.wait_for_traffic(1000, SOON);
    let refused = |edit: PathBuf, code: &str, words: &[&str]| {
        let error: ApiError = manager.apply(&edit, None).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(
            words.iter().all(|word| error.to_string().contains(word)),
            "{error}"
        );
    };
    refused(
        endless(&scratch, "many", &nf(14)),
        ApiError::NOT_READY,
        &["`d14`", "has had 16", "restart it"],
    );
    let chain = "port a = pcap { read = file(\"in.pcap\"), repeat = true }\nport b = pcap { write = \"/dev/null\" }\n\
                 manager { workers = 2, buffers = 4096, ring = 256 }\nnf fwd = forward\nsteer a { else -> fwd -> b }\n";
    refused(
        scratch.build(chain, "moved"),
        ApiError::NOT_CHANGEABLE,
        &["ports"],
    );
    // One that was there before is still to be had.
    manager.apply(&endless(&scratch, "again", &nf(3)), None).unwrap();
    let status = manager.wait_for_traffic(1000, SOON);
    assert_eq!(dropped(&status.drops, "buffer_exhausted"), 0);
    manager.terminate_whole(STOCK);
}
