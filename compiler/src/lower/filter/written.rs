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

use onvm_bundle::filter::{
    Arith, ArithOp, Base, Comparison, Direction, Expr, Framing, Layer, Length, NumberSet, Place, Primitive,
    Test, Transport, Tunnel, Version, Within,
};

/// EtherTypes of VLAN tags.
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const LINK_HEADER: u32 = 14;
const TAG: u32 = 4;
const IP: u16 = 0x0800;
const IP6: u16 = 0x86dd;

/// The filter in words. None: it cannot be written in one, see the [module](self).
pub(crate) fn written(expr: &Expr) -> Option<String> {
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
fn sorted(expr: &Expr) -> Expr {
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
fn layers(expr: &Expr) -> usize {
    match expr {
        Expr::Const(_) => 0,
        Expr::And(of) | Expr::Or(of) => of.iter().map(layers).max().unwrap_or(0),
        Expr::Not(of) => layers(of),
        Expr::Test(test) => test.place.layers().len() + usize::from(layer(&test.test).is_some()),
    }
}

/// What a test makes of the tests to its right.
fn layer(test: &Test) -> Option<Layer> {
    Some(match test {
        Test::Vlan(_) => Layer::Vlan,
        Test::Mpls(_) => Layer::Mpls,
        Test::Pppoes(_) => Layer::Pppoes,
        Test::Tunnel(Tunnel::Geneve, _) => Layer::Geneve,
        Test::Tunnel(Tunnel::Vxlan, _) => Layer::Vxlan,
        _ => return None,
    })
}

/// Splits the frames that have so many tags by whether there is one more.
fn by_tag(expr: &Expr, tags: u8) -> Option<Written> {
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

/// A part of the text, and how it can be joined with others.
struct Written {
    text: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    One,
    Relation,
    And,
    Or,
}

impl Written {
    fn one(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            kind: Kind::One,
        }
    }

    fn negated(of: Self) -> Self {
        Self::one(match of.kind {
            Kind::One if !of.text.starts_with("not ") => format!("not {}", of.text),
            _ => format!("not ({})", of.text),
        })
    }

    fn list(mut of: Vec<Self>, and: bool) -> Self {
        if of.len() == 1 {
            return of.swap_remove(0);
        }
        let (kind, word) = match and {
            true => (Kind::And, " and "),
            false => (Kind::Or, " or "),
        };
        let parts = of.into_iter().map(|part| match part.kind {
            Kind::And | Kind::Or if part.kind != kind => format!("({})", part.text),
            _ => part.text,
        });
        Self {
            text: parts.collect::<Vec<_>>().join(word),
            kind,
        }
    }
}

/// Writes tests from left to right.
struct Writer {
    /// What stands before the next test.
    place: Place,
    /// Of how many tags it is known that they are there.
    tags: u8,
    /// No test asks of bytes whether there is a tag.
    words: bool,
}

impl Writer {
    fn at(place: u8, tags: u8) -> Self {
        Self {
            place: Place::behind_tags(place),
            tags,
            words: false,
        }
    }

    /// Behind one tag more than are known, which is there.
    fn behind(tags: u8) -> Option<Self> {
        let next = tags.checked_add(1)?;
        Some(Self::at(next, next))
    }

    fn all(mut self, expr: &Expr) -> Option<String> {
        Some(self.write(expr, &mut Vec::new())?.text)
    }

    /// `known`: what is true where this is evaluated.
    fn write<'e>(&mut self, expr: &'e Expr, known: &mut Vec<&'e Expr>) -> Option<Written> {
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

/// The loads of one relation.
struct Loads<'k, 'e> {
    place: &'k Place,
    known: &'k [&'e Expr],
    implied: Vec<Expr>,
}

impl Loads<'_, '_> {
    fn has(&self, test: Test) -> bool {
        let test = Expr::test_at(self.place.clone(), test);
        self.known.contains(&&test)
    }

    /// Where the network header begins in the frame.
    fn network(&self) -> Option<u32> {
        Some(LINK_HEADER + TAG * u32::from(self.place.tags()?))
    }

    fn arith(&mut self, arith: &Arith) -> Option<String> {
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
                    onvm_bundle::filter::Size::Byte => "",
                    onvm_bundle::filter::Size::Half => ":2",
                    onvm_bundle::filter::Size::Word => ":4",
                };
                let offset = |before: u32, at: &Arith, text: String| match at {
                    Arith::Const(at) => before.checked_add(*at).map(|sum| sum.to_string()),
                    _ if before == 0 => Some(text),
                    _ => Some(format!("{before} + ({text})")),
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

/// Any test but a relation.
fn words(test: &Test) -> Written {
    let ranges = |set: &NumberSet| list(set.ranges().iter().map(|(low, high)| range(*low, *high)));
    let numbered = |word: &str, set: String| match set.is_empty() {
        true => word.to_owned(),
        false => format!("{word} {set}"),
    };
    let version = |version: &Version| match version {
        Version::V4 => "ip ",
        Version::V6 => "ip6 ",
        Version::Any => "",
    };
    Written::one(match test {
        Test::Mac { dir, macs } => format!("ether {}host {}", direction(*dir), list(macs)),
        Test::EtherMulticast => "ether multicast".to_owned(),
        Test::EtherProto(IP) => "ip".to_owned(),
        Test::EtherProto(IP6) => "ip6".to_owned(),
        Test::EtherProto(0x0806) => "arp".to_owned(),
        Test::EtherProto(0x8035) => "rarp".to_owned(),
        Test::EtherProto(number) => format!("ether proto {number:#06x}"),
        Test::Vlan(ids) => numbered("vlan", list(runs(ids))),
        Test::Mpls(labels) => numbered("mpls", ranges(labels)),
        Test::Pppoes(sessions) => numbered("pppoes", ranges(sessions)),
        Test::Tunnel(Tunnel::Geneve, networks) => numbered("geneve", ranges(networks)),
        Test::Tunnel(Tunnel::Vxlan, networks) => numbered("vxlan", ranges(networks)),
        Test::ProtoChain { version: of, number } => format!("{}protochain {number}", version(of)),
        Test::Proto { version: of, number } => match (of, number) {
            (Version::Any, 6) => "tcp".to_owned(),
            (Version::Any, 17) => "udp".to_owned(),
            (Version::Any, 132) => "sctp".to_owned(),
            (Version::V4, 1) => "icmp".to_owned(),
            (Version::V6, 58) => "icmp6".to_owned(),
            _ => format!("{}proto {number}", version(of)),
        },
        Test::Net { within, dir, nets } => {
            let within = match within {
                Within::Any => "",
                Within::Ip => "ip ",
                Within::Arp => "arp ",
                Within::Rarp => "rarp ",
            };
            let members = nets.members();
            let hosts = members.iter().all(|net| net.prefix_len() == net.max_prefix_len());
            let (word, members) = match hosts {
                true => ("host", list(members.iter().map(|net| net.addr()))),
                false => ("net", list(members)),
            };
            format!("{within}{}{word} {members}", direction(*dir))
        }
        Test::Port {
            transport,
            dir,
            ports,
        } => {
            let transport = match transport {
                Transport::Any => "",
                Transport::Tcp => "tcp ",
                Transport::Udp => "udp ",
                Transport::Sctp => "sctp ",
            };
            let members = ports.members();
            let word = match members.iter().all(|range| range.low == range.high) {
                true => "port",
                false => "portrange",
            };
            format!("{transport}{}{word} {}", direction(*dir), list(members))
        }
        Test::Length(Length::AtMost(bytes)) => format!("less {bytes}"),
        Test::Length(Length::AtLeast(bytes)) => format!("greater {bytes}"),
        Test::Dscp(values) => format!("dscp {}", list(values.iter())),
        // Written by the tests around them.
        Test::FirstFragment | Test::Relation { .. } => String::new(),
    })
}

fn direction(dir: Direction) -> &'static str {
    match dir {
        Direction::Src => "src ",
        Direction::Dst => "dst ",
        Direction::Either => "",
        Direction::Both => "src and dst ",
    }
}

fn range(low: u32, high: u32) -> String {
    match low == high {
        true => low.to_string(),
        false => format!("{low}-{high}"),
    }
}

/// Three numbers or more in a row are a range.
fn runs(ids: &[u16]) -> Vec<String> {
    let runs = ids.chunk_by(|a, b| a.checked_add(1) == Some(*b));
    let text = |run: &[u16]| match run {
        [low, _, .., high] => vec![range((*low).into(), (*high).into())],
        few => few.iter().map(u16::to_string).collect(),
    };
    runs.flat_map(text).collect()
}

fn list<T: ToString>(of: impl IntoIterator<Item = T>) -> String {
    let of: Vec<String> = of.into_iter().map(|value| value.to_string()).collect();
    match of.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::cell::Cell;

    use proptest::{prelude::*, test_runner::TestRunner};

    use super::*;
    use crate::{
        filter::lower_alone,
        sets::exact::{config, frames, trees},
    };

    #[track_caller]
    fn check(filters: &[&str], wanted: &str) {
        let filters = filters.iter().map(|f| match f.strip_prefix("! ") {
            Some(f) => Expr::negate(lower_alone(f).unwrap()),
            None => lower_alone(f).unwrap(),
        });
        assert_eq!(written(&Expr::and(filters)).as_deref(), Some(wanted));
    }

    #[test]
    fn filters_are_written_as_they_are_read() {
        for text in [
            "all",
            "tcp dst port 80",
            "tcp dst portrange [80, 400-2000] or arp",
            "src and dst net [10.0.0.0/8, 2001:db8::/32]",
            "ip and not host 10.0.0.1",
            "ip[6:2] & 8191 != 0",
            "tcp[13] & 2 != 0",
            "vlan [7, 9-12] and tcp",
            "vlan and vlan 3 and ip6 proto 17",
            "ether dst host 02:00:00:00:00:01 and less 100",
            "mpls 5 and ip",
            "ether[ether[12] & 0xf:2] = 7",
            "dscp [0, 46]",
            "ip host 10.0.0.1 and not (icmp or udp)",
        ] {
            let wanted = text.replace("8191", "0x1fff").replace("0xf:", "15:");
            check(&[text], &wanted);
        }
    }

    #[test]
    fn filters_that_shift_are_put_together() {
        check(&["! vlan 7", "! vlan 8", "tcp"], "tcp and not vlan [7, 8]");
        check(
            &["! vlan 7", "! vlan 9 and tcp"],
            "not vlan or (not (ether[14:2] & 0xfff = 7) and not (ether[14:2] & 0xfff = 9 and tcp))",
        );
        check(
            &["tcp or (vlan and tcp)", "! udp port 53 or (vlan and udp port 53)"],
            "(tcp and not udp port 53) or (vlan and tcp and not udp port 53)",
        );
        check(
            &["vlan and (net 10.0.0.0/8)", "! vlan 5 and tcp"],
            "vlan and net 10.0.0.0/8 and not (ether[14:2] & 0xfff = 5 and tcp)",
        );
        check(&["! mpls 5", "! mpls 7"], "not mpls [5, 7]");
        check(&["vlan 7", "! ip or (vlan and ip)"], "vlan 7 and not ip");
    }

    #[test]
    fn what_cannot_be_written_is_not() {
        let both = ["mpls 5 and ip", "udp or (mpls and udp)"].map(|f| lower_alone(f).unwrap());
        assert_eq!(written(&Expr::and(both)), None);
    }

    /// Compares on frames that no filter gives up on.
    fn compare(expr: &Expr, frames: &[Vec<u8>]) -> Option<u32> {
        let text = written(expr)?;
        let again = lower_alone(&text).unwrap_or_else(|| panic!("{expr}\n{text}"));
        let mut compared = 0;
        for frame in frames {
            let length = frame.len() as u32;
            if let (Some(a), Some(b)) = (expr.decide(frame, length), again.decide(frame, length)) {
                assert_eq!(a, b, "{expr}\n{text}\n{again}\n{frame:02x?}");
                compared += 1;
            }
        }
        Some(compared)
    }

    #[test]
    fn the_text_means_the_filter() {
        let (compared, none) = (Cell::new(0), Cell::new(0));
        let pairs = (
            prop::collection::vec((trees::trees(), any::<bool>()), 1..4),
            any::<u64>(),
        );
        let run = TestRunner::new(config(3000, 12)).run(&pairs, |(filters, seed)| {
            let filters = filters.iter().map(|(tree, negated)| {
                let expr = tree.lower(&mut 0);
                match negated {
                    true => Expr::negate(expr),
                    false => expr,
                }
            });
            match compare(&Expr::and(filters), &frames::frames(seed, 40)) {
                Some(n) => compared.set(compared.get() + n),
                None => none.set(none.get() + 1),
            }
            Ok(())
        });
        if let Err(error) = run {
            panic!("{error}");
        }
        assert!(
            compared.get() > 60_000 && none.get() < 300,
            "{} {}",
            compared.get(),
            none.get()
        );
    }
}
