//! Chain bodies and steering rules from the grammar's pairs.

use super::{Pair, Rule, Walk};
use crate::syntax::{
    Arm, ArmKind, Chain, ChainParam, Match, ParamKind, RuleKind, Spanned, Steer, Step, StepKind, Steps,
};

impl Walk<'_> {
    pub(super) fn chain<'s>(&mut self, parts: impl Iterator<Item = Pair<'s>>) -> Option<Chain> {
        let (mut name, mut params, mut steps) = (None, None, None);
        for part in parts {
            match part.as_rule() {
                Rule::name => name = Some(self.declared(&part)),
                Rule::formals => params = Some(self.formals(part)?),
                Rule::steps => steps = Some(self.steps(part)?),
                _ => {}
            }
        }
        Some(Chain {
            name: name?,
            params,
            steps: steps?,
        })
    }

    fn formals(&mut self, pair: Pair<'_>) -> Option<Vec<ChainParam>> {
        let mut formals = Vec::new();
        for part in pair.into_inner() {
            if part.as_rule() != Rule::formal {
                continue;
            }
            let mut parts = part.into_inner();
            let name = self.declared(&parts.next()?);
            let kind = parts.nth(1)?;
            let span = self.span(&kind);
            let kind = match kind.as_str() {
                "port" => ParamKind::Port,
                "nf" => ParamKind::Nf,
                _ => ParamKind::Chain,
            };
            formals.push(ChainParam {
                name,
                kind: Spanned::new(kind, span),
            });
        }
        Some(formals)
    }

    pub(super) fn steps(&mut self, pair: Pair<'_>) -> Option<Steps> {
        let mut steps = Steps::new();
        for part in pair.into_inner() {
            if part.as_rule() == Rule::step {
                steps.push(self.step(part)?);
            }
        }
        Some(steps)
    }

    fn step(&mut self, pair: Pair<'_>) -> Option<Step> {
        let span = self.span(&pair);
        let inner = pair.into_inner().next()?;
        let kind = match inner.as_rule() {
            Rule::drop => StepKind::Drop,
            Rule::splice => {
                let mut parts = inner.into_inner();
                let name = self.ident(&parts.next()?);
                let args = parts
                    .filter(|p| p.as_rule() == Rule::argument)
                    .map(|p| self.ident(&p))
                    .collect();
                StepKind::Call { name, args }
            }
            _ => {
                let mut parts = inner.into_inner();
                let name = self.ident(&parts.next()?);
                let arms = match parts.next() {
                    Some(arms) => self.arms(arms)?,
                    None => Vec::new(),
                };
                StepKind::Node { name, arms }
            }
        };
        Some(Spanned::new(kind, span))
    }

    fn arms(&mut self, pair: Pair<'_>) -> Option<Vec<Arm>> {
        let mut arms = Vec::new();
        for part in pair.into_inner() {
            if part.as_rule() != Rule::arm {
                continue;
            }
            let mut parts = part.into_inner();
            let output = self.ident(&parts.next()?);
            let path = parts.nth(1)?;
            let span = output.span.to(self.span(&path));
            let steps = self.steps(path)?;
            arms.push(Spanned::new(ArmKind { output, steps }, span));
        }
        Some(arms)
    }

    pub(super) fn steer<'s>(&mut self, mut parts: impl Iterator<Item = Pair<'s>>) -> Option<Steer> {
        let port = self.ident(&parts.next()?);
        let rules = parts.next()?;
        let block = Spanned::new((), self.span(&rules));
        let mut out = Vec::new();
        for part in rules.into_inner() {
            if part.as_rule() == Rule::steer_rule {
                out.push(self.rule(part)?);
            }
        }
        Some(Steer {
            port,
            rules: out,
            block,
        })
    }

    pub(super) fn rule(&mut self, pair: Pair<'_>) -> Option<crate::syntax::Rule> {
        let mut parts = pair.into_inner();
        let matcher = parts.next()?;
        let matcher = match matcher.as_rule() {
            Rule::kw_else => Match::Else(Spanned::new((), self.span(&matcher))),
            _ => Match::Filter(self.filter(&matcher)),
        };
        let path = parts.nth(1)?;
        let target_span = self.span(&path);
        let target = self.steps(path)?;
        let span = matcher.span().to(target_span);
        Some(Spanned::new(RuleKind { matcher, target }, span))
    }
}
