//! The words that fit at a place, found from the tokens before it: while it is being typed, a declaration rarely
//! parses.

mod path;
mod statement;

use onvm_lang::{TokenKind, words};

use super::marks::Owner;
use path::steps;
use statement::statement;

/// Something that may stand at the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want<'a> {
    Declaration,
    Words(&'static [&'static str]),
    PortKind,
    NfType,
    InputType,
    Port,
    Nf,
    /// A chain, or a parameter of the chain around the place.
    Chain,
    Key(Owner<'a>),
    Value(Option<(Owner<'a>, &'a str)>),
    /// The unit of this setting's value.
    Unit(Owner<'a>, &'a str),
    /// A `let` or a `param`; `$` is there already.
    Reference,
    /// An output of this NF.
    Output(&'a str),
    /// A counter of this NF.
    Counter(&'a str),
    Filter,
    /// A filter or a rule, where this setting is one.
    OfPackets(Owner<'a>, &'a str),
    /// A verdict of a file of rules.
    Verdict,
}

const STEP: [Want<'static>; 4] = [Want::Nf, Want::Port, Want::Chain, Want::Words(&["drop"])];
const NODE: [Want<'static>; 2] = [Want::Nf, Want::Port];
const RULE: [Want<'static>; 2] = [Want::Filter, Want::Words(&["else"])];
const STATEMENT: Want<'static> = Want::Words(&["send", "replay", "expect"]);
const CLAIM: Want<'static> = Want::Words(&["passes", "never", "reaches", "dropped"]);

/// What may stand at `at`, where a word may have been begun. `start` is where the declaration before it begins, if any.
pub(super) fn wants(text: &str, start: Option<usize>, at: usize) -> Vec<Want<'_>> {
    let begun = text.get(..at).map_or(0, |t| t.len() - begun_word(t).len());
    let all = onvm_lang::tokens(text);
    if all.iter().any(|t| {
        let end = t.end as usize;
        match t.kind {
            TokenKind::Comment | TokenKind::Doc => (t.start as usize) < at && at <= end,
            TokenKind::Str { closed } => (t.start as usize) < at && (at < end || (at == end && !closed)),
            _ => false,
        }
    }) {
        return Vec::new();
    }
    let first = text
        .get(..begun)
        .unwrap_or("")
        .rsplit('\n')
        .next()
        .is_none_or(|l| l.trim().is_empty());
    let Some(start) = start.filter(|s| *s < begun) else {
        return if first {
            vec![Want::Declaration]
        } else {
            Vec::new()
        };
    };
    let slice = text.get(start..begun).unwrap_or("");
    let tokens = tokens(slice);
    let mut wants = match tokens.split_first() {
        _ if slice.ends_with('$') => return vec![Want::Reference],
        Some((keyword, rest)) => in_declaration(keyword, rest),
        None => Vec::new(),
    };
    if first && open(&tokens).is_empty() {
        wants.push(Want::Declaration);
    }
    wants
}

/// What may stand at `at` in a file of rules.
pub(super) fn wants_in_rules(text: &str, at: usize) -> Vec<Want<'_>> {
    let before = text.get(..at).unwrap_or("");
    let line = before.rsplit('\n').next().unwrap_or("");
    if line.contains('#') || line.contains("//") {
        return Vec::new();
    }
    let line = line
        .get(..line.len() - begun_word(line).len())
        .unwrap_or("")
        .trim();
    match line {
        line if line.ends_with('$') => vec![Want::Reference],
        "" => vec![Want::Verdict],
        line if line.ends_with(':') => vec![Want::Verdict],
        _ => vec![Want::Filter],
    }
}

/// The letters, digits and `_` at the end of a text.
pub(super) fn begun_word(text: &str) -> &str {
    let other = |c: char| !(c.is_alphanumeric() || c == '_');
    text.rfind(other).map_or(text, |n| {
        let width = text
            .get(n..)
            .and_then(|t| t.chars().next())
            .map_or(1, char::len_utf8);
        text.get(n + width..).unwrap_or("")
    })
}

/// Words and marks without comments; `->` is one, and a string is `"`.
fn tokens(text: &str) -> Vec<&str> {
    let mut out: Vec<&str> = Vec::new();
    let mut end = 0;
    for token in onvm_lang::tokens(text).iter().filter(|t| !t.is_comment()) {
        match (token.kind, token.text(text)) {
            (TokenKind::Str { .. }, _) => out.push("\""),
            (_, ">") if end == token.start && out.last() == Some(&"-") => {
                out.pop();
                out.push("->");
            }
            (_, word) => out.push(word),
        }
        end = token.end;
    }
    out
}

/// The places of the brackets that are not closed.
fn open(tokens: &[&str]) -> Vec<usize> {
    let mut open = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "{" | "[" | "(" => open.push(at),
            "}" | "]" | ")" => drop(open.pop()),
            _ => {}
        }
    }
    open
}

fn in_declaration<'a>(keyword: &str, rest: &[&'a str]) -> Vec<Want<'a>> {
    match keyword {
        "use" if rest.len() == 1 => vec![Want::Words(&["as"])],
        "param" => match rest {
            [_, ":"] | [_, ":", "["] => vec![Want::InputType],
            [.., "=" | "[" | ","] => vec![Want::Value(None)],
            _ => Vec::new(),
        },
        "let" if matches!(rest, [.., "=" | "[" | ","]) => vec![Want::Value(None)],
        "class" if rest.len() >= 2 => vec![Want::Filter],
        "port" => match rest {
            [_, "="] => vec![Want::PortKind],
            [_, "=", kind, "{", body @ ..] => in_record(body, Owner::Port(kind)),
            _ => Vec::new(),
        },
        "nf" => nf(rest),
        "manager" => rest
            .get(1..)
            .map_or_else(Vec::new, |body| in_record(body, Owner::Manager)),
        "chain" => chain(rest),
        "steer" => match rest {
            [] => vec![Want::Port],
            [_, "{", rules @ ..] => steps(rules, true),
            _ => Vec::new(),
        },
        "allow" => allow(rest),
        "assert" => assert(rest),
        "test" => rest.get(2..).map_or_else(Vec::new, statement),
        _ => Vec::new(),
    }
}

