//! `allow NF to steer A, B`, `allow NF to lookup`: permissions to send packets elsewhere.

use std::collections::HashMap;

use onvm_lang::syntax::{self, Grant};

use super::{Graph, circles};
use crate::{
    diagnostics::{endless_path, missing_permission, out_of_range, unused_permission},
    resolve::names::Item,
    source::sources::{FileId, Place},
};

/// A destination of `allow ... to steer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination<'a> {
    Nf(usize),
    Port(&'a str),
}

#[derive(Debug, Clone)]
pub(crate) struct Permit<'a> {
    pub(crate) to: Destination<'a>,
    pub(crate) name: &'a str,
    pub(crate) place: Place,
    max_hops: Option<u32>,
    /// Index among the permits that are counted down: those of a circle that have a bound.
    pub(crate) counter: Option<usize>,
}

/// What a manifest declares and an `allow` permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Steers,
    LooksUp,
    Programs,
}

impl Effect {
    /// The key under `effects`.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Steers => "steers",
            Self::LooksUp => "lookups",
            Self::Programs => "programs",
        }
    }

    /// What the NF does.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::LooksUp => "looks packets up",
            other => other.key(),
        }
    }

    /// How an `allow` grants it.
    pub(crate) fn grant(self) -> &'static str {
        match self {
            Self::Steers => "steer NAME",
            Self::LooksUp => "lookup",
            Self::Programs => "program PORT { FILTER -> CHAIN }",
        }
    }

    fn is_declared(self, effects: &onvm_bundle::Effects) -> bool {
        match self {
            Self::Steers => effects.steers,
            Self::LooksUp => effects.lookups,
            Self::Programs => effects.programs,
        }
    }
}

/// All permits, by the index of the NF that holds them.
#[derive(Debug, Default)]
pub(crate) struct Permits<'a> {
    pub(crate) of: Vec<Vec<Permit<'a>>>,
    /// NFs that may look packets up.
    pub(crate) lookups: Vec<bool>,
    /// The bounds of the counted permits.
    pub(crate) counters: Vec<u32>,
    /// A circle has no bound, which is reported.
    pub(crate) endless: bool,
}

