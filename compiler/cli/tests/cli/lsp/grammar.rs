//! The TextMate grammar of the editors: it knows every word that the language knows, and colours what it should.

use std::{fs, path::Path};

use fancy_regex::{Captures, Regex, RegexBuilder};
use onvm_lang::{TokenKind, UNITS, syntax::DeclKind, words};
use serde_json::Value;

use super::client::{Editor, cursor, repository};

const GRAMMAR: &str = "lang/editors/vscode/syntaxes/chain.tmLanguage.json";

/// A rule of the grammar with what it includes in its place.
struct Rule {
    start: Regex,
    name: Option<String>,
    captures: Vec<(usize, String)>,
    /// Where the rule encloses others: its end and they.
    body: Option<(Regex, Vec<Rule>)>,
}

fn rules(grammar: &Value, patterns: &Value) -> Vec<Rule> {
    let patterns = patterns.as_array().unwrap();
    patterns.iter().flat_map(|p| rule(grammar, p)).collect()
}

fn rule(grammar: &Value, pattern: &Value) -> Vec<Rule> {
    if let Some(include) = pattern["include"].as_str() {
        let name = include
            .strip_prefix('#')
            .expect("only the own repository is included");
        let included = &grammar["repository"][name];
        assert!(included.is_object(), "{include} leads nowhere");
        return rule(grammar, included);
    }
    let regex = |key: &str| {
        let text = pattern[key].as_str()?;
        let built = RegexBuilder::new(text).oniguruma_mode(true).build();
        Some(built.unwrap_or_else(|e| panic!("{text}: {e}")))
    };
    let Some(start) = regex("match").or_else(|| regex("begin")) else {
        return rules(grammar, &pattern["patterns"]);
    };
    let captures = pattern["captures"].as_object().into_iter().flatten();
    vec![Rule {
        start,
        name: pattern["name"].as_str().map(str::to_owned),
        captures: captures
            .map(|(n, c)| (n.parse().unwrap(), c["name"].as_str().unwrap().to_owned()))
            .collect(),
        body: regex("end").map(|end| {
            let inner = pattern
                .get("patterns")
                .map_or_else(Vec::new, |p| rules(grammar, p));
            (end, inner)
        }),
    }]
}

fn grammar() -> (Value, Vec<Rule>) {
    let grammar: Value = serde_json::from_str(&repository(GRAMMAR)).unwrap();
    let rules = rules(&grammar, &grammar["patterns"]);
    (grammar, rules)
}

/// A piece of one line and its innermost scope.
type Piece = (std::ops::Range<usize>, String);

/// Colours one line, as editors do: the rule that matches first wins, the earlier one of two at the same place. No rule of
/// this grammar goes over the end of a line.
fn colour(rules: &[Rule], line: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some((rule, found)) = first(rules, line, at) {
        let whole = found.get(0).unwrap();
        let mut end = whole.end();
        if let Some((end_rule, inner)) = &rule.body {
            let mut from = end;
            // What is enclosed hides an end: an escaped quote ends no string.
            end = loop {
                let close = end_rule
                    .find_from_pos(line, from)
                    .unwrap()
                    .expect("it ends with its line");
                match first(inner, line, from) {
                    Some((_, enclosed)) if enclosed.get(0).unwrap().start() < close.start() => {
                        from = enclosed.get(0).unwrap().end();
                    }
                    _ => break close.end(),
                }
            };
        }
        pieces.extend(rule.name.iter().map(|name| (whole.start()..end, name.clone())));
        for (n, name) in &rule.captures {
            pieces.extend(found.get(*n).map(|c| (c.range(), name.clone())));
        }
        assert!(end > at || end == whole.start(), "a rule matches nothing: {line}");
        at = end.max(at + 1);
        while !line.is_char_boundary(at) {
            at += 1;
        }
        if at > line.len() {
            break;
        }
    }
    pieces
}