fn nf<'a>(rest: &[&'a str]) -> Vec<Want<'a>> {
    let with = rest.iter().position(|t| *t == "with");
    match (rest, with) {
        ([_, "="], _) => vec![Want::NfType],
        (_, Some(with)) => rest
            .get(with + 2..)
            .map_or_else(Vec::new, |body| in_record(body, Owner::With)),
        ([_, "=", ty, "{", body @ ..], None) if !open(rest).is_empty() => in_record(body, Owner::Nf(ty)),
        ([_, "=", _, ..], None) => vec![Want::Words(&["with"])],
        _ => Vec::new(),
    }
}

/// Within a record whose brace is open; nothing behind it.
fn in_record<'a>(body: &[&'a str], owner: Owner<'a>) -> Vec<Want<'a>> {
    let mut depth = 0_usize;
    let mut field = 0;
    for (at, token) in body.iter().enumerate() {
        match *token {
            "{" | "[" | "(" => depth += 1,
            "}" | "]" | ")" if depth == 0 => return Vec::new(),
            "}" | "]" | ")" => depth -= 1,
            "," if depth == 0 => field = at + 1,
            _ => {}
        }
    }
    match body.get(field..).unwrap_or_default() {
        [] => vec![Want::Key(owner)],
        [key, .., "=" | "[" | ","] => vec![Want::Value(Some((owner, key)))],
        [key, "=", "{", ..] => vec![Want::OfPackets(owner, key)],
        [key, "=", .., number] if number.starts_with(|c: char| c.is_ascii_digit()) => {
            vec![Want::Unit(owner, key), Want::OfPackets(owner, key)]
        }
        [key, "=", ..] => vec![Want::OfPackets(owner, key)],
        _ => Vec::new(),
    }
}

fn chain<'a>(rest: &[&'a str]) -> Vec<Want<'a>> {
    match rest.iter().position(|t| *t == "=") {
        Some(equals) => steps(rest.get(equals + 1..).unwrap_or_default(), false),
        None if rest.len() > 2 && rest.ends_with(&[":"]) => vec![Want::Words(&["port", "nf", "chain"])],
        None => Vec::new(),
    }
}

fn allow<'a>(rest: &[&'a str]) -> Vec<Want<'a>> {
    match rest {
        [] => vec![Want::Nf],
        [_] => vec![Want::Words(&["to"])],
        [_, "to"] => vec![Want::Words(&["steer", "lookup", "program"])],
        [_, "to", "program"] => vec![Want::Port],
        [_, "to", "program", _, "{", .., "->" | ","] => vec![Want::Chain, Want::Words(&["drop"])],
        [_, "to", "program", _, "{", ..] => vec![Want::Filter],
        [_, "to", "program", ..] => Vec::new(),
        [_, "to", "lookup", ..] => Vec::new(),
        [_, "to", "steer", .., "max_hops"] => Vec::new(),
        [_, "to", .., "steer" | ","] => NODE.to_vec(),
        [_, "to", "steer", ..] => vec![Want::Words(&["max_hops"])],
        _ => Vec::new(),
    }
}

