//! Chains: their shape, and their lowering to hop tables.
//!
//! One walk serves both. Every chain is walked once as it stands, to find what is wrong with it wherever it is used;
//! every chain that a steering rule reaches is walked again with all splices followed, which gives its hop table and
//! finds what only shows there: open ends, and what arguments make of a parametrised segment.

mod contracts;
mod cycles;
mod permits;
mod permitted;
mod resolve;
mod table;
mod walk;

use std::{cell::RefCell, collections::HashMap, collections::HashSet};

use onvm_lang::syntax;

use crate::{
    diagnostics::{duplicate_name, unused},
    lower::declare::services::Nf,
    resolve::names::Names,
    source::{context::Context, sources::FileId},
};

pub(crate) use cycles::{circles, mentioned};
pub(crate) use permits::{Effect, Permits};
pub(crate) use table::lower;
pub(crate) use walk::Walk;

/// Splices may not nest deeper than this.
const MAX_SPLICES: usize = 64;

/// The parts of chains.
pub(crate) struct Graph<'a> {
    pub(crate) cx: &'a Context<'a>,
    pub(crate) names: &'a Names<'a>,
    pub(crate) nfs: &'a [Nf<'a>],
    pub(crate) by_name: HashMap<&'a str, usize>,
    /// Chains that contain themselves; they are not followed.
    cyclic: RefCell<HashSet<&'a str>>,
}

/// The binding of a chain parameter within one splice.
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

    /// Each parameter as itself; a parameter may not hide a declaration of its own file.
    fn open_bindings(&self, file: FileId, chain: &'a syntax::Chain) -> Bindings<'a> {
        let mut bindings = Bindings::new();
        let mut places = HashMap::new();
        let mut used = Vec::new();
        mentioned(&chain.steps, &mut used);
        for param in chain.params.iter().flatten() {
            let (name, place) = (param.name.node.as_str(), self.cx.place(file, param.name.span));
            let declared = self.names.declared_in(file, name);
            let declared = declared.or(places.get(name).copied());
            if let Some(first) = declared {
                self.cx.report(duplicate_name::duplicate_name(place, name, first));
            }
            if file == FileId::MAIN && !used.iter().any(|used| used.node == name) {
                self.cx.report(unused::unused(place, name, "a parameter"));
            }
            places.insert(name, place);
            bindings.insert(name, Bound::Open(param.kind.node));
        }
        bindings
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use crate::{Inputs, check, source::host::MemoryHost};

    fn codes(library: &str, main: &str) -> Vec<(&'static str, String)> {
        let main = format!("use \"lib.chain\"\nport wan = null\nport lan = null\n{main}");
        let host = MemoryHost::default()
            .with("main.chain", main)
            .with("lib.chain", library);
        let found = check(&host, Path::new("main.chain"), &Inputs::default()).unwrap();
        let told = found.diagnostics.into_iter();
        told.map(|d| (d.code, d.message)).collect()
    }

    #[test]
    fn a_parameter_hides_what_other_files_declare() {
        let library = "chain out_by(p: port, n: nf) = n -> p\n";
        let main = "nf n = forward\nnf p = monitor\n\
            steer wan { udp -> n -> out_by(lan, p)\n else -> drop }\nsteer lan { else -> drop }\n";
        assert_eq!(codes(library, main), []);
        let main = "nf n = forward\nchain s(n: port) = n\nsteer wan { else -> n -> s(lan) }\nsteer lan { else -> drop }\n";
        assert_eq!(codes("", main)[0].0, "C0102");
    }

    #[test]
    fn a_parameter_that_nothing_uses_is_told() {
        let (segment, steers) = (
            "chain s(p: port, q: port) = p\n",
            "steer wan { else -> s(lan, wan) }\nsteer lan { else -> drop }\n",
        );
        let told = codes("", &format!("{segment}{steers}"));
        assert_eq!(told, [("C0104", "`q` is never used".to_owned())]);
        // The importer cannot fix it.
        assert_eq!(codes(segment, steers), []);
    }
}
