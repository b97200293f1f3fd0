//! Values of primitives: literals, `$name`, and lists.

use std::net::{IpAddr, Ipv4Addr};

use super::lex::{Sym, Tok};
use super::quals::type_word;
use super::{Parsed, Parser, names};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::parse::nearest;
use crate::syntax::{Encapsulation, Family, FilterValue, Operand, Prefix, Span, Spanned};

/// The kind of value that a primitive takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    Addr,
    Net,
    AddrOrNet,
    Port,
    PortRange,
    IpProto,
    EtherProto,
    Mac,
    /// The number behind `vlan`, `mpls` and so on.
    Id(Encapsulation),
    Dscp,
    Length,
}

impl Wants {
    fn describe(self) -> &'static str {
        match self {
            Self::Addr => "an address such as `10.0.0.1`",
            Self::Net => "a prefix such as `10.0.0.0/8`",
            Self::AddrOrNet => "an address or a prefix, or `host`, `net` or `port`",
            Self::Port => "a port, 0 to 65535, or a service such as `http`",
            Self::PortRange => "a range of ports such as `80-90`",
            Self::IpProto => "a protocol number, 0 to 255, or a name such as `tcp`",
            Self::EtherProto => "an Ethernet type such as `0x0800` or `ip`",
            Self::Mac => "a MAC such as `02:00:00:00:00:01`",
            Self::Id(Encapsulation::Vlan) => "a VLAN, 0 to 4095",
            Self::Id(Encapsulation::Mpls) => "an MPLS label, 0 to 1048575",
            Self::Id(Encapsulation::Pppoes) => "a PPPoE session, 0 to 65535",
            Self::Id(Encapsulation::Geneve | Encapsulation::Vxlan) => "a network identifier, 0 to 16777215",
            Self::Dscp => "a DSCP, 0 to 63, or a name such as `ef`",
            Self::Length => "a length in bytes",
        }
    }

    /// The largest number, where a number is wanted.
    fn most(self) -> Option<u32> {
        match self {
            Self::Port | Self::PortRange | Self::EtherProto => Some(65535),
            Self::IpProto => Some(255),
            Self::Id(by) => Some(by.most()),
            Self::Dscp => Some(63),
            Self::Length => Some(u32::MAX),
            _ => None,
        }
    }

    /// The number behind a word.
    fn word(self, word: &str) -> Option<u32> {
        match self {
            Self::Port | Self::PortRange => names::service(word).map(u32::from),
            Self::IpProto => names::ip_proto(word),
            Self::EtherProto => names::ether_proto(word),
            Self::Dscp => names::dscp(word),
            _ => None,
        }
    }
}

/// The word for a kind of value nearest to a word.
fn type_like(word: &str) -> Option<&'static str> {
    nearest(["host", "net", "port", "portrange"], word)
}

impl Parser<'_, '_> {
    pub(super) fn operand_value(&mut self, wants: Wants) -> Parsed<Operand> {
        let start = self.here();
        if !self.is(Sym::LBracket) {
            return self.single_value(wants, false);
        }
        self.take();
        let mut items = Vec::new();
        loop {
            if self.is(Sym::RBracket) {
                break;
            }
            items.push(self.single_value(wants, true)?);
            if !self.eat(Sym::Comma) {
                break;
            }
        }
        let span = start.to(self.here());
        if !self.eat(Sym::RBracket) {
            return self.expected("`,` or `]`");
        }
        if items.is_empty() {
            let found = Diagnostic::error(
                codes::FILTER_VALUE,
                "this list is empty and matches nothing",
                span,
                "empty list",
            );
            return self.fail(found);
        }
        Ok(Spanned::new(FilterValue::List(items), span))
    }

