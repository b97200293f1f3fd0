//! References, rename, outline and formatting.

use serde_json::{Value, json};

use super::client::{Editor, cursor, place, repository};

const LIBRARY: &str = "class web = tcp and port 80\nport lan = null\n";

/// `main.chain` as given, `lib.chain` on the disk.
fn editor(marked: &str) -> (Editor, Value) {
    let (text, position) = cursor(marked);
    let capabilities = json!({ "workspace": { "workspaceEdit": { "documentChanges": true } } });
    let mut editor = Editor::with_client(&[("lib.chain", LIBRARY)], capabilities, json!({}));
    editor.open("main.chain", &text);
    (editor, position)
}

/// Places of a name as `file line:column-line:column`.
fn references(marked: &str, declaration: bool) -> Vec<String> {
    let (mut editor, position) = editor(marked);
    let params = json!({
        "textDocument": { "uri": editor.uri("main.chain") }, "position": position,
        "context": { "includeDeclaration": declaration },
    });
    let found = editor.request("textDocument/references", params).unwrap();
    let shown = |l: &Value| {
        let name = l["uri"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        format!("{name} {}", place(&l["range"]))
    };
    found
        .as_array()
        .map_or_else(Vec::new, |l| l.iter().map(shown).collect())
}

/// The files after a rename, or why it is refused.
fn rename(marked: &str, new: &str) -> Result<(String, String), String> {
    let (mut editor, position) = editor(marked);
    let params =
        json!({ "textDocument": { "uri": editor.uri("main.chain") }, "position": position, "newName": new });
    let edit = editor
        .request("textDocument/rename", params)
        .map_err(|(_, message)| message)?;
    let mut files = (cursor(marked).0, LIBRARY.to_owned());
    for change in edit["documentChanges"].as_array().unwrap() {
        let main = change["textDocument"]["uri"] == editor.uri("main.chain");
        assert_eq!(
            change["textDocument"]["version"],
            if main { json!(1) } else { Value::Null }
        );
        apply(
            if main { &mut files.0 } else { &mut files.1 },
            change["edits"].as_array().unwrap(),
        );
    }
    Ok(files)
}

/// Applies edits of ASCII texts, the last first.
pub(crate) fn apply(text: &mut String, edits: &[Value]) {
    let offset = |text: &str, p: &Value| {
        let lines: usize = text
            .split_inclusive('\n')
            .take(p["line"].as_u64().unwrap() as usize)
            .map(str::len)
            .sum();
        lines + p["character"].as_u64().unwrap() as usize
    };
    for edit in edits.iter().rev() {
        let (start, end) = (&edit["range"]["start"], &edit["range"]["end"]);
        let range = offset(text, start)..offset(text, end);
        text.replace_range(range, edit["newText"].as_str().unwrap());
    }
}

const MAIN: &str = "use \"lib.chain\"\nport wan = null\nnf fw = forward\nchain c(lan2: port) = fw -> lan2\n\
                    steer wan { web -> c(lan) not web -> fw -> lan else -> drop }\nassert wan: web passes fw before lan\n\
                    test \"t\" { expect fw -> lan }\n";

#[test]
fn references_in_all_files() {
    let web = MAIN.replacen("{ web", "{ w$0eb", 1);
    assert_eq!(
        references(&web, true),
        [
            "lib.chain 0:6-0:9",
            "main.chain 4:12-4:15",
            "main.chain 4:30-4:33",
            "main.chain 5:12-5:15",
        ]
    );
    assert_eq!(references(&web, false).len(), 3);
    let param = MAIN.replacen("-> lan2", "-> lan$02", 1);
    assert_eq!(
        references(&param, true),
        ["main.chain 3:8-3:12", "main.chain 3:28-3:32"]
    );
    assert!(references(&MAIN.replacen("drop", "dr$0op", 1), true).is_empty());
}

#[test]
fn highlights_stay_in_the_file() {
    let (mut editor, position) = editor(&MAIN.replacen("{ web", "{ w$0eb", 1));
    let found = editor
        .ask("textDocument/documentHighlight", "main.chain", position)
        .unwrap();
    assert_eq!(found.as_array().unwrap().len(), 3);
}

#[test]
fn renaming() {
    let (main, library) = rename(&MAIN.replacen("c(lan)", "c(la$0n)", 1), "inner").unwrap();
    assert_eq!(library, LIBRARY.replace("port lan", "port inner"));
    assert_eq!(
        main,
        MAIN.replace("lan)", "inner)")
            .replace("-> lan ", "-> inner ")
            .replace("lan\n", "inner\n")
    );
    let (main, library) = rename(&MAIN.replacen("c(lan2", "c(lan$02", 1), "out").unwrap();
    assert_eq!((main, library), (MAIN.replace("lan2", "out"), LIBRARY.to_owned()));
    let values = "let a = 1\nlet b = [$a, 2]\nclass c = port $0$a\n";
    let (main, _) = rename(values, "ports").unwrap();
    assert_eq!(
        main,
        "let ports = 1\nlet b = [$ports, 2]\nclass c = port $ports\n"
    );
}

#[test]
fn renames_that_are_refused() {
    let at = |what: &str, marked: &str, new: &str| {
        let why = rename(&MAIN.replacen(what, marked, 1), new).unwrap_err();
        assert!(!why.ends_with('.'), "{why}");
        why
    };
    assert!(at("nf fw", "nf f$0w", "Fw").contains("cannot be a name"));
    assert!(at("nf fw", "nf f$0w", "2x").contains("cannot be a name"));
    assert!(at("nf fw", "nf f$0w", "chain").contains("a word of the language"));
    assert!(at("{ web", "{ w$0eb", "tcp").contains("a word of filters"));
    assert!(at("nf fw", "nf f$0w", "wan").contains("there is a `wan` already"));
    assert!(
        at("nf fw", "nf f$0w", "lan2").contains("there is a `lan2` already"),
        "a parameter would hide it"
    );
    assert!(at("= forward", "= forw$0ard", "x").contains("no name here"));
    assert!(at("test \"t\"", "chain bad = fw -> ->\ntest \"t$0\"", "x").contains("no name here"));
    let broken = format!("{}chain bad = fw -> ->\n", MAIN.replacen("nf fw", "nf f$0w", 1));
    assert!(rename(&broken, "x").unwrap_err().contains("does not parse"));
}

#[test]
fn what_can_be_renamed() {
    let (mut editor, position) = editor(&MAIN.replacen("nf fw", "nf f$0w", 1));
    let range = editor
        .ask("textDocument/prepareRename", "main.chain", position)
        .unwrap();
    assert_eq!(place(&range), "2:3-2:5");
    let nothing = json!({ "line": 0, "character": 0 });
    assert_eq!(
        editor.ask("textDocument/prepareRename", "main.chain", nothing),
        Ok(Value::Null)
    );
}

#[test]
fn the_outline() {
    let text = repository("chains/edge.chain");
    let mut editor = Editor::with(&[]);
    editor.open("edge.chain", &text);
    let params = json!({ "textDocument": { "uri": editor.uri("edge.chain") } });
    let found = editor
        .request("textDocument/documentSymbol", params.clone())
        .unwrap();
    let names: Vec<&str> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"fw") && names.contains(&"steer wan"), "{names:?}");
    editor.change("edge.chain", 2, "chain a(p: port) = p\nchain b = ->\n");
    let found = editor.request("textDocument/documentSymbol", params).unwrap();
    assert_eq!(found[0]["children"][0]["name"], "p");
    assert_eq!(found[1]["name"], "b", "what does not parse is listed too");
}

#[test]
fn formatting() {
    let mut editor = Editor::with(&[]);
    let params = |editor: &Editor| json!({ "textDocument": { "uri": editor.uri("a.chain") }, "options": { "tabSize": 4, "insertSpaces": true } });
    let untidy = "port wan = null\nport   lan=null // kept\nport end = null\n";
    editor.open("a.chain", untidy);
    let ask = params(&editor);
    let edits = editor.request("textDocument/formatting", ask.clone()).unwrap();
    let mut text = untidy.to_owned();
    apply(&mut text, edits.as_array().unwrap());
    assert_eq!(text, onvm_lang::format(untidy).unwrap());
    assert_eq!(
        edits[0]["range"]["start"]["line"], 1,
        "lines that are in order are left alone: {edits}"
    );
    editor.change("a.chain", 2, &text);
    assert_eq!(
        editor.request("textDocument/formatting", ask.clone()),
        Ok(json!([]))
    );
    editor.change("a.chain", 3, "port wan =\n");
    assert!(
        editor
            .request("textDocument/formatting", ask)
            .unwrap_err()
            .1
            .contains("does not parse")
    );
}
