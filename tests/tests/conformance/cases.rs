//! The cases, each for an implementation's `[run]`.

use nflib_testing::packet;
use onvm_tests::{
    Feed, capture,
    manager::{SOON, all_have_left, instance},
    process,
};
use rustix::process::Signal;
use serde_json::json;

use crate::{
    PYTHON,
    case::{Case, NO_EFFECTS, NORMAL, answer, counter, sent, udp},
};

pub(crate) fn verdicts_are_performed(run: &'static str) {
    let case = Case::all(run, &[1, 2, 3, 4, 5, 6]);
    let (status, summary) = case.done(6);
    assert_eq!(counter(&status, "refused"), 0);
    assert_eq!(summary.dropped("nf_verdict"), 1);
    assert_eq!(summary.balance.dropped, 1, "{summary:?}");
    assert_eq!(case.came_out("side"), [sent(5000, 3)]);
    assert_eq!(case.came_out("out"), [sent(5000, 5)]);
    assert_eq!(case.came_out("looked"), [sent(5000, 7001)]);
    let mut lan = case.came_out("lan");
    lan.sort();
    assert_eq!(lan, [sent(5000, 1), sent(5000, 4)]);
    assert_eq!(instance(&status, "two-0").rx_packets, 1);
    assert_eq!(instance(&status, "c-0").overruled, 0);
}

pub(crate) fn sizes_change_at_both_ends(run: &'static str) {
    let case = Case::all(run, &[7, 8, 9, 10]);
    let (status, _) = case.done(4);
    assert_eq!(counter(&status, "refused"), 0);
    let [push, pull, extend, cut] = [7, 8, 9, 10].map(|port| sent(5000, port));
    let expected = [
        [b"HEAD", &push[..]].concat(),
        pull[4..].to_vec(),
        [&extend[..], b"TAIL"].concat(),
        cut[..20].to_vec(),
    ];
    assert_eq!(case.came_out("lan"), expected);
}

pub(crate) fn packets_are_made(run: &'static str) {
    let case = Case::all(run, &[11, 12]);
    let (status, summary) = case.done(2);
    assert_eq!((counter(&status, "refused"), summary.balance.generated), (0, 2));
    let mut copy = sent(5000, 12);
    copy[0] ^= 0xff;
    assert_eq!(case.came_out("side"), [vec![0xee; 60], copy]);
    assert_eq!(case.came_out("lan"), [sent(5000, 11), sent(5000, 12)]);
}

pub(crate) fn headers_are_written_with_their_checksums(run: &'static str) {
    let case = Case::all(run, &[13]);
    let (status, _) = case.done(1);
    assert_eq!(counter(&status, "refused"), 0);
    // Made anew, with checksums over everything.
    let expected = packet::udp("192.0.2.1:1111", "192.0.2.2:13")
        .payload(b"thirty bytes of some payload..")
        .macs([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 8])
        .ttl(7)
        .dscp(46);
    assert_eq!(case.came_out("lan"), [expected.build()]);
}

pub(crate) fn filters_and_rules_select(run: &'static str) {
    let case = Case::all(run, &[14]);
    let packets = [sent(5000, 14), sent(5001, 14), sent(5002, 14)];
    capture::write(&case.scratch.path("in.pcap"), &packets);
    let (status, summary) = case.done(3);
    assert_eq!((counter(&status, "refused"), counter(&status, "matched")), (0, 1));
    assert_eq!(summary.dropped("nf_verdict"), 1);
    assert_eq!(case.came_out("lan"), [packets[0].clone(), packets[2].clone()]);
}

pub(crate) fn what_cannot_be_done_is_refused(run: &'static str) {
    let ports = [15, 16, 17, 18];
    let case = Case::all(run, &ports);
    let (status, _) = case.done(4);
    assert_eq!(counter(&status, "refused"), 4);
    assert_eq!(case.came_out("lan"), ports.map(|port| sent(5000, port)));
}

