//! Edits of an NF's parameters alone, which reach its running instances.

use std::path::PathBuf;

use onvm_api::{ApiError, ApplyReply, InstanceState, Status};
use onvm_tests::{
    Manager, Scratch, capture,
    manager::{SOON, instance},
};

/// Packets of the capture that is repeated.
const STOCK: usize = 640;

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.pacer();
    let param = |name: &str, kind: &str, default: &str| {
        format!(
            "[[params]]\nname = \"{name}\"\ntype = \"{kind}\"\ndoc = \"For tests\"\ndefault = '{default}'\n"
        )
    };
    let params = [
        param("value", "int", "1"),
        param("how", "string", "\"take\""),
        param("at", "int", "0"),
    ];
    let manifest = "name = \"tuned\"\nversion = \"0.1.0\"\nsummary = \"For tests\"\nreconfigure = true\n\
                    [run]\nbinary = \"test-nf\"\nargs = [\"tuned\"]\n";
    scratch.write("tuned.nf.toml", manifest.to_owned() + &params.concat());
    let packets = (0..STOCK as u32).map(|i| capture::udp((i % 64) as u16, i, 30));
    capture::write(&scratch.path("in.pcap"), &packets.collect::<Vec<_>>());
    scratch
}

/// A bundle of endless traffic through two instances with these parameters, and on by `rest`.
fn bundle(scratch: &Scratch, name: &str, params: &str, rest: &str) -> PathBuf {
    restarting(scratch, name, params, "always", rest)
}

fn restarting(scratch: &Scratch, name: &str, params: &str, restart: &str, rest: &str) -> PathBuf {
    let chain = format!(
        "use \"pacer.nf.toml\" as pacer\nuse \"tuned.nf.toml\" as tuned\n\
         port a = pcap {{ read = file(\"in.pcap\"), repeat = true }}\nport b = pcap {{ write = \"/dev/null\" }}\n\
         nf pace = pacer {{}}\nnf t = tuned {{ {params} }} with {{ replicas = 2, restart = {restart} }}\n\
         nf mon = monitor {{}}\nsteer a {{ else -> pace -> {rest} }}\n"
    );
    scratch.build(&chain, name)
}

struct Running {
    scratch: Scratch,
    manager: Manager,
    first: Status,
}

impl Running {
    fn new() -> Self {
        let scratch = scratch();
        let first = bundle(&scratch, "first", "", "t -> mon -> b");
        let manager = Manager::ready(&first, "test", &scratch.run_dir(), &[]);
        let first = manager.wait_for_traffic(1000, SOON);
        Self {
            scratch,
            manager,
            first,
        }
    }

    fn apply(&self, params: &str) -> Result<ApplyReply, ApiError> {
        let bundle = bundle(&self.scratch, "next", params, "t -> mon -> b");
        self.manager.apply(&bundle, None)
    }

    /// Both instances have this value.
    fn wait_for_value(&self, value: u64) {
        let what = format!("both have the value {value}");
        self.manager.wait_until(&what, SOON, |s| {
            [0, 1].map(|n| self::value(s, n)) == [Some(value), Some(value)]
        });
    }

    fn pids(&self) -> [Option<u32>; 2] {
        let status = self.manager.status();
        ["t-0", "t-1"].map(|name| instance(&status, name).pid)
    }

    fn first_pids(&self) -> [Option<u32>; 2] {
        ["t-0", "t-1"].map(|name| instance(&self.first, name).pid)
    }
}

fn value(status: &Status, number: u8) -> Option<u64> {
    let instance = instance(status, &format!("t-{number}"));
    instance.counters.get("value").copied()
}

