//! Inputs that no operator writes: nothing may panic, hang, overflow the stack or be dropped
//! silently.

use std::fmt::Write as _;

use onvm_lang::syntax::{DeclKind, FilterKind};
use onvm_lang::{Diagnostic, format, parse, parse_filter};
use proptest::prelude::*;

/// Parses and formats; every span must lie in the source, on character boundaries.
fn survive(source: &str) -> Vec<Diagnostic> {
    let parsed = parse(source);
    for decl in &parsed.file.decls {
        assert!(source.get(decl.span().range()).is_some());
    }
    for d in &parsed.diagnostics {
        assert!(!d.labels.is_empty());
        for label in &d.labels {
            assert!(source.get(label.span.range()).is_some(), "{d:?} in {source:?}");
        }
        for fix in &d.fixes {
            assert!(source.get(fix.span.range()).is_some(), "{d:?} in {source:?}");
        }
    }
    let broken = |d: &onvm_lang::syntax::Decl| matches!(d.kind.node, DeclKind::Error(_));
    if parsed.file.decls.iter().any(broken) {
        assert!(!parsed.diagnostics.is_empty(), "silent error in {source:?}");
    }
    if let Ok(text) = format(source) {
        assert_eq!(format(&text).as_deref(), Ok(text.as_str()), "in {source:?}");
    }
    parsed.diagnostics
}

fn codes(source: &str) -> Vec<&'static str> {
    survive(source).iter().map(|d| d.code).collect()
}

#[test]
fn nothing_but_white_space() {
    for source in [
        "",
        "\n",
        "\r\n\r\n",
        "\t",
        " ",
        "\u{feff}",
        "\u{feff}\n",
        "//",
        "// a",
        "\r",
    ] {
        assert_eq!(codes(source), [""; 0], "{source:?}");
    }
}

#[test]
fn deep_parentheses_are_refused_by_a_limit() {
    for (open, close) in [("(", ")"), ("[", "]"), ("{", "}")] {
        let source = format!(
            "let a = {}1{}\nlet b = 2",
            open.repeat(10_000),
            close.repeat(10_000)
        );
        assert_eq!(codes(&source), ["C0005"], "{open}");
        let source = format!("class a = {}tcp{}", open.repeat(10_000), close.repeat(10_000));
        assert_eq!(codes(&source), ["C0005"], "{open}");
    }
}

#[test]
fn deep_filters_are_refused_by_a_limit() {
    for filter in [
        format!("{}tcp{}", "(".repeat(10_000), ")".repeat(10_000)),
        format!("{}tcp", "not ".repeat(10_000)),
        format!("{}tcp", "!".repeat(10_000)),
        format!("{}1 = 1", "-".repeat(10_000)),
        format!("1{} = 1", " + 1".repeat(10_000)),
        format!("{}0{} = 1", "ip[".repeat(10_000), "]".repeat(10_000)),
        format!("port {}1{}", "(".repeat(10_000), ")".repeat(10_000)),
    ] {
        let (tree, found) = parse_filter(&filter);
        assert!(tree.is_none());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].code, "C0005");
    }
}

#[test]
fn nesting_up_to_the_limit_is_accepted() {
    let source = format!("class a = {}tcp{}", "(".repeat(64), ")".repeat(64));
    assert_eq!(codes(&source), [""; 0]);
    let source = format!("let a = {}1{}", "[".repeat(64), "]".repeat(64));
    assert_eq!(codes(&source), [""; 0]);
    let source = format!("let a = {}1{}", "[{a = ".repeat(32), "}]".repeat(32));
    assert_eq!(codes(&source), [""; 0]);
    let source = format!("chain a = {}x{}", "b { c -> ".repeat(64), " }".repeat(64));
    assert_eq!(codes(&source), [""; 0]);
}

#[test]
fn deep_arms_are_refused_by_a_limit() {
    let source = format!("chain a = {}x{}", "b { c -> ".repeat(5_000), " }".repeat(5_000));
    assert_eq!(codes(&source), ["C0005"]);
}

#[test]
fn a_filter_of_a_hundred_thousand_terms_is_flat() {
    let filter = format!("port 1{}", " or 2".repeat(100_000));
    let (tree, found) = parse_filter(&filter);
    assert_eq!(found, []);
    let Some(FilterKind::Logic { rest, .. }) = tree.map(|t| t.node) else {
        panic!("not flat");
    };
    assert_eq!(rest.len(), 100_000);
}

