//! Reading the text form. Text comes from a bundle, which may be damaged or hostile: nesting and
//! length are bounded, and every refusal names its place.

use std::{fmt::Display, str::FromStr};

use ipnet::IpNet;

use crate::{
    Arith, ArithOp, Base, Comparison, Direction, DscpSet, Expr, Length, MAX_DEPTH, Mac, NetSet, NumberSet,
    Place, PortRange, PortSet, Size, Test, Transport, Tunnel, Version, Within,
};

const NETWORK: &str = "a network identifier (0-16777215)";

/// The longest text that is read, in bytes.
pub const MAX_TEXT: usize = 16 << 20;

/// Why a text is not a filter, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad filter at byte {offset}: {message}")]
pub struct ParseError {
    /// Bytes from the start of the text.
    pub offset: usize,
    /// What is wrong there.
    pub message: String,
}

impl FromStr for Expr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser { text, at: 0 };
        if text.len() > MAX_TEXT {
            return parser.fail(format!("longer than {MAX_TEXT} bytes"));
        }
        let expr = parser.expr(MAX_DEPTH)?;
        match parser.peek() {
            None => Ok(expr),
            Some(_) => parser.fail("more text after the filter"),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

type Parsed<T> = Result<T, ParseError>;

impl<'a> Parser<'a> {
    /// An expression of at most `depth` levels.
    fn expr(&mut self, depth: usize) -> Parsed<Expr> {
        let depth = self.descend(depth)?;
        self.open()?;
        let start = self.at;
        let head = self.word("a name")?;
        let expr = match head {
            "all" => Expr::Const(true),
            "none" => Expr::Const(false),
            "and" => Expr::and(self.operands(depth)?),
            "or" => Expr::or(self.operands(depth)?),
            "not" => Expr::negate(self.expr(depth)?),
            _ => self.test(start, head, depth)?,
        };
        self.close()?;
        Ok(expr)
    }

    fn operands(&mut self, depth: usize) -> Parsed<Vec<Expr>> {
        let mut operands = vec![self.expr(depth)?, self.expr(depth)?];
        while self.peek() == Some('(') {
            operands.push(self.expr(depth)?);
        }
        Ok(operands)
    }

    fn test(&mut self, start: usize, head: &str, depth: usize) -> Parsed<Expr> {
        let (name, place) = match head.split_once('@') {
            Some((name, place)) => match Place::parse(place) {
                Some(place) => (name, place),
                None => {
                    let place = clip(place);
                    return fail_at(
                        start,
                        format!("`{place}` does not say what stands before a header"),
                    );
                }
            },
            None => (head, Place::default()),
        };
        let proto = |version, number| Test::Proto { version, number };
        let test = match name {
            "mac" => Test::Mac {
                dir: self.direction(),
                macs: self.sorted("an Ethernet address", parse_mac)?,
            },
            "ip" => Test::EtherProto(0x0800),
            "ip6" => Test::EtherProto(0x86dd),
            "arp" => Test::EtherProto(0x0806),
            "rarp" => Test::EtherProto(0x8035),
            "ether-proto" => Test::EtherProto(self.number()?),
            "ether-multicast" => Test::EtherMulticast,
            "vlan" => Test::Vlan(match self.peek() {
                Some(')') => Vec::new(),
                _ => self.sorted("a VLAN id (0-4095)", |word| {
                    word.parse().ok().filter(|id| *id < 4096)
                })?,
            }),
            "mpls" => Test::Mpls(self.numbers("an MPLS label (0-1048575)", 0xf_ffff)?),
            "pppoes" => Test::Pppoes(self.numbers("a PPPoE session (0-65535)", 0xffff)?),
            "geneve" => Test::Tunnel(Tunnel::Geneve, self.numbers(NETWORK, 0xff_ffff)?),
            "vxlan" => Test::Tunnel(Tunnel::Vxlan, self.numbers(NETWORK, 0xff_ffff)?),
            "protochain" => self.chain(Version::Any)?,
            "ip-protochain" => self.chain(Version::V4)?,
            "ip6-protochain" => self.chain(Version::V6)?,
            "tcp" => proto(Version::Any, 6),
            "udp" => proto(Version::Any, 17),
            "sctp" => proto(Version::Any, 132),
            "icmp" => proto(Version::V4, 1),
            "icmp6" => proto(Version::V6, 58),
            "proto" => proto(Version::Any, self.number()?),
            "ip-proto" => proto(Version::V4, self.number()?),
            "ip6-proto" => proto(Version::V6, self.number()?),
            "first-fragment" => Test::FirstFragment,
            "net" => self.net(Within::Any)?,
            "ip-net" => self.net(Within::Ip)?,
            "arp-net" => self.net(Within::Arp)?,
            "rarp-net" => self.net(Within::Rarp)?,
            "port" => self.port(Transport::Any)?,
            "tcp-port" => self.port(Transport::Tcp)?,
            "udp-port" => self.port(Transport::Udp)?,
            "sctp-port" => self.port(Transport::Sctp)?,
            "less" => Test::Length(Length::AtMost(self.number()?)),
            "greater" => Test::Length(Length::AtLeast(self.number()?)),
            "dscp" => {
                let values = self.sorted("a code point (0-63)", |word| {
                    word.parse().ok().filter(|v| *v < 64)
                })?;
                match DscpSet::new(values) {
                    Some(set) => Test::Dscp(set),
                    None => return fail_at(start, "no code point"),
                }
            }
            _ => match comparison(name) {
                Some(op) => Test::Relation {
                    op,
                    left: self.arith(depth)?,
                    right: self.arith(depth)?,
                },
                None => return fail_at(start, format!("no test is called `{name}`")),
            },
        };
        let expr = Expr::test_at(place.clone(), test);
        if matches!(&expr, Expr::Test(primitive) if primitive.place != place) {
            return fail_at(start, format!("`{name}` does not look behind these headers"));
        }
        Ok(expr)
    }

    /// Numbers and ranges up to `most`; none for any.
    fn numbers(&mut self, what: &str, most: u32) -> Parsed<NumberSet> {
        if self.peek() == Some(')') {
            return Ok(NumberSet::default());
        }
        let ranges = self.values(what, |word| {
            let (low, high) = word.split_once('-').unwrap_or((word, word));
            let range = (low.parse().ok()?, high.parse().ok()?);
            (range.0 <= range.1 && range.1 <= most).then_some(range)
        })?;
        Ok(NumberSet::new(ranges))
    }

    fn chain(&mut self, version: Version) -> Parsed<Test> {
        let number = self.number()?;
        Ok(Test::ProtoChain { version, number })
    }

    fn net(&mut self, within: Within) -> Parsed<Test> {
        let dir = self.direction();
        let nets = self.values("an address prefix", |word| {
            word.parse::<IpNet>().ok().filter(|net| net.trunc() == *net)
        })?;
        match NetSet::new(nets) {
            Some(nets) => Ok(Test::Net { within, dir, nets }),
            None => self.fail("expected an address prefix"),
        }
    }

    fn port(&mut self, transport: Transport) -> Parsed<Test> {
        let dir = self.direction();
        let ports = self.values("a port or a range of ports", parse_ports)?;
        match PortSet::new(ports) {
            Some(ports) => Ok(Test::Port {
                transport,
                dir,
                ports,
            }),
            None => self.fail("expected a port"),
        }
    }

    fn direction(&mut self) -> Direction {
        let before = self.at;
        match self.word("") {
            Ok("src") => Direction::Src,
            Ok("dst") => Direction::Dst,
            Ok("both") => Direction::Both,
            _ => {
                self.at = before;
                Direction::Either
            }
        }
    }

    /// An arithmetic expression of at most `depth` levels.
    fn arith(&mut self, depth: usize) -> Parsed<Arith> {
        let depth = self.descend(depth)?;
        if self.peek() != Some('(') {
            return self.number().map(Arith::Const);
        }
        self.open()?;
        let start = self.at;
        let head = self.word("an operator")?;
        let arith = match head {
            "len" => Arith::Len,
            "neg" => Arith::Neg(Box::new(self.arith(depth)?)),
            "frame" => self.load(Base::Frame, depth)?,
            "l3" => self.load(Base::L3, depth)?,
            "ip4-payload" => self.load(Base::Ip4Payload, depth)?,
            "ip6-payload" => self.load(Base::Ip6Payload, depth)?,
            _ => match arith_op(head) {
                Some(op) => Arith::Binary {
                    op,
                    left: Box::new(self.arith(depth)?),
                    right: Box::new(self.arith(depth)?),
                },
                None => return fail_at(start, format!("no operator is called `{head}`")),
            },
        };
        self.close()?;
        Ok(arith)
    }

    fn load(&mut self, base: Base, depth: usize) -> Parsed<Arith> {
        Ok(Arith::Load {
            base,
            at: Box::new(self.arith(depth)?),
            size: self.size()?,
        })
    }

    fn size(&mut self) -> Parsed<Size> {
        match self.number::<u8>()? {
            1 => Ok(Size::Byte),
            2 => Ok(Size::Half),
            4 => Ok(Size::Word),
            other => self.fail(format!("a load of {other} bytes; it may be 1, 2 or 4")),
        }
    }

    /// A decimal or `0x` number that fits `T`.
    fn number<T: TryFrom<u32>>(&mut self) -> Parsed<T> {
        self.value("a number", |word| {
            let number = match word.strip_prefix("0x") {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => word.parse(),
            };
            T::try_from(number.ok()?).ok()
        })
    }

    fn sorted<T: Ord>(&mut self, what: &str, parse: impl Fn(&str) -> Option<T>) -> Parsed<Vec<T>> {
        let mut values = self.values(what, parse)?;
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }

    /// One value or more.
    fn values<T>(&mut self, what: &str, parse: impl Fn(&str) -> Option<T>) -> Parsed<Vec<T>> {
        let mut values = vec![self.value(what, &parse)?];
        while self.peek().is_some_and(|next| next != ')') {
            values.push(self.value(what, &parse)?);
        }
        Ok(values)
    }

    fn value<T>(&mut self, what: &str, parse: impl Fn(&str) -> Option<T>) -> Parsed<T> {
        let word = self.word(what)?;
        match parse(word) {
            Some(value) => Ok(value),
            None => fail_at(self.at - word.len(), format!("`{}` is not {what}", clip(word))),
        }
    }

    fn word(&mut self, what: &str) -> Parsed<&'a str> {
        self.skip_space();
        let rest = self.rest();
        let end = rest.find([' ', '(', ')']).unwrap_or(rest.len());
        match rest.split_at_checked(end) {
            Some((word, _)) if !word.is_empty() => {
                self.at += end;
                Ok(word)
            }
            _ => self.fail(format!("expected {what}")),
        }
    }

    fn open(&mut self) -> Parsed<()> {
        self.bracket('(')
    }

    fn close(&mut self) -> Parsed<()> {
        self.bracket(')')
    }

    fn bracket(&mut self, bracket: char) -> Parsed<()> {
        if self.peek() == Some(bracket) {
            self.at += 1;
            Ok(())
        } else {
            self.fail(format!("expected `{bracket}`"))
        }
    }

    fn descend(&self, depth: usize) -> Parsed<usize> {
        match depth.checked_sub(1) {
            Some(depth) => Ok(depth),
            None => self.fail(format!("nested deeper than {MAX_DEPTH} levels")),
        }
    }

    /// The next character that is not a space.
    fn peek(&mut self) -> Option<char> {
        self.skip_space();
        self.rest().chars().next()
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(' ').len();
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn fail<T>(&self, message: impl Display) -> Parsed<T> {
        fail_at(self.at, message)
    }
}

fn fail_at<T>(offset: usize, message: impl Display) -> Parsed<T> {
    Err(ParseError {
        offset,
        message: message.to_string(),
    })
}

/// The start of a word, for a message.
fn clip(word: &str) -> String {
    word.chars().take(40).collect()
}

fn parse_mac(word: &str) -> Option<Mac> {
    let mut octets = [0; 6];
    let mut parts = word.split(':');
    for octet in &mut octets {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *octet = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(Mac(octets))
}

fn parse_ports(word: &str) -> Option<PortRange> {
    match word.split_once('-') {
        Some((low, high)) => {
            let (low, high) = (low.parse().ok()?, high.parse().ok()?);
            (low <= high).then_some(PortRange { low, high })
        }
        None => word.parse().ok().map(PortRange::one),
    }
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        "=" => Comparison::Eq,
        "!=" => Comparison::Ne,
        "<" => Comparison::Lt,
        "<=" => Comparison::Le,
        ">" => Comparison::Gt,
        ">=" => Comparison::Ge,
        _ => return None,
    })
}

fn arith_op(name: &str) -> Option<ArithOp> {
    Some(match name {
        "+" => ArithOp::Add,
        "-" => ArithOp::Sub,
        "*" => ArithOp::Mul,
        "/" => ArithOp::Div,
        "%" => ArithOp::Mod,
        "&" => ArithOp::And,
        "|" => ArithOp::Or,
        "^" => ArithOp::Xor,
        "<<" => ArithOp::Shl,
        ">>" => ArithOp::Shr,
        _ => return None,
    })
}
