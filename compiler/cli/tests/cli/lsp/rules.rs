//! Files of rules.

use serde_json::{Value, json};

use super::{
    client::{Editor, cursor},
    refactor::apply,
};

const PROGRAM: &str = "port wan = null\nlet inside = [10.0.0.0/8]\n/// Browsers.\nclass web = tcp dst port 80\n\
    nf fw = firewall { rules = file(\"edge.rules\") }\nsteer wan { web and src net $inside -> fw -> wan else -> drop }\n";

/// The program is on the disk, the rules are open.
fn editor(marked: &str) -> (Editor, Value) {
    let (text, position) = cursor(marked);
    let capabilities = json!({ "workspace": { "workspaceEdit": { "documentChanges": true } } });
    let mut editor = Editor::with_client(&[("a.chain", PROGRAM)], capabilities, json!({}));
    editor.open("edge.rules", &text);
    (editor, position)
}

#[test]
fn what_is_wrong_with_rules_is_shown_as_they_are_typed() {
    let (mut editor, _) = editor("accept wep$0\ndrop tcp\n");
    let found = editor.diagnostics("edge.rules");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("C0101") && found[0].starts_with("0:7-0:10"),
        "{found:?}"
    );
    editor.change("edge.rules", 2, "accept web\ndrop tcp dst port 80\n");
    let found = editor.diagnostics("edge.rules");
    assert!(found[0].contains("C0505") && found.len() == 1, "{found:?}");
}

#[test]
fn a_class_is_shown_and_found() {
    let (mut editor, position) = editor("accept we$0b\n");
    let hover = editor
        .ask("textDocument/hover", "edge.rules", position.clone())
        .unwrap();
    let text = hover["contents"]["value"].as_str().unwrap();
    assert!(
        text.contains("class web = tcp dst port 80") && text.contains("Browsers."),
        "{text}"
    );
    let found = editor
        .ask("textDocument/definition", "edge.rules", position)
        .unwrap();
    assert_eq!(found["uri"], editor.uri("a.chain"));
    let (mut editor, position) = self::editor("accept tc$0p\n");
    let hover = editor.ask("textDocument/hover", "edge.rules", position).unwrap();
    assert!(
        hover["contents"]["value"]
            .as_str()
            .unwrap()
            .contains("TCP (protocol 6)"),
        "{hover}"
    );
}

fn labels(marked: &str) -> Vec<String> {
    let (mut editor, position) = editor(marked);
    let found = editor
        .ask("textDocument/completion", "edge.rules", position)
        .unwrap();
    let found = found.as_array().unwrap().iter();
    found
        .map(|item| item["label"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn verdicts_filters_classes_and_values_are_completed() {
    for marked in ["$0", "drop tcp\nac$0", "no_ssh: $0"] {
        assert_eq!(labels(marked), ["accept", "drop"], "{marked}");
    }
    let found = labels("drop tcp and $0");
    for wanted in ["web", "udp", "portrange", "$inside"] {
        assert!(found.iter().any(|label| label == wanted), "{wanted}: {found:?}");
    }
    assert_eq!(labels("drop src net $$0"), ["$inside"]);
    assert_eq!(labels("drop tcp # a$0"), [""; 0]);
}

#[test]
fn renaming_a_class_renames_it_in_rules() {
    let (mut editor, position) = editor("accept we$0b\nno_web: drop not web\n");
    let params = json!({ "textDocument": { "uri": editor.uri("edge.rules") }, "position": position, "newName": "browsers" });
    let edit = editor.request("textDocument/rename", params).unwrap();
    let mut rules = "accept web\nno_web: drop not web\n".to_owned();
    let mut program = PROGRAM.to_owned();
    for change in edit["documentChanges"].as_array().unwrap() {
        let of_rules = change["textDocument"]["uri"] == editor.uri("edge.rules");
        let text = if of_rules { &mut rules } else { &mut program };
        apply(text, change["edits"].as_array().unwrap());
    }
    assert_eq!(rules, "accept browsers\nno_web: drop not browsers\n");
    assert_eq!(program.matches("browsers").count(), 2, "{program}");
}

#[test]
fn rules_are_laid_out() {
    let (mut editor, _) = editor("accept   web$0\n");
    let params = json!({
        "textDocument": { "uri": editor.uri("edge.rules") },
        "options": { "tabSize": 4, "insertSpaces": true },
    });
    let edits = editor.request("textDocument/formatting", params).unwrap();
    let mut text = "accept   web\n".to_owned();
    apply(&mut text, edits.as_array().unwrap());
    assert_eq!(text, "accept web\n");
}