pub(crate) fn flows_are_programmed(run: &'static str) {
    let mut case = Case::all(run, &[]);
    let fifo = Feed::make(&case.scratch, "in.pipe");
    case.input = format!("\"{}\"", fifo.display());
    let manager = case.start(&case.bundle("bundle", NORMAL, ""));
    let mut feed = Feed::begin(&manager, &fifo);
    feed.send(&[sent(5000, 19)]);
    manager.wait_until("the entry is in force", SOON, |s| {
        instance(s, "c-0").counters.get("flows_done") == Some(&1)
    });
    feed.send(&[sent(5000, 19), sent(5001, 1)]);
    let status = manager.wait_until("all have left", SOON, |s| all_have_left(s, 3));
    assert_eq!((counter(&status, "refused"), counter(&status, "seen")), (0, 2));
    drop(feed);
    manager.terminate_whole(0);
    assert_eq!(case.came_out("quick"), [sent(5000, 19)]);
}

pub(crate) fn parameters_of_every_type_arrive(run: &'static str) {
    let case = Case::all(run, &[1]);
    let manager = case.ready();
    let all = answer(manager.send("c", "params", json!({}))).unwrap();
    let expected = json!({
        "flag": true, "offset": -5, "ratio": 2.5, "text": "hello", "mode": "fast", "blob": [97, 0, 98], "key": "hush",
        "pause": 5_000_000, "room": 3072, "bits": 10_000_000, "packets": 2000, "address": "192.0.2.7",
        "prefix": "10.0.0.0/8", "mac": "02:00:00:00:00:07", "endpoint": "192.0.2.7:53", "ports": [80, 443],
        "names": ["a", "b"], "absent": false,
    });
    assert_eq!(all, expected);
    manager.terminate_whole(0);
}

pub(crate) fn counters_and_ticks_count(run: &'static str) {
    let case = Case::all(run, &[1, 1, 2]);
    let longer = udp(5000, 1).payload(&[7; 60]).build();
    let packets = [sent(5000, 1), sent(5000, 2), sent(5000, 1)[..60].to_vec(), longer];
    capture::write(&case.scratch.path("in.pcap"), &packets);
    let running = case.ready();
    let status = running.wait_until("it ticks", SOON, |s| {
        all_have_left(s, 4) && counter(s, "ticks") >= 2
    });
    let of = |name: &str| counter(&status, name);
    assert_eq!((of("seen"), of("value")), (4, 3072));
    assert_eq!(
        (of("sizes_to_64"), of("sizes_to_128"), of("sizes_above_128")),
        (1, 3, 0)
    );
    let bytes: usize = packets.iter().map(Vec::len).sum();
    assert_eq!(of("sizes_sum"), bytes as u64);
    running.terminate_whole(0);
}

pub(crate) fn messages_are_answered_and_sent(run: &'static str) {
    let case = Case::all(run, &[1]);
    let running = case.ready_with("with { replicas = 2 }");
    let refused = answer(running.send("c-0", "refuse", json!({})));
    assert_eq!(refused, Err("its hands are full".to_owned()));
    assert_eq!(
        answer(running.send("c-1", "tell", json!({ "n": 7 }))),
        Ok(json!(0))
    );
    assert_eq!(
        answer(running.send("c-1", "tell", json!({ "n": 9 }))),
        Ok(json!(1))
    );
    running.wait_until("both have come, and it knows", SOON, |s| {
        let reached = instance(s, "c-1").counters.get("reached");
        counter(s, "heard") == 16 && reached == Some(&2)
    });
    running.terminate_whole(0);
}

pub(crate) fn logs_have_their_levels(run: &'static str) {
    let case = Case::all(run, &[1]);
    let running = case.ready();
    answer(running.send("c", "say", json!({}))).unwrap();
    running.wait_for_log("says info");
    let log = running.log();
    let line = |text: &str| log.lines().find(|line| line.contains(text)).map(str::to_owned);
    for (text, level) in [
        ("c-0 starts", "WARN"),
        ("says error", "ERROR"),
        ("says info", "INFO"),
    ] {
        let line = line(text).unwrap_or_else(|| panic!("no {text}:\n{log}"));
        assert!(line.contains(level) && line.contains("c-0"), "{line}");
    }
    assert_eq!(line("says debug"), None, "what nobody asked for is not shown");
    running.terminate_whole(0);
}