    /// A range stands for each of its numbers in a list; elsewhere it is for `portrange`.
    fn single_value(&mut self, wants: Wants, in_list: bool) -> Parsed<Operand> {
        let span = self.here();
        let value = match self.peek() {
            Some(Tok::Ref(name)) => FilterValue::Ref(name.clone().into_owned()),
            Some(Tok::Number(n)) => match (*n, wants.most()) {
                (n, Some(most)) if n <= most => FilterValue::Number(n),
                (n @ 1..=255, None) if wants == Wants::Net => return self.short_net(n, span),
                _ => return self.unsuitable(wants),
            },
            Some(Tok::Range { low, high, .. }) => {
                let (low, high) = (*low.min(high), *low.max(high));
                // libpcap reads the ends of a range in decimal whatever they begin with.
                let text = self.written(span).as_bytes();
                if let [b'0', b'0'..=b'9' | b'x', ..] = text {
                    let found = Diagnostic::error(
                        codes::LITERAL,
                        format!("`{}` begins with a zero", self.written(span)),
                        span,
                        "not decimal",
                    );
                    return self
                        .fail(found.help("write the ends of a range in decimal, without zeros in front"));
                }
                let takes = wants == Wants::PortRange || in_list && wants != Wants::Length;
                match wants.most() {
                    Some(most) if takes && high <= most => FilterValue::Range(low, high),
                    _ => return self.unsuitable(wants),
                }
            }
            Some(Tok::Addr(a)) if matches!(wants, Wants::Addr | Wants::Net | Wants::AddrOrNet) => {
                FilterValue::Addr(*a)
            }
            Some(Tok::Prefix(p)) if matches!(wants, Wants::Net | Wants::AddrOrNet) => {
                let prefix = *p;
                self.network(prefix, span)?
            }
            Some(Tok::Short(p)) if wants == Wants::Net => {
                let prefix = *p;
                self.network(prefix, span)?
            }
            Some(Tok::Mac(m)) if wants == Wants::Mac => FilterValue::Mac(*m),
            Some(Tok::Word(w) | Tok::Escaped(w)) => match wants.word(w) {
                Some(n) => FilterValue::Number(n),
                None => return self.unsuitable(wants),
            },
            None | Some(Tok::Bad(_) | Tok::Sym(_)) => return self.expected(wants.describe()),
            Some(_) => return self.unsuitable(wants),
        };
        self.take();
        if wants == Wants::Net && !in_list && self.is_word("mask") {
            return self.masked(value, span);
        }
        Ok(Spanned::new(value, span))
    }

    /// `net 10.0.0.0 mask 255.0.0.0`; the word is next.
    fn masked(&mut self, value: FilterValue, at: Span) -> Parsed<Operand> {
        let addr = match value {
            FilterValue::Addr(IpAddr::V4(addr)) => addr,
            // `net 10.1 mask ...`: written short, and so without the length that a prefix says.
            FilterValue::Prefix(Prefix {
                addr: IpAddr::V4(addr),
                ..
            }) if !self.written(at).contains('/') => addr,
            _ => {
                let found = Diagnostic::error(
                    codes::FILTER_VALUE,
                    format!(
                        "expected an IPv4 network before `mask`, found `{}`",
                        self.written(at)
                    ),
                    at,
                    "has no mask",
                );
                let help = "write the length behind the address and leave out `mask`: `net 10.0.0.0/8`";
                return self.fail(found.help(help));
            }
        };
        self.take();
        let Some(Tok::Addr(IpAddr::V4(mask))) = self.peek().cloned() else {
            return self.expected("a mask such as `255.255.0.0`");
        };
        let span = at.to(self.here());
        self.take();
        if addr.to_bits() & !mask.to_bits() != 0 {
            let network = Ipv4Addr::from(addr.to_bits() & mask.to_bits());
            let found = Diagnostic::error(
                codes::FILTER_VALUE,
                format!("`{addr} mask {mask}` has bits set beyond its mask"),
                span,
                "not a network",
            )
            .help(format!(
                "write `{network} mask {mask}` for the network, or `host {addr}` for the address"
            ));
            return self.fail(found.write(span, format!("{network} mask {mask}")));
        }
        let ones = mask.to_bits().leading_ones();
        let value = match u8::try_from(ones) {
            Ok(len) if ones == mask.to_bits().count_ones() => FilterValue::Prefix(Prefix {
                addr: addr.into(),
                len,
            }),
            _ => FilterValue::Masked { addr, mask },
        };
        Ok(Spanned::new(value, span))
    }

    /// `net 10`, `net 10/8`
    fn short_net(&mut self, first: u32, span: Span) -> Parsed<Operand> {
        self.take();
        let mut prefix = Prefix {
            addr: Ipv4Addr::from(first << 24).into(),
            len: 8,
        };
        let mut span = span;
        if let (Some(Tok::Sym(Sym::Slash)), Some(Tok::Number(bits))) = (self.peek(), self.peek_at(1))
            && let Some(len) = u8::try_from(*bits).ok().filter(|b| *b <= 32)
        {
            prefix.len = len;
            self.at += 2;
            span = span.to(self.last());
        }
        let value = self.network(prefix, span)?;
        if self.is_word("mask") {
            return self.masked(value, span);
        }
        Ok(Spanned::new(value, span))
    }

