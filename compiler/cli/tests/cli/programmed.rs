//! Flow entries: `onvmc trace --flows` with those of a manager, and what NFs may program in `diff` and `query`.

use std::fs;

use crate::{run, workspace};

const CHAIN: &str = "use \"sdn.nf.toml\" as sdn\n\
    port wan = null\nport lan = null\n\
    nf ctl = sdn\nnf mon = monitor\n\
    chain new = ctl -> lan\nchain known = mon -> lan\n\
    steer wan { else -> new }\n\
    allow ctl to program wan { tcp -> known, drop }\n";

const MANIFEST: &str = "name = \"sdn\"\nversion = \"1.0.0\"\nsummary = \"Decides\"\n[run]\nbinary = \"sdn\"\n\
    [effects]\nprograms = true\n";

fn entry(id: u64, chain: &str, priority: u16, what: serde_json::Value) -> serde_json::Value {
    let mut entry = serde_json::json!({
        "id": id, "nf": "ctl", "port": "wan", "chain": chain, "priority": priority, "cookie": 0,
        "age_ms": 5, "packets": 1, "bytes": 60,
    });
    entry
        .as_object_mut()
        .unwrap()
        .extend(what.as_object().unwrap().clone());
    entry
}

#[test]
fn entries_take_packets_before_the_rules() {
    let dir = workspace(CHAIN);
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("sdn.nf.toml", MANIFEST);
    let flow = "tcp 198.51.100.1:40000 > 203.0.113.9:80";
    let back = "tcp 203.0.113.9:80 > 198.51.100.1:40000";
    let entries = [
        entry(
            3,
            "known",
            0,
            serde_json::json!({ "flow": flow, "both_ways": true }),
        ),
        entry(4, "drop", 1, serde_json::json!({ "flow": back })),
        entry(5, "drop", 0, serde_json::json!({ "filter": "(tcp-port dst 80)" })),
        entry(6, "known", 9, serde_json::json!({ "filter": "(udp)" })),
        entry(7, "lan", 9, serde_json::json!({ "filter": "(tcp)" })),
    ];
    let mut reply = serde_json::json!({ "version": 1, "total": 7, "entries": entries, "more": true });
    write("flows.json", &reply.to_string());
    let trace = |packet: &[&str]| {
        let args = [&["trace", "a.chain", "wan"], packet, &["--flows", "flows.json"]];
        run(dir.path(), &args.concat(), 0)
    };
    let (said, notes) = trace(&["tcp", "dst", "203.0.113.9:80"]);
    assert_eq!(
        said,
        format!(
            "  a.chain:9:28  wan  flow entry 3 of ctl: {flow}, both ways, -> known\n  \
             a.chain:7:15  mon  monitor: next\n  a.chain:7:22  lan  leaves\n"
        )
    );
    assert_eq!(
        notes,
        "flows.json has 5 of 7 flow entries; `onvmc flows --json --limit 10000` prints more\n\
         flow entry 7 takes nothing: no `allow ctl to program wan` names `lan`\n"
    );
    let by = |packet: &[&str]| {
        let rule = trace(packet).0;
        rule.lines()
            .next()
            .unwrap()
            .rsplit("  ")
            .next()
            .unwrap()
            .to_owned()
    };
    // The other direction is of a higher priority, other flows are of the filter, and UDP is none of the arm's.
    assert_eq!(
        by(&["tcp { src = 203.0.113.9:80, dst = 198.51.100.1:40000 }"]),
        format!("flow entry 4 of ctl: {back} -> drop")
    );
    assert_eq!(
        by(&["tcp { src = 198.51.100.1:4, dst = 203.0.113.9:80 }"]),
        "flow entry 5 of ctl: (tcp-port dst 80) -> drop"
    );
    assert_eq!(by(&["udp", "dst", "203.0.113.9:80"]), "else -> new");

    let refused = |reply: &serde_json::Value| {
        write("flows.json", &reply.to_string());
        let args = ["trace", "a.chain", "wan", "tcp", "--flows", "flows.json"];
        run(dir.path(), &args, 1).1
    };
    reply["entries"][0]["flow"] = "tcp 1.2.3.4 > 5".into();
    let said = refused(&reply);
    assert!(
        said.contains("flow entry 3: `tcp 1.2.3.4 > 5` is not a flow"),
        "{said}"
    );
    let said = refused(&serde_json::json!([]));
    assert!(said.contains("not the output of `onvmc flows --json`"), "{said}");
    let args = ["trace", "a.chain", "wan", "tcp", "--flows", "no.json"];
    let said = run(dir.path(), &args, 1).1;
    assert!(said.contains("no.json: No such file"), "{said}");
}

