//! What was probably meant by text that the grammar refuses.

use super::Rule;
use super::error::nearest;

/// A help for the text at `at`, where one of `expected` should stand, in a declaration that begins at `start`.
pub(super) fn hint(source: &str, start: usize, at: usize, expected: &[Rule]) -> Option<String> {
    let head = source.get(start..at).unwrap_or("");
    let before = source.get(..at).unwrap_or("").chars().next_back();
    let rest = source.get(at..).unwrap_or("");
    let in_name = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let mut chars = rest.chars();
    match (chars.next(), chars.next()) {
        (Some('-'), Some(c)) if in_name && c.is_alphanumeric() => {
            Some("names are made of a-z, 0-9 and `_`: write `_` for `-`".to_owned())
        }
        (Some('-'), Some(' ')) if rest.get(1..).is_some_and(|r| r.trim_start().starts_with('>')) => {
            Some("the arrow is written `->`, without a space in it".to_owned())
        }
        (Some('='), Some('>')) => Some("the arrow is written `->`".to_owned()),
        (Some('→'), _) => Some("the arrow is written `->`".to_owned()),
        (Some('\'' | '‘' | '’' | '“' | '”'), _) => {
            Some("strings are written in double quotes: \"...\"".to_owned())
        }
        (Some('#'), _) => Some("comments begin with `//`".to_owned()),
        (Some('/'), Some('*')) => Some("comments begin with `//` and end with the line".to_owned()),
        (Some(';'), _) => Some("no `;` is needed; remove it".to_owned()),
        (Some('$'), Some('{')) => Some("a constant is written `$name`, without braces".to_owned()),
        (Some('<'), _) => {
            Some("steps are joined by `->`, in the order in which packets pass them".to_owned())
        }
        (Some('\\'), _) => Some("text goes on in the next line by itself; remove the `\\`".to_owned()),
        (Some('='), _) if expected.contains(&Rule::colon) => {
            Some("a type stands behind `:`, as in `param uplink: string = \"wan0\"`".to_owned())
        }
        (Some(':'), _) if expected == [Rule::equals] && !head.contains('{') => {
            Some("a constant has the type of its value; only a `param` is declared with a type".to_owned())
        }
        (Some(':'), _) if expected.contains(&Rule::equals) => {
            Some("settings are written `key = value`".to_owned())
        }
        (Some('('), _)
            if expected
                .iter()
                .any(|r| matches!(r, Rule::params | Rule::record | Rule::lbrace)) =>
        {
            Some("settings stand in braces: `{ KEY = VALUE }`".to_owned())
        }
        (Some('{'), _) if expected == [Rule::EOI] && head.contains("with") => {
            Some("`with { ... }` stands last, behind the parameters".to_owned())
        }
        (Some(',' | '|'), _) if expected.contains(&Rule::arrow) => {
            Some("steps are joined by `->`, in the order in which packets pass them".to_owned())
        }
        (Some(':'), _) if expected == [Rule::arrow] => {
            Some("a rule is written `FILTER -> CHAIN`, an arm `OUTPUT -> STEP`".to_owned())
        }
        (Some('"'), _) if expected.iter().any(|r| matches!(r, Rule::file | Rule::kw_file)) => {
            Some("a file is named with `file(\"...\")`".to_owned())
        }
        (Some(c), _) if c.is_ascii_digit() && expected.contains(&Rule::name) => {
            Some("a name begins with a letter".to_owned())
        }
        (Some(c), _) if c.is_alphabetic() && !c.is_ascii() => Some(
            "names are made of a-z, 0-9 and `_`; some letters of other alphabets look like these".to_owned(),
        ),
        (Some(c), _) if !c.is_ascii() => Some("remove this character".to_owned()),
        (Some(c), _) if c.is_ascii_alphabetic() => word_hint(rest, expected),
        _ => None,
    }
}

/// What was perhaps meant by a word that stands where it cannot.
fn word_hint(rest: &str, expected: &[Rule]) -> Option<String> {
    let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let (word, behind) = rest.split_at(len.unwrap_or(rest.len()));
    if expected.contains(&Rule::assert_filter) && words_of(Rule::claim).contains(&word) {
        return Some("say of which packets: `all` is the filter that every packet matches".to_owned());
    }
    let known = expected.iter().flat_map(|rule| words_of(*rule)).copied();
    if let Some(meant) = nearest(known, word).filter(|w| *w != word) {
        return Some(format!("did you mean `{meant}`?"));
    }
    let behind = behind.trim_start();
    (expected == [Rule::equals] && behind.starts_with('='))
        .then(|| "a name is one word: join its parts with `_`".to_owned())
}

/// The words of the language that a rule stands for.
fn words_of(rule: Rule) -> &'static [&'static str] {
    match rule {
        Rule::with | Rule::kw_with => &["with"],
        Rule::kw_as => &["as"],
        Rule::kw_to => &["to"],
        Rule::kw_else | Rule::steer_rule => &["else"],
        Rule::program | Rule::kw_program => &["program"],
        Rule::steer_to | Rule::kw_steer => &["steer"],
        Rule::kw_max_hops => &["max_hops"],
        Rule::claim => &["passes", "never", "reaches", "dropped"],
        Rule::kw_passes => &["passes"],
        Rule::kw_reaches => &["reaches"],
        Rule::kw_before => &["before"],
        Rule::kw_times => &["times"],
        Rule::kw_at => &["at"],
        Rule::kw_packets => &["packets"],
        Rule::kw_counter => &["counter"],
        Rule::kw_same => &["same"],
        Rule::statement | Rule::send | Rule::replay | Rule::expect => &["send", "replay", "expect"],
        Rule::packet_proto => &["ether", "arp", "ip", "ip6", "icmp", "tcp", "udp"],
        Rule::formal_kind => &["port", "nf", "chain"],
        _ => &[],
    }
}