    /// Refuses an address of another family than the qualifier before it: `ip host ::1`.
    pub(super) fn check_family(&mut self, family: Option<Family>, value: &Operand) -> Parsed<()> {
        let addr = match &value.node {
            FilterValue::Addr(addr) => *addr,
            FilterValue::Prefix(prefix) => prefix.addr,
            FilterValue::Masked { addr, .. } => IpAddr::V4(*addr),
            FilterValue::List(items) => {
                return items.iter().try_for_each(|i| self.check_family(family, i));
            }
            _ => return Ok(()),
        };
        let (word, wrong) = match family {
            Some(Family::Ip) => ("ip", addr.is_ipv6()),
            Some(Family::Arp) => ("arp", addr.is_ipv6()),
            Some(Family::Rarp) => ("rarp", addr.is_ipv6()),
            Some(Family::Ip6) => ("ip6", addr.is_ipv4()),
            None => return Ok(()),
        };
        if !wrong {
            return Ok(());
        }
        let version = if addr.is_ipv4() { "IPv4" } else { "IPv6" };
        let found = Diagnostic::error(
            codes::FILTER_VALUE,
            format!("`{word}` does not go with the {version} address `{addr}`"),
            value.span,
            format!("an {version} address"),
        )
        .help(format!("leave out `{word}`: the address says it"));
        self.fail(found)
    }

    fn network(&mut self, prefix: Prefix, span: Span) -> Parsed<FilterValue> {
        if !prefix.has_host_bits() {
            return Ok(FilterValue::Prefix(prefix));
        }
        let network = prefix.network();
        let found = Diagnostic::error(
            codes::FILTER_VALUE,
            format!("`{prefix}` has bits set beyond its length"),
            span,
            "not a network",
        )
        .help(format!(
            "write `{network}` for the network, or `host {}` for the address",
            prefix.addr
        ))
        .write(span, network.to_string());
        self.fail(found)
    }

    fn unsuitable<T>(&mut self, wants: Wants) -> Parsed<T> {
        let Some(tok) = self.peek().cloned() else {
            return self.expected(wants.describe());
        };
        if let Tok::Word(word) = &tok
            && let Some(help) = names::unsupported(word)
        {
            return self.unsupported(word, help);
        }
        let span = self.here();
        self.diagnostics
            .retain(|d| d.code != codes::NAME || d.span() != span);
        let code = match tok {
            Tok::Word(_) | Tok::Escaped(_) => codes::FILTER_NAME,
            _ => codes::FILTER_VALUE,
        };
        let mut found = Diagnostic::error(
            code,
            format!("expected {}, found {tok}", wants.describe()),
            span,
            format!("expected {} here", wants.describe()),
        );
        let near = match (&tok, wants) {
            (Tok::Word(w), Wants::Port) if !names::is_keyword(w) => names::service_like(w),
            (Tok::Word(w), Wants::AddrOrNet) => type_like(w).filter(|near| near != w),
            _ => None,
        };
        if let Some(near) = near {
            return self.fail(found.help(format!("did you mean `{near}`?")).write(span, near));
        }
        // The word before it is the one to change.
        let word = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        let word = word
            .map(|t| t.span)
            .filter(|span| type_word(self.written(*span)).is_some());
        let change = |word: Option<Span>, new: &str, value: String| {
            (
                Some(format!("write `{new} {value}`")),
                word.map(|span| (span, new.to_owned())),
            )
        };
        let (help, fix) = match (&tok, wants) {
            (Tok::Word(w), Wants::Addr | Wants::Net | Wants::AddrOrNet) => {
                let help = format!(
                    "host names are not looked up; write the address, or `${w}` for a constant of this name"
                );
                (Some(help), None)
            }
            (Tok::Range { low, high, .. }, Wants::Port) => change(word, "portrange", format!("{low}-{high}")),
            (Tok::Range { .. }, wants) if wants.most().is_some() && wants != Wants::Length => {
                let list = format!("[{}]", self.written(span));
                (Some(format!("write `{list}`")), Some((span, list)))
            }
            (Tok::Prefix(p), Wants::Addr) => change(word, "net", p.to_string()),
            // libpcap takes it for an address, 0.0.0.80, which is hardly intended: the reader decides.
            (Tok::Number(n), Wants::AddrOrNet) => {
                (Some(format!("if a port is meant, write `port {n}`")), None)
            }
            _ => (None, None),
        };
        found.help = help;
        if let Some((span, text)) = fix {
            found = found.write(span, text);
        }
        self.fail(found)
    }
}
