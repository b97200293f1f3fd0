//! A filter for frames without a tag, and for those with one.

use onvm_bundle::filter::{Expr, Place, Test};

use super::{
    TAGS,
    simple::{layer, layers, simple},
    text::{Written, list},
    writer::Writer,
};

/// Splits the frames that have so many tags by whether there is one more.
pub(super) fn by_tag(expr: &Expr, tags: u8) -> Option<Written> {
    let (without, with) = (
        simple(&split(expr, tags, false)),
        simple(&split(expr, tags, true)),
    );
    let word = || Written::one("vlan");
    let untagged = || match &without {
        expr if layers(expr) > usize::from(tags) => None,
        expr => Writer::at(tags, tags).write(expr, &mut Vec::new()),
    };
    let tagged = |with: &Expr| {
        let next = tags.checked_add(1)?;
        let behind = |expr: &Expr| {
            let place = usize::from(next);
            let plain = Writer::at(next, next).write(expr, &mut Vec::new());
            plain.or_else(|| (layers(expr) > place).then(|| by_tag(expr, next))?)
        };
        // `vlan 7 and ...`
        let here = Place::behind_tags(tags);
        let own = |e: &Expr| matches!(e, Expr::Test(p) if p.place == here && layer(&p.test).is_some());
        let parts = match with {
            Expr::And(of) => of.as_slice(),
            one => std::slice::from_ref(one),
        };
        let Some(at) = parts.iter().position(own) else {
            return match with {
                Expr::Const(true) => Some(word()),
                rest => Some(Written::list(vec![word(), behind(rest)?], true)),
            };
        };
        let mut rest = parts.to_vec();
        let tag = Writer::at(tags, tags).write(&rest.remove(at), &mut Vec::new())?;
        match Expr::and(rest) {
            Expr::Const(true) => Some(tag),
            rest => Some(Written::list(vec![tag, behind(&rest)?], true)),
        }
    };
    Some(match (&without, &with) {
        (Expr::Const(false), Expr::Const(false)) => Written::negated(Written::one("all")),
        (Expr::Const(false), with) => tagged(with)?,
        (Expr::Const(true), Expr::Const(true)) => Written::one("all"),
        (Expr::Const(true), Expr::Const(false)) => Written::negated(word()),
        (Expr::Const(true), with) => Written::list(
            vec![
                Written::negated(word()),
                Writer::behind(tags)?.write(with, &mut Vec::new())?,
            ],
            false,
        ),
        (without, Expr::Const(false)) if has_type(without, tags) => untagged()?,
        (_, Expr::Const(false)) => Written::list(vec![untagged()?, Written::negated(word())], true),
        (_, Expr::Const(true)) => Written::list(vec![untagged()?, word()], false),
        (without, with) => {
            let first = match has_type(without, tags) {
                true => untagged()?,
                false => Written::list(vec![Written::negated(types()), untagged()?], true),
            };
            Written::list(vec![first, tagged(with)?], false)
        }
    })
}

/// `ether proto [0x8100, 0x88a8, 0x9100]`
fn types() -> Written {
    Written::one(format!(
        "ether proto {}",
        list(TAGS.iter().map(|t| format!("{t:#06x}")))
    ))
}

/// What is left of a filter for frames with so many tags, of which it is known whether there is one more.
fn split(expr: &Expr, tags: u8, more: bool) -> Expr {
    let each = |of: &[Expr]| of.iter().map(|e| split(e, tags, more)).collect::<Vec<_>>();
    match expr {
        Expr::Const(_) => expr.clone(),
        Expr::And(of) => Expr::and(each(of)),
        Expr::Or(of) => Expr::or(each(of)),
        Expr::Not(of) => Expr::negate(split(of, tags, more)),
        Expr::Test(primitive) if primitive.place == Place::behind_tags(tags) => match &primitive.test {
            Test::Vlan(ids) => match (more, ids.is_empty()) {
                (false, _) => Expr::Const(false),
                (true, true) => Expr::Const(true),
                (true, false) => expr.clone(),
            },
            // Its type is that of a tag.
            Test::EtherProto(number) if more && !TAGS.contains(number) => Expr::Const(false),
            Test::Mpls(_)
            | Test::Pppoes(_)
            | Test::Tunnel(..)
            | Test::ProtoChain { .. }
            | Test::Proto { .. }
            | Test::Net { .. }
            | Test::Port { .. }
            | Test::Dscp(_)
                if more =>
            {
                Expr::Const(false)
            }
            _ => expr.clone(),
        },
        Expr::Test(_) => expr.clone(),
    }
}

/// It takes no frame that has one tag more.
fn has_type(expr: &Expr, tags: u8) -> bool {
    match expr {
        Expr::Const(value) => !value,
        Expr::And(of) => of.iter().any(|e| has_type(e, tags)),
        Expr::Or(of) => of.iter().all(|e| has_type(e, tags)),
        Expr::Not(_) => false,
        Expr::Test(primitive) => split(&Expr::Test(primitive.clone()), tags, true) == Expr::Const(false),
    }
}
