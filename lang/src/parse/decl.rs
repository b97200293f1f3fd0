//! Declarations from the grammar's pairs.

use super::{Pair, Rule, Walk};
use crate::filter;
use crate::syntax::{
    Allow, Assert, Claim, Class, DeclKind, Filter, Grant, Ident, Let, Manager, Nf, Param, Port, ProgramArm,
    Spanned, TypeRef, Use,
};

impl Walk<'_> {
    /// `None` never comes of a tree that the grammar built; the caller then keeps the declaration
    /// as broken.
    pub(super) fn declaration(&mut self, pair: Pair<'_>) -> Option<DeclKind> {
        let rule = pair.as_rule();
        let mut parts = pair.into_inner();
        Some(match rule {
            Rule::use_decl => DeclKind::Use(self.use_decl(parts)?),
            Rule::param_decl => DeclKind::Param(self.param(parts)?),
            Rule::let_decl => DeclKind::Let(Let {
                name: self.declared(&parts.next()?),
                value: self.value(parts.nth(1)?)?,
            }),
            Rule::class_decl => DeclKind::Class(Class {
                name: self.class_name(&parts.next()?),
                filter: self.filter(&parts.nth(1)?),
            }),
            Rule::port_decl => {
                let name = self.declared(&parts.next()?);
                let kind = self.ident(&parts.nth(1)?);
                let config = match parts.next() {
                    Some(p) if p.as_rule() == Rule::record => Some(self.record(p)?),
                    _ => None,
                };
                DeclKind::Port(Port { name, kind, config })
            }
            Rule::nf_decl => DeclKind::Nf(self.nf(parts)?),
            Rule::chain_decl => DeclKind::Chain(self.chain(parts)?),
            Rule::steer_decl => DeclKind::Steer(self.steer(parts)?),
            Rule::allow_decl => DeclKind::Allow(self.allow(parts)?),
            Rule::assert_decl => DeclKind::Assert(Assert {
                port: self.ident(&parts.next()?),
                filter: self.filter(&parts.nth(1)?),
                claim: self.claim(parts.next()?)?,
            }),
            Rule::test_decl => DeclKind::Test(self.test(parts)?),
            Rule::manager_decl => DeclKind::Manager(Manager {
                settings: self.record(parts.next()?)?,
            }),
            _ => return None,
        })
    }

    fn use_decl<'s>(&mut self, parts: impl Iterator<Item = Pair<'s>>) -> Option<Use> {
        let mut path = None;
        let mut alias = None;
        for part in parts {
            match part.as_rule() {
                Rule::path => path = Some(self.string(&part)),
                Rule::name => alias = Some(self.declared(&part)),
                _ => {}
            }
        }
        Some(Use { path: path?, alias })
    }

    fn param<'s>(&mut self, parts: impl Iterator<Item = Pair<'s>>) -> Option<Param> {
        let (mut name, mut ty, mut default) = (None, None, None);
        for part in parts {
            match part.as_rule() {
                Rule::name => name = Some(self.declared(&part)),
                Rule::type_ref => ty = Some(self.type_ref(part)?),
                Rule::value => default = Some(self.value(part)?),
                _ => {}
            }
        }
        Some(Param {
            name: name?,
            ty: ty?,
            default,
        })
    }

    fn type_ref(&mut self, pair: Pair<'_>) -> Option<TypeRef> {
        let span = Spanned::new((), self.span(&pair));
        let inner = pair.into_inner().next()?;
        let list = inner.as_rule() == Rule::list_type;
        let ident = if list { inner.into_inner().nth(1)? } else { inner };
        Some(TypeRef {
            name: self.ident(&ident),
            list,
            span,
        })
    }

    fn nf<'s>(&mut self, parts: impl Iterator<Item = Pair<'s>>) -> Option<Nf> {
        let (mut name, mut ty, mut params, mut with) = (None, None, None, None);
        for part in parts {
            match part.as_rule() {
                Rule::name => name = Some(self.declared(&part)),
                Rule::nf_type => ty = Some(self.ident(&part)),
                Rule::params => params = Some(self.record(part.into_inner().next()?)?),
                Rule::with => with = Some(self.record(part.into_inner().nth(1)?)?),
                _ => {}
            }
        }
        Some(Nf {
            name: name?,
            ty: ty?,
            params,
            with,
        })
    }

    fn allow<'s>(&mut self, mut parts: impl Iterator<Item = Pair<'s>>) -> Option<Allow> {
        let nf = self.ident(&parts.next()?);
        let grant = parts.nth(1)?;
        if grant.as_rule() == Rule::lookup {
            let grant = Grant::Lookup;
            return Some(Allow { nf, grant });
        }
        if grant.as_rule() == Rule::program {
            let grant = self.program(grant.into_inner())?;
            return Some(Allow { nf, grant });
        }
        let mut targets = Vec::new();
        let mut max_hops = None;
        for part in grant.into_inner() {
            match part.as_rule() {
                Rule::destination => targets.push(self.ident(&part)),
                Rule::count => {
                    let count = self.count(&part);
                    max_hops = Some(count.map(|n| u32::try_from(n).unwrap_or(u32::MAX)));
                }
                _ => {}
            }
        }
        let grant = Grant::Steer { targets, max_hops };
        Some(Allow { nf, grant })
    }

    fn program<'s>(&mut self, mut parts: impl Iterator<Item = Pair<'s>>) -> Option<Grant> {
        let port = self.ident(&parts.nth(1)?);
        let block = parts.next()?;
        let span = self.span(&block);
        let mut arms = Vec::new();
        for arm in block
            .into_inner()
            .filter(|part| part.as_rule() == Rule::program_arm)
        {
            let mut parts = arm.into_inner();
            let filter = self.filter(&parts.next()?);
            let targets = parts.filter(|part| part.as_rule() == Rule::program_target);
            let targets = targets.map(|part| self.ident(&part)).collect();
            arms.push(ProgramArm { filter, targets });
        }
        Some(Grant::Program {
            port,
            arms,
            block: Spanned::new((), span),
        })
    }

    fn claim(&mut self, pair: Pair<'_>) -> Option<Spanned<Claim>> {
        let span = self.span(&pair);
        let claim = pair.into_inner().next()?;
        let rule = claim.as_rule();
        let mut names: Vec<Ident> = Vec::new();
        for part in claim.into_inner() {
            if matches!(part.as_rule(), Rule::nf_name | Rule::node_name) {
                names.push(self.ident(&part));
            }
        }
        let mut names = names.into_iter();
        let claim = match rule {
            Rule::passes => Claim::Passes {
                nf: names.next()?,
                before: names.next(),
            },
            Rule::never_passes => Claim::NeverPasses { nf: names.next()? },
            Rule::reaches => Claim::Reaches { node: names.next()? },
            Rule::never_reaches => Claim::NeverReaches { node: names.next()? },
            _ => Claim::Dropped,
        };
        Some(Spanned::new(claim, span))
    }

    pub(super) fn filter(&mut self, pair: &Pair<'_>) -> Filter {
        let start = self.span(pair).start;
        let follows = match pair.as_rule() {
            Rule::filter => "`->`",
            Rule::assert_filter => filter::CLAIM,
            _ => "the end of the class",
        };
        filter::parse_at(pair.as_str(), start, follows, self.diagnostics)
    }
}
