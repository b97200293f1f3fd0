//! The walk along a chain that checks its shape and lays out its hops.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    rc::Rc,
};

use onvm_bundle::{MAX_HOPS, Target};
use onvm_lang::syntax::{self, ParamKind, StepKind};

use super::{Bindings, Bound, Graph, MAX_SPLICES, resolve};
use crate::{
    diagnostics::{
        arms_without_outputs, chain_cycle, open_chain, output_twice, table_full, unhandled_output,
        unknown_output, unreachable_step,
    },
    source::sources::{FileId, Place},
};

/// A hop before its table is complete.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) at: Target,
    /// Index of the NF that stands here.
    pub(crate) nf: Option<usize>,
    pub(crate) place: Place,
    pub(crate) next: Option<usize>,
    pub(crate) outputs: BTreeMap<String, usize>,
    pub(crate) steers: BTreeMap<String, usize>,
}

pub(crate) struct Walk<'g, 'a> {
    pub(super) graph: &'g Graph<'a>,
    /// The steering rule that leads here: splices are followed and every end must be closed. None: a declaration is
    /// looked at by itself.
    rule: Option<Place>,
    pub(crate) hops: Vec<Draft>,
    arms: VecDeque<Pending<'a>>,
    /// Something was reported that leaves the table incomplete.
    pub(crate) failed: bool,
    full: bool,
}

/// Arms are walked after the line that they leave, so that a table lists the main line first.
struct Pending<'a> {
    from: usize,
    output: &'a str,
    steps: &'a [syntax::Step],
    file: FileId,
    bindings: Rc<Bindings<'a>>,
}

/// The state of one line of steps.
#[derive(Default)]
struct Line {
    first: Option<usize>,
    /// The hop whose `next` is the hop that comes next.
    open: Option<usize>,
    /// The last step, and whether packets end there.
    last: Option<(Place, bool)>,
    reported: bool,
}

impl<'g, 'a> Walk<'g, 'a> {
    pub(crate) fn new(graph: &'g Graph<'a>, rule: Option<Place>) -> Self {
        Self {
            graph,
            rule,
            hops: Vec::new(),
            arms: VecDeque::new(),
            failed: false,
            full: false,
        }
    }

    pub(crate) fn run(&mut self, steps: &'a [syntax::Step], file: FileId, bindings: Bindings<'a>) {
        self.line(steps, file, &Rc::new(bindings));
        while let Some(arm) = self.arms.pop_front() {
            match self.line(arm.steps, arm.file, &arm.bindings) {
                Some(first) => drop(self.hops[arm.from].outputs.insert(arm.output.to_owned(), first)),
                None => self.failed = true,
            }
        }
    }

    /// Walks a line from its beginning; returns its first hop.
    fn line(
        &mut self,
        steps: &'a [syntax::Step],
        file: FileId,
        bindings: &Rc<Bindings<'a>>,
    ) -> Option<usize> {
        let mut line = Line::default();
        self.steps(steps, file, bindings, &mut line, 0);
        if let (Some(rule), Some((end, false)), false) = (self.rule, line.last, self.full) {
            self.graph.cx.report(open_chain::open_chain(end, rule));
            self.failed = true;
        }
        line.first
    }

    fn steps(
        &mut self,
        steps: &'a [syntax::Step],
        file: FileId,
        bindings: &Rc<Bindings<'a>>,
        line: &mut Line,
        depth: usize,
    ) {
        for (n, step) in steps.iter().enumerate() {
            if self.full {
                return;
            }
            let place = self.graph.cx.place(file, step.span);
            if let Some((end, true)) = line.last {
                if !line.reported {
                    self.graph
                        .cx
                        .report(unreachable_step::unreachable_step(place, end));
                    line.reported = true;
                }
                self.mention(&steps[n..], file, bindings);
                self.failed = true;
                return;
            }
            match &step.node {
                StepKind::Drop => self.end(Target::Drop, place, line),
                StepKind::Call { name, args } => match self.graph.call(file, name, args, bindings) {
                    Some((file, chain, bound)) => self.splice(chain, file, bound, place, line, depth),
                    None => self.give_up(place, line),
                },
                StepKind::Node { name, arms } => {
                    let at = self.graph.cx.place(file, name.span);
                    let bound = self.graph.step(file, name, bindings);
                    self.check_arms(bound, name, arms, file, place);
                    self.node(bound, at, line, depth);
                    self.queue_arms(bound, arms, file, bindings, line);
                }
            }
        }
    }

    /// Looks up the names in steps that are not walked: a wrong one is wrong there too, and none is unused.
    fn mention(&self, steps: &'a [syntax::Step], file: FileId, bindings: &Bindings<'a>) {
        for step in steps {
            if let StepKind::Node { name, .. } | StepKind::Call { name, .. } = &step.node {
                self.graph.step(file, name, bindings);
            }
        }
    }

