//! A lowered filter as text of the language: the way back of [`lower`](super::lower).
//!
//! # Idea
//! Each test has its words. What makes it hard is that `vlan`, `mpls` and so on shift all that stands to their right, so that
//! two filters with such words cannot be joined by `and`. Three ways are tried, each only where the one before does not do:
//!
//! ```text
//! in order    vlan 7 and tcp                            the tests stand where their places want them
//! sorted      arp or not vlan [7, 8]                    what shifts comes last; tests of one kind are one test
//! by tag      (ip and tcp) or (vlan and not udp)        frames without a tag here, and those with one
//! ```
//!
//! # What is exact
//! The text takes the packets that the filter takes. Operands may have changed places, so a frame that ends before a byte that
//! the filter reads may be taken by one of the two only. What stands behind labels, sessions and tunnels is written in order or
//! sorted, or not at all.

mod by_tag;
mod loads;
mod simple;
#[cfg(test)]
mod tests;
mod text;
mod words;
mod writer;

use onvm_bundle::filter::{Expr, Test};

pub(crate) use self::simple::simple;
use self::{by_tag::by_tag, simple::sorted, writer::Writer};

/// EtherTypes of VLAN tags.
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const LINK_HEADER: u32 = 14;
const TAG: u32 = 4;
const IP: u16 = 0x0800;
const IP6: u16 = 0x86dd;

/// The filter in words. None: it cannot be written in one, see the [module](self).
pub fn written(expr: &Expr) -> Option<String> {
    let in_words = |expr: &Expr| {
        Writer {
            words: true,
            ..Writer::at(0, 0)
        }
        .all(expr)
    };
    let text = in_words(expr).or_else(|| {
        let sorted = sorted(&simple(expr));
        let by_tag = || Some(by_tag(&sorted, 0)?.text);
        in_words(&sorted)
            .or_else(by_tag)
            .or_else(|| Writer::at(0, 0).all(&sorted))
    })?;
    // Some words cannot stand where they would.
    super::lower_alone(&text).is_some().then_some(text)
}

/// Tests and values in a filter: how long its text becomes.
pub(crate) fn size(expr: &Expr) -> usize {
    match expr {
        Expr::Const(_) => 1,
        Expr::And(of) | Expr::Or(of) => of.iter().map(size).sum(),
        Expr::Not(of) => size(of),
        Expr::Test(primitive) => match &primitive.test {
            Test::Mac { macs, .. } => macs.len(),
            Test::Vlan(ids) => ids.len().max(1),
            Test::Mpls(set) | Test::Pppoes(set) | Test::Tunnel(_, set) => set.ranges().len().max(1),
            Test::Net { nets, .. } => nets.members().len(),
            Test::Port { ports, .. } => ports.members().len(),
            Test::Dscp(values) => values.iter().count(),
            Test::Relation { left, right, .. } => left.depth() + right.depth(),
            _ => 1,
        },
    }
}