#[test]
fn a_line_of_a_megabyte() {
    assert_eq!(codes(&format!("let a = \"{}\"", "x".repeat(1 << 20))), [""; 0]);
    assert_eq!(codes(&format!("// {}", "x".repeat(1 << 20))), [""; 0]);
    assert_eq!(codes(&format!("let {} = 1", "x".repeat(1 << 20))), [""; 0]);
    assert_eq!(codes(&format!("let a = {}1", " ".repeat(1 << 20))), [""; 0]);
    assert_eq!(codes(&format!("let a = [{}]", "1, ".repeat(1 << 18))), [""; 0]);
    assert_eq!(codes(&"x ".repeat(1 << 19)), ["C0008"]);
    assert_eq!(codes(&"}".repeat(1 << 20)), ["C0003"]);
    assert_eq!(codes(&"\"".repeat(1 << 20)), ["C0008"]);
    assert_eq!(codes(&format!("let a = {}", "é".repeat(1 << 19))), ["C0001"]);
    assert_eq!(codes(&format!("class a = {}", "$".repeat(1 << 18))), ["C0020"]);
}

#[test]
fn ten_thousand_wrong_declarations_are_ten_thousand_errors() {
    assert_eq!(codes(&"port = tap\n".repeat(10_000)).len(), 10_000);
    assert_eq!(codes(&"port a = {\n".repeat(10_000)).len(), 10_000);
    assert_eq!(codes(&"steer a { (((\n".repeat(10_000)).len(), 10_000);
}

#[test]
fn ten_thousand_rules_in_one_block() {
    let mut source = String::from("steer wan {\n");
    for n in 0..10_000 {
        let (a, b) = (n / 256, n % 256);
        let _ = writeln!(
            source,
            "    tcp and src net 10.{a}.{b}.0/24 and dst port {n} -> fw -> lan"
        );
    }
    source.push_str("    else -> drop\n}\n");
    let parsed = parse(&source);
    assert_eq!(parsed.diagnostics, []);
    let DeclKind::Steer(steer) = &parsed.file.decls[0].kind.node else {
        panic!("not a steer");
    };
    assert_eq!(steer.rules.len(), 10_001);
    assert_eq!(
        steer.rules[9_999].span.text(&source),
        "tcp and src net 10.39.15.0/24 and dst port 9999 -> fw -> lan"
    );
}

#[test]
fn an_open_brace_does_not_swallow_what_follows() {
    for open in [
        "port a = tap {",
        "steer a {",
        "test \"a\" {",
        "nf a = b { c = [",
        "manager {",
    ] {
        let source = format!("{open}\nport lan = tap\nchain c = a -> b\nsteer lan {{ else -> c }}\n");
        let parsed = parse(&source);
        assert_eq!(parsed.diagnostics.len(), 1, "{open}");
        assert_eq!(parsed.diagnostics[0].code, "C0003", "{open}");
        let kinds: Vec<bool> = parsed
            .file
            .decls
            .iter()
            .map(|d| matches!(d.kind.node, DeclKind::Error(_)))
            .collect();
        assert_eq!(kinds, [true, false, false, false], "{open}");
    }
}

#[test]
fn a_broken_declaration_keeps_its_name() {
    let parsed = parse("nf fw = \nport = tap\nprot wan = tap");
    let names: Vec<_> = parsed
        .file
        .decls
        .iter()
        .map(|d| d.name().map(|n| n.node.as_str()))
        .collect();
    assert_eq!(names, [Some("fw"), None, Some("wan")]);
}

#[test]
fn keywords_inside_filters_and_grants_begin_no_declaration() {
    for source in [
        "class a = tcp and\nport 80\nor\nport http",
        "class a = dst\nport\n$p",
        "allow a to\nsteer b",
        "chain a(p:\nport) = p",
        "class a = tcp[0]\n= 1\nand\nlen = 5",
    ] {
        assert_eq!(codes(source), [""; 0], "{source}");
        assert_eq!(parse(source).file.decls.len(), 1, "{source}");
    }
}

#[test]
fn many_declarations_may_share_a_line() {
    let parsed = parse("let a = 1 let b = 2 port c = tap chain d = e steer f { else -> d } manager {}");
    assert_eq!(parsed.diagnostics, []);
    assert_eq!(parsed.file.decls.len(), 6);
}

#[test]
fn control_and_odd_characters_are_named() {
    for c in [
        '\0',
        '\u{7f}',
        '\u{a0}',
        '\u{200b}',
        '\u{202e}',
        '\u{1f600}',
        'ß',
        '\u{feff}',
        '`',
    ] {
        for source in [
            format!("let a = {c}"),
            format!("let {c} = 1"),
            format!("{c}"),
            format!("class a = {c}"),
            format!("steer wan {{ {c} -> a }}"),
        ] {
            let found = survive(&source);
            let only_mark = c == '\u{feff}' && source.len() == 3;
            let in_filter = c == '\u{feff}';
            assert!(only_mark || in_filter || !found.is_empty(), "{source:?}");
        }
    }
}

#[test]
fn strings_end_with_their_line() {
    assert_eq!(codes("let a = \"x\nlet b = \"y\""), ["C0004"]);
    assert_eq!(codes("let a = \"x\\"), ["C0004"]);
    assert_eq!(codes("let a = \"x\\\"\nlet b = 1"), ["C0004"]);
    assert_eq!(codes("let a = \"{ [ ( // \\\" \"\nlet b = 1"), [""; 0]);
}

