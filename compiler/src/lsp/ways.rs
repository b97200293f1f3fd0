//! The ways from the beginning of a line of steps to a stop in it: by which outputs of NFs packets must leave to come there.
//!
//! Found from the trees, so that a chain with errors elsewhere still has its ways. A chain that is spliced in leads
//! on from where it stands; an argument of a call stands where the called chain has its parameter.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use onvm_lang::syntax::{Chain, DeclKind, Ident, Step, StepKind};

use super::analysis::{Analysis, At};
use crate::{lower::chains::mentioned, source::sources::FileId};

/// Where packets are looked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stop<'a> {
    /// One step of one chain or rule.
    Step(At),
    /// Every step of that name.
    Named(&'a str),
}

/// NFs with the outputs by which packets leave them, the first first. Empty: all by main lines.
pub(super) type Outputs<'a> = Vec<(&'a str, &'a str)>;

/// Ways of more outputs than these are not distinguished,
const MAX_OUTPUTS: usize = 4;
/// nor more ways.
const MAX_WAYS: usize = 3;

/// Ways to a stop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ways<'a> {
    /// Either the main line alone, or ways that all need some output.
    pub(super) known: BTreeSet<Outputs<'a>>,
    /// There are others, by outputs too.
    pub(super) more: bool,
}

impl<'a> Ways<'a> {
    fn main_line() -> Self {
        Self {
            known: [Outputs::new()].into(),
            more: false,
        }
    }

    /// The stop cannot be reached.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty() && !self.more
    }

    fn is_main_line(&self) -> bool {
        self.known.first().is_some_and(Vec::is_empty)
    }

    fn add(&mut self, way: Outputs<'a>) {
        if self.is_main_line() || self.known.contains(&way) {
            return;
        }
        if way.is_empty() {
            *self = Self::main_line();
        } else if way.len() > MAX_OUTPUTS || self.known.len() == MAX_WAYS {
            self.more = true;
        } else {
            self.known.insert(way);
        }
    }

    /// Adds the ways that go on as `rest` does, `before` being behind them.
    fn add_behind(&mut self, before: &[(&'a str, &'a str)], rest: &Self) {
        for way in &rest.known {
            self.add([before, way].concat());
        }
        self.more |= rest.more && !self.is_main_line();
    }
}

/// The known ways of one chain, from its beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known<'a> {
    to_stop: Ways<'a>,
    /// To each parameter.
    to_params: Vec<Ways<'a>>,
}

impl<'a> Known<'a> {
    /// True: that was more than there was.
    fn add(&mut self, new: &Self) -> bool {
        let before = self.clone();
        self.to_stop.add_behind(&[], &new.to_stop);
        self.to_params.resize(new.to_params.len(), Ways::default());
        for (known, new) in self.to_params.iter_mut().zip(&new.to_params) {
            known.add_behind(&[], new);
        }
        *self != before
    }
}

/// The ways to one stop, from everywhere.
pub(super) struct WaysTo<'a, 's> {
    stop: Stop<'s>,
    chains: HashMap<&'a str, (FileId, &'a Chain)>,
    known: HashMap<&'a str, Known<'a>>,
}

impl<'a, 's> WaysTo<'a, 's> {
    pub(super) fn new(analysis: &'a Analysis, stop: Stop<'s>) -> Self {
        let mut chains = HashMap::new();
        for (file, decl) in analysis.declarations() {
            if let DeclKind::Chain(chain) = &decl.kind.node {
                chains.entry(chain.name.node.as_str()).or_insert((file, chain));
            }
        }
        let mut ways = Self {
            stop,
            chains,
            known: HashMap::new(),
        };
        ways.settle();
        ways
    }

