//! Hover and definition.

use serde_json::Value;

use super::client::{Editor, cursor, place, repository};

const GUARD: &str = r#"
name = "guard"
version = "2.1.0"
summary = "Sends what looks suspect elsewhere"
[run]
binary = "guard"
[effects]
steers = true
[[params]]
name = "limit"
type = "packet_rate"
doc = "Packets a second that one sender may send."
default = "10 kpps"
min = "1 pps"
max = "1 Mpps"
[[outputs]]
name = "suspect"
doc = "Packets that look like an attack."
must_handle = true
[[counters]]
name = "rule_<line>"
doc = "Packets that the rule in this line matched."
"#;

const LIBRARY: &str = "/// What browsers send.\nclass web = tcp and dst port 80\nlet inside = [10.0.0.0/8]\n";

fn editor(marked: &str) -> (Editor, Value) {
    let (text, position) = cursor(marked);
    let mut editor = Editor::with(&[("guard.nf.toml", GUARD), ("lib.chain", LIBRARY)]);
    editor.open("test.chain", &text);
    (editor, position)
}

pub(crate) fn hover(marked: &str) -> Option<String> {
    let (mut editor, position) = editor(marked);
    let found = editor.ask("textDocument/hover", "test.chain", position).unwrap();
    found["contents"]["value"].as_str().map(str::to_owned)
}

/// The hover holds each of these, in order.
#[track_caller]
pub(crate) fn says(marked: &str, expected: &[&str]) {
    let found = hover(marked).unwrap_or_else(|| panic!("nothing is said of {marked}"));
    let mut rest = found.as_str();
    for text in expected {
        match rest.split_once(text) {
            Some((_, after)) => rest = after,
            None => panic!("{text:?} is missing, or before its turn, in:\n{found}"),
        }
    }
}

/// The definition is in that file at that place.
#[track_caller]
fn leads(marked: &str, file: &str, at: &str) {
    let (mut editor, position) = editor(marked);
    let found = editor
        .ask("textDocument/definition", "test.chain", position)
        .unwrap();
    assert_eq!(found["uri"], editor.uri(file), "{found}");
    assert_eq!(place(&found["range"]), at);
}

#[test]
fn a_declaration_is_shown_with_its_doc_comment() {
    says(
        "/// The uplink.\n/// Towards the world.\nport w$0an = null {}\n",
        &[
            "```chain\nport wan = null {}\n```",
            "The uplink.\nTowards the world.",
        ],
    );
    says(
        "use \"lib.chain\"\nclass all_web = we$0b or port 443\n",
        &["class web = tcp and dst port 80", "browsers"],
    );
    says(
        "use \"lib.chain\"\nclass a = src net $0$inside\n",
        &["let inside = [10.0.0.0/8]"],
    );
    says("let a = 1\nlet b = $a$0\n", &["let a = 1"]);
}

#[test]
fn a_long_declaration_is_cut() {
    let rules = "    tcp -> lan\n".repeat(40);
    let found = hover(&format!(
        "port lan = null\nchain c$0 =\n{}lan\n",
        "lan ->\n".repeat(40)
    ))
    .unwrap();
    assert_eq!(found.matches("lan ->").count(), 11, "{found}");
    assert!(found.contains("\n...\n"));
    assert!(
        hover(&format!("port l$0an = null\nsteer lan {{\n{rules}}}\n"))
            .unwrap()
            .contains("more")
    );
}

