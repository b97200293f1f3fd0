//! Relations between arithmetic expressions, and the tests that loads imply.

use onvm_bundle::filter::{Arith, ArithOp as Op, Base, Comparison, Expr as Lowered, Size, Test};
use onvm_lang::syntax::{ArithOp, Expr, ExprKind, FilterValue, Header, Operand, Protocol, Relation, Span};

use super::{Lowering, Names, primitive::protocol_test};
use crate::diagnostics::filters;

/// The largest constant offset: no frame is longer.
const MAX_OFFSET: u32 = 65_535;

/// An expression, and the tests that libpcap puts before a relation over it, in their order.
struct Guarded {
    arith: Arith,
    guards: Vec<Lowered>,
}

impl From<Arith> for Guarded {
    fn from(arith: Arith) -> Self {
        Self {
            arith,
            guards: Vec::new(),
        }
    }
}

impl<N: Names> Lowering<'_, N> {
    pub(super) fn relation(
        &mut self,
        lhs: &Expr,
        op: Relation,
        rhs: &Expr,
        file: N::File,
    ) -> Option<Lowered> {
        let left = self.arith(lhs, file);
        let right = self.arith(rhs, file);
        let (left, right) = (left?, right?);
        let relation = self.test(Test::Relation {
            op: match op {
                Relation::Gt => Comparison::Gt,
                Relation::Lt => Comparison::Lt,
                Relation::Ge => Comparison::Ge,
                Relation::Le => Comparison::Le,
                Relation::Eq => Comparison::Eq,
                Relation::Ne => Comparison::Ne,
            },
            left: left.arith,
            right: right.arith,
        });
        Some(Lowered::and(
            left.guards.into_iter().chain(right.guards).chain([relation]),
        ))
    }

    fn arith(&mut self, expr: &Expr, file: N::File) -> Option<Guarded> {
        let span = self.names.span(file, expr.span);
        self.count()?;
        match &expr.node {
            ExprKind::Number(value) | ExprKind::Named { value, .. } => Some(Arith::Const(*value).into()),
            ExprKind::Ref(name) => {
                let operand = Operand::new(FilterValue::Ref(name.clone()), expr.span);
                let members = self.members(&operand, file)?;
                let [member] = members.as_slice() else {
                    return self.fail(filters::list_in_arithmetic(span, name, members.len()));
                };
                match member.number("arithmetic", u32::MAX) {
                    Ok(number) => Some(Arith::Const(number).into()),
                    Err(error) => self.fail(error),
                }
            }
            ExprKind::Len => Some(Arith::Len.into()),
            ExprKind::Paren(inner) => self.arith(inner, file),
            ExprKind::Neg(inner) => {
                let Guarded { arith, guards } = self.arith(inner, file)?;
                Some(Guarded {
                    arith: Arith::Neg(Box::new(arith)),
                    guards,
                })
            }
            ExprKind::Binary { op, lhs, rhs } => self.binary(*op, lhs, rhs, span, file),
            ExprKind::Load { header, offset, size } => self.load(*header, offset, *size, span, file),
        }
    }

    fn binary(&mut self, op: ArithOp, lhs: &Expr, rhs: &Expr, span: Span, file: N::File) -> Option<Guarded> {
        let left = self.arith(lhs, file);
        let right = self.arith(rhs, file);
        let (left, right) = (left?, right?);
        let right_span = self.names.span(file, rhs.span);
        let op = operator(op);
        match (op, constant(&right.arith)) {
            (Op::Div | Op::Mod, Some(0)) => return self.fail(filters::division_by_zero(right_span)),
            (Op::Shl | Op::Shr, Some(bits @ 32..)) => {
                return self.fail(filters::wide_shift(right_span, bits));
            }
            _ => {}
        }
        // libpcap loses the tests that the right side implies.
        if !right.guards.is_empty() && right.guards != left.guards {
            self.found.push(filters::unguarded_load(right_span, span));
        }
        Some(Guarded {
            arith: Arith::Binary {
                op,
                left: Box::new(left.arith),
                right: Box::new(right.arith),
            },
            guards: left.guards,
        })
    }

    fn load(
        &mut self,
        header: Header,
        offset: &Expr,
        size: u8,
        span: Span,
        file: N::File,
    ) -> Option<Guarded> {
        let at = self.arith(offset, file)?;
        let offset_span = self.names.span(file, offset.span);
        // The sum of a negative offset and a header's length may well lie in the packet.
        if let Arith::Const(bytes) = at.arith
            && bytes > MAX_OFFSET
        {
            return self.fail(filters::far_offset(offset_span, bytes));
        }
        let size = match size {
            1 => Size::Byte,
            2 => Size::Half,
            4 => Size::Word,
            _ => return self.fail(filters::load_size(span, size)),
        };
        let (base, first, rest) = self.implied(header);
        Some(Guarded {
            arith: Arith::Load {
                base,
                at: Box::new(at.arith),
                size,
            },
            guards: first.into_iter().chain(at.guards).chain(rest).collect(),
        })
    }

    /// From where the offsets of a header count, and the tests that a load from it implies, before and
    /// after those of its offset.
    fn implied(&self, header: Header) -> (Base, Option<Lowered>, Vec<Lowered>) {
        let protocol = |protocol| self.test(protocol_test(protocol));
        let ip4_payload = |of| {
            let rest = vec![protocol(of), self.test(Test::FirstFragment)];
            (Base::Ip4Payload, Some(protocol(Protocol::Ip)), rest)
        };
        match header {
            Header::Ether => (Base::Frame, None, Vec::new()),
            Header::Arp => (Base::L3, None, vec![protocol(Protocol::Arp)]),
            Header::Ip => (Base::L3, None, vec![protocol(Protocol::Ip)]),
            Header::Ip6 => (Base::L3, None, vec![protocol(Protocol::Ip6)]),
            Header::Icmp => ip4_payload(Protocol::Icmp),
            Header::Tcp => ip4_payload(Protocol::Tcp),
            Header::Udp => ip4_payload(Protocol::Udp),
            Header::Sctp => ip4_payload(Protocol::Sctp),
            Header::Igmp => ip4_payload(Protocol::Igmp),
            Header::Igrp => ip4_payload(Protocol::Igrp),
            Header::Pim => ip4_payload(Protocol::Pim),
            Header::Vrrp => ip4_payload(Protocol::Vrrp),
            Header::Carp => ip4_payload(Protocol::Carp),
            Header::Rarp => (Base::L3, None, vec![protocol(Protocol::Rarp)]),
            // The next header must be ICMPv6 itself: no fragment header, unlike `icmp6` alone.
            Header::Icmp6 => {
                let next_header = self.test(Test::Relation {
                    op: Comparison::Eq,
                    left: Arith::Load {
                        base: Base::L3,
                        at: Box::new(Arith::Const(6)),
                        size: Size::Byte,
                    },
                    right: Arith::Const(58),
                });
                (Base::Ip6Payload, None, vec![protocol(Protocol::Ip6), next_header])
            }
        }
    }
}

/// The value of an expression that reads nothing of the packet.
fn constant(arith: &Arith) -> Option<u32> {
    match arith {
        Arith::Const(value) => Some(*value),
        Arith::Len | Arith::Load { .. } => None,
        Arith::Neg(of) => constant(of).map(u32::wrapping_neg),
        Arith::Binary { op, left, right } => op.apply(constant(left)?, constant(right)?),
    }
}

fn operator(op: ArithOp) -> Op {
    match op {
        ArithOp::Or => Op::Or,
        ArithOp::Xor => Op::Xor,
        ArithOp::And => Op::And,
        ArithOp::Shl => Op::Shl,
        ArithOp::Shr => Op::Shr,
        ArithOp::Add => Op::Add,
        ArithOp::Sub => Op::Sub,
        ArithOp::Mul => Op::Mul,
        ArithOp::Div => Op::Div,
        ArithOp::Mod => Op::Mod,
    }
}
