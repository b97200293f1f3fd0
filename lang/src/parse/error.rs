//! Syntax errors in an operator's words.

use pest::error::{Error, ErrorVariant, InputLocation};

use super::Rule;
use super::chunk::{Chunk, KEYWORDS};
use super::hint::hint;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::syntax::Span;

/// What stands at the place of an error, as the operator sees it.
pub(crate) fn found(source: &str, at: usize, end: usize) -> (Span, String) {
    let rest = source.get(at..end).unwrap_or("");
    let Some(head) = rest.chars().next() else {
        return (Span::new(at, at), "the end".to_owned());
    };
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let foreign = head.is_alphabetic() && !head.is_ascii();
    let len = if foreign {
        head.len_utf8()
    } else if word(head) || head == '$' {
        let tail = rest.get(head.len_utf8()..).unwrap_or("");
        let more = tail.find(|c| !word(c)).unwrap_or(tail.len());
        head.len_utf8() + more.min(64)
    } else if rest.starts_with("->") {
        2
    } else {
        head.len_utf8()
    };
    let len = (len..).find(|n| rest.is_char_boundary(*n)).unwrap_or(0);
    let text = match head {
        c if invisible(c) => format!("the invisible character U+{:04X}", u32::from(c)),
        c if foreign => format!("`{c}` (U+{:04X})", u32::from(c)),
        c if c.is_control() => format!("the control character U+{:04X}", u32::from(c)),
        _ => format!("`{}`", rest.get(..len).unwrap_or("")),
    };
    (Span::new(at, at + len), text)
}

/// Spaces that are none of ASCII's, joiners, and marks that change the direction of text.
fn invisible(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{ad}' | '\u{180e}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}'
        | '\u{205f}'..='\u{206f}' | '\u{3000}' | '\u{feff}')
}

/// The word among `words` that `word` was probably meant to be: one slip away, or two in a long one.
pub(crate) fn nearest(words: impl IntoIterator<Item = &'static str>, word: &str) -> Option<&'static str> {
    let distance = |w: &'static str| (strsim::damerau_levenshtein(w, word), w);
    let near = words.into_iter().map(distance);
    near.filter(|(d, w)| *d <= 1 + usize::from(w.len() > 5))
        .min()
        .map(|(_, w)| w)
}

/// Errors that are reported before the grammar is asked.
pub(super) fn before_grammar(chunk: &Chunk) -> Option<Diagnostic> {
    if let Some(span) = chunk.too_deep {
        return Some(nesting(span));
    }
    let span = chunk.open_string?;
    Some(
        Diagnostic::error(
            codes::STRING,
            "this string is not closed",
            span,
            "the line ends before the string does",
        )
        .help("close it with `\"`; for a line break inside a string write `\\n`"),
    )
}

/// The error for text nested beyond the limit.
pub(crate) fn nesting(span: Span) -> Diagnostic {
    Diagnostic::error(
        codes::NESTING,
        format!("nested more than {} levels deep", crate::MAX_NESTING),
        span,
        "this level is one too many",
    )
    .help("name the inner parts with `class`, `let` or `chain`, and use the names")
}

/// Words that begin a declaration in other languages, and ours for them.
const FOREIGN: [(&str, &str); 12] = [
    ("import", "use"),
    ("include", "use"),
    ("const", "let"),
    ("var", "param"),
    ("variable", "param"),
    ("interface", "port"),
    ("function", "nf"),
    ("service", "nf"),
    ("vnf", "nf"),
    ("route", "steer"),
    ("rule", "steer"),
    ("expect", "assert"),
];

/// The error for text that begins no declaration.
pub(super) fn unknown_declaration(source: &str, chunk: &Chunk) -> Diagnostic {
    let range = chunk.span.range();
    let (span, found) = found(source, range.start, range.end);
    let word = span.text(source);
    if matches!(word, "}" | "]" | ")") {
        return Diagnostic::error(
            codes::BRACKET,
            format!("{found} closes nothing"),
            span,
            "no bracket is open here",
        )
        .help("remove it, or add the bracket that it should close");
    }
    let rest = source.get(range.clone()).unwrap_or("");
    if ["<<<<<<<", "=======", ">>>>>>>", "|||||||"]
        .iter()
        .any(|m| rest.starts_with(m))
    {
        return Diagnostic::error(
            codes::DECLARATION,
            "the marks of a merge conflict were left here",
            Span::new(range.start, range.start + 7),
            "two versions of this part were not merged",
        )
        .help("keep one of the versions, and remove the lines with the marks");
    }
    let lower = word.to_lowercase();
    let foreign = FOREIGN.iter().find(|(foreign, _)| *foreign == lower).map(|f| f.1);
    let found = Diagnostic::error(
        codes::DECLARATION,
        format!("expected a declaration, found {found}"),
        span,
        "no declaration begins like this",
    );
    match foreign.or_else(|| nearest(KEYWORDS, &lower)) {
        Some(keyword) if keyword == word => found.help("the rest of the declaration is missing"),
        Some(keyword) => found
            .help(format!("did you mean `{keyword}`?"))
            .write(span, keyword),
        None => match hint(source, range.start, range.start, &[])
            .filter(|_| !lower.starts_with(|c: char| c.is_ascii_alphanumeric()))
        {
            Some(hint) => hint.put_on(found, range.start),
            None => found.help(format!(
                "a declaration begins with one of: {}",
                KEYWORDS.join(", ")
            )),
        },
    }
}

/// The error for a name that is not `[a-z][a-z0-9_]*`, if it is not.
pub(crate) fn name(text: &str, span: Span) -> Option<Diagnostic> {
    let lower = text.to_lowercase();
    let (message, suggestion) = if lower != text {
        ("names are in lower case", lower)
    } else if text.starts_with('_') {
        let rest = text.trim_start_matches('_');
        ("a name begins with a letter", format!("x_{rest}"))
    } else {
        return None;
    };
    let found = Diagnostic::error(codes::NAME, message, span, format!("`{text}` is not a name"))
        .help(format!("write `{suggestion}`"));
    Some(
        if crate::is_name(&suggestion) && !crate::words::is_reserved(&suggestion) {
            found.write(span.tail(text), suggestion)
        } else {
            found
        },
    )
}

/// The error for a declaration that the grammar refused.
pub(super) fn syntax(source: &str, chunk: &Chunk, error: &Error<Rule>) -> Diagnostic {
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    };
    let positives = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives.as_slice(),
        ErrorVariant::CustomError { .. } => &[],
    };
    expected_at(source, chunk, chunk.span.range().start + at, positives)
}