impl<'a> Permits<'a> {
    pub(crate) fn collect(graph: &Graph<'a>, allows: &[(FileId, &'a syntax::Allow)]) -> Self {
        let mut permits = Self {
            of: vec![Vec::new(); graph.nfs.len()],
            lookups: vec![false; graph.nfs.len()],
            counters: Vec::new(),
            endless: false,
        };
        let mut programs = HashMap::new();
        for (file, allow) in allows {
            permits.add(graph, *file, allow, &mut programs);
        }
        for (n, nf) in graph.nfs.iter().enumerate() {
            let permitted = [
                (Effect::Steers, !permits.of[n].is_empty()),
                (Effect::LooksUp, permits.lookups[n]),
                (Effect::Programs, programs.contains_key(nf.name)),
            ];
            let missing = |(effect, permitted): &(Effect, bool)| {
                !permitted && effect.is_declared(&nf.ty.manifest.effects)
            };
            for (effect, _) in permitted.into_iter().filter(missing) {
                graph
                    .cx
                    .report(missing_permission::missing_permission(nf.place, nf.name, effect));
            }
        }
        permits.find_endless(graph);
        permits.count();
        permits
    }

    fn add(
        &mut self,
        graph: &Graph<'a>,
        file: FileId,
        allow: &'a syntax::Allow,
        programs: &mut HashMap<&'a str, Place>,
    ) {
        let cx = graph.cx;
        let holder = graph.names.expect(cx, file, &allow.nf, "an NF", |s| {
            matches!(s.item, Item::Nf).then(|| graph.by_name.get(s.name).copied())
        });
        let holder = holder.flatten();
        let place = cx.place(file, allow.nf.span);
        // Effects that the manifest does not declare are not granted.
        let granted = |effect: Effect| {
            let nf = &graph.nfs[holder?];
            let declared = effect.is_declared(&nf.ty.manifest.effects);
            if !declared {
                let nf_type = &nf.ty.manifest.name;
                cx.report(unused_permission::unused_permission(
                    place, nf.name, nf_type, effect, nf.place,
                ));
            }
            holder.filter(|_| declared)
        };
        match &allow.grant {
            // What it permits, `steering` reads.
            Grant::Program { port, .. } => {
                let is_port =
                    |s: &crate::resolve::names::Symbol<'_>| matches!(s.item, Item::Port).then_some(());
                graph.names.expect(cx, file, port, "a port", is_port);
                granted(Effect::Programs);
                programs.insert(&allow.nf.node, place);
            }
            Grant::Lookup => {
                if let Some(holder) = granted(Effect::LooksUp) {
                    self.lookups[holder] = true;
                }
            }
            Grant::Steer { targets, max_hops } => {
                let granted = granted(Effect::Steers);
                let bound = max_hops.as_ref().map(|n| n.node);
                if let Some(n) = max_hops.as_ref().filter(|n| !(1..=255).contains(&n.node)) {
                    let at = cx.place(file, n.span);
                    cx.report(out_of_range::out_of_range(
                        at,
                        "max_hops",
                        &n.node.to_string(),
                        "from 1 to 255",
                    ));
                }
                for target in targets {
                    let to = graph
                        .names
                        .expect(cx, file, target, "an NF or a port", |s| match s.item {
                            Item::Nf => Some(graph.by_name.get(s.name).map(|i| Destination::Nf(*i))),
                            Item::Port => Some(Some(Destination::Port(s.name))),
                            _ => None,
                        });
                    if let (Some(holder), Some(Some(to))) = (granted, to) {
                        let place = cx.place(file, target.span);
                        let held = &mut self.of[holder];
                        held.retain(|p| p.to != to);
                        held.push(Permit {
                            to,
                            name: &target.node,
                            place,
                            max_hops: bound,
                            counter: None,
                        });
                    }
                }
            }
        }
    }

    fn find_endless(&mut self, graph: &Graph<'a>) {
        let unbounded = |p: &&Permit<'a>| p.max_hops.is_none();
        for circle in circles(&self.edges(unbounded)) {
            let ends = circle.iter().zip(circle.iter().cycle().skip(1));
            let steps = ends.filter_map(|(from, to)| {
                let permit = self.of[*from].iter().find(|p| p.to == Destination::Nf(*to))?;
                Some((permit.place, graph.nfs[*from].name, graph.nfs[*to].name))
            });
            if let Some(found) = endless_path::endless_path(&steps.collect::<Vec<_>>()) {
                graph.cx.report(found);
                self.endless = true;
            }
        }
    }

    /// Gives a counter to each permit that has a bound and needs one.
    fn count(&mut self) {
        let edges = self.edges(|_| true);
        for from in 0..self.of.len() {
            for at in 0..self.of[from].len() {
                let permit = &self.of[from][at];
                let (Destination::Nf(to), Some(bound)) = (permit.to, permit.max_hops) else {
                    continue;
                };
                if reaches(&edges, to, from) {
                    self.of[from][at].counter = Some(self.counters.len());
                    self.counters.push(bound);
                }
            }
        }
    }

    fn edges(&self, keep: impl Fn(&&Permit<'a>) -> bool) -> Vec<Vec<usize>> {
        let nf = |p: &Permit<'a>| match p.to {
            Destination::Nf(n) => Some(n),
            Destination::Port(_) => None,
        };
        self.of
            .iter()
            .map(|held| held.iter().filter(&keep).filter_map(nf).collect())
            .collect()
    }
}

fn reaches(edges: &[Vec<usize>], from: usize, to: usize) -> bool {
    let mut seen = vec![false; edges.len()];
    let mut open = vec![from];
    while let Some(node) = open.pop() {
        if node == to {
            return true;
        }
        if !std::mem::replace(&mut seen[node], true) {
            open.extend(&edges[node]);
        }
    }
    false
}
