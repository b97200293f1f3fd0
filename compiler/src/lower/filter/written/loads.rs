//! Arithmetic over bytes: a load from a header whose tests are known to hold, or from the frame.

use onvm_bundle::filter::{Arith, ArithOp, Base, Expr, Framing, Place, Size, Test, Version};

use super::{IP, IP6, LINK_HEADER, TAG};

/// Bytes of the longest IPv4 header.
const LONGEST_HEADER: u32 = 60;

/// The loads of one relation.
pub(super) struct Loads<'k, 'e> {
    pub(super) place: &'k Place,
    pub(super) known: &'k [&'e Expr],
    pub(super) implied: Vec<Expr>,
}

impl Loads<'_, '_> {
    pub(super) fn has(&self, test: Test) -> bool {
        let test = Expr::test_at(self.place.clone(), test);
        self.known.contains(&&test)
    }

    /// Where the network header begins in the frame.
    pub(super) fn network(&self) -> Option<u32> {
        Some(LINK_HEADER + TAG * u32::from(self.place.tags()?))
    }

    pub(super) fn arith(&mut self, arith: &Arith) -> Option<String> {
        Some(match arith {
            Arith::Const(value) if *value > 255 => format!("{value:#x}"),
            Arith::Const(value) => value.to_string(),
            Arith::Len => "len".to_owned(),
            Arith::Neg(of) => format!("(-{})", self.arith(of)?),
            Arith::Binary { op, left, right } => {
                let (left, right) = (self.inner(left)?, self.inner(right)?);
                format!("{left} {} {right}", operator(*op))
            }
            Arith::Load { base, at, size } => {
                let size = match size {
                    Size::Byte => "",
                    Size::Half => ":2",
                    Size::Word => ":4",
                };
                let offset = |before: u32, at: &Arith, text: String| match at {
                    _ if before == 0 => Some(text),
                    Arith::Const(at) => before.checked_add(*at).map(|sum| sum.to_string()),
                    // What begins at a header does not wrap around, a sum does.
                    _ => most(at)?
                        .checked_add(before)
                        .map(|_| format!("{before} + ({text})")),
                };
                let text = self.arith(at)?;
                if *base == Base::Frame {
                    return Some(format!("ether[{}{size}]", offset(0, at, text)?));
                }
                if let Some((header, implied)) = self.header(*base) {
                    self.implied = implied;
                    return Some(format!("{header}[{}{size}]", offset(0, at, text)?));
                }
                if self.place.framing() != Framing::Ethernet {
                    return None;
                }
                let l3 = self.network()?;
                match base {
                    Base::Frame | Base::L3 => format!("ether[{}{size}]", offset(l3, at, text)?),
                    Base::Ip6Payload => format!("ether[{}{size}]", offset(l3 + 40, at, text)?),
                    Base::Ip4Payload => {
                        most(at)?.checked_add(l3 + LONGEST_HEADER)?;
                        format!("ether[(ether[{l3}] & 0xf) * 4 + {}{size}]", offset(l3, at, text)?)
                    }
                }
            }
        })
    }

    fn inner(&mut self, arith: &Arith) -> Option<String> {
        let text = self.arith(arith)?;
        Some(match arith {
            Arith::Binary { .. } => format!("({text})"),
            _ => text,
        })
    }

    /// The word of a header whose tests are known to hold, and these.
    fn header(&self, base: Base) -> Option<(&'static str, Vec<Expr>)> {
        let proto = |version, number| Test::Proto { version, number };
        let payload = |word, version, number| {
            let tests = vec![Test::EtherProto(IP), proto(version, number), Test::FirstFragment];
            (word, tests)
        };
        let known: Vec<(&str, Vec<Test>)> = match base {
            Base::Frame | Base::Ip6Payload => Vec::new(),
            Base::L3 => vec![
                ("ip", vec![Test::EtherProto(IP)]),
                ("ip6", vec![Test::EtherProto(IP6)]),
                ("arp", vec![Test::EtherProto(0x0806)]),
                ("rarp", vec![Test::EtherProto(0x8035)]),
            ],
            Base::Ip4Payload => vec![
                payload("tcp", Version::Any, 6),
                payload("udp", Version::Any, 17),
                payload("sctp", Version::Any, 132),
                payload("icmp", Version::V4, 1),
            ],
        };
        let mut known = known.into_iter();
        let (word, tests) = known.find(|(_, tests)| tests.iter().all(|test| self.has(test.clone())))?;
        let tests = tests
            .into_iter()
            .map(|test| Expr::test_at(self.place.clone(), test));
        Some((word, tests.collect()))
    }
}

/// The largest value that it can have, if nothing wraps around. None: that is not known.
fn most(arith: &Arith) -> Option<u32> {
    match arith {
        Arith::Const(value) => Some(*value),
        Arith::Load { size: Size::Byte, .. } => Some(u8::MAX.into()),
        Arith::Load { size: Size::Half, .. } => Some(u16::MAX.into()),
        Arith::Load { size: Size::Word, .. } | Arith::Len | Arith::Neg(_) => None,
        Arith::Binary { op, left, right } => {
            let (left, right) = (most(left), most(right));
            match op {
                ArithOp::And => match (left, right) {
                    (Some(left), Some(right)) => Some(left.min(right)),
                    (left, right) => left.or(right),
                },
                ArithOp::Add => left?.checked_add(right?),
                ArithOp::Mul => left?.checked_mul(right?),
                ArithOp::Shl => left?.checked_mul(1_u32.checked_shl(right?)?),
                ArithOp::Div | ArithOp::Mod | ArithOp::Shr => left,
                ArithOp::Sub | ArithOp::Or | ArithOp::Xor => None,
            }
        }
    }
}

fn operator(op: ArithOp) -> &'static str {
    match op {
        ArithOp::Add => "+",
        ArithOp::Sub => "-",
        ArithOp::Mul => "*",
        ArithOp::Div => "/",
        ArithOp::Mod => "%",
        ArithOp::And => "&",
        ArithOp::Or => "|",
        ArithOp::Xor => "^",
        ArithOp::Shl => "<<",
        ArithOp::Shr => ">>",
    }
}