/// The error for text at `at` that was not expected there.
pub(super) fn expected_at(source: &str, chunk: &Chunk, at: usize, positives: &[Rule]) -> Diagnostic {
    let range = chunk.span.range();
    if let (Some(open), true) = (chunk.unclosed, at >= range.end) {
        return unclosed(source, open, range.end);
    }
    let expected = expected(positives);
    let (span, found) = found(source, at, range.end);
    let keyword = chunk.keyword.unwrap_or("declaration");
    if span.is_empty() {
        let last = last_char(source, range.end);
        return Diagnostic::error(
            codes::EXPECTED,
            format!("this `{keyword}` ends too early: expected {expected}"),
            last,
            format!("expected {expected} after this"),
        );
    }
    let mut diagnostic = Diagnostic::error(
        codes::EXPECTED,
        format!("expected {expected}, found {found}"),
        span,
        format!("expected {expected} here"),
    );
    if let Some(hint) = hint(source, range.start, at, positives) {
        diagnostic = hint.put_on(diagnostic, at);
    }
    if let Some(open) = chunk.unclosed {
        diagnostic = diagnostic.label(open, "this bracket is not closed");
    }
    diagnostic
}

/// The error for a call with a space before its parenthesis, where a rule could follow.
pub(super) fn spaced_call(parenthesis: Span, name: &str) -> Diagnostic {
    Diagnostic::error(
        codes::EXPECTED,
        format!("expected the arguments of `{name}` right behind it, or another rule"),
        parenthesis,
        "this parenthesis belongs to neither",
    )
    .help(format!("a call has no space in it: `{name}(...)`"))
}

pub(super) fn unclosed(source: &str, open: Span, end: usize) -> Diagnostic {
    let bracket = open.text(source);
    let close = match bracket {
        "{" => "}",
        "[" => "]",
        _ => ")",
    };
    Diagnostic::error(
        codes::BRACKET,
        format!("this `{bracket}` is not closed"),
        open,
        "opened here",
    )
    .label(last_char(source, end), "the declaration ends here")
    .help(format!("add `{close}`"))
}

fn last_char(source: &str, end: usize) -> Span {
    let text = source.get(..end).unwrap_or("");
    let last = text.chars().next_back().map_or(0, char::len_utf8);
    Span::new(end - last, end)
}