#[test]
fn brackets_in_comments_do_not_count() {
    assert_eq!(codes("let a = 1 // { [ (\nlet b = 2 // }"), [""; 0]);
}

#[test]
fn arrows_comments_and_slashes_meet() {
    assert_eq!(codes("chain a = b->c//->d\n->e"), [""; 0]);
    assert_eq!(codes("steer a{tcp->b else->c}"), [""; 0]);
    assert_eq!(codes("steer a { ip[0]-1>2->b else->c }"), [""; 0]);
}

#[test]
fn numbers_at_the_edges() {
    assert_eq!(codes("let a = 9223372036854775807"), [""; 0]);
    assert_eq!(codes("let a = -9223372036854775808"), [""; 0]);
    assert_eq!(codes("let a = 9223372036854775808"), ["C0007"]);
    assert_eq!(codes("let a = 0x"), ["C0007"]);
    assert_eq!(codes("let a = -"), ["C0007"]);
    assert_eq!(codes("let a = 1.7976931348623157e309"), ["C0007"]);
    assert_eq!(
        codes("class a = port 65535 and ip[4294967295] = 4294967295"),
        [""; 0]
    );
    assert_eq!(codes("class a = portrange 99999-2"), ["C0021"]);
}

const PIECES: [&str; 72] = [
    "use ",
    "param ",
    "let ",
    "class ",
    "port ",
    "nf ",
    "chain ",
    "steer ",
    "allow ",
    "assert ",
    "test ",
    "manager ",
    "wan",
    "a",
    "Web",
    "=",
    "==",
    "->",
    "-",
    ">",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ",",
    ":",
    "\"",
    "\"x\"",
    "\\",
    "$a",
    "$",
    "//",
    "// c\n",
    "/// d\n",
    "/",
    "\n",
    "\r\n",
    "\t",
    " ",
    "\u{feff}",
    "é",
    "10.0.0.0/8",
    "10.0.0.1",
    "2001:db8::1",
    "02:00:00:00:00:01",
    "80",
    "64 MiB",
    "2..4",
    "0x1f",
    "tcp",
    " and ",
    " or ",
    "not ",
    "ip[0]",
    "& 3",
    "port 80",
    "src ",
    "net ",
    "else",
    "drop",
    "with ",
    "file(",
    "to ",
    "steer",
    "passes ",
    "before ",
    "send ",
    "expect ",
    "all",
    "!",
];

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(1024)
    })]

    #[test]
    fn any_text_survives(source in "\\PC{0,200}|(?s).{0,200}") {
        survive(&source);
        let _ = parse_filter(&source);
    }

    #[test]
    fn any_bytes_survive(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        survive(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_tokens_survive(pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..60)) {
        let source = pieces.concat();
        survive(&source);
        let (tree, found) = parse_filter(&source);
        prop_assert!(tree.is_some() || !found.is_empty());
    }

    /// A file cut or damaged in one place.
    #[test]
    fn a_damaged_file_survives(
        at in any::<prop::sample::Index>(),
        cut in 0..40_usize,
        put in prop::sample::select(PIECES.to_vec()),
    ) {
        let source = concat!(
            include_str!("../corpus/edge.chain"),
            include_str!("../corpus/messy.chain"),
            include_str!("../corpus/tests.chain"),
        );
        let mut chars: Vec<char> = source.chars().collect();
        let from = at.index(chars.len());
        let to = (from + cut).min(chars.len());
        chars.splice(from..to, put.chars());
        survive(&chars.into_iter().collect::<String>());
    }
}

#[test]
fn a_block_of_ten_thousand_wrong_rules_takes_no_long_time() {
    let begun = std::time::Instant::now();
    for rule in [
        "tcp lan",
        "tcp and src net 10.0.0.0/8 and dst port 80 > lan",
        "tcp and and udp -> lan",
        "(",
    ] {
        let source = format!(
            "steer wan {{\n{}}}\nlet a = 1\n",
            format!("    {rule}\n").repeat(10_000)
        );
        let found = parse(&source).diagnostics;
        assert!(found.len() > 100 || rule == "(", "{rule}: {}", found.len());
    }
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
}

#[test]
fn a_word_that_is_a_name_in_part_is_no_name() {
    for source in [
        "port wan = null\nsteer wan { tcp -> drop else -> wané }\n",
        "port wan = null\nsteer wan { a ->else -> wané }\n",
        "port wan = null\nsteer wan { tcp -> wané else -> wan }\n",
    ] {
        let found = parse(source).diagnostics;
        assert!(
            found.iter().any(|d| d.severity == onvm_lang::Severity::Error),
            "{source}"
        );
    }
}
