//! The probable meaning of a token that a filter cannot have at its place.

use super::lex::{Sym, Tok};
use super::{CLAIM, Parser, names};
use crate::parse::nearest;
use crate::syntax::Span;
use crate::units::UNITS;

/// Qualifiers of other filter languages.
const FOREIGN: [(&str, &str); 12] = [
    ("dport", "dst port"),
    ("sport", "src port"),
    ("dports", "dst port"),
    ("sports", "src port"),
    ("ports", "port"),
    ("daddr", "dst host"),
    ("saddr", "src host"),
    ("dip", "dst host"),
    ("sip", "src host"),
    ("from", "src host"),
    ("to", "dst host"),
    ("range", "portrange"),
];

/// Options of other tools by one letter.
const OPTIONS: [(&str, &str); 3] = [("s", "src host"), ("d", "dst host"), ("p", "")];

impl Parser<'_, '_> {
    /// The probable meaning of the words of another language that come next, and their place: `--dport`, `saddr`.
    pub(super) fn meant(&self) -> Option<(Span, String)> {
        let minus = |ahead| self.peek_at(ahead) == Some(&Tok::Sym(Sym::Minus));
        let dashes = usize::from(minus(0)) + usize::from(minus(0) && minus(1));
        let Some(Tok::Word(word)) = self.peek_at(dashes) else {
            return self.comma_before();
        };
        let table: &[(&str, &str)] = if dashes == 1 { &OPTIONS } else { &FOREIGN };
        let (_, ours) = table.iter().find(|(foreign, _)| *foreign == word)?;
        let value = self.peek_at(dashes + 1)?;
        let is_value = matches!(
            value,
            Tok::Number(_)
                | Tok::Range { .. }
                | Tok::Addr(_)
                | Tok::Prefix(_)
                | Tok::Short(_)
                | Tok::Ref(_)
                | Tok::Sym(Sym::LBracket)
        );
        let port = |word: &str| word.ends_with("port");
        // `-p tcp` is the protocol alone; elsewhere a word is a value only where services are.
        let named = matches!(value, Tok::Word(word) if ours.is_empty() || port(ours) && names::service(word).is_some());
        if !is_value && !named || is_value && ours.is_empty() {
            return None;
        }
        let end = ours
            .trim_end_matches("host")
            .trim_end_matches("portrange")
            .trim_end_matches("port");
        let ours = match value {
            _ if ours.is_empty() => String::new(),
            Tok::Prefix(_) | Tok::Short(_) => format!("{end}net"),
            Tok::Number(_) | Tok::Word(_) => format!("{end}port"),
            Tok::Range { .. } => format!("{end}portrange"),
            Tok::Addr(_) => format!("{end}host"),
            _ => (*ours).to_owned(),
        };
        let span = |ahead: usize| self.tokens.get(self.at + ahead).map(|t| t.span);
        if ours.is_empty() {
            // The space behind goes with it.
            let (from, to) = (span(0)?, span(dashes + 1)?);
            return Some((from.to(to), self.written(to).to_owned()));
        }
        Some((span(0)?.to(span(dashes)?), ours))
    }

    /// Values joined by commas of which the first is the token before: `port 80,443`.
    fn comma_before(&self) -> Option<(Span, String)> {
        if !self.is(Sym::Comma) {
            return None;
        }
        self.comma_list(self.at.checked_sub(1)?)
    }

    /// Values joined by commas from token `first` on, and what they are as a list.
    pub(super) fn comma_list(&self, first: usize) -> Option<(Span, String)> {
        let value = |at: usize| {
            let token = self.tokens.get(at)?;
            let is_value = match &token.tok {
                Tok::Number(_)
                | Tok::Range { .. }
                | Tok::Addr(_)
                | Tok::Prefix(_)
                | Tok::Mac(_)
                | Tok::Ref(_) => true,
                Tok::Word(word) => names::service(word).is_some(),
                _ => false,
            };
            is_value.then_some(token.span)
        };
        let comma = |at: usize| self.tokens.get(at).is_some_and(|t| t.tok == Tok::Sym(Sym::Comma));
        let mut at = first;
        let mut span = value(at)?;
        let mut items = vec![self.written(span)];
        while comma(at + 1) {
            at += 2;
            let next = value(at)?;
            span = span.to(next);
            items.push(self.written(next));
        }
        (items.len() > 1).then(|| (span, format!("[{}]", items.join(", "))))
    }

    /// `vlan 10 or 20`, with the `20` next: the whole of it, and what is meant.
    pub(super) fn encapsulated_before(&self) -> Option<(Span, String)> {
        let token = |back: usize| self.at.checked_sub(back).and_then(|at| self.tokens.get(at));
        let (or, id, word) = (token(1)?, token(2)?, token(3)?);
        let Tok::Word(by) = &word.tok else { return None };
        names::encapsulation(by)?;
        let joined = or.tok.is_word("or") || or.tok == Tok::Sym(Sym::OrOr);
        if !joined || !matches!(id.tok, Tok::Number(_)) {
            return None;
        }
        let mut values = vec![self.written(id.span), self.written(self.here())];
        let mut span = id.span.to(self.here());
        let mut at = self.at;
        while let (Some(or), Some(next)) = (self.tokens.get(at + 1), self.tokens.get(at + 2)) {
            let joined = or.tok.is_word("or") || or.tok == Tok::Sym(Sym::OrOr);
            if !joined || !matches!(next.tok, Tok::Number(_) | Tok::Range { .. }) {
                break;
            }
            values.push(self.written(next.span));
            span = span.to(next.span);
            at += 2;
        }
        Some((word.span.to(span), format!("{by} [{}]", values.join(", "))))
    }
}

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
        Some((_, ours)) => Some(format!("write `{ours}`")),
        None if names::is_keyword(word) => Some("join two primitives by `and` or `or`".to_owned()),
        None => match nearest(["and"], word).filter(|meant| *meant != word) {
            Some(meant) => Some(format!("did you mean `{meant}`?")),
            None if follows == "`->`" => Some(format!("write `-> {word}` if this is where the packets go")),
            None => None,
        },
    }
}
