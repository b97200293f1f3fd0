//! Completion.

use std::{fs, path::Path};

use onvm_bundle::PortKind;
use serde_json::Value;

use super::client::{Editor, cursor};

const HEAD: &str = "port wan = null\nport lan = null\n/// Filters.\nnf fw = firewall { rules = file(\"x\") }\n\
                    nf scan = payload_scan { patterns = file(\"y\") }\nlet inside = [10.0.0.0/8]\nclass web = tcp\n\
                    chain tail = fw -> lan\n";

fn items(marked: &str) -> Vec<Value> {
    let (text, position) = cursor(&format!("{HEAD}{marked}"));
    let mut editor = Editor::with(&[]);
    editor.open("test.chain", &text);
    let found = editor
        .ask("textDocument/completion", "test.chain", position)
        .unwrap();
    found.as_array().unwrap().clone()
}

fn labels(marked: &str) -> Vec<String> {
    let label = |i: &Value| i["label"].as_str().unwrap().to_owned();
    items(marked).iter().map(label).collect()
}

/// Exactly these are offered.
#[track_caller]
fn offers(marked: &str, expected: &[&str]) {
    assert_eq!(labels(marked), expected, "{marked}");
}

/// These are offered, among others.
#[track_caller]
fn offers_too(marked: &str, expected: &[&str]) {
    let found = labels(marked);
    let missing: Vec<_> = expected
        .iter()
        .filter(|e| !found.iter().any(|f| f == *e))
        .collect();
    assert!(missing.is_empty(), "{missing:?} in {found:?}");
}

#[test]
fn declarations() {
    let all = [
        "use", "param", "let", "class", "port", "nf", "chain", "steer", "allow", "assert", "test", "manager",
    ];
    offers("$0", &all);
    offers("n$0\n", &all);
}

#[test]
fn the_fields_of_a_packet() {
    offers_too(
        "test \"x\" { send wan tcp { $0",
        &["src", "dst", "flags", "payload", "size"],
    );
    offers(
        "test \"x\" { send wan tcp { flags = [s$0",
        &["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "$inside"],
    );
    offers(
        "test \"x\" { send wan arp { op = $0",
        &["request", "reply", "$inside"],
    );
    offers(
        "test \"x\" { send wan tcp { src = 10.0.0.1 } t$0",
        &["times", "send", "replay", "expect"],
    );
}

#[test]
fn names_by_their_kind() {
    offers("chain c = f$0", &["fw", "scan", "lan", "wan", "tail", "drop"]);
}

/// By their pages, of which each has one.
fn standard_nfs() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let pages = fs::read_dir(root.join("docs/nfs")).unwrap();
    let mut names: Vec<String> = pages
        .map(|page| {
            page.unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    names.sort();
    names
}

/// A kind without settings in the compiler would have no description.
#[test]
fn every_kind_of_port_is_described() {
    for item in items("port x = $0") {
        let kind = item["label"].as_str().unwrap();
        let described = item["documentation"]["value"].as_str().unwrap_or_default();
        assert!(described.contains(&format!("port kind `{kind}`")), "{item}");
    }
}

#[test]
fn places() {
    offers("port x = $0", &PortKind::WORDS);
    let standard = standard_nfs();
    let standard: Vec<&str> = standard.iter().map(String::as_str).collect();
    assert!(standard.contains(&"firewall"), "{standard:?}");
    offers("nf x = $0", &standard);
    offers("steer $0", &["lan", "wan"]);
    offers("allow $0", &["fw", "scan"]);
    offers("allow fw to $0", &["steer", "lookup", "program"]);
    offers("chain c = scan { $0", &["match"]);
    offers(
        "nf x = payload_scan { on_match = $0",
        &["output", "drop", "$inside"],
    );
    offers(
        "nf x = monitor { every = 5 $0",
        &["ns", "us", "ms", "s", "min", "h"],
    );
    offers(
        "nf x = forward with { run = $0",
        &["process", "container", "$inside"],
    );
    offers("let y = $$0", &["$inside"]);
    offers_too("manager { $0", &["workers", "hugepages"]);
    offers_too("port x = pci { $0", &["address", "queues"]);
    offers_too("nf x = firewall { $0", &["rules", "default"]);
    offers_too("steer wan { $0", &["web", "tcp", "not", "$inside", "else"]);
    offers_too("param p: $0", &["string", "prefix", "bit_rate"]);
    offers_too("test \"t\" { expect fw counter $0", &["rule_<line>"]);
    offers("chain c(p: port) = p $0", &[]);
    offers("// a c$0omment", &[]);
}

#[test]
fn an_item_says_what_it_is_and_what_it_replaces() {
    let items = items("steer wan { else -> f$0");
    let fw = items.iter().find(|i| i["label"] == "fw").unwrap();
    let text = fw["documentation"]["value"].as_str().unwrap();
    assert!(
        text.contains("nf fw = firewall") && text.contains("Filters."),
        "{text}"
    );
    assert_eq!(fw["textEdit"]["newText"], "fw");
    assert_eq!(fw["textEdit"]["range"]["start"]["character"], 20);
    assert_eq!(fw["textEdit"]["range"]["end"]["character"], 21);
}

#[test]
fn the_sigil_is_not_doubled() {
    let items = items("class x = src net $in$0");
    let edit = &items.iter().find(|i| i["label"] == "$inside").unwrap()["textEdit"];
    assert_eq!(
        (&edit["newText"], &edit["range"]["start"]["character"]),
        (&"$inside".into(), &18.into())
    );
}
