//! Chains: their shape, and their lowering to hop tables.
//!
//! One walk serves both. Every chain is walked once as it stands, to find what is wrong with it wherever it is used;
//! every chain that a steering rule reaches is walked again with all splices followed, which gives its hop table and
//! finds what only shows there: open ends, and what arguments make of a parametrised segment.

mod contracts;
mod cycles;
mod permits;
mod resolve;
mod steers;
mod table;
mod walk;

use std::{cell::RefCell, collections::HashMap, collections::HashSet};

use onvm_lang::syntax;

use crate::{context::Context, declare::services::Nf, names::Names, sources::FileId};

pub(crate) use cycles::{circles, mentioned};
pub(crate) use permits::Permits;
pub(crate) use table::lower;
pub(crate) use walk::Walk;

/// Splices may not nest deeper than this.
const MAX_SPLICES: usize = 64;

/// What chains are made of.
pub(crate) struct Graph<'a> {
    pub(crate) cx: &'a Context<'a>,
    pub(crate) names: &'a Names<'a>,
    pub(crate) nfs: &'a [Nf<'a>],
    pub(crate) by_name: HashMap<&'a str, usize>,
    /// Chains that contain themselves; they are not followed.
    cyclic: RefCell<HashSet<&'a str>>,
}

/// What a chain parameter is bound to within one splice.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound<'a> {
    Port(&'a str),
    Nf(usize),
    /// An NF whose declaration was refused.
    UnknownNf,
    Chain(FileId, &'a syntax::Chain),
    /// Nothing: the chain is looked at by itself.
    Open(syntax::ParamKind),
}

pub(crate) type Bindings<'a> = HashMap<&'a str, Bound<'a>>;

impl<'a> Graph<'a> {
    pub(crate) fn new(cx: &'a Context<'a>, names: &'a Names<'a>, nfs: &'a [Nf<'a>]) -> Self {
        let by_name = nfs.iter().enumerate().map(|(i, nf)| (nf.name, i)).collect();
        Self {
            cx,
            names,
            nfs,
            by_name,
            cyclic: RefCell::default(),
        }
    }

    /// Checks each chain by itself.
    pub(crate) fn check_declarations(&self, chains: &[(FileId, &'a syntax::Chain)]) {
        self.find_cycles(chains);
        for (file, chain) in chains {
            let bindings = self.open_bindings(*file, chain);
            let mut walk = Walk::new(self, None);
            walk.run(&chain.steps, *file, bindings);
        }
    }

    /// Each parameter as itself; a parameter may not hide a declaration.
    fn open_bindings(&self, file: FileId, chain: &'a syntax::Chain) -> Bindings<'a> {
        let mut bindings = Bindings::new();
        let mut places = HashMap::new();
        for param in chain.params.iter().flatten() {
            let (name, place) = (param.name.node.as_str(), self.cx.place(file, param.name.span));
            let declared = self.names.declared(name).or(places.get(name).copied());
            if let Some(first) = declared {
                self.cx.report(crate::diagnostics::duplicate_name::duplicate_name(
                    place, name, first,
                ));
            }
            places.insert(name, place);
            bindings.insert(name, Bound::Open(param.kind.node));
        }
        bindings
    }
}
