//! Quick fixes.

use serde_json::{Value, json};

use super::{
    client::{Editor, cursor},
    refactor::apply,
};

fn literals() -> Value {
    json!({ "textDocument": { "codeAction": { "codeActionLiteralSupport": { "codeActionKind": { "valueSet": [] } } } } })
}

/// The actions at `$0` of `main.chain`, beside a library.
fn actions_of(marked: &str, capabilities: Value, options: Value, only: Value) -> (Editor, Vec<Value>) {
    let (text, position) = cursor(marked);
    let library = "let wait = 5\nclass web = tcp\n";
    let mut editor = Editor::with_client(&[("lib.chain", library)], capabilities, options);
    editor.open("main.chain", &text);
    let params = json!({
        "textDocument": { "uri": editor.uri("main.chain") }, "range": { "start": position, "end": position },
        "context": { "diagnostics": [], "only": only },
    });
    let found = editor.request("textDocument/codeAction", params).unwrap();
    let found = found.as_array().unwrap().clone();
    (editor, found)
}

/// Each action's title, and the line under the cursor as it is afterwards.
fn fixed(marked: &str) -> Vec<(String, String)> {
    let (text, position) = cursor(marked);
    let (editor, found) = actions_of(marked, literals(), json!({}), Value::Null);
    let line = position["line"].as_u64().unwrap() as usize;
    let made = found.iter().map(|action| {
        let edits = &action["edit"]["changes"][editor.uri("main.chain")];
        let mut text = text.clone();
        apply(&mut text, edits.as_array().unwrap());
        let line = text.lines().nth(line).unwrap().to_owned();
        (action["title"].as_str().unwrap().to_owned(), line)
    });
    made.collect()
}

#[track_caller]
fn fixes(marked: &str, title: &str, line: &str) {
    assert_eq!(fixed(marked), [(title.to_owned(), line.to_owned())]);
}

#[test]
fn misspelt_words_are_written_as_they_were_meant() {
    let head = "port wan = null\nnf fw = forward\n";
    fixes(
        &format!("{head}chain c = w$0f -> wan\n"),
        "write `fw`",
        "chain c = fw -> wan",
    );
    fixes("nf fw = firewal$0\n", "write `firewall`", "nf fw = firewall");
    fixes(
        "port p = tap { $0nam = \"a\" }\n",
        "write `name`",
        "port p = tap { name = \"a\" }",
    );
    fixes(
        "manager { idle = adaptiv$0 }\n",
        "write `adaptive`",
        "manager { idle = adaptive }",
    );
    fixes("port $0WAN = null\n", "write `wan`", "port wan = null");
    fixes(
        "port wan = null\nprot$0 lan = null\n",
        "write `port`",
        "port lan = null",
    );
    fixes(
        "let sites = [10.0.0.0/8]\nclass c = src net $site$0\n",
        "write `sites`",
        "class c = src net $sites",
    );
    fixes(
        "class c = tcp port htt$0tps\n",
        "write `https`",
        "class c = tcp port https",
    );
    fixes(
        &format!("{head}chain c = fw =$0> wan\n"),
        "write `->`",
        "chain c = fw -> wan",
    );
    fixes(
        "class c = net 10.0.$00.1/8\n",
        "write `10.0.0.0/8`",
        "class c = net 10.0.0.0/8",
    );
    fixes(
        "port p = tap { name $0: \"a\" }\n",
        "write `=`",
        "port p = tap { name  = \"a\" }",
    );
    fixes("nf a = forward$0;\n", "remove `;`", "nf a = forward");
    fixes(
        "class c = udp or tcp $0and port 53\n",
        "put parentheses around what is taken together first",
        "class c = (udp or tcp) and port 53",
    );
    let scan = "nf scan = payload_scan { patterns = file(\"lib.chain\") }\nport wan = null\n";
    fixes(
        &format!("{scan}steer wan {{ else -> scan {{ mat$0ched -> drop }} -> wan }}\n"),
        "write `match`",
        "steer wan { else -> scan { match -> drop } -> wan }",
    );
}

#[test]
fn what_is_missing_is_added() {
    fixes(
        "port wan = null\nsteer w$0an { tcp -> wan }\n",
        "add `else -> drop`",
        "steer wan { tcp -> wan else -> drop }",
    );
    let units = fixed("nf m = monitor { every = $01 }\n");
    let titles: Vec<&str> = units.iter().map(|(title, _)| title.as_str()).collect();
    assert_eq!(
        titles,
        ["write `1 s`", "write `1 min`", "write `1 h`"],
        "1 ms is below the range"
    );
    assert_eq!(units[0].1, "nf m = monitor { every = 1 s }");
    let through = fixed("nf m = monitor { every = $w$0ait }\nlet wait = 5 MiB\n");
    assert_eq!(through.len(), 2, "{through:?}");
    assert_eq!(
        through[0].1, "nf m = monitor { every = $wait }",
        "the value is mended where it is written"
    );
    fixes(
        "port n = null { size = $064 B }\n",
        "write `64`",
        "port n = null { size = 64 }",
    );
}

#[test]
fn a_fix_of_another_file_is_made_there() {
    let marked = "use \"lib.chain\"\nnf m = monitor { every = $w$0ait }\n";
    let (editor, found) = actions_of(marked, literals(), json!({}), Value::Null);
    assert_eq!(found.len(), 2, "{found:?}");
    let edit = &found[0]["edit"]["changes"][editor.uri("lib.chain")][0];
    assert_eq!(
        (&edit["newText"], &edit["range"]["start"]["character"]),
        (&json!("5 s"), &json!(11))
    );
}

#[test]
fn actions_say_what_they_mend() {
    let marked = "nf fw = firewal$0\n";
    let (_, found) = actions_of(marked, literals(), json!({}), json!(["quickfix"]));
    assert_eq!(found[0]["kind"], "quickfix");
    assert_eq!(found[0]["isPreferred"], true);
    assert_eq!(found[0]["diagnostics"][0]["code"], "C0107");
    let (_, choice) = actions_of(
        "nf m = monitor { every = $01 }\n",
        literals(),
        json!({}),
        Value::Null,
    );
    assert!(
        choice.iter().all(|a| a["isPreferred"].is_null()),
        "a choice is the operator's"
    );
    let mut versioned = literals();
    versioned["workspace"] = json!({ "workspaceEdit": { "documentChanges": true } });
    let (_, found) = actions_of(marked, versioned, json!({}), Value::Null);
    assert_eq!(
        found[0]["edit"]["documentChanges"][0]["textDocument"]["version"],
        1
    );
}

#[test]
fn nothing_is_offered_where_nothing_can_be_done() {
    let none = |marked: &str, capabilities: Value, options: Value, only: Value| {
        let (editor, found) = actions_of(marked, capabilities, options, only);
        assert!(found.is_empty(), "{found:?}");
        editor
    };
    let wrong = "port wan = null\nnf fw = firewal$0\n";
    none(
        &wrong.replace("$0", "").replace("wan", "w$0an"),
        literals(),
        json!({}),
        Value::Null,
    );
    none(wrong, literals(), json!({}), json!(["refactor"]));
    let editor = none(wrong, json!({}), json!({}), Value::Null);
    let offered = &editor.initialized["capabilities"]["codeActionProvider"];
    assert!(
        offered.is_null(),
        "a client that takes no literals is offered none"
    );
    // The value stands in the client's settings.
    let set = json!({ "set": { "every": "5 MiB" } });
    none(
        "param every: time\nnf m = monitor { every = $every$0 }\n",
        literals(),
        set,
        Value::Null,
    );
}
