//! Filters with the names of the program.

use std::cell::Cell;

use onvm_bundle::filter::Expr;
use onvm_lang::syntax::{Filter, Ident, Span, Spanned, Value};

use super::Unusable;
use crate::{
    diagnostics::{closest, filters, missing_input, wrong_kind},
    resolve::{
        names::{Item, Names},
        values::Values,
    },
    source::{context::Context, sources::FileId},
};

pub(crate) struct Filters<'a> {
    pub(crate) cx: &'a Context<'a>,
    pub(crate) names: &'a Names<'a>,
    pub(crate) values: &'a Values<'a>,
    /// How many filters were found to be too large.
    pub(crate) oversized: Cell<usize>,
}

/// Words for what matches everything, in other languages.
const EVERYTHING: [&str; 8] = ["default", "otherwise", "any", "rest", "others", "els", "*", "_"];

/// Primitives by the names that they have elsewhere.
const FOREIGN: [(&str, &str); 7] = [
    ("ipv4", "ip"),
    ("ip4", "ip"),
    ("inet", "ip"),
    ("ipv6", "ip6"),
    ("inet6", "ip6"),
    ("icmpv6", "icmp6"),
    ("ethernet", "ether"),
];

/// Whether an invalid filter was probably meant to take the packets that no other rule takes.
pub(crate) fn meant_else(filter: &str) -> bool {
    EVERYTHING.contains(&filter)
}

/// The probable meaning of an unknown class that is like no known one.
fn meant(name: &str) -> Option<String> {
    if meant_else(name) {
        return Some(
            "`else` as the last rule takes all other packets; `all` is the filter that matches all"
                .to_owned(),
        );
    }
    let foreign = FOREIGN.iter().find(|(foreign, _)| *foreign == name).map(|f| f.1);
    let word = foreign.or_else(|| closest(name, onvm_lang::words::FILTER))?;
    Some(format!("did you mean `{word}`?"))
}

/// A class that is too large makes all that name it too large: so many are reported.
const MAX_OVERSIZED: usize = 10;

impl Filters<'_> {
    /// The meaning of a filter. None: reported.
    pub(crate) fn lower(&self, file: FileId, filter: &Filter) -> Option<Expr> {
        let (expr, found) = match super::lower(filter, file, self) {
            Ok(lowered) => (Some(lowered.expr), lowered.warnings),
            Err(found) => (None, found),
        };
        for diagnostic in found {
            if diagnostic.code == filters::OVERSIZED
                && self.oversized.replace(self.oversized.get() + 1) >= MAX_OVERSIZED
            {
                continue;
            }
            self.cx.report(diagnostic);
        }
        expr
    }

    fn wrong(
        &self,
        file: FileId,
        span: Span,
        name: &str,
        wanted: &str,
        fits: impl Fn(&Item<'_>) -> bool,
    ) -> Unusable {
        let place = self.cx.place(file, span);
        match self.names.get(name) {
            Some(symbol) if matches!(symbol.item, Item::Broken) => Unusable::Silent,
            Some(symbol) => {
                wrong_kind::wrong_kind(place, name, symbol.item.kind(), wanted, Some(symbol.place)).into()
            }
            None => self.names.unknown(place, name, wanted, |s| fits(&s.item)).into(),
        }
    }
}

impl super::Names for Filters<'_> {
    type File = FileId;

    fn class(&self, file: FileId, name: &Ident) -> Result<(FileId, &Filter), Unusable> {
        match self.names.get(&name.node) {
            Some(crate::resolve::names::Symbol {
                item: Item::Class(class),
                file,
                ..
            }) => Ok((*file, &class.filter)),
            found => {
                let is_class = |i: &Item<'_>| matches!(i, Item::Class(_));
                let mut wrong = self.wrong(file, name.span, &name.node, "a traffic class", is_class);
                // One label: no declared class is alike.
                if found.is_none()
                    && let Unusable::Because(wrong) = &mut wrong
                    && wrong.labels.len() == 1
                    && let Some(help) = meant(&name.node)
                {
                    wrong.help = Some(help);
                }
                Err(wrong)
            }
        }
    }

    fn value(&self, file: FileId, name: &str, span: Span) -> Result<(FileId, &Spanned<Value>), Unusable> {
        let is_value = |i: &Item<'_>| matches!(i, Item::Let(_) | Item::Param(_));
        if !self.names.get(name).is_some_and(|s| is_value(&s.item)) {
            return Err(self.wrong(file, span, name, "a `let` or a `param`", is_value));
        }
        match self.values.written(name) {
            Some(found) => Ok(found),
            None => Err(missing_input::missing_input(self.cx.place(file, span), name).into()),
        }
    }

    fn span(&self, file: FileId, span: Span) -> Span {
        self.cx.place(file, span).span()
    }

    fn text(&self, file: FileId, span: Span) -> &str {
        self.cx.sources.text(self.cx.place(file, span))
    }
}