/// Joins what was expected: `a`, `a or b`, `a, b or c`.
fn expected(rules: &[Rule]) -> String {
    let mut names: Vec<&str> = Vec::new();
    // What only separates is named last, and words once.
    let (marks, words): (Vec<&Rule>, Vec<&Rule>) = rules
        .iter()
        .partition(|r| matches!(r, Rule::comma | Rule::rbrace | Rule::rbracket | Rule::rparen));
    for rule in words.into_iter().chain(marks) {
        let name = describe(*rule);
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    match names.split_last() {
        None => "something else".to_owned(),
        Some((only, [])) => (*only).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// What a rule is to an operator.
fn describe(rule: Rule) -> &'static str {
    match rule {
        Rule::ident | Rule::name => "a name such as `web`",
        Rule::key => "a setting such as `queues = 2`",
        Rule::field => "a setting such as `queues = 2`",
        Rule::port_kind => "a port kind such as `tap`",
        Rule::nf_type => "an NF type such as `firewall`",
        Rule::port_name => "a port's name",
        Rule::nf_name => "an NF's name",
        Rule::node_name => "the name of an NF or a port",
        Rule::counter_name => "a counter's name",
        Rule::counter_value => "a whole number or `$name`",
        Rule::path => "a path in quotes, such as \"lib.chain\"",
        Rule::test_name => "the test's name in quotes",
        Rule::string => "a string in quotes",
        Rule::value | Rule::scalar | Rule::atom | Rule::value_filter => "a value",
        Rule::record | Rule::params => "settings in braces, `{ ... }`",
        Rule::with | Rule::kw_with => "`with { ... }`",
        Rule::unit => "",
        Rule::type_ref => "a type such as `string`",
        Rule::formals => "parameters such as `(p: port)`",
        Rule::formal => "a parameter such as `p: port`",
        Rule::formal_kind => "`port`, `nf` or `chain`",
        Rule::argument => "an argument: the name of a port, an NF or a chain",
        Rule::steps | Rule::step | Rule::node | Rule::drop | Rule::splice => {
            "a step: an NF, a port, a chain or `drop`"
        }
        Rule::arms => "arms in braces, `{ OUTPUT -> STEP }`",
        Rule::arm | Rule::output => "an arm such as `match -> drop`",
        Rule::rules => "rules in braces, `{ FILTER -> CHAIN }`",
        Rule::steer_rule => "a rule such as `tcp -> fast`",
        Rule::filter | Rule::class_filter | Rule::assert_filter => "a filter such as `tcp`",
        Rule::kw_else => "`else`",
        Rule::claim => "`passes`, `never passes`, `reaches`, `never reaches` or `dropped`",
        Rule::program | Rule::kw_program => "`program`",
        Rule::program_arms => "permitted ways in braces, `{ FILTER -> CHAIN, CHAIN }`",
        Rule::program_arm => "a permitted way such as `tcp -> fast, drop`",
        Rule::program_target => "the name of a chain, or `drop`",
        Rule::lookup => "`lookup`",
        Rule::steer_to | Rule::kw_steer => "`steer`",
        Rule::destination => "the name of an NF or a chain",
        Rule::kw_max_hops => "`max_hops`",
        Rule::count => "a whole number",
        Rule::statements => "statements in braces, `{ send ... expect ... }`",
        Rule::statement => "a statement (`send`, `replay`, `expect`)",
        Rule::send => "`send`",
        Rule::replay => "`replay`",
        Rule::expect => "`expect`",
        Rule::packet_proto => "a protocol: ether, arp, ip, ip6, icmp, tcp or udp",
        Rule::expectation => "an outcome: a path, `passes`, `drop`, a count or a counter",
        Rule::expect_path => "a path such as `fw -> lan`",
        Rule::kw_send => "`send`",
        Rule::kw_replay => "`replay`",
        Rule::kw_expect => "`expect`",
        Rule::file | Rule::kw_file => "`file(\"...\")`",
        Rule::kw_as => "`as`",
        Rule::kw_to => "`to`",
        Rule::kw_passes => "`passes`",
        Rule::kw_reaches => "`reaches`",
        Rule::kw_before => "`before`",
        Rule::kw_times => "`times`",
        Rule::kw_at => "`at`",
        Rule::kw_packets => "`packets`",
        Rule::kw_counter => "`counter`",
        Rule::kw_same => "`same as file(...)`",
        Rule::equals => "`=`",
        Rule::double_equals => "`==`",
        Rule::colon => "`:`",
        Rule::comma => "`,`",
        Rule::arrow => "`->`",
        Rule::lbrace => "`{`",
        Rule::rbrace => "`}`",
        Rule::lbracket => "`[`",
        Rule::rbracket => "`]`",
        Rule::lparen => "`(`",
        Rule::rparen => "`)`",
        Rule::EOI => "the end of this declaration",
        _ => "",
    }
}