fn first<'r, 'l>(rules: &'r [Rule], line: &'l str, at: usize) -> Option<(&'r Rule, Captures<'l, str>)> {
    let found = rules
        .iter()
        .filter_map(|r| Some((r, r.start.captures_from_pos(line, at).unwrap()?)));
    found.min_by_key(|(_, c)| c.get(0).unwrap().start())
}

/// The scope of a word of a line, its first occurrence.
#[track_caller]
fn check(line: &str, expected: &[(&str, &str)]) {
    let (_, rules) = grammar();
    let pieces = colour(&rules, line);
    for (word, scope) in expected {
        let found: Vec<_> = pieces
            .iter()
            .filter(|(r, _)| line[r.clone()].trim() == *word)
            .collect();
        let scopes: Vec<&str> = found.iter().map(|(_, s)| s.as_str()).collect();
        assert!(
            scopes.iter().any(|s| s.starts_with(scope)),
            "{word:?} is {scopes:?} in {line}: {pieces:?}"
        );
    }
}

#[test]
fn examples() {
    check(
        "/// The uplink.",
        &[("/// The uplink.", "comment.line.documentation")],
    );
    check(
        "port wan = pci { address = $uplink, queues = 2 } // port",
        &[
            ("port", "keyword.declaration"),
            ("wan", "entity.name.type.port"),
            ("pci", "support.type.port-kind"),
            ("address", "variable.other.property"),
            ("$uplink", "variable.other.constant"),
            ("2", "constant.numeric"),
            ("// port", "comment.line.double-slash"),
        ],
    );
    check(
        r#"nf ids = scan { p = file("a \" b.txt"), m = 64 MiB } with { replicas = 2..4 }"#,
        &[
            ("nf", "keyword.declaration"),
            ("scan", "support.class.nf-type"),
            ("file", "support.function"),
            (r#""a \" b.txt""#, "string.quoted"),
            ("64", "constant.numeric"),
            ("MiB", "keyword.other.unit"),
            ("with", "keyword.control.clause"),
            ("2..4", "constant.numeric.range"),
        ],
    );
    check(
        "    web and not src net $trusted and dst port 80 -> inspect(lan)",
        &[
            ("web", "variable.other"),
            ("and", "keyword.operator.logical"),
            ("src", "support.type.filter"),
            ("port", "support.type.filter"),
            ("->", "keyword.operator.arrow"),
            ("inspect", "entity.name.function.call"),
        ],
    );
    check(
        "class syn = tcp[tcpflags] & tcp-syn != 0 and net 10.0.0.0/8 or host 2001:db8::1",
        &[
            ("tcpflags", "constant.other.flag"),
            ("tcp-syn", "constant.other.flag"),
            ("10.0.0.0/8", "constant.numeric.address"),
            ("2001:db8::1", "constant.numeric.address"),
        ],
    );
    check(
        "let m = [02:00:00:00:00:01, 198.51.100.7:4000, true]",
        &[
            ("let", "keyword.declaration"),
            ("02:00:00:00:00:01", "constant.numeric.mac"),
            ("198.51.100.7:4000", "constant.numeric.address"),
            ("true", "constant.language"),
        ],
    );
    check(
        "assert wan: all never passes ids",
        &[
            ("assert", "keyword.declaration"),
            ("wan", "variable.other.port"),
            ("all", "support.type.filter"),
            ("never", "keyword.control"),
            ("ids", "variable.other"),
        ],
    );
}

/// Asks the language itself for its words, so that a new one that the grammar does not know shows here.
#[test]
fn every_word_is_known() {
    for word in words::DECLARATIONS {
        let line = match word {
            "use" | "test" => format!("{word} \"x\""),
            "manager" | "steer" => format!("{word} x {{").replace("manager x", "manager"),
            "param" | "assert" => format!("{word} x: string"),
            "allow" => "allow x to steer y".to_owned(),
            _ => format!("{word} x = y"),
        };
        check(&line, &[(word, "keyword.declaration")]);
    }
    for word in words::CLAUSES {
        let line = format!("x {word}(");
        let call = ["file", "secret"].contains(&word);
        check(
            &line,
            &[(
                word,
                if call {
                    "support.function"
                } else {
                    "keyword.control.clause"
                },
            )],
        );
    }
    for word in words::FILTER {
        check(&format!("    {word} x"), &[(word, "support.type.filter")]);
    }
    for word in words::CONNECTIVES {
        check(&format!("a {word} b"), &[(word, "keyword.operator.logical")]);
    }
    for unit in UNITS {
        check(&format!("x = 5 {unit} }}"), &[(unit, "keyword.other.unit")]);
        check(&format!("x = 5{unit}"), &[(unit, "keyword.other.unit")]);
    }
    for kind in completed("port x = $0") {
        check(
            &format!("port x = {kind} {{"),
            &[(&kind, "support.type.port-kind")],
        );
    }
    for ty in completed("param x: $0") {
        check(&format!("param x: {ty}"), &[(&ty, "support.type.value")]);
        check(&format!("param x: [{ty}]"), &[(&ty, "support.type.value")]);
    }
}

/// What the language server offers at a place.
fn completed(marked: &str) -> Vec<String> {
    let (text, position) = cursor(marked);
    let mut editor = Editor::with(&[]);
    editor.open("a.chain", &text);
    let found = editor
        .ask("textDocument/completion", "a.chain", position)
        .unwrap();
    let labels = found
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["label"].as_str().unwrap().to_owned());
    labels.collect()
}

