//! The one set of names of a program.

use std::{cell::Cell, collections::HashMap};

use onvm_lang::syntax::{self, DeclKind, FilterKind, Ident, Match, Span};

use crate::{
    diagnostics::{closest, duplicate_name, unknown_name, unused, wrong_kind},
    source::{
        context::Context,
        load::Unit,
        sources::{FileId, Place},
    },
};

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Item<'a> {
    Param(&'a syntax::Param),
    Let(&'a syntax::Let),
    Class(&'a syntax::Class),
    Port,
    Nf,
    Chain(&'a syntax::Chain),
    NfType,
    /// Its declaration did not parse; what it is used for is not reported again.
    Broken,
}

impl Item<'_> {
    /// As in "a port".
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Param(_) => "a build input",
            Self::Let(_) => "a constant",
            Self::Class(_) => "a traffic class",
            Self::Port => "a port",
            Self::Nf => "an NF",
            Self::Chain(_) => "a chain",
            Self::NfType => "an NF type",
            Self::Broken => "something that could not be read",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Symbol<'a> {
    pub(crate) item: Item<'a>,
    pub(crate) name: &'a str,
    pub(crate) file: FileId,
    pub(crate) place: Place,
    used: Cell<bool>,
}

#[derive(Debug)]
pub(crate) struct Names<'a> {
    map: HashMap<&'a str, Symbol<'a>>,
    suggested: Cell<usize>,
}

/// Unknown names that get a "did you mean"; each costs a comparison with every name.
const MAX_SUGGESTIONS: usize = 50;

impl<'a> Names<'a> {
    /// Collects the declarations of all files; of two with one name the first counts.
    pub(crate) fn collect(cx: &Context<'_>, units: &'a [Unit]) -> Self {
        let mut map: HashMap<&'a str, Symbol<'a>> = HashMap::new();
        for unit in units {
            for decl in &unit.tree.decls {
                let (Some(name), Some(item)) = (decl.name(), item(&decl.kind.node)) else {
                    continue;
                };
                let place = cx.place(unit.file, name.span);
                match map.get(name.node.as_str()) {
                    // Of what could not be read the name may be a part: `nf fw-2 = ...`.
                    Some(_) if matches!(item, Item::Broken) => {}
                    Some(first) if matches!(first.item, Item::Broken) => {}
                    Some(first) => cx.report(duplicate_name::duplicate_name(place, &name.node, first.place)),
                    None => {
                        let used = Cell::new(false);
                        let symbol = Symbol {
                            item,
                            name: &name.node,
                            file: unit.file,
                            place,
                            used,
                        };
                        map.insert(&name.node, symbol);
                    }
                }
            }
        }
        mention_broken(cx, units, &map);
        Self {
            map,
            suggested: Cell::new(0),
        }
    }

    /// The symbol of that name, which counts as used.
    pub(crate) fn get(&self, name: &str) -> Option<&Symbol<'a>> {
        self.map.get(name).inspect(|s| s.used.set(true))
    }

    /// The symbol of that name; does not count as a use.
    pub(crate) fn declared(&self, name: &str) -> Option<&Symbol<'a>> {
        self.map.get(name)
    }

    /// The same, if that file declares it.
    pub(crate) fn declared_in(&self, file: FileId, name: &str) -> Option<Place> {
        self.declared(name).filter(|s| s.file == file).map(|s| s.place)
    }

    pub(crate) fn is_used(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|s| s.used.get())
    }

    /// Finds a name that must stand for a certain kind of thing. Reports and returns none otherwise.
    pub(crate) fn expect<T>(
        &self,
        cx: &Context<'_>,
        file: FileId,
        name: &Ident,
        wanted: &str,
        pick: impl Fn(&Symbol<'a>) -> Option<T>,
    ) -> Option<T> {
        let place = cx.place(file, name.span);
        let Some(symbol) = self.get(&name.node) else {
            cx.report(self.unknown(place, &name.node, wanted, |s| pick(s).is_some()));
            return None;
        };
        let picked = pick(symbol);
        if picked.is_none() && !matches!(symbol.item, Item::Broken) {
            let kind = symbol.item.kind();
            cx.report(wrong_kind::wrong_kind(
                place,
                &name.node,
                kind,
                wanted,
                Some(symbol.place),
            ));
        }
        picked
    }

    /// The diagnostic of an unknown name, with the nearest name that would do; that one counts as used.
    pub(crate) fn unknown(
        &self,
        place: Place,
        name: &str,
        wanted: &str,
        fits: impl Fn(&Symbol<'a>) -> bool,
    ) -> onvm_lang::Diagnostic {
        if self.suggested.replace(self.suggested.get() + 1) >= MAX_SUGGESTIONS {
            return unknown_name::unknown_name(place, name, wanted, None);
        }
        let mut known: Vec<&str> = self.map.values().filter(|s| fits(s)).map(|s| s.name).collect();
        known.sort_unstable();
        let close = closest(name, known).and_then(|close| self.get(close));
        unknown_name::unknown_name(place, name, wanted, close.map(|s| (s.name, s.place)))
    }

    /// The value that `$name` stands for, a `let` or a `param`.
    pub(crate) fn value(&self, cx: &Context<'_>, file: FileId, name: &Ident) -> Option<&Symbol<'a>> {
        let is_value = |s: &Symbol<'a>| matches!(s.item, Item::Let(_) | Item::Param(_)).then_some(());
        self.expect(cx, file, name, "a `let` or a `param`", is_value)?;
        self.get(&name.node)
    }

    /// Warns of each declaration of the main file that nothing used. Call when every check has run.
    pub(crate) fn report_unused(&self, cx: &Context<'_>) {
        for symbol in self.map.values() {
            let kind = symbol.item.kind();
            if !symbol.used.get() && symbol.file == FileId::MAIN && !matches!(symbol.item, Item::Broken) {
                cx.report(unused::unused(symbol.place, symbol.name, kind));
            }
        }
    }
}

/// Names that an unreadable declaration may have used are not reported as unused.
fn mention_broken(cx: &Context<'_>, units: &[Unit], map: &HashMap<&str, Symbol<'_>>) {
    for unit in units {
        let broken = unit
            .tree
            .decls
            .iter()
            .flat_map(|d| unread(d).map(move |span| (d, span)));
        for (decl, span) in broken {
            let text = span.text(&cx.sources.get(unit.file).text);
            let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let own = decl.name().map(|n| n.node.as_str());
            for symbol in words.filter(|w| Some(*w) != own).filter_map(|w| map.get(w)) {
                symbol.used.set(true);
            }
        }
    }
}

/// The parts of a declaration that could not be read: all of it, or filters.
fn unread(decl: &syntax::Decl) -> impl Iterator<Item = Span> {
    let mut filters: Vec<&syntax::Filter> = Vec::new();
    let mut spans = Vec::new();
    match &decl.kind.node {
        DeclKind::Error(_) => spans.push(decl.span()),
        DeclKind::Class(class) => filters.push(&class.filter),
        DeclKind::Assert(assert) => filters.push(&assert.filter),
        DeclKind::Steer(steer) => filters.extend(steer.rules.iter().filter_map(|r| match &r.matcher {
            Match::Filter(filter) => Some(filter),
            Match::Else(_) => None,
        })),
        _ => {}
    }
    let broken = filters.into_iter().filter(|f| f.node == FilterKind::Error);
    spans.extend(broken.map(|f| f.span));
    spans.into_iter()
}

fn item(decl: &DeclKind) -> Option<Item<'_>> {
    Some(match decl {
        DeclKind::Param(d) => Item::Param(d),
        DeclKind::Let(d) => Item::Let(d),
        DeclKind::Class(d) => Item::Class(d),
        DeclKind::Port(_) => Item::Port,
        DeclKind::Nf(_) => Item::Nf,
        DeclKind::Chain(d) => Item::Chain(d),
        DeclKind::Use(_) => Item::NfType,
        DeclKind::Error(_) => Item::Broken,
        DeclKind::Steer(_)
        | DeclKind::Allow(_)
        | DeclKind::Assert(_)
        | DeclKind::Test(_)
        | DeclKind::Manager(_) => return None,
    })
}
