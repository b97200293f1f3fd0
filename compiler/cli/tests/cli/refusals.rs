//! What is refused, and by which commands: files that an NF would not start with, and assertions that do not hold.

use std::{fs, process::Command};

use crate::run;

fn with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

const FIREWALL: &str =
    "port wan = null\nnf fw = firewall { rules = file(\"a.rules\") }\nsteer wan { else -> fw -> wan }\n";

#[test]
fn every_mistake_of_a_rules_file_is_shown_where_it_stands() {
    let rules =
        "accept tcp dst port 22x\n# fine\naccept udp\naccept bogus\ndrop udp and src net 10.0.0.1/8\n";
    let dir = with(&[("a.chain", FIREWALL), ("a.rules", rules)]);
    let (_, err) = run(dir.path(), &["check", "--error-format", "short", "a.chain"], 1);
    let places: Vec<&str> = err.lines().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(places, ["a.rules:1:21", "a.rules:4:8", "a.rules:5:22"], "{err}");
    for command in [
        &["build", "a.chain", "-o", "a.bundle"][..],
        &["doctor", "a.chain"],
        &["graph", "a.chain"],
        &["trace", "a.chain", "wan", "arp"],
    ] {
        let (_, err) = run(dir.path(), command, 1);
        assert!(
            err.contains("a.rules:4:8") && err.contains("C0101"),
            "{command:?} {err}"
        );
    }
    fs::write(dir.path().join("a.rules"), "accept udp\n").unwrap();
    run(dir.path(), &["check", "a.chain"], 0);
}

#[test]
fn a_pasted_line_of_iptables_gets_the_rule_that_it_is_here() {
    let pasted = "-A INPUT -s 10.0.0.0/8 -p tcp --dport 22 -j ACCEPT\n";
    let dir = with(&[("a.chain", FIREWALL), ("a.rules", pasted)]);
    let (_, err) = run(dir.path(), &["check", "a.chain"], 1);
    assert!(
        err.contains("`accept src net 10.0.0.0/8 and tcp and dst port 22`") && err.contains("a.rules:1:1"),
        "{err}"
    );
}

#[test]
fn wrong_patterns_are_shown_where_they_stand() {
    let chain = "port wan = null\nnf scan = payload_scan { patterns = file(\"a.patterns\") }\nsteer wan { else -> scan -> wan }\n";
    let dir = with(&[("a.chain", chain), ("a.patterns", "good\n|0d 0a\n\\xzz\n")]);
    let (_, err) = run(dir.path(), &["check", "--error-format", "short", "a.chain"], 1);
    let places: Vec<&str> = err.lines().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(places, ["a.patterns:2:1", "a.patterns:3:1"], "{err}");
    let (_, err) = run(dir.path(), &["check", "--error-format", "json", "a.chain"], 1);
    assert!(err.contains("a.patterns"), "{err}");
}

const REFUTED: &str = "port wan = null\nport lan = null\nnf fw = forward\nsteer wan { tcp -> fw -> lan else -> drop }\n\
    assert wan: udp reaches lan\n";

/// It is just then that one wants to look.
#[test]
fn an_assertion_that_does_not_hold_stops_what_runs_and_not_what_looks() {
    let dir = with(&[("a.chain", REFUTED)]);
    for command in [
        &["trace", "a.chain", "wan", "tcp"][..],
        &["graph", "a.chain"],
        &["doctor", "a.chain", "--json"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_onvmc"))
            .args(command)
            .current_dir(dir.path())
            .output()
            .unwrap();
        let (out, err) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        );
        assert!(err.contains("C0607"), "{command:?} {err}");
        assert!(out.contains("fw") || out.contains("checks"), "{command:?} {out}");
    }
    run(dir.path(), &["trace", "a.chain", "wan", "tcp"], 0);
    run(
        dir.path(),
        &["trace", "a.chain", "wan", "tcp", "--deny-warnings"],
        1,
    );
    for command in [
        &["check", "a.chain"][..],
        &["build", "a.chain", "-o", "a.bundle"],
        &["test", "a.chain"],
    ] {
        run(dir.path(), command, 1);
    }
    // Whatever else is wrong still does.
    fs::write(dir.path().join("a.chain"), REFUTED.replace("fw ->", "fv ->")).unwrap();
    run(dir.path(), &["trace", "a.chain", "wan", "tcp"], 1);
}

#[test]
fn check_says_what_it_proved() {
    let proved = REFUTED.replace("udp reaches lan", "tcp reaches lan\nassert wan: udp dropped");
    let dir = with(&[
        ("a.chain", &proved),
        ("b.chain", "port wan = null\nsteer wan { else -> drop }\n"),
    ]);
    let (_, err) = run(dir.path(), &["check", "a.chain", "b.chain"], 0);
    assert_eq!(err, "2 files checked, 2 assertions proved\n");
    let (out, _) = run(dir.path(), &["check", "a.chain", "b.chain", "--json"], 0);
    assert!(out.contains("\"proved\":2"), "{out}");
    let (_, err) = run(dir.path(), &["check", "b.chain"], 0);
    assert_eq!(err, "1 file checked\n");
}

#[test]
fn the_version_is_a_command_too() {
    let dir = with(&[]);
    let (by_option, _) = run(dir.path(), &["--version"], 0);
    let (by_command, _) = run(dir.path(), &["version"], 0);
    assert_eq!(by_option, by_command);
    let (out, _) = run(dir.path(), &["version", "--json"], 0);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(by_option.ends_with(&format!(" {}\n", json["onvmc"].as_str().unwrap())));
}

/// A comment above, or another place in the block, is not another chain: its counters go on.
#[test]
fn a_chain_written_on_the_spot_keeps_its_name() {
    let source = "port wan = null\nport lan = null\nnf fw = forward\n\
        steer wan {\n  tcp -> fw -> lan\n  udp -> fw -> lan\n  else -> drop\n}\n";
    let moved = source
        .replace("steer", "// a word\n\nsteer")
        .replace("  tcp", "  arp -> fw -> wan\n  tcp");
    let dir = with(&[("a.chain", source), ("b.chain", &moved)]);
    let names = |file: &str| {
        let (out, _) = run(dir.path(), &["graph", file, "--json"], 0);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        json["services"][0]["chains"].to_string()
    };
    assert_eq!(names("a.chain"), "[\"wan -> fw -> lan\"]");
    assert_eq!(names("b.chain"), "[\"wan -> fw -> wan\",\"wan -> fw -> lan\"]");
}
