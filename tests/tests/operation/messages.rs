//! Messages to running NFs: of operators, who get answers, and between instances of one service.

use std::process::Output;

use onvm_api::{ApiError, InstanceState, SendAnswer, SendReply, Status};
use onvm_tests::{
    Manager, Scratch, capture,
    manager::{SOON, instance},
    programs,
};
use serde_json::{Value, json};

const KINDS: &str = r#"fuses = true

[[messages]]
name = "echo"
from = ["operator"]
doc = "Says it again"
fields = [
    { name = "text", type = "string", doc = "What" },
    { name = "wait", type = "time", doc = "A time", default = "1 s", min = "0", max = "1 min" },
]

[[messages]]
name = "do"
from = ["operator"]
doc = "What an answer should not be"
fields = [
    { name = "how", type = "enum", values = ["refuse", "hang", "end", "long", "escape", "nothing"], doc = "How" },
]

[[messages]]
name = "tell"
from = ["operator"]
doc = "Has it send messages to its peers"
fields = [
    { name = "kind", type = "string", doc = "Of this kind", default = '"seen"' },
    { name = "times", type = "int", doc = "So many", default = "1" },
]

[[messages]]
name = "why"
from = ["operator"]
doc = "Why its last message was refused"

[[messages]]
name = "seen"
from = ["peers"]
doc = "For tests"
fields = [{ name = "n", type = "int", min = "0", doc = "A number" }]
"#;

struct Running {
    scratch: Scratch,
    manager: Manager,
}

/// Where one packet comes from, which waits in nobody's hands.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.manifest("chatter", KINDS);
    capture::write(&scratch.path("in.pcap"), &[capture::udp(1, 1, 30)]);
    scratch
}

/// Three chatters, and another two of the same type.
fn running(settings: &str) -> Running {
    let scratch = scratch();
    let bundle = scratch.build(
        &format!(
            "use \"chatter.nf.toml\" as chatter\nport a = pcap {{ read = file(\"in.pcap\") }}\n\
             nf talk = chatter {{}} with {{ replicas = 3 {settings} }}\n\
             nf other = chatter {{}} with {{ replicas = 2 }}\n\
             nf mon = monitor {{ top = 2 }}\n\
             steer a {{ else -> talk -> other -> mon -> drop }}\n"
        ),
        "bundle",
    );
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    // One that hangs with a packet is ended.
    manager.wait_until("the packet has gone", SOON, |s| s.balance.dropped == 1);
    Running { scratch, manager }
}

impl Running {
    /// `onvmc send` with these words.
    fn send(&self, words: &[&str]) -> Output {
        let mut command = programs::command("onvmc");
        command.arg("send").args(words);
        command.arg("--socket").arg(self.manager.socket());
        command.output().unwrap()
    }

    /// Its stdout, where all is well.
    fn said(&self, words: &[&str]) -> String {
        let output = self.send(words);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Its exit code and stderr.
    fn fails(&self, words: &[&str]) -> (i32, String) {
        let output = self.send(words);
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }
}

/// The answer or the error of each instance.
fn answers(reply: Result<SendReply, ApiError>) -> Vec<(String, Result<Value, String>)> {
    let outcome = |answer: SendAnswer| {
        let value = answer.error.map_or(Ok(answer.answer.unwrap_or_default()), Err);
        (answer.instance, value)
    };
    reply.unwrap().instances.into_iter().map(outcome).collect()
}

fn one(reply: Result<SendReply, ApiError>) -> Result<Value, String> {
    let mut all = answers(reply);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0).1
}

fn counter(status: &Status, name: &str, counter: &str) -> u64 {
    instance(status, name).counters[counter]
}

