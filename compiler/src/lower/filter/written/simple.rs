//! The same filter with fewer tests, and with those last that shift what follows.

use onvm_bundle::filter::{Expr, Layer, NumberSet, Test, Tunnel};

/// Without constants within, without doubles, and with one test where there are several of a layer's numbers.
pub(crate) fn simple(expr: &Expr) -> Expr {
    match expr {
        Expr::And(of) => joined(of.iter().map(simple), true),
        Expr::Or(of) => joined(of.iter().map(simple), false),
        Expr::Not(of) => match simple(of) {
            Expr::Not(inner) => *inner,
            Expr::Const(value) => Expr::Const(!value),
            other => Expr::negate(other),
        },
        other => other.clone(),
    }
}

/// Conjunction if `and`, else disjunction.
fn joined(operands: impl Iterator<Item = Expr>, and: bool) -> Expr {
    let mut kept: Vec<Expr> = Vec::new();
    let operands = operands.flat_map(|operand| match operand {
        Expr::And(of) if and => of,
        Expr::Or(of) if !and => of,
        other => vec![other],
    });
    for operand in operands {
        if operand == Expr::Const(!and) {
            return operand;
        }
        if operand == Expr::Const(and) || kept.contains(&operand) {
            continue;
        }
        match kept.iter_mut().find_map(|k| Some((either(k, &operand, and)?, k))) {
            Some((both, place)) => *place = both,
            None => kept.push(operand),
        }
    }
    match and {
        true => Expr::and(kept),
        false => Expr::or(kept),
    }
}

/// One test in place of two of the same layer: of `vlan 7 or vlan 8`, or of the contraries of both, joined by `and`.
fn either(a: &Expr, b: &Expr, negated: bool) -> Option<Expr> {
    match (a, b, negated) {
        (Expr::Not(a), Expr::Not(b), true) => either(a, b, false).map(Expr::negate),
        (Expr::Test(a), Expr::Test(b), false) if a.place == b.place => {
            let test = match (&a.test, &b.test) {
                (Test::Vlan(a), Test::Vlan(b)) => {
                    let mut ids: Vec<u16> = a.iter().chain(b).copied().collect();
                    ids.sort_unstable();
                    ids.dedup();
                    if a.is_empty() || b.is_empty() {
                        ids.clear();
                    }
                    Test::Vlan(ids)
                }
                (Test::Mpls(a), Test::Mpls(b)) => Test::Mpls(union(a, b)),
                (Test::Pppoes(a), Test::Pppoes(b)) => Test::Pppoes(union(a, b)),
                (Test::Tunnel(kind, a), Test::Tunnel(other, b)) if kind == other => {
                    Test::Tunnel(*kind, union(a, b))
                }
                _ => return None,
            };
            Some(Expr::test_at(a.place.clone(), test))
        }
        _ => None,
    }
}

/// Of sets in which nothing stands for everything.
fn union(a: &NumberSet, b: &NumberSet) -> NumberSet {
    let all = a.is_empty() || b.is_empty();
    NumberSet::new(a.ranges().iter().chain(b.ranges()).copied().filter(|_| !all))
}

/// What shifts stands behind what does not.
pub(super) fn sorted(expr: &Expr) -> Expr {
    let by_depth = |of: &[Expr]| {
        let mut of: Vec<Expr> = of.iter().map(sorted).collect();
        of.sort_by_key(layers);
        of
    };
    match expr {
        Expr::And(of) => Expr::and(by_depth(of)),
        Expr::Or(of) => Expr::or(by_depth(of)),
        Expr::Not(of) => Expr::negate(sorted(of)),
        other => other.clone(),
    }
}

/// The most layers that stand behind a part of the text.
pub(super) fn layers(expr: &Expr) -> usize {
    match expr {
        Expr::Const(_) => 0,
        Expr::And(of) | Expr::Or(of) => of.iter().map(layers).max().unwrap_or(0),
        Expr::Not(of) => layers(of),
        Expr::Test(test) => test.place.layers().len() + usize::from(layer(&test.test).is_some()),
    }
}

/// What a test makes of the tests to its right.
pub(super) fn layer(test: &Test) -> Option<Layer> {
    Some(match test {
        Test::Vlan(_) => Layer::Vlan,
        Test::Mpls(_) => Layer::Mpls,
        Test::Pppoes(_) => Layer::Pppoes,
        Test::Tunnel(Tunnel::Geneve, _) => Layer::Geneve,
        Test::Tunnel(Tunnel::Vxlan, _) => Layer::Vxlan,
        _ => return None,
    })
}
