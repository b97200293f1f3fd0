//! Writes tests from left to right: each where its place wants it.

use onvm_bundle::filter::{Comparison, Expr, Place, Primitive, Test};

use super::{
    IP, LINK_HEADER, TAG, TAGS,
    loads::Loads,
    simple::layer,
    text::{Kind, Written},
    words::words,
};

/// Writes tests from left to right.
pub(super) struct Writer {
    /// What stands before the next test.
    pub(super) place: Place,
    /// Of how many tags it is known that they are there.
    pub(super) tags: u8,
    /// No test asks of bytes whether there is a tag.
    pub(super) words: bool,
}

impl Writer {
    pub(super) fn at(place: u8, tags: u8) -> Self {
        Self {
            place: Place::behind_tags(place),
            tags,
            words: false,
        }
    }

    /// Behind one tag more than are known, which is there.
    pub(super) fn behind(tags: u8) -> Option<Self> {
        let next = tags.checked_add(1)?;
        Some(Self::at(next, next))
    }

    pub(super) fn all(mut self, expr: &Expr) -> Option<String> {
        Some(self.write(expr, &mut Vec::new())?.text)
    }

    /// `known`: what is true where this is evaluated.
    pub(super) fn write<'e>(&mut self, expr: &'e Expr, known: &mut Vec<&'e Expr>) -> Option<Written> {
        match expr {
            Expr::Const(true) => Some(Written::one("all")),
            Expr::Const(false) => Some(Written::one("not all")),
            Expr::Not(of) => self.write(of, known).map(Written::negated),
            Expr::Or(of) => {
                let parts = of.iter().map(|operand| self.write(operand, known));
                Some(Written::list(parts.collect::<Option<_>>()?, false))
            }
            Expr::And(of) => {
                let before = known.len();
                let mut parts: Vec<(Written, &Expr)> = Vec::new();
                for operand in of {
                    let (part, implied) = self.operand(operand, known)?;
                    // What the header of a load says need not be said before it.
                    let last = parts.iter().rev().map(|(_, expr)| *expr);
                    if parts.len() >= implied.len() && last.take(implied.len()).eq(implied.iter().rev()) {
                        parts.truncate(parts.len() - implied.len());
                    }
                    parts.push((part, operand));
                    known.push(operand);
                }
                known.truncate(before);
                Some(Written::list(
                    parts.into_iter().map(|(part, _)| part).collect(),
                    true,
                ))
            }
            Expr::Test(_) => Some(self.operand(expr, known)?.0),
        }
    }

    /// With the tests that it implies.
    fn operand<'e>(&mut self, expr: &'e Expr, known: &mut Vec<&'e Expr>) -> Option<(Written, Vec<Expr>)> {
        let Expr::Test(primitive) = expr else {
            return Some((self.write(expr, known)?, Vec::new()));
        };
        if let Test::Relation { op, left, right } = &primitive.test {
            let mut loads = Loads {
                place: &primitive.place,
                known,
                implied: Vec::new(),
            };
            let (left, right) = (loads.arith(left)?, loads.arith(right)?);
            let bytes = loads.implied.is_empty() && !self.place.begins_link();
            let text = format!("{left} {} {right}", comparison(*op));
            let here = *expr == Expr::test_at(self.place.clone(), primitive.test.clone());
            return (here || bytes).then_some((
                Written {
                    text,
                    kind: Kind::Relation,
                },
                loads.implied,
            ));
        }
        if primitive.test == Test::FirstFragment {
            let loads = Loads {
                place: &primitive.place,
                known,
                implied: Vec::new(),
            };
            let ip = loads.has(Test::EtherProto(IP)) && primitive.place == self.place;
            let load = match ip {
                true => "ip[6:2]".to_owned(),
                false => format!("ether[{}:2]", loads.network()? + 6),
            };
            let text = format!("{load} & 0x1fff = 0");
            let part = Written {
                text,
                kind: Kind::Relation,
            };
            return (ip || !self.place.begins_link()).then_some((part, Vec::new()));
        }
        if *expr == Expr::test_at(self.place.clone(), primitive.test.clone()) {
            let part = words(&primitive.test);
            if let Some(layer) = layer(&primitive.test) {
                self.place = self.place.behind(layer)?;
            }
            return Some((part, Vec::new()));
        }
        Some((self.tag(primitive)?, Vec::new()))
    }

    /// A test for a tag where `vlan` would ask for the next one.
    fn tag(&self, primitive: &Primitive) -> Option<Written> {
        let Test::Vlan(ids) = &primitive.test else {
            return None;
        };
        let tags = primitive.place.tags().filter(|_| !self.place.begins_link())?;
        let at = LINK_HEADER + TAG * u32::from(tags);
        let relation = |text: String| Written {
            text,
            kind: Kind::Relation,
        };
        let any = TAGS.map(|tag| relation(format!("ether[{}:2] = {tag:#06x}", at - 2)));
        let mut parts = Vec::new();
        if tags >= self.tags && self.words {
            return None;
        }
        if tags >= self.tags {
            parts.push(Written::list(any.into(), false));
        }
        let ids = ids
            .iter()
            .map(|id| relation(format!("ether[{at}:2] & 0xfff = {id}")));
        let ids: Vec<Written> = ids.collect();
        if !ids.is_empty() {
            parts.push(Written::list(ids, false));
        }
        Some(match parts.is_empty() {
            true => Written::one("all"),
            false => Written::list(parts, true),
        })
    }
}

fn comparison(op: Comparison) -> &'static str {
    match op {
        Comparison::Eq => "=",
        Comparison::Ne => "!=",
        Comparison::Lt => "<",
        Comparison::Le => "<=",
        Comparison::Gt => ">",
        Comparison::Ge => ">=",
    }
}
