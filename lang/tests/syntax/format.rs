//! The formatter: what it writes, that it is done after one pass, and that it changes no meaning.

use onvm_lang::syntax::File;
use onvm_lang::{format, parse};
use proptest::prelude::*;

const CORPUS: [(&str, &str); 9] = [
    ("edge", include_str!("../corpus/edge.chain")),
    ("messy", include_str!("../corpus/messy.chain")),
    ("segments", include_str!("../corpus/segments.chain")),
    ("filters", include_str!("../corpus/filters.chain")),
    ("tests", include_str!("../corpus/tests.chain")),
    ("shapes", include_str!("../corpus/shapes.chain")),
    ("crlf", include_str!("../corpus/crlf.chain")),
    ("comment", include_str!("../corpus/comment.chain")),
    ("empty", include_str!("../corpus/empty.chain")),
];

/// The tree of a source that must have no errors. Trees compare without their spans.
fn tree(source: &str) -> File {
    let parsed = parse(source);
    assert_eq!(parsed.diagnostics, [], "in:\n{source}");
    parsed.file
}

fn comments(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in source.lines() {
        let mut quoted = false;
        let mut escaped = false;
        for (at, c) in line.char_indices() {
            if !quoted && line[at..].starts_with("//") {
                found.push(line[at..].trim_end().to_owned());
                break;
            }
            quoted ^= c == '"' && !escaped;
            escaped = quoted && c == '\\' && !escaped;
        }
    }
    found
}

/// Formats, and checks what holds for every source.
fn check(source: &str) -> String {
    let once = format(source).unwrap();
    let twice = format(&once).unwrap();
    assert_eq!(once, twice, "a second pass changed the text of:\n{source}");
    assert_eq!(
        tree(source),
        tree(&once),
        "the meaning changed of:\n{source}\nto:\n{once}"
    );
    assert_eq!(
        comments(source),
        comments(&once),
        "comments changed in:\n{source}\nto:\n{once}"
    );
    for line in once.lines() {
        assert_eq!(line, line.trim_end(), "white space at a line's end");
    }
    once
}

#[test]
fn the_corpus_is_laid_out_in_one_style() {
    for (name, source) in CORPUS {
        insta::assert_snapshot!(format!("formatted_{name}"), check(source));
    }
}

#[test]
fn a_source_with_errors_is_refused_with_its_diagnostics() {
    let found = format("port wan = \nlet a = 1").unwrap_err();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].code, "C0001");
}

/// Byte ranges of white space outside strings and comments; a comment's line end is left out.
fn gaps(source: &str) -> Vec<(usize, usize)> {
    let mut gaps = Vec::new();
    let bytes = source.as_bytes();
    let (mut at, mut quoted, mut comment) = (0, false, false);
    while at < bytes.len() {
        match bytes[at] {
            b'\n' if comment => {
                comment = false;
                at += 1;
                continue;
            }
            b'\\' if quoted => at += 1,
            b'"' if !comment => quoted = !quoted,
            b'/' if !quoted && bytes.get(at + 1) == Some(&b'/') => comment = true,
            _ => {}
        }
        let blank = |b: u8| b.is_ascii_whitespace();
        if blank(bytes[at]) && !quoted && !comment {
            let len = bytes[at..].iter().take_while(|b| blank(**b)).count();
            gaps.push((at, at + len));
            at += len;
        } else {
            at += 1;
        }
    }
    gaps
}

/// White space and comments at every single place, those included where there was no white space.
#[test]
fn no_gap_matters() {
    for (_, source) in CORPUS {
        let wanted = tree(source);
        let mut breaks = gaps(source);
        let tokens = onvm_lang::tokens(source);
        let joins = tokens.windows(2).filter(|pair| pair[0].end == pair[1].start);
        breaks.extend(joins.map(|pair| (pair[1].start as usize, pair[1].start as usize)));
        for (start, end) in breaks {
            for gap in ["\n", "\n    ", " // a comment\n", " // a comment\n        "] {
                let changed = format!("{}{gap}{}", &source[..start], &source[end..]);
                // Between some characters, as in `10.0.0.1`, there may be none.
                let parsed = parse(&changed);
                if start == end && (!parsed.diagnostics.is_empty() || parsed.file != wanted) {
                    continue;
                }
                assert_eq!(parsed.diagnostics, [], "in:\n{changed}");
                assert_eq!(parsed.file, wanted, "the meaning changed of:\n{changed}");
                let formatted = format(&changed).unwrap_or_else(|found| panic!("{found:?}\n{changed}"));
                assert_eq!(tree(&formatted), wanted, "{changed}");
            }
        }
    }
}

fn white_space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        " ",
        "\n",
        "\n\n",
        "\n\n\n",
        "\t",
        "\r\n",
        " // trailing\n",
        "\n// own line\n",
        "\n\n    // apart\n\n",
        "\n//\n",
        " //// four\r\n",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// White space and comments anywhere: newlines carry no meaning, comments are kept.
    #[test]
    fn white_space_and_comments_change_nothing(
        // The last two have no white space to change.
        which in 0..CORPUS.len() - 2,
        changes in prop::collection::vec((any::<prop::sample::Index>(), white_space()), 0..12),
    ) {
        let source = CORPUS[which].1;
        let gaps = gaps(source);
        let mut chosen: Vec<_> = changes.iter().map(|(i, s)| (gaps[i.index(gaps.len())], *s)).collect();
        chosen.sort();
        chosen.dedup_by_key(|c| c.0);
        let mut changed = String::new();
        let mut from = 0;
        for ((start, end), text) in chosen {
            changed.push_str(&source[from..start]);
            changed.push_str(text);
            from = end;
        }
        changed.push_str(&source[from..]);
        prop_assert_eq!(tree(source), tree(&changed));
        check(&changed);
    }
}
