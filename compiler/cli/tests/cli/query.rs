//! `onvmc query` as an operator meets it.

use std::fs;

use crate::run;

const CHAIN: &str = r#"port wan = null
port lan = null
port jail = null
nf fw = firewall { rules = file("a.rules"), default = drop, on_deny = output }
nf inner = firewall { rules = file("b.rules"), default = accept }
steer wan {
    arp -> drop
    tcp -> fw { denied -> jail } -> inner -> lan
    else -> lan
}
steer lan { else -> wan }
steer jail { else -> drop }
"#;

fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("a.chain", CHAIN),
        (
            "a.rules",
            "drop ip and src net 10.0.0.0/8\naccept tcp dst port 80\n",
        ),
        ("b.rules", "drop ip and src net 192.168.0.0/16\n"),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

#[test]
fn every_end_is_told_with_a_packet() {
    let dir = directory();
    let (out, _) = run(dir.path(), &["query", "a.chain", "wan", "tcp dst port 80"], 0);
    insta::assert_snapshot!("ends", out);
    let (out, _) = run(
        dir.path(),
        &[
            "query", "a.chain", "wan", "tcp", "dst", "port", "23", "--to", "lan",
        ],
        0,
    );
    insta::assert_snapshot!("nothing", out);
    let (out, _) = run(dir.path(), &["query", "a.chain", "wan", "arp"], 0);
    insta::assert_snapshot!("all_of_it", out);
}

#[test]
fn what_gets_from_a_port_to_a_port() {
    let dir = directory();
    let (out, _) = run(
        dir.path(),
        &["query", "a.chain", "--from", "wan", "--to", "jail"],
        0,
    );
    insta::assert_snapshot!("from_to", out);
    let (out, _) = run(
        dir.path(),
        &["query", "a.chain", "--from", "wan", "--to", "jail", "--json"],
        0,
    );
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["ways"][0]["end"], "jail", "{out}");
    assert!(
        value["ways"][0]["packet"].as_str().unwrap().starts_with("tcp "),
        "{out}"
    );
    assert_eq!(value["filter"], "all");
}

#[test]
fn mistakes_are_shown_where_they_are() {
    let dir = directory();
    let (_, err) = run(dir.path(), &["query", "a.chain", "wan", "tcp dst prt 80"], 1);
    assert!(err.contains("FILTER"), "{err}");
    let (_, err) = run(dir.path(), &["query", "a.chain", "wam", "tcp"], 1);
    assert!(err.contains("did you mean `wan`"), "{err}");
    let (_, err) = run(dir.path(), &["query", "a.chain", "wan", "tcp", "--to", "lam"], 2);
    assert!(
        err.contains("--to takes `drop` or one of wan, lan, jail"),
        "{err}"
    );
    run(dir.path(), &["query", "a.chain"], 2);
}
