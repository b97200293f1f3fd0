//! Chains and steering.

use super::printer::Printer;
use crate::syntax::{Arm, Chain, ChainParam, Match, ParamKind, Rule, Span, Steer, Step, StepKind};

/// Filters up to this width have their arrows in one column.
const ALIGNED: usize = 60;

impl Printer<'_> {
    pub(super) fn chain(&mut self, chain: &Chain) {
        self.text(&chain.name.node, chain.name.span);
        if let Some(params) = &chain.params {
            self.mark("(");
            for (at, param) in params.iter().enumerate() {
                if at > 0 {
                    self.mark(",");
                    self.space();
                }
                self.chain_param(param);
            }
            self.mark(")");
        }
        self.mark(" =");
        self.space();
        self.steps(&chain.steps);
    }

    fn chain_param(&mut self, param: &ChainParam) {
        self.text(&param.name.node, param.name.span);
        self.mark(":");
        self.space();
        let kind = match param.kind.node {
            ParamKind::Port => "port",
            ParamKind::Nf => "nf",
            ParamKind::Chain => "chain",
        };
        self.text(kind, param.kind.span);
    }

    /// Steps on one line, or each on its own.
    pub(super) fn steps(&mut self, steps: &[Step]) {
        let line = steps_line(steps);
        if self.fits(&line, steps_span(steps), 0) {
            self.text(&line, steps_span(steps));
            return;
        }
        self.indented(|p| {
            for (at, step) in steps.iter().enumerate() {
                if at > 0 {
                    p.line();
                    p.comments_before(step.span.start);
                    p.line();
                    p.mark("-> ");
                }
                p.step(step);
            }
        });
    }

    fn step(&mut self, step: &Step) {
        let line = step_line(step);
        let fits = self.fits(&line, step.span, 0);
        match &step.node {
            StepKind::Node { name, arms } if !fits && !arms.is_empty() => {
                self.text(&name.node, name.span);
                self.mark(" ");
                self.open("{");
                for arm in arms {
                    self.item(arm.span.start);
                    self.text(&arm.output.node, arm.output.span);
                    self.mark(" -> ");
                    self.steps(&arm.steps);
                }
                self.close("}", step.span.end);
            }
            StepKind::Call { name, args } if !fits => {
                self.text(&name.node, name.span);
                self.mark("(");
                for (at, arg) in args.iter().enumerate() {
                    if at > 0 {
                        self.mark(",");
                        self.space();
                    }
                    self.text(&arg.node, arg.span);
                }
                self.comments_before(step.span.end);
                self.mark(")");
            }
            _ => self.text(&line, step.span),
        }
    }

    pub(super) fn steer(&mut self, steer: &Steer) {
        self.text(&steer.port.node, steer.port.span);
        self.mark(" ");
        let block = steer.block.span;
        if let [rule] = steer.rules.as_slice() {
            let line = format!("{{ {} }}", self.rule_line(rule));
            if self.fits(&line, block, 0) {
                self.text(&line, block);
                return;
            }
        }
        if steer.rules.is_empty() && !self.has_comment(block) {
            self.text("{}", block);
            return;
        }
        self.comments_before(block.start);
        let widths = steer.rules.iter().filter_map(|r| self.match_width(r));
        let column = widths.filter(|w| *w <= ALIGNED).max().unwrap_or(0);
        self.open("{");
        for rule in &steer.rules {
            self.item(rule.span.start);
            self.matcher(&rule.matcher);
            let pad = match self.match_width(rule) {
                Some(width) => column.saturating_sub(width),
                None => 0,
            };
            if pad > 0 {
                self.spaces(pad);
            }
            self.mark(" -> ");
            self.steps(&rule.target);
            self.passed(rule.span.end);
        }
        self.close("}", block.end);
    }

    /// Width of a rule's left side; `None` when a comment breaks it.
    fn match_width(&self, rule: &Rule) -> Option<usize> {
        let broken = self.has_comment(rule.matcher.span());
        (!broken).then(|| self.match_line(&rule.matcher).chars().count())
    }

    fn match_line(&self, matcher: &Match) -> String {
        match matcher {
            Match::Filter(filter) => self.filter_line(filter),
            Match::Else(_) => "else".to_owned(),
        }
    }

    fn rule_line(&self, rule: &Rule) -> String {
        format!(
            "{} -> {}",
            self.match_line(&rule.matcher),
            steps_line(&rule.target)
        )
    }

    fn matcher(&mut self, matcher: &Match) {
        match matcher {
            Match::Filter(filter) => self.filter(filter),
            Match::Else(word) => self.text("else", word.span),
        }
    }
}

fn steps_span(steps: &[Step]) -> Span {
    match (steps.first(), steps.last()) {
        (Some(first), Some(last)) => first.span.to(last.span),
        _ => Span::default(),
    }
}

fn steps_line(steps: &[Step]) -> String {
    let steps: Vec<String> = steps.iter().map(step_line).collect();
    steps.join(" -> ")
}

fn step_line(step: &Step) -> String {
    match &step.node {
        StepKind::Drop => "drop".to_owned(),
        StepKind::Node { name, arms } if arms.is_empty() => name.node.clone(),
        StepKind::Node { name, arms } => {
            let arms: Vec<String> = arms.iter().map(arm_line).collect();
            format!("{} {{ {} }}", name.node, arms.join(", "))
        }
        StepKind::Call { name, args } => {
            let args: Vec<&str> = args.iter().map(|a| a.node.as_str()).collect();
            format!("{}({})", name.node, args.join(", "))
        }
    }
}

fn arm_line(arm: &Arm) -> String {
    format!("{} -> {}", arm.output.node, steps_line(&arm.steps))
}