    /// Looks at every chain, and again at those that mention one of which more has become known. What is known only grows,
    /// and no further than to a few ways.
    fn settle(&mut self) {
        let mut mentioning: HashMap<&'a str, Vec<&'a str>> = HashMap::new();
        let mut open: VecDeque<&'a str> = VecDeque::with_capacity(self.chains.len());
        for (name, (_, chain)) in &self.chains {
            open.push_back(*name);
            let mut names = Vec::new();
            mentioned(&chain.steps, &mut names);
            let inner: HashSet<&str> = names.into_iter().map(|n| n.node.as_str()).collect();
            inner
                .into_iter()
                .for_each(|inner| mentioning.entry(inner).or_default().push(name));
        }
        let mut waiting: HashSet<&str> = open.iter().copied().collect();
        while let Some(name) = open.pop_front() {
            waiting.remove(name);
            let Some(now) = self.look_at(name) else { continue };
            // Added to, and not replaced: so that this ends in circles too, which are an error reported elsewhere.
            if self.known.entry(name).or_default().add(&now) {
                let outer = mentioning.get(name).into_iter().flatten();
                open.extend(outer.filter(|outer| waiting.insert(**outer)));
            }
        }
    }

    fn look_at(&self, name: &str) -> Option<Known<'a>> {
        let (file, chain) = self.chains.get(name)?;
        let params = chain.params.iter().flatten();
        let to_param = |param: &str| self.walk(&chain.steps, &|ident| of_param(ident, param));
        Some(Known {
            to_stop: self.from(*file, &chain.steps),
            to_params: params.map(|p| to_param(&p.name.node)).collect(),
        })
    }

    /// The ways from the first of these steps.
    pub(super) fn from(&self, file: FileId, steps: &'a [Step]) -> Ways<'a> {
        self.walk(steps, &|ident| self.behind(file, ident))
    }

    /// The ways from where this name stands.
    pub(super) fn behind(&self, file: FileId, name: &Ident) -> Ways<'a> {
        match self.is_stop(file, name) {
            true => Ways::main_line(),
            false => self
                .known
                .get(name.node.as_str())
                .map_or_else(Ways::default, |k| k.to_stop.clone()),
        }
    }

    /// `ways` says how packets come from a step of that name to the goal.
    fn walk(&self, steps: &'a [Step], ways: &dyn Fn(&'a Ident) -> Ways<'a>) -> Ways<'a> {
        let mut found = Ways::default();
        self.line(steps, ways, &mut Outputs::new(), &mut found);
        found
    }

    fn line(
        &self,
        steps: &'a [Step],
        ways: &dyn Fn(&'a Ident) -> Ways<'a>,
        before: &mut Outputs<'a>,
        found: &mut Ways<'a>,
    ) {
        for step in steps {
            match &step.node {
                StepKind::Drop => {}
                StepKind::Node { name, arms } => {
                    found.add_behind(before, &ways(name));
                    for arm in arms {
                        before.push((&name.node, &arm.output.node));
                        self.line(&arm.steps, ways, before, found);
                        before.pop();
                    }
                }
                StepKind::Call { name, args } => {
                    found.add_behind(before, &ways(name));
                    for (n, arg) in args.iter().enumerate() {
                        let there = self.to_argument(&name.node, n, &ways(arg));
                        found.add_behind(before, &there);
                    }
                }
            }
        }
    }

    /// The ways from the beginning of a called chain to an argument, and from there as `rest` says.
    fn to_argument(&self, called: &str, n: usize, rest: &Ways<'a>) -> Ways<'a> {
        let mut found = Ways::default();
        let known = self.known.get(called).and_then(|known| known.to_params.get(n));
        for way in known.iter().flat_map(|ways| &ways.known) {
            found.add_behind(way, rest);
        }
        found.more |= known.is_some_and(|ways| ways.more) && !rest.is_empty() && !found.is_main_line();
        found
    }

    fn is_stop(&self, file: FileId, name: &Ident) -> bool {
        match self.stop {
            Stop::Step(At { file: there, span }) => there == file && span == name.span,
            Stop::Named(wanted) => name.node == wanted,
        }
    }
}

fn of_param<'a>(ident: &Ident, param: &str) -> Ways<'a> {
    if ident.node == param {
        Ways::main_line()
    } else {
        Ways::default()
    }
}
