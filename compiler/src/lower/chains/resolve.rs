//! Resolving the names in a chain.

use onvm_lang::syntax::{self, Ident, ParamKind};

use super::{Bindings, Bound, Graph};
use crate::{
    diagnostics::{wrong_arguments, wrong_kind},
    resolve::names::Item,
    source::sources::{FileId, Place},
};

impl<'a> Graph<'a> {
    /// What a step's name stands for. None: reported.
    pub(super) fn step(&self, file: FileId, name: &Ident, bindings: &Bindings<'a>) -> Option<Bound<'a>> {
        if let Some(bound) = bindings.get(name.node.as_str()) {
            return Some(*bound);
        }
        let wanted = "an NF, a port or a chain";
        self.names
            .expect(self.cx, file, name, wanted, |symbol| match symbol.item {
                Item::Port => Some(Bound::Port(symbol.name)),
                Item::Nf => Some(
                    self.by_name
                        .get(symbol.name)
                        .map_or(Bound::UnknownNf, |i| Bound::Nf(*i)),
                ),
                Item::Chain(chain) => Some(Bound::Chain(symbol.file, chain)),
                _ => None,
            })
    }

    /// The chain of a call with its parameters bound. None: reported.
    pub(super) fn call(
        &self,
        file: FileId,
        name: &Ident,
        args: &[Ident],
        bindings: &Bindings<'a>,
    ) -> Option<(FileId, &'a syntax::Chain, Bindings<'a>)> {
        let place = self.cx.place(file, name.span);
        let found = self.called(file, name, bindings);
        let values: Vec<_> = args.iter().map(|a| (self.step(file, a, bindings), a)).collect();
        let (chain_file, chain) = found?;
        let params = chain.params.as_deref().unwrap_or(&[]);
        if chain.params.is_none() || params.len() != args.len() {
            let declared = self.cx.place(chain_file, chain.name.span);
            self.cx.report(wrong_arguments::wrong_arguments(
                place,
                &name.node,
                &takes(chain),
                declared,
            ));
            return None;
        }
        let mut bound = Bindings::new();
        for (param, (value, arg)) in params.iter().zip(values) {
            let value = value?;
            if !fits(param.kind.node, value) {
                let at = self.cx.place(file, arg.span);
                let declared = self.cx.place(chain_file, param.name.span);
                let wanted = describe(param.kind.node);
                let found = wrong_kind::wrong_kind(at, &arg.node, kind(value), wanted, None);
                self.cx
                    .report(found.label(declared.span(), format!("the parameter is {wanted}")));
                return None;
            }
            bound.insert(&param.name.node, value);
        }
        Some((chain_file, chain, bound))
    }

    /// The chain that a call names. A parameter hides a chain of that name, and takes no arguments itself.
    fn called(
        &self,
        file: FileId,
        name: &Ident,
        bindings: &Bindings<'a>,
    ) -> Option<(FileId, &'a syntax::Chain)> {
        if let Some(bound) = bindings.get(name.node.as_str()) {
            let (place, wanted) = (self.cx.place(file, name.span), "a parametrised chain");
            let found = wrong_kind::wrong_kind(place, &name.node, kind(*bound), wanted, None);
            self.cx.report(found);
            return None;
        }
        self.names
            .expect(self.cx, file, name, "a chain", |s| match s.item {
                Item::Chain(chain) => Some((s.file, chain)),
                _ => None,
            })
    }

    /// A chain that stands without arguments. None: it needs some, which is reported.
    pub(super) fn plain_chain(&self, place: Place, file: FileId, chain: &'a syntax::Chain) -> Option<()> {
        if chain.params.is_none() {
            return Some(());
        }
        let declared = self.cx.place(file, chain.name.span);
        self.cx.report(wrong_arguments::wrong_arguments(
            place,
            &chain.name.node,
            &takes(chain),
            declared,
        ));
        None
    }

    /// Whether every path of a chain's main line ends within it. None: it depends on an argument, or is not known.
    pub(super) fn is_closed(&self, chain: &'a syntax::Chain, depth: usize) -> Option<bool> {
        let last = chain.steps.last()?;
        let (name, param) = match &last.node {
            syntax::StepKind::Drop => return Some(true),
            syntax::StepKind::Call { name, .. } | syntax::StepKind::Node { name, .. } => (
                name,
                chain.params.iter().flatten().find(|p| p.name.node == name.node),
            ),
        };
        if let Some(param) = param {
            return match param.kind.node {
                ParamKind::Port => Some(true),
                ParamKind::Nf => Some(false),
                ParamKind::Chain => None,
            };
        }
        match self.names.get(&name.node)?.item {
            Item::Port => Some(true),
            Item::Nf => Some(false),
            Item::Chain(_) if depth < super::MAX_SPLICES => {
                self.is_closed(self.chain(&name.node)?.1, depth + 1)
            }
            _ => None,
        }
    }
}

fn fits(param: ParamKind, value: Bound<'_>) -> bool {
    match (param, value) {
        (ParamKind::Port, Bound::Port(_)) | (ParamKind::Nf, Bound::Nf(_) | Bound::UnknownNf) => true,
        (ParamKind::Chain, Bound::Chain(_, chain)) => chain.params.is_none(),
        (param, Bound::Open(kind)) => param == kind,
        _ => false,
    }
}

fn describe(kind: ParamKind) -> &'static str {
    match kind {
        ParamKind::Port => "a port",
        ParamKind::Nf => "an NF",
        ParamKind::Chain => "a chain without parameters",
    }
}

/// As in "a port".
pub(super) fn kind(bound: Bound<'_>) -> &'static str {
    match bound {
        Bound::Port(_) | Bound::Open(ParamKind::Port) => "a port",
        Bound::Nf(_) | Bound::UnknownNf | Bound::Open(ParamKind::Nf) => "an NF",
        Bound::Chain(_, chain) if chain.params.is_some() => "a parametrised chain",
        Bound::Chain(..) | Bound::Open(ParamKind::Chain) => "a chain",
    }
}

fn takes(chain: &syntax::Chain) -> String {
    let Some(params) = &chain.params else {
        return "no arguments, and stands without parentheses".to_owned();
    };
    let word = |kind: ParamKind| match kind {
        ParamKind::Port => "port",
        ParamKind::Nf => "nf",
        ParamKind::Chain => "chain",
    };
    let list: Vec<String> = params
        .iter()
        .map(|p| format!("{}: {}", p.name.node, word(p.kind.node)))
        .collect();
    match list.len() {
        1 => format!("1 argument ({})", list.join(", ")),
        n => format!("{n} arguments ({})", list.join(", ")),
    }
}