#[test]
fn operators_get_the_answers_of_all_instances_or_of_one() {
    let running = running("");
    let all = running.said(&["talk", "echo", "text=hello there"]);
    let by = |n| format!("talk-{n}: {{\"by\":\"talk-{n}\",\"text\":\"hello there\",\"wait\":1000000000}}\n");
    assert_eq!(all, by(0) + &by(1) + &by(2));
    let json = running.said(&["talk-1", "echo", "text=a", "wait=20 ms", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let expected = json!({
        "version": 1, "nf": "talk-1", "kind": "echo",
        "instances": [{ "instance": "talk-1", "answer": { "by": "talk-1", "text": "a", "wait": 20_000_000 } }],
    });
    assert_eq!(json, expected);
    assert_eq!(running.said(&["talk-2", "do", "how=nothing"]), "talk-2: done\n");
    let top = running.said(&["mon", "top"]);
    assert!(top.contains("\"talkers\":["), "{top}");
    assert_eq!(running.said(&["mon", "reset"]), "mon-0: done\n");
    let status = running.manager.status();
    let given = ["talk-0", "talk-1", "talk-2", "mon-0"].map(|name| instance(&status, name).messages);
    assert_eq!(given, [1, 2, 2, 2]);
    let (_, metrics) = running.manager.get("/metrics");
    let line = "onvm_nf_messages_total{nf=\"talk\",instance=\"talk-2\"} 2";
    assert!(metrics.contains(line), "{metrics}");
    running.manager.terminate_whole(0);
}

#[test]
fn what_is_not_declared_is_refused_at_both_ends() {
    let running = running("");
    for (words, code, said) in [
        (
            &["talk", "ecko", "text=a"][..],
            1,
            "NF `talk` does not take this message: it takes no message `ecko`; from operators it takes `echo`, `do`, `tell`, `why`. Did you mean `echo`?",
        ),
        (&["talk", "seen", "n=1"], 1, "it takes no `seen` from operators"),
        (&["talk", "echo"], 1, "message `echo` needs `text`"),
        (&["talk", "echo", "text=a", "wait=2 min"], 1, "0 to 1 min"),
        (&["talk", "echo", "text=a", "wiat=2 s"], 1, "did you mean `wait`?"),
        (
            &["tlk", "echo", "text=a"],
            5,
            "The running program has no NF `tlk`. It has talk, other, mon.",
        ),
        (
            &["talk-7", "echo", "text=a"],
            5,
            "NF `talk` has no instance `talk-7`",
        ),
    ] {
        let (exit, text) = running.fails(words);
        assert!(exit == code && text.contains(said), "{words:?}: {exit} {text}");
    }
    // The manager does not rest on what `onvmc` checks.
    for (kind, fields, said) in [
        (
            "ecko",
            json!({}),
            "NF `talk` does not take this message: it takes no message `ecko`",
        ),
        ("seen", json!({ "n": 1 }), "it takes no `seen` from operators"),
        (
            "echo",
            json!({ "text": 1 }),
            "field `text` of `echo`: expected a value of the type `string`",
        ),
        (
            "echo",
            json!({ "text": "", "wait": 60_000_000_001_u64 }),
            "field `wait` of `echo`: expected 0 to 1 min",
        ),
        (
            "echo",
            json!({ "text": "", "more": {} }),
            "`echo` has no field `more`: it has `text`, `wait`",
        ),
        ("do", json!({ "how": "dance" }), "expected one of refuse, hang,"),
    ] {
        let error = running.manager.send("talk", kind, fields).unwrap_err();
        assert_eq!(error.code, ApiError::BAD_MESSAGE);
        assert!(error.message.contains(said), "{error:?}");
    }
    let status = running.manager.status();
    assert_eq!(instance(&status, "talk-0").messages, 0);
    running.manager.terminate_whole(0);
}

#[test]
fn peers_of_one_service_hear_each_other_and_nobody_else_does() {
    let running = running("");
    let manager = &running.manager;
    let tell = |kind: &str, times: u64| {
        one(manager.send("talk-1", "tell", json!({ "kind": kind, "times": times }))).unwrap()
    };
    assert_eq!(tell("seen", 5), 5);
    let status = manager.wait_until("both have seen them", SOON, |s| {
        ["talk-0", "talk-2"]
            .iter()
            .all(|name| counter(s, name, "seen") == 5)
            && counter(s, "talk-1", "reached") == 10
    });
    assert_eq!(counter(&status, "talk-0", "last_from"), 1);
    for name in ["talk-1", "other-0", "other-1"] {
        assert_eq!(counter(&status, name, "seen"), 0, "{name}");
    }
    // Nothing but what the manifest declares for peers goes on.
    for (kind, why) in [
        ("echo", "it takes no `echo` from its peers"),
        (
            "nothing",
            "it takes no message `nothing`; from its peers it takes `seen`",
        ),
        (
            "seen_wrong",
            "field `n` of `seen`: expected a value of the type `int`",
        ),
    ] {
        let before = counter(&manager.status(), "talk-1", "refused");
        assert_eq!(tell(kind, 1), 1);
        manager.wait_until("it is told", SOON, |s| {
            counter(s, "talk-1", "refused") == before + 1
        });
        assert_eq!(one(manager.send("talk-1", "why", json!({}))), Ok(why.into()));
    }
    let status = manager.status();
    assert_eq!(instance(&status, "talk-1").messages_refused, 3);
    assert_eq!(counter(&status, "talk-0", "seen"), 5);
    running.manager.terminate_whole(0);
}

#[test]
fn of_a_flood_each_message_is_delivered_or_counted() {
    let running = running("");
    let manager = &running.manager;
    let mut sent = 0;
    for _ in 0..8 {
        let taken = one(manager.send("talk-0", "tell", json!({ "times": 1000 }))).unwrap();
        sent += taken.as_u64().unwrap();
    }
    assert!(sent >= 256, "{sent}");
    let told = |s: &Status| counter(s, "talk-0", "reached") + counter(s, "talk-0", "missed");
    let status = manager.wait_until("it has been told of all", SOON, |s| told(s) == 2 * sent);
    let seen = |s: &Status| counter(s, "talk-1", "seen") + counter(s, "talk-2", "seen");
    let reached = counter(&status, "talk-0", "reached");
    let status = manager.wait_until("all are seen", SOON, |s| seen(s) == reached);
    let missed: u64 = ["talk-1", "talk-2"]
        .iter()
        .map(|name| instance(&status, name).messages_missed)
        .sum();
    assert_eq!(missed, counter(&status, "talk-0", "missed"));
    running.manager.terminate_whole(0);
}

#[test]
fn each_instance_fails_by_itself_and_the_manager_waits_for_none() {
    let running = running(", restart = never");
    let manager = &running.manager;
    let act = |nf: &str, how: &str| one(manager.send(nf, "do", json!({ "how": how })));
    assert_eq!(
        act("talk-0", "refuse"),
        Err("its hands are full\\u{7}".to_owned())
    );
    let long = act("talk-0", "long").unwrap_err();
    assert_eq!(long, "its answer is longer than a message can be");
    let escaped = json!({ "a\\u{202e}": "one\\nforged line\\u{1b}[2J" });
    assert_eq!(act("talk-0", "escape"), Ok(escaped));
    assert_eq!(
        act("talk-0", "end"),
        Err("it was lost before it answered; `onvmc status` says why".to_owned())
    );
    manager.wait_until("it has failed", SOON, |s| {
        instance(s, "talk-0").state == InstanceState::Failed
    });
    // While one keeps its operator waiting, others are answered.
    std::thread::scope(|scope| {
        let hung = scope.spawn(|| act("talk-1", "hang"));
        let echo = one(manager.send("talk-2", "echo", json!({ "text": "x" })));
        assert_eq!(echo.unwrap()["by"], "talk-2");
        assert_eq!(manager.status().services.len(), 3);
        let why = hung.join().unwrap().unwrap_err();
        assert_eq!(why, "it did not answer within 2 s");
    });
    let (code, text) = running.fails(&["talk", "do", "how=nothing"]);
    assert_eq!(code, 5);
    assert!(
        text.contains("error: talk-0: it has failed, and is not started again\n")
            && text.contains("error: talk-1: it did not answer within 2 s\n")
            && !text.contains("talk-2"),
        "{text}"
    );
    // What a mute instance does not take is bounded.
    let all: Vec<_> = std::thread::scope(|scope| {
        let ask = || one(manager.send("talk-1", "do", json!({ "how": "nothing" }))).unwrap_err();
        let asked: Vec<_> = (0..40).map(|_| scope.spawn(ask)).collect();
        let mut all: Vec<_> = asked.into_iter().map(|asked| asked.join().unwrap()).collect();
        let asked: Vec<_> = (0..40).map(|_| scope.spawn(ask)).collect();
        all.extend(asked.into_iter().map(|asked| asked.join().unwrap()));
        all
    });
    let bounded = all
        .iter()
        .filter(|why| why.starts_with("64 messages wait for it"));
    // One that hangs has two before these.
    assert_eq!(bounded.count(), 80 - (64 - 2), "{all:?}");
    assert_eq!(
        instance(&manager.status(), "talk-1").state,
        InstanceState::Running
    );
    drop(running.scratch);
}

#[test]
fn fused_functions_are_addressed_by_their_own_names() {
    let scratch = scratch();
    let bundle = scratch.build(
        "use \"chatter.nf.toml\" as chatter\nport a = pcap { read = file(\"in.pcap\") }\n\
         nf one = chatter {} with { fuse = \"both\", replicas = 2 }\n\
         nf two = chatter {} with { fuse = \"both\", replicas = 2 }\n\
         steer a { else -> one -> two -> drop }\n",
        "bundle",
    );
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    let by: Vec<_> = answers(manager.send("two", "echo", json!({ "text": "x" })))
        .into_iter()
        .map(|(instance, answer)| (instance, answer.unwrap()["by"].clone()))
        .collect();
    assert_eq!(
        by,
        [("two-0".into(), json!("two-0")), ("two-1".into(), json!("two-1"))]
    );
    let error = manager.send("both", "echo", json!({ "text": "x" })).unwrap_err();
    assert_eq!(
        (error.message.as_str(), error.remedy.as_str()),
        (
            "`both` is the process of several NFs",
            "Name one of them: one, two."
        )
    );
    // From `two` of the second process to `two` of the first.
    assert_eq!(
        one(manager.send("two-1", "tell", json!({ "times": 3 }))),
        Ok(3.into())
    );
    let status = manager.wait_until("it is seen", SOON, |s| {
        counter(s, "both-0", "two.seen") == 3 && counter(s, "both-1", "two.reached") == 3
    });
    assert_eq!(counter(&status, "both-0", "two.last_from"), 1);
    for (instance, name) in [
        ("both-0", "one.seen"),
        ("both-1", "one.seen"),
        ("both-1", "two.seen"),
        ("both-1", "one.reached"),
    ] {
        assert_eq!(counter(&status, instance, name), 0, "{instance} {name}");
    }
    manager.terminate_whole(0);
}

/// Whatever a hostile instance says in place of an answer ends it alone.
#[test]
fn rubbish_in_place_of_an_answer_ends_its_sender_alone() {
    let scratch = scratch();
    let how = "[[params]]\nname = \"how\"\ntype = \"string\"\ndoc = \"Which misuse.\"\n";
    let kinds = "[[messages]]\nname = \"ask\"\nfrom = [\"operator\"]\ndoc = \"\"\n\
                 [[messages]]\nname = \"seen\"\nfrom = [\"peers\"]\ndoc = \"\"\n";
    scratch.manifest("misuse", &format!("{how}{kinds}"));
    for (how, said) in [
        ("answer_another", "it answered message "),
        ("answer_unasked", "it answered message "),
        ("answer_badly", "it sent a malformed message: "),
        ("say_out_of_order", "it sent message 1 where 0 was next"),
        ("say_much", "it sent a message of more than 16384 bytes"),
    ] {
        let chain = format!(
            "use \"misuse.nf.toml\" as misuse\nuse \"chatter.nf.toml\" as chatter\nport a = pcap {{ read = file(\"in.pcap\") }}\n\
             nf bad = misuse {{ how = \"{how}\" }} with {{ restart = never }}\nnf good = chatter {{}}\n\
             steer a {{ tcp -> bad -> good -> drop else -> drop }}\n"
        );
        let bundle = scratch.build(&chain, "bundle");
        let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
        let answer = one(manager.send("bad", "ask", json!({})));
        assert!(how == "answer_unasked" || answer.is_err(), "{how}: {answer:?}");
        let status = manager.wait_until("it has failed", SOON, |s| {
            instance(s, "bad-0").state == InstanceState::Failed
        });
        let why = instance(&status, "bad-0").last_loss.clone().unwrap_or_default();
        assert!(why.starts_with(said), "{how}: {why}");
        let good = one(manager.send("good", "echo", json!({ "text": "x" }))).unwrap();
        assert_eq!(good["by"], "good-0");
        manager.terminate_whole(0);
    }
}

/// One that talks without end and reads nothing keeps neither the manager nor an operator waiting.
#[test]
fn one_that_reads_nothing_is_left_to_itself() {
    let scratch = scratch();
    let how = "[[params]]\nname = \"how\"\ntype = \"string\"\ndoc = \"Which misuse.\"\n";
    let kinds = "[[messages]]\nname = \"ask\"\nfrom = [\"operator\"]\ndoc = \"\"\n\
                 [[messages]]\nname = \"seen\"\nfrom = [\"peers\"]\ndoc = \"\"\n";
    scratch.manifest("misuse", &format!("{how}{kinds}"));
    let chain = "use \"misuse.nf.toml\" as misuse\nuse \"chatter.nf.toml\" as chatter\nport a = pcap { read = file(\"in.pcap\") }\n\
                 nf bad = misuse { how = \"hear_nothing\" } with { replicas = 2 }\nnf good = chatter {}\n\
                 steer a { tcp -> bad -> good -> drop else -> drop }\n";
    let bundle = scratch.build(chain, "bundle");
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    // How many come through depends on which of the two has filled its own socket first.
    manager.wait_until("one has sent to the other", SOON, |s| {
        let of = |name| instance(s, name).messages + instance(s, name).messages_missed;
        of("bad-0") + of("bad-1") > 0
    });
    for name in ["bad-0", "bad-1"] {
        let why = one(manager.send(name, "ask", json!({}))).unwrap_err();
        let whys = [
            "it did not answer within 2 s",
            "64 messages wait for it, which it does not take",
        ];
        assert!(whys.contains(&why.as_str()), "{why}");
    }
    let good = one(manager.send("good", "echo", json!({ "text": "x" }))).unwrap();
    assert_eq!(good["by"], "good-0");
    let finished = manager.terminate();
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn the_tracker_example_lists_its_flows_and_logs_those_that_end() {
    let scratch = Scratch::new();
    scratch.take_examples();
    let mut command = programs::command("onvmc");
    let tested = command.arg("test").arg(scratch.path("tracker.chain")).output();
    assert!(tested.unwrap().status.success());
    let bundle = scratch.build_as("tracker.chain", "test", "tracker.bundle", &[]);
    let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    let of = |s: &Status, name: &str| counter(s, "tracker-0", name);
    manager.wait_until("all packets are counted", SOON, |s| of(s, "packets") == 3401);
    let spoofed = one(manager.send("tracker", "flows", json!({ "address": "10.66.0.1" }))).unwrap();
    let flow = &spoofed["flows"][0];
    assert_eq!(
        (&flow["destination"], &flow["packets"], &flow["state"]),
        (&json!("203.0.113.9"), &json!([20, 0]), &json!("opening"))
    );
    let few = one(manager.send("tracker", "flows", json!({ "count": 3 }))).unwrap();
    assert_eq!(few["flows"].as_array().unwrap().len(), 3);
    let ended = |s: &Status| {
        let ends = ["ended_closed", "ended_reset", "ended_idle", "ended_evicted"];
        ends.iter().map(|name| of(s, name)).sum::<u64>()
    };
    let status = manager.wait_until("all connections that are closed have ended", SOON, |s| {
        of(s, "ended_closed") > 100 && ended(s) == of(s, "exported") + of(s, "not_exported")
    });
    assert!(of(&status, "exported") >= 20 && of(&status, "not_exported") > 0);
    manager.wait_for_log(r#"\"end\":\"closed\""#);
    manager.terminate_whole(0);
}