#[test]
fn new_parameters_reach_running_instances() {
    let running = Running::new();
    let reply = running.apply("value = 2").unwrap();
    assert_eq!(reply.reconfigured, ["t-0", "t-1"]);
    assert_eq!(reply.kept, ["mon-0", "pace-0"]);
    assert!(reply.started.is_empty() && reply.stopped.is_empty(), "{reply:?}");
    running.wait_for_value(2);
    assert_eq!(running.pids(), running.first_pids());
    // A restart starts with the same.
    let pid = running.first_pids()[0];
    onvm_tests::process::signal(pid.unwrap(), rustix::process::Signal::KILL);
    running.manager.wait_for_instance("t-0", pid, SOON);
    running.wait_for_value(2);
    // Back again, as `onvmc apply` of the former source does.
    assert_eq!(running.apply("").unwrap().reconfigured, ["t-0", "t-1"]);
    running.wait_for_value(1);
    running.manager.wait_for_traffic(1000, SOON);
    running.manager.terminate_whole(STOCK);
}

#[test]
fn where_one_of_several_refuses_none_has_changed() {
    let running = Running::new();
    let error = running.apply("value = 2, how = \"refuse\", at = 1").unwrap_err();
    assert_eq!(error.code, ApiError::NOT_READY);
    let words = "NF `t-1` did not take its new parameters: its hands are full\\u{7}";
    assert_eq!(error.message, words);
    running.wait_for_value(1);
    assert_eq!(running.pids(), running.first_pids());
    let status = running.manager.status();
    assert_eq!(status.generation, running.first.generation);
    // The one that refuses has taken nothing; the other has taken the new ones, and the former ones again.
    let taken = ["t-0", "t-1"].map(|name| instance(&status, name).counters["taken"]);
    assert_eq!(taken, [2, 0]);
    // The next edit is taken.
    assert_eq!(running.apply("value = 3").unwrap().reconfigured.len(), 2);
    running.wait_for_value(3);
    running.manager.terminate_whole(STOCK);
}

#[test]
fn instances_that_cannot_take_them_while_they_run_are_replaced() {
    let running = Running::new();
    let reply = running.apply("value = 2, how = \"not\", at = 1").unwrap();
    assert!(reply.reconfigured.is_empty());
    assert_eq!((&reply.started, &reply.stopped), (&reply.stopped, &reply.started));
    assert_eq!(reply.started, ["t-0", "t-1"]);
    running.wait_for_value(2);
    running.manager.wait_for_traffic(1000, SOON);
    running.manager.terminate_whole(STOCK);
}

#[test]
fn one_that_does_not_answer_is_ended_and_the_others_go_back() {
    // One that hangs is ended for either of two reasons: it does not answer, or it hands no packets back.
    for (how, said) in [("hang", " 2 s"), ("end", "")] {
        let running = Running::new();
        let error = running
            .apply(&format!("value = 2, how = \"{how}\", at = 0"))
            .unwrap_err();
        assert!(
            error
                .message
                .starts_with("NF `t-0` did not take its new parameters"),
            "{error:?}"
        );
        assert!(error.message.contains(said), "{error:?}");
        // The answer comes once what was there is there again.
        assert!(
            error.message.ends_with("; `t-0` runs again with the former ones"),
            "{error:?}"
        );
        assert!(running.pids()[0].is_some_and(|pid| Some(pid) != running.first_pids()[0]));
        running.wait_for_value(1);
        assert_eq!(running.pids()[1], running.first_pids()[1], "the other goes on");
        running.manager.wait_for_traffic(1000, SOON);
        running.manager.terminate_whole(STOCK);
    }
}