/// The words of the language that `words::CLAUSES` names are those of the grammar that parses it.
#[test]
fn the_clauses_are_those_of_the_parser() {
    let pest = repository("lang/src/chain.pest");
    let literal = Regex::new(r#""([a-z_]{2,})""#).unwrap();
    let lines = pest
        .lines()
        .filter(|l| l.contains("!word_char") || l.starts_with("call_word"));
    for line in lines.filter(|l| !l.starts_with("packet_proto") && !l.starts_with("formal_kind")) {
        for found in literal.captures_iter(line) {
            let word = found.unwrap().get(1).unwrap().as_str().to_owned();
            assert!(words::CLAUSES.contains(&word.as_str()), "{word} of {line}");
        }
    }
    for word in words::CLAUSES {
        assert!(pest.contains(&format!("\"{word}\"")), "{word}");
    }
}

/// In every chain of the repository comments, strings and declarations are coloured as what they are, and nothing is left.
#[test]
fn the_chains_of_the_repository() {
    let (_, rules) = grammar();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let mut seen = 0;
    for folder in ["chains", "lang/tests/corpus"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "chain") {
                file(&rules, &fs::read_to_string(&path).unwrap());
                seen += 1;
            }
        }
    }
    assert!(seen >= 10, "{seen}");
}

fn file(rules: &[Rule], text: &str) {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end_matches(['\n', '\r']);
        let shifted = colour(rules, content)
            .into_iter()
            .map(|(r, s)| (r.start + start..r.end + start, s));
        pieces.extend(shifted);
        start += line.len();
    }
    let is = |span: std::ops::Range<usize>, scope: &str| {
        let text = &text[span.clone()];
        let mut at = pieces
            .iter()
            .filter(|(r, _)| r.start <= span.start && span.end <= r.end);
        assert!(at.any(|(_, s)| s.starts_with(scope)), "{text:?} is no {scope}");
    };
    for token in onvm_lang::tokens(text) {
        let span = token.span().range();
        match token.kind {
            TokenKind::Comment | TokenKind::Doc => is(span, "comment."),
            TokenKind::Str { closed: true } => is(span, "string."),
            TokenKind::Word => is(span, ""),
            _ => {}
        }
    }
    for decl in onvm_lang::parse(text).file.decls {
        if !matches!(decl.kind.node, DeclKind::Error(_)) {
            let start = decl.span().range().start;
            let keyword = text[start..]
                .split(|c: char| !c.is_ascii_alphabetic())
                .next()
                .unwrap();
            is(start..start + keyword.len(), "keyword.declaration");
        }
    }
}
