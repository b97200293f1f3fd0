//! What was probably meant by a token that stands in a filter where it cannot.

use super::lex::{Sym, Tok};
use super::{CLAIM, names};
use crate::parse::nearest;
use crate::units::UNITS;

/// Qualifiers of other filter languages.
const FOREIGN: [(&str, &str); 8] = [
    ("dport", "write `dst port`"),
    ("sport", "write `src port`"),
    ("dports", "write `dst port`, and join several by `or`"),
    ("sports", "write `src port`, and join several by `or`"),
    ("daddr", "write `dst host` or `dst net`"),
    ("saddr", "write `src host` or `src net`"),
    ("from", "write `src host`, `src net` or `src port`"),
    ("to", "write `dst host`, `dst net` or `dst port`"),
];

/// The tokens around the one that is wrong.
pub(super) struct Around<'t, 's> {
    pub(super) before: Option<&'t Tok<'s>>,
    pub(super) found: &'t Tok<'s>,
    pub(super) after: Option<&'t Tok<'s>>,
    /// What ends the filter.
    pub(super) follows: &'static str,
    /// True where the filter consists of it alone.
    pub(super) alone: bool,
}

pub(super) fn hint(around: &Around<'_, '_>) -> Option<String> {
    let Around {
        before,
        found,
        after,
        follows,
        alone,
    } = around;
    let text = match (found, before, after) {
        (Tok::Sym(Sym::Star), ..) if *alone => {
            "`all` is the filter that every packet matches; the last rule's is `else`"
        }
        (Tok::Sym(Sym::Amp), ..) => "`and` is written `and` or `&&`",
        (Tok::Sym(Sym::Pipe), ..) => "`or` is written `or` or `||`",
        (Tok::Sym(Sym::Comma), ..) => {
            "join values by `or`, as in `port 80 or 443`, or write them as a list: `port [80, 443]`"
        }
        (Tok::Sym(Sym::Colon), Some(Tok::Number(a)), Some(Tok::Number(b))) => {
            return Some(format!("a range is written `{a}-{b}`"));
        }
        (Tok::Sym(Sym::Colon), ..) if *follows == "`->`" => "a rule is written `FILTER -> CHAIN`",
        (Tok::Sym(Sym::Eq), ..) => "a value stands right behind its word, as in `dst port 80`",
        (Tok::Word(word), Some(Tok::Number(_)), _) if UNITS.iter().any(|u| u.eq_ignore_ascii_case(word)) => {
            "lengths are numbers of bytes, without a unit"
        }
        (Tok::Word(word), ..) => return word_hint(word, follows),
        _ => return None,
    };
    Some(text.to_owned())
}

fn word_hint(word: &str, follows: &str) -> Option<String> {
    if follows == CLAIM {
        if word == "not" {
            return Some("a claim is denied by `never`: `never passes`, `never reaches`".to_owned());
        }
        if let Some(meant) = nearest(["passes", "never", "reaches", "dropped"], word) {
            return Some(format!("did you mean `{meant}`?"));
        }
    }
    let foreign = FOREIGN.iter().find(|(foreign, _)| *foreign == word);
    match foreign {
        Some((_, help)) => Some((*help).to_owned()),
        None if names::is_keyword(word) => Some("join two primitives by `and` or `or`".to_owned()),
        None => match nearest(["and"], word).filter(|meant| *meant != word) {
            Some(meant) => Some(format!("did you mean `{meant}`?")),
            None if follows == "`->`" => Some(format!("write `-> {word}` if this is where the packets go")),
            None => None,
        },
    }
}