#[test]
fn an_edit_of_what_may_be_programmed_is_shown_by_a_packet() {
    let dir = workspace(CHAIN);
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("sdn.nf.toml", MANIFEST);
    write(
        "b.chain",
        &CHAIN.replace("tcp -> known, drop", "tcp or udp -> known"),
    );
    let (said, _) = run(dir.path(), &["diff", "a.chain", "b.chain"], 0);
    let shown = said
        .split_once("Traffic that NFs may program otherwise")
        .unwrap()
        .1;
    assert_eq!(
        shown,
        ", a packet of each kind:\n  \
         wan udp { src = 198.51.100.7:4000, dst = 203.0.113.9:80 }\n      \
         `ctl` may now have it go mon -> lan   by `tcp or udp -> known` at b.chain:9:28\n  \
         wan tcp { src = 198.51.100.7:4000, dst = 203.0.113.9:80 }\n      \
         `ctl` may no longer have it go drop   by `tcp -> drop` at a.chain:9:28\n\
         No other traffic changes path.\n"
    );
    let (said, _) = run(dir.path(), &["diff", "a.chain", "b.chain", "--json"], 0);
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    let change = &json["traffic"]["programs"][1];
    assert_eq!(
        (&change["may"], &change["nf"]),
        (&"no_longer".into(), &"ctl".into())
    );
    assert_eq!(change["way"]["rule"]["source"], "a.chain:9:28");
}

#[test]
fn a_query_names_what_may_be_programmed_of_its_packets() {
    let dir = workspace(CHAIN);
    fs::write(dir.path().join("sdn.nf.toml"), MANIFEST).unwrap();
    let query = |args: &[&str]| run(dir.path(), &[&["query", "a.chain"], args].concat(), 0).0;
    let said = query(&["wan", "tcp dst port 443"]);
    let besides = |path: &str, to: &str| {
        format!(
            "Besides, `ctl` may have some of them go {path}\n    by       `tcp -> {to}` at a.chain:9:28\n    \
             packet   tcp {{ src = 198.51.100.7:4000, dst = 203.0.113.9:443 }}\n"
        )
    };
    let (drop, known) = (besides("drop", "drop"), besides("mon -> lan", "known"));
    assert!(
        said.ends_with(&format!(
            "By the rules they go no other way: proved.\n{drop}{known}"
        )),
        "{said}"
    );
    let said = query(&["wan", "udp"]);
    assert!(
        said.contains("They go no other way: proved.") && !said.contains("Besides"),
        "{said}"
    );
    let said = query(&["wan", "tcp dst port 443", "--to", "drop"]);
    assert_eq!(
        said,
        format!("By the rules no such packet gets there: proved.\n{drop}")
    );
    let json: serde_json::Value = serde_json::from_str(&query(&["wan", "tcp", "--json"])).unwrap();
    let ways = json["programmable"].as_array().unwrap();
    let paths: Vec<_> = ways.iter().map(|way| way["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["drop", "mon -> lan"]);
    assert_eq!(
        (&ways[1]["nf"], &ways[1]["rule"]["chain"]),
        (&"ctl".into(), &"known".into())
    );
}