pub(crate) fn new_parameters_are_taken_or_refused(run: &'static str) {
    // Where a packet could meet it twice, as by a lookup, it would be replaced.
    let case = Case::new(run, NO_EFFECTS, &[1]);
    let running = case.ready();
    let pid = instance(&running.status(), "c-0").pid;
    let value = |room: u64| {
        running.wait_until("it has the value", SOON, |s| counter(s, "value") == room);
    };
    let apply = |name: &str, params: &str| running.apply(&case.bundle(name, params, ""), None);
    assert_eq!(
        apply("next", "text = \"hello\", room = 4 KiB")
            .unwrap()
            .reconfigured,
        ["c-0"]
    );
    value(4096);
    let error = apply("refused", "text = \"refuse\", room = 5 KiB").unwrap_err();
    assert!(error.message.ends_with("`text` may not be `refuse`"), "{error:?}");
    value(4096);
    assert_eq!(instance(&running.status(), "c-0").pid, pid);
    let reply = apply("not", "text = \"not\", room = 6 KiB").unwrap();
    assert_eq!(
        (reply.reconfigured.len(), reply.started),
        (0, vec!["c-0".to_owned()])
    );
    value(6144);
    assert_ne!(instance(&running.status(), "c-0").pid, pid);
    running.terminate_whole(0);
}

pub(crate) fn a_killed_or_failed_instance_is_started_again(run: &'static str) {
    // One to a port at which it fails.
    let case = Case::all(run, &[1, 21]);
    let running = case.ready();
    running.wait_until("it has failed", SOON, |s| instance(s, "c-0").restarts == 1);
    let pid = running.wait_for_instance("c-0", None, SOON);
    process::signal(pid, Signal::KILL);
    running.wait_for_instance("c-0", Some(pid), SOON);
    let status = running.wait_until("it is started again", SOON, |s| {
        instance(s, "c-0").restarts == 2 && counter(s, "value") == 3072
    });
    assert_eq!(status.balance.received, 2);
    if run == PYTHON {
        running.wait_for_log("RuntimeError: a defect");
        assert!(running.log().contains("in act"), "{}", running.log());
    }
    running.terminate_whole(0);
}

pub(crate) fn a_stop_is_clean(run: &'static str) {
    let case = Case::all(run, &[1]);
    let manager = case.ready();
    manager.wait_until("the packet has left", SOON, |s| all_have_left(s, 1));
    let finished = manager.terminate();
    finished.summary();
    assert!(finished.stderr.contains("it stops"), "{}", finished.stderr);
    assert!(!finished.stderr.contains("ERROR"), "{}", finished.stderr);
}

pub(crate) fn a_start_that_fails_says_why(run: &'static str) {
    let case = Case::all(run, &[1]);
    let bundle = case.bundle("bundle", "text = \"refuse\", room = 3 KiB", "");
    case.start(&bundle)
        .finish(SOON)
        .assert_refused(&["`c-0`", "`text` may not be `refuse`"]);
}

pub(crate) fn a_manifest_without_writes_is_enforced(run: &'static str) {
    let ports = [6, 7, 9, 10, 11, 12, 13, 19];
    let case = Case::new(run, NO_EFFECTS, &ports);
    let (status, summary) = case.done(ports.len() as u64);
    assert_eq!(counter(&status, "refused"), ports.len() as u64);
    assert_eq!(summary.balance.generated, 0);
    assert_eq!(case.came_out("lan"), ports.map(|port| sent(5000, port)));
}

pub(crate) fn a_stray_write_is_its_own_fault(run: &'static str) {
    let case = Case::new(run, NO_EFFECTS, &[20]);
    let running = case.ready();
    running.wait_until("it has died", SOON, |s| instance(s, "c-0").restarts == 1);
    running.wait_for_log("signal: 11 (SIGSEGV)");
    running.wait_for_instance("c-0", None, SOON);
    let summary = running.terminate_whole(0);
    assert_eq!((summary.balance.delivered, summary.balance.dropped), (0, 1));
    // Where it may write, the same is no fault.
    let case = Case::all(run, &[20]);
    case.done(1);
    let mut written = sent(5000, 20);
    written[0] = 1;
    assert_eq!(case.came_out("lan"), [written]);
}