fn assert<'a>(rest: &[&'a str]) -> Vec<Want<'a>> {
    let Some(filter) = rest.get(2..) else {
        return if rest.is_empty() {
            vec![Want::Port]
        } else {
            Vec::new()
        };
    };
    match filter {
        [.., "never"] => vec![Want::Words(&["passes", "reaches"])],
        [.., "passes"] => vec![Want::Nf],
        [.., "passes", _] => vec![Want::Words(&["before"])],
        [.., "before" | "reaches"] => NODE.to_vec(),
        [.., "reaches" | "before", _] | [.., "dropped"] => Vec::new(),
        [] => vec![Want::Filter],
        _ => vec![Want::Filter, CLAIM],
    }
}

/// The words of filters, with those that join primitives.
pub(super) fn filter_words() -> impl Iterator<Item = &'static str> {
    words::FILTER.into_iter().chain(words::CONNECTIVES)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What may stand at `$0` in a declaration that begins the text.
    pub(super) fn at(marked: &str) -> Vec<Want<'_>> {
        let place = marked.find("$0").unwrap();
        let text = String::leak(marked.replacen("$0", "", 1));
        wants(text, Some(0), place)
    }

    #[test]
    fn settings() {
        assert_eq!(at("port p = $0"), [Want::PortKind]);
        assert_eq!(at("port p = pci { $0"), [Want::Key(Owner::Port("pci"))]);
        assert_eq!(at("port p = pci { a = 1, q$0"), [Want::Key(Owner::Port("pci"))]);
        assert_eq!(
            at("nf f = t { a = $0"),
            [Want::Value(Some((Owner::Nf("t"), "a")))]
        );
        assert_eq!(
            at("nf f = t { a = [1, $0"),
            [Want::Value(Some((Owner::Nf("t"), "a")))]
        );
        let of_packets = Want::OfPackets(Owner::Nf("t"), "a");
        assert_eq!(
            at("nf f = t { a = 64 $0"),
            [Want::Unit(Owner::Nf("t"), "a"), of_packets]
        );
        assert_eq!(at("nf f = t { a = tcp and $0"), [of_packets]);
        assert_eq!(at("nf f = t { a = { drop $0"), [of_packets]);
        assert_eq!(at("nf f = t { a = $x$0"), [Want::Reference]);
        assert_eq!(at("nf f = t { a = 1 } $0"), [Want::Words(&["with"])]);
        assert_eq!(at("nf f = t { a = 1 } with { $0"), [Want::Key(Owner::With)]);
        assert_eq!(
            at("nf f = t with { run = $0"),
            [Want::Value(Some((Owner::With, "run")))]
        );
        assert_eq!(at("manager { $0"), [Want::Key(Owner::Manager)]);
    }

    #[test]
    fn claims() {
        assert_eq!(at("assert $0"), [Want::Port]);
        assert_eq!(at("assert p: $0"), [Want::Filter]);
        assert_eq!(at("assert p: tcp $0"), [Want::Filter, CLAIM]);
        assert_eq!(
            at("assert p: tcp never $0"),
            [Want::Words(&["passes", "reaches"])]
        );
        assert_eq!(at("assert p: tcp never passes $0"), [Want::Nf]);
        assert_eq!(at("assert p: tcp passes a before $0"), NODE);
        assert_eq!(at("allow $0"), [Want::Nf]);
        assert_eq!(at("allow a to steer b, $0"), NODE);
        let target = vec![Want::Chain, Want::Words(&["drop"])];
        assert_eq!(at("allow a to program p { $0"), [Want::Filter]);
        assert_eq!(at("allow a to program p { tcp and $0"), [Want::Filter]);
        assert_eq!(at("allow a to program p { tcp -> $0"), target);
        assert_eq!(at("allow a to program p { tcp -> x, $0"), target);
        assert_eq!(at("test \"t\" { $0"), [STATEMENT]);
        assert_eq!(at("test \"t\" { send $0"), [Want::Port]);
        assert_eq!(
            at("test \"t\" { send p tcp { dst = 1 } expect a -> $0"),
            [Want::Nf, Want::Port, Want::Words(&["drop"])]
        );
        assert_eq!(at("test \"t\" { expect f counter $0"), [Want::Counter("f")]);
        assert_eq!(at("test \"t\" { expect f -> p }\n$0"), [Want::Declaration]);
    }

    #[test]
    fn nothing_within_comments_and_strings() {
        assert_eq!(at("chain c = a // $0"), []);
        assert_eq!(at("port p = pci { address = \"a$0\" }"), []);
        assert_eq!(at("port p = pci { address = \"a$0"), []);
        assert_eq!(at("use \"x\" $0"), [Want::Words(&["as"])]);
    }
}