    fn node(&mut self, bound: Option<Bound<'a>>, place: Place, line: &mut Line, depth: usize) {
        match bound {
            Some(Bound::Port(port)) => self.end(Target::Port(port.to_owned()), place, line),
            Some(Bound::Nf(nf)) => {
                let name = self.graph.nfs[nf].name.to_owned();
                self.push(Target::Nf(name), Some(nf), place, line);
                line.last = Some((place, false));
            }
            Some(Bound::Chain(file, chain)) => match self.graph.plain_chain(place, file, chain) {
                Some(()) => self.splice(chain, file, Bindings::new(), place, line, depth),
                None => self.give_up(place, line),
            },
            Some(Bound::Open(ParamKind::Port)) => {
                line.last = Some((place, true));
                self.failed = true;
            }
            Some(Bound::Open(_)) => {
                line.last = Some((place, false));
                self.failed = true;
            }
            Some(Bound::UnknownNf) | None => self.give_up(place, line),
        }
    }

    fn splice(
        &mut self,
        chain: &'a syntax::Chain,
        file: FileId,
        bindings: Bindings<'a>,
        place: Place,
        line: &mut Line,
        depth: usize,
    ) {
        if self.rule.is_none() {
            // Enough to see what stands behind an end; the chain itself is looked at on its own.
            line.last = Some((place, self.graph.is_closed(chain, 0) == Some(true)));
            self.failed = true;
            return;
        }
        if self.graph.chain(&chain.name.node).is_none() {
            return self.give_up(place, line);
        }
        if depth >= MAX_SPLICES {
            self.graph
                .cx
                .report(chain_cycle::nested_too_deep(place, MAX_SPLICES));
            return self.give_up(place, line);
        }
        self.steps(&chain.steps, file, &Rc::new(bindings), line, depth + 1);
    }

    /// This step is unknown and has been reported: its consequences are not.
    fn give_up(&mut self, _place: Place, line: &mut Line) {
        line.last = None;
        self.failed = true;
    }

    fn end(&mut self, at: Target, place: Place, line: &mut Line) {
        self.push(at, None, place, line);
        line.open = None;
        line.last = Some((place, true));
    }

    fn push(&mut self, at: Target, nf: Option<usize>, place: Place, line: &mut Line) {
        if self.hops.len() >= MAX_HOPS {
            self.overflow();
            return;
        }
        let hop = self.hops.len();
        self.hops.push(Draft {
            at,
            nf,
            place,
            next: None,
            outputs: BTreeMap::new(),
            steers: BTreeMap::new(),
        });
        if let Some(before) = line.open.replace(hop) {
            self.hops[before].next = Some(hop);
        }
        line.first.get_or_insert(hop);
    }

    /// The table of this chain alone is full; the walk ends.
    pub(super) fn overflow(&mut self) {
        if let (Some(rule), false) = (self.rule, self.full) {
            self.graph
                .cx
                .report(table_full::too_many_to_count(rule, "hops", MAX_HOPS));
        }
        self.full = true;
        self.failed = true;
    }

    fn check_arms(
        &mut self,
        bound: Option<Bound<'a>>,
        name: &syntax::Ident,
        arms: &'a [syntax::Arm],
        file: FileId,
        place: Place,
    ) {
        let cx = self.graph.cx;
        let nf = match bound {
            Some(Bound::Nf(nf)) => &self.graph.nfs[nf],
            Some(Bound::Open(ParamKind::Nf) | Bound::UnknownNf) | None => return,
            Some(other) => {
                if !arms.is_empty() {
                    cx.report(arms_without_outputs::arms_without_outputs(
                        place,
                        &name.node,
                        resolve::kind(other),
                    ));
                    self.failed = true;
                }
                return;
            }
        };
        let outputs = &nf.ty.manifest.outputs;
        let mut handled: HashMap<&str, Place> = HashMap::new();
        for arm in arms {
            let (output, at) = (arm.output.node.as_str(), cx.place(file, arm.output.span));
            if !outputs.iter().any(|o| o.name == output) {
                let known: Vec<&str> = outputs.iter().map(|o| o.name.as_str()).collect();
                cx.report(unknown_output::unknown_output(
                    at, nf.name, nf.place, output, known,
                ));
                self.failed = true;
            } else if let Some(first) = handled.insert(output, at) {
                cx.report(output_twice::output_twice(at, output, first));
                self.failed = true;
            }
        }
        for output in outputs
            .iter()
            .filter(|o| o.must_handle && !handled.contains_key(o.name.as_str()))
        {
            let at = cx.place(file, name.span);
            cx.report(unhandled_output::unhandled_output(
                at,
                nf.name,
                nf.place,
                &output.name,
                &output.doc,
            ));
            self.failed = true;
        }
    }

    fn queue_arms(
        &mut self,
        bound: Option<Bound<'a>>,
        arms: &'a [syntax::Arm],
        file: FileId,
        bindings: &Rc<Bindings<'a>>,
        line: &Line,
    ) {
        // Where the step is not an NF, or not a known one, the arms' steps are still read for their own errors.
        let scratch = !matches!(bound, Some(Bound::Nf(_)));
        for arm in arms {
            match line.open.filter(|_| !scratch && !self.full) {
                Some(from) => self.arms.push_back(Pending {
                    from,
                    output: &arm.output.node,
                    steps: &arm.steps,
                    file,
                    bindings: Rc::clone(bindings),
                }),
                None => {
                    let mut aside = Walk::new(self.graph, None);
                    aside.run(&arm.steps, file, (**bindings).clone());
                }
            }
        }
    }
}