/// An instance that must not be started again is not, and the answer says that it is gone.
#[test]
fn one_that_is_not_to_restart_stays_away_and_the_answer_says_so() {
    for how in ["hang", "end"] {
        let scratch = scratch();
        let build = |name: &str, params: &str| restarting(&scratch, name, params, "never", "t -> mon -> b");
        let first = build("first", "");
        let manager = Manager::ready(&first, "test", &scratch.run_dir(), &[]);
        manager.wait_for_traffic(1000, SOON);
        let next = build("next", &format!("value = 2, how = \"{how}\", at = 0"));
        let error = manager.apply(&next, None).unwrap_err();
        let said = "; `t-0` is not started again, as its `restart` says";
        assert!(error.message.ends_with(said), "{error:?}");
        let status = manager.status();
        assert_eq!(instance(&status, "t-0").state, InstanceState::Failed);
        manager.wait_until("the other has its former parameters", SOON, |s| {
            value(s, 1) == Some(1)
        });
        manager.terminate_whole(STOCK);
    }
}

/// One has taken the new parameters, the other never answers.
#[test]
fn a_stop_while_parameters_are_offered_ends_everything() {
    let running = Running::new();
    let next = bundle(
        &running.scratch,
        "next",
        "value = 2, how = \"hang\", at = 0",
        "t -> mon -> b",
    );
    let socket = running.manager.socket();
    let asked = std::thread::spawn(move || onvm_tests::manager::apply(&socket, &next, None));
    running
        .manager
        .wait_until("one has taken them", SOON, |s| value(s, 1) == Some(2));
    let summary = running.manager.terminate_whole(STOCK);
    assert!(summary.balance.delivered >= 1000);
    // Whether or not the answer came before the end, the edit was not made.
    let refused = asked.join().ok().is_none_or(|answer| answer.is_err());
    assert!(refused);
}

/// No packet may meet the new parameters on the old chains, or both the old parameters and the new.
#[test]
fn where_more_changes_or_a_packet_can_meet_them_twice_instances_are_replaced() {
    let running = Running::new();
    let all = |reply: ApplyReply| (reply.reconfigured.len(), reply.started);
    let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    for (name, params, rest, started) in [
        ("a chain too", "value = 2", "mon -> t -> b", &["t-0", "t-1"][..]),
        ("the chain alone", "value = 2", "t -> t -> b", &[]),
        ("met twice", "value = 3", "t -> t -> b", &["t-0", "t-1"]),
    ] {
        let bundle = bundle(&running.scratch, "next", params, rest);
        let reply = running.manager.apply(&bundle, None).unwrap();
        assert_eq!(all(reply), (0, own(started)), "{name}");
    }
    running.wait_for_value(3);
    running.manager.terminate_whole(STOCK);
}

/// The rules of the standard firewall, edited under traffic.
#[test]
fn a_firewall_takes_new_rules_while_it_runs() {
    let scratch = scratch();
    let build = |rule: &str, out: &str| {
        scratch.write("edge.rules", format!("drop {rule}\naccept udp\n"));
        let chain = "use \"pacer.nf.toml\" as pacer\nport a = pcap { read = file(\"in.pcap\"), repeat = true }\n\
                     port b = pcap { write = \"/dev/null\" }\nnf pace = pacer {}\n\
                     nf fw = firewall { rules = file(\"edge.rules\"), default = drop }\n\
                     steer a { else -> pace -> fw -> b }\n";
        scratch.build(chain, out)
    };
    let (first, second) = (build("tcp", "first"), build("udp", "second"));
    let manager = Manager::ready(&first, "test", &scratch.run_dir(), &[]);
    let before = manager.wait_for_traffic(1000, SOON);
    assert_eq!(instance(&before, "fw-0").counters["denied"], 0);
    let reply = manager.apply(&second, None).unwrap();
    assert_eq!(
        (reply.reconfigured, reply.kept),
        (vec!["fw-0".to_owned()], vec!["pace-0".to_owned()])
    );
    let after = manager.wait_until("all is denied", SOON, |s| {
        instance(s, "fw-0").counters["denied"] > 1000
    });
    let [before, after] = [&before, &after].map(|s| instance(s, "fw-0"));
    assert_eq!(before.pid, after.pid);
    assert!(
        after.counters["accepted"] >= before.counters["accepted"],
        "its counters go on"
    );
    manager.terminate_whole(STOCK);
}