#[test]
fn nf_types_and_their_parameters() {
    let main = "use \"guard.nf.toml\" as guard\n";
    says(
        &format!("{main}nf g = gu$0ard\n"),
        &[
            "**guard** 2.1.0: Sends what looks suspect elsewhere",
            "`limit`: Packets a second that one sender may send",
            "output `suspect` (must be handled): Packets that look like an attack.",
        ],
    );
    says(
        &format!("{main}nf g = guard {{ li$0mit = 5 kpps }}\n"),
        &[
            "`limit`: Packets a second",
            "a packet rate",
            "from 1 pps to 1 Mpps",
            "default `10 kpps`",
        ],
    );
    says("nf f = firewall { default = dr$0op }\n", &["`default`", "`drop`"]);
    says(
        "nf f = forward with { repl$0icas = 2 }\n",
        &["`replicas`", "from 1 to 1024"],
    );
    says("manager { workers$0 = 2 }\n", &["worker threads", "from 1 to 64"]);
    says(
        "port p = pc$0i {}\n",
        &["port kind `pci`", "`address`", "required", "`queues`"],
    );
    says(
        &format!("{main}port l = null\nnf g = guard\nchain c = g {{ susp$0ect -> drop }} -> l\n"),
        &["output `suspect` of `g`, which must be handled"],
    );
    says(
        &format!("{main}nf g = guard\ntest \"t\" {{ expect g counter rul$0e_12 == 1 }}\n"),
        &["counter `rule_<line>` of `g`"],
    );
}

#[test]
fn diagnostics_are_explained() {
    says(
        "port p = nul$0 {}\n",
        &["**C0107: unknown", "`onvmc explain C0107`"],
    );
}

#[test]
fn definitions() {
    let head = "port wan = null\nnf fw = forward\n";
    leads(&format!("{head}chain c = f$0w -> wan\n"), "test.chain", "1:3-1:5");
    leads(
        &format!("{head}steer wa$0n {{ else -> drop }}\n"),
        "test.chain",
        "0:5-0:8",
    );
    leads(
        &format!("{head}allow fw to steer wan$0\n"),
        "test.chain",
        "0:5-0:8",
    );
    leads(
        &format!("{head}assert wan: all passes $0fw\n"),
        "test.chain",
        "1:3-1:5",
    );
    leads(
        &format!("{head}test \"t\" {{ expect fw -> $0wan }}\n"),
        "test.chain",
        "0:5-0:8",
    );
    leads("use \"lib.chain\"\nclass c = not we$0b\n", "lib.chain", "1:6-1:9");
    leads(
        "use \"lib.chain\"\nclass c = net $ins$0ide\n",
        "lib.chain",
        "2:4-2:10",
    );
    leads("use \"lib$0.chain\"\n", "lib.chain", "0:0-0:0");
    leads(
        "use \"guard.nf.toml\" as guard\nnf g = g$0uard\n",
        "test.chain",
        "0:23-0:28",
    );
    leads(
        "nf f = firewall { rules = file(\"ed$0ge.rules\") }\n",
        "edge.rules",
        "0:0-0:0",
    );
    leads(
        "chain c(p: port, n: nf) = n -> p$0\nport p2 = null\n",
        "test.chain",
        "0:8-0:9",
    );
}

#[test]
fn a_file_with_errors_is_still_looked_up() {
    let broken = "nf fw = forward\nport wan = null\nchain c = fw -> -> wan\nsteer wan { else -> f$0w }\n";
    leads(broken, "test.chain", "0:3-0:5");
    leads("nf fw = forward\nchain c = f$0w -> ->\n", "test.chain", "0:3-0:5");
    assert_eq!(hover("nf fw = forward\n\n$0\nport lan = null\n"), None);
}

/// Every place of the example can be asked about, and every name leads somewhere.
#[test]
fn everywhere_in_the_example() {
    let text = repository("chains/edge.chain");
    let mut editor = Editor::with(&[]);
    editor.open("edge.chain", &text);
    let mut found = 0;
    for (line, content) in text.lines().enumerate() {
        for column in 0..=content.encode_utf16().count() {
            let position = serde_json::json!({ "line": line, "character": column });
            editor
                .ask("textDocument/hover", "edge.chain", position.clone())
                .unwrap();
            let definition = editor
                .ask("textDocument/definition", "edge.chain", position)
                .unwrap();
            found += usize::from(!definition.is_null());
        }
    }
    assert!(found > 100, "{found}");
}
