//! `vlan`, `mpls`, `pppoes` and the tunnels: their tests, and their effect on the tests to their right.

use onvm_bundle::filter::{Expr, Framing, Layer, NumberSet, Place, Primitive, Test, Tunnel, Within};
use onvm_lang::syntax::{Encapsulation, Operand, Span};

use super::{Lowering, Names, Part, Shift, known::Known};
use crate::diagnostics::filters;

impl<N: Names> Lowering<'_, N> {
    pub(super) fn encapsulated(
        &mut self,
        by: Encapsulation,
        id: Option<&Operand>,
        at: Span,
        file: N::File,
        known: u8,
    ) -> Option<Part> {
        let ids = match id {
            Some(operand) => self.convert(operand, file, |member| member.numbers(by.word(), by.most())),
            None => Some(Vec::new()),
        };
        let expr = ids.map(|ids| self.test(test(by, &ids)));
        if let Some(expr) = &expr {
            self.check_place(expr, at, known)?;
        }
        let here = u8::try_from(self.place.layers().len()).unwrap_or(u8::MAX);
        let when_true = if here <= known {
            known.max(here.saturating_add(1))
        } else {
            known
        };
        match self.place.behind(layer(by)) {
            Some(place) => self.place = place,
            None => return self.fail(filters::too_many_layers(at)),
        }
        self.shifts.push(Shift {
            span: at,
            warned: false,
        });
        Some(Part {
            expr: expr?,
            known: Known {
                when_true,
                when_false: known,
            },
        })
    }

    /// Refuses a test that cannot stand where it stands, and warns of one behind a layer that the packet may not have; once
    /// for each word that shifts.
    pub(super) fn check_place(&mut self, expr: &Expr, at: Span, known: u8) -> Option<()> {
        let known = usize::from(known);
        let mut tests = Vec::new();
        collect(expr, &mut tests);
        if let Some(reason) = tests.iter().find_map(|test| misplaced(test)) {
            let by = self.shifts.last().map_or(at, |shift| shift.span);
            return self.fail(filters::misplaced(at, by, reason));
        }
        let behind = tests
            .iter()
            .map(|test| test.place.layers().len())
            .max()
            .unwrap_or(0);
        let unknown = self.place.layers().iter().enumerate().take(behind).skip(known);
        let tunnel = unknown.clone().find(|(_, layer)| layer.is_tunnel());
        if let Some((n, layer)) = tunnel {
            let by = self.shifts.get(n).map_or(at, |shift| shift.span);
            return self.fail(filters::outside_tunnel(at, by, layer.word()));
        }
        let last = self.place.layers().last().copied();
        if let (true, Some(layer), Some(shift)) = (behind > known, last, self.shifts.last_mut())
            && !shift.warned
        {
            shift.warned = true;
            let by = shift.span;
            self.found.push(filters::behind_absent(at, by, layer));
        }
        Some(())
    }
}

fn layer(by: Encapsulation) -> Layer {
    match by {
        Encapsulation::Vlan => Layer::Vlan,
        Encapsulation::Mpls => Layer::Mpls,
        Encapsulation::Pppoes => Layer::Pppoes,
        Encapsulation::Geneve => Layer::Geneve,
        Encapsulation::Vxlan => Layer::Vxlan,
    }
}

fn test(by: Encapsulation, ids: &[(u32, u32)]) -> Test {
    let numbers = || NumberSet::new(ids.iter().copied());
    match by {
        Encapsulation::Vlan => {
            let mut ids: Vec<u16> = ids
                .iter()
                .flat_map(|(low, high)| *low..=*high)
                .map(|id| id as u16)
                .collect();
            ids.sort_unstable();
            ids.dedup();
            Test::Vlan(ids)
        }
        Encapsulation::Mpls => Test::Mpls(numbers()),
        Encapsulation::Pppoes => Test::Pppoes(numbers()),
        Encapsulation::Geneve => Test::Tunnel(Tunnel::Geneve, numbers()),
        Encapsulation::Vxlan => Test::Tunnel(Tunnel::Vxlan, numbers()),
    }
}

fn collect<'e>(expr: &'e Expr, tests: &mut Vec<&'e Primitive>) {
    match expr {
        Expr::Const(_) => {}
        Expr::And(of) | Expr::Or(of) => of.iter().for_each(|operand| collect(operand, tests)),
        Expr::Not(of) => collect(of, tests),
        Expr::Test(primitive) => tests.push(primitive),
    }
}

/// Why a test has no meaning where it stands; libpcap refuses the same.
fn misplaced(primitive: &Primitive) -> Option<&'static str> {
    let place = &primitive.place;
    let in_ppp = |place: &Place| {
        let link = place
            .layers()
            .iter()
            .rfind(|layer| !matches!(layer, Layer::Vlan | Layer::Mpls));
        link == Some(&Layer::Pppoes)
    };
    match &primitive.test {
        Test::Mac { .. } | Test::EtherMulticast if in_ppp(place) => {
            Some("a PPPoE session carries no Ethernet addresses: put this test before `pppoes`")
        }
        Test::Vlan(_) if in_ppp(place) => {
            Some("a PPPoE session carries no VLAN tags: put `vlan` before `pppoes`")
        }
        Test::ProtoChain { .. } if place.fixed().is_none() => {
            Some("chains of headers are not followed within a tunnel: write `proto`")
        }
        _ if labelled_tunnel(place) => Some("libpcap does not look into a tunnel behind an MPLS label"),
        _ if place.framing() != Framing::Mpls => None,
        Test::Vlan(_) => Some("no VLAN tag follows an MPLS label: put `vlan` before `mpls`"),
        Test::EtherProto(0x0800 | 0x86dd) => None,
        Test::Net {
            within: Within::Any | Within::Ip,
            ..
        } => None,
        Test::EtherProto(_) | Test::Pppoes(_) | Test::Net { .. } => {
            Some("behind an MPLS label only `ip` and `ip6` can be told apart")
        }
        _ => None,
    }
}

/// libpcap takes what a tunnel carries for what follows a label, if one stands before it.
fn labelled_tunnel(place: &Place) -> bool {
    let mut labels = place.layers().iter().skip_while(|layer| **layer != Layer::Mpls);
    labels.any(|layer| layer.is_tunnel())
}
