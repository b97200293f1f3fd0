//! The values of primitives: literals, `$names`, and lists of both, spelled out.

use std::net::IpAddr;

use ipnet::IpNet;
use onvm_bundle::filter::{Mac, PortRange};
use onvm_lang::{
    Diagnostic,
    syntax::{FilterValue, Operand, Prefix, Span, Spanned, Value},
};

use super::{Lowering, Names};
use crate::diagnostics::filters::{self, Described};

/// Named values within named values, at most.
const MAX_REFERENCES: usize = 64;

/// One value, and where it stands.
pub(super) struct Member {
    pub(super) scalar: Scalar,
    /// What the operator wrote in the filter: the value, or the `$name` that leads to it.
    pub(super) span: Span,
    /// The value itself, when a `$name` leads to it.
    pub(super) origin: Option<Span>,
}

/// A value that is not a list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar {
    Number(i64),
    Range(i64, i64),
    Addr(IpAddr),
    Prefix(Prefix),
    Mac(Mac),
    /// Something that no filter takes, by name.
    Other(&'static str),
}

impl<N: Names> Lowering<'_, N> {
    /// Every value that an operand stands for, in order, none of them missing: an empty list is an error.
    pub(super) fn members(&mut self, operand: &Operand, file: N::File) -> Option<Vec<Member>> {
        let mut members = Vec::new();
        self.operand(operand, file, &mut members)?;
        if members.is_empty() {
            let span = self.names.span(file, operand.span);
            return self.fail(filters::empty_list(span));
        }
        Some(members)
    }

    fn operand(&mut self, operand: &Operand, file: N::File, members: &mut Vec<Member>) -> Option<()> {
        let span = self.names.span(file, operand.span);
        let scalar = match &operand.node {
            FilterValue::Number(number) => Scalar::Number(i64::from(*number)),
            FilterValue::Range(low, high) => Scalar::Range(i64::from(*low), i64::from(*high)),
            FilterValue::Addr(addr) => Scalar::Addr(*addr),
            FilterValue::Prefix(prefix) => Scalar::Prefix(*prefix),
            FilterValue::Mac(mac) => Scalar::Mac(Mac(mac.0)),
            // The one place where it may stand takes it before it comes here.
            FilterValue::Masked { .. } => Scalar::Other("a network with a mask"),
            FilterValue::Ref(name) => {
                return self.reference(name, operand.span, file, span, &mut Vec::new(), members);
            }
            FilterValue::List(list) => {
                // Go through all of them, so that each error is found.
                let complete = list
                    .iter()
                    .filter(|item| self.operand(item, file, members).is_some())
                    .count();
                return (complete == list.len()).then_some(());
            }
        };
        self.count()?;
        members.push(Member {
            scalar,
            span,
            origin: None,
        });
        Some(())
    }

    /// `within`: the names on the way here, to find one that leads to itself.
    fn reference(
        &mut self,
        name: &str,
        at: Span,
        file: N::File,
        written: Span,
        within: &mut Vec<String>,
        members: &mut Vec<Member>,
    ) -> Option<()> {
        // Counted too: lists of lists grow like powers.
        self.count()?;
        if within.len() >= MAX_REFERENCES || within.iter().any(|outer| outer == name) {
            return self.fail(filters::value_cycle(self.names.span(file, at), name));
        }
        let (value_file, value) = match self.names.value(file, name, at) {
            Ok(found) => found,
            Err(unusable) => return self.refuse(unusable),
        };
        within.push(name.to_owned());
        let done = self.value(value, value_file, written, within, members);
        within.pop();
        done
    }

    fn value(
        &mut self,
        value: &Spanned<Value>,
        file: N::File,
        written: Span,
        within: &mut Vec<String>,
        members: &mut Vec<Member>,
    ) -> Option<()> {
        let scalar = match &value.node {
            Value::Int(number) => Scalar::Number(*number),
            Value::Range(low, high) => Scalar::Range(*low, *high),
            Value::Ipv4(addr) => Scalar::Addr(IpAddr::V4(*addr)),
            Value::Ipv6(addr) => Scalar::Addr(IpAddr::V6(*addr)),
            Value::Prefix(prefix) => Scalar::Prefix(*prefix),
            Value::Mac(mac) => Scalar::Mac(Mac(mac.0)),
            Value::Ref(name) => return self.reference(&name.node, name.span, file, written, within, members),
            Value::List(list) => {
                let complete = list
                    .iter()
                    .filter(|item| self.value(item, file, written, within, members).is_some())
                    .count();
                return (complete == list.len()).then_some(());
            }
            Value::Decimal(_) => Scalar::Other("a decimal"),
            Value::Bool(_) => Scalar::Other("a boolean"),
            Value::Str(_) => Scalar::Other("a string"),
            Value::Word(_) => Scalar::Other("a word"),
            Value::AddrPort(_) => Scalar::Other("an address with a port"),
            Value::Record(_) => Scalar::Other("a record"),
            Value::File(_) => Scalar::Other("a file"),
            Value::Secret(_) => Scalar::Other("a secret"),
            Value::Quantity { .. } => Scalar::Other("a quantity with a unit"),
            Value::Filter(_) => Scalar::Other("a filter"),
            Value::Rules(_) => Scalar::Other("rules"),
        };
        self.count()?;
        members.push(Member {
            scalar,
            span: written,
            origin: Some(self.names.span(file, value.span)),
        });
        Some(())
    }
}

impl Member {
    /// As a diagnostic speaks of it.
    pub(super) fn described(&self) -> Described {
        Described {
            span: self.span,
            origin: self.origin,
            what: self.scalar.describe(),
        }
    }

    /// A number from 0 to `max`, for `primitive`.
    pub(super) fn number(&self, primitive: &str, max: u32) -> Result<u32, Diagnostic> {
        match self.scalar {
            Scalar::Number(number) => match u32::try_from(number) {
                Ok(number) if number <= max => Ok(number),
                _ => Err(filters::out_of_range(&self.described(), primitive, number, max)),
            },
            _ => Err(filters::wrong_value(
                &self.described(),
                primitive,
                &format!("a number from 0 to {max}"),
            )),
        }
    }

    /// A number from 0 to `max` or a range of such, for `primitive`.
    pub(super) fn numbers(&self, primitive: &str, max: u32) -> Result<(u32, u32), Diagnostic> {
        let number = |number: i64| match u32::try_from(number) {
            Ok(number) if number <= max => Ok(number),
            _ => Err(filters::out_of_range(&self.described(), primitive, number, max)),
        };
        match self.scalar {
            Scalar::Range(low, high) => Ok((number(low.min(high))?, number(low.max(high))?)),
            _ => self.number(primitive, max).map(|number| (number, number)),
        }
    }

    /// A port, or a range of them.
    pub(super) fn ports(&self, primitive: &str) -> Result<PortRange, Diagnostic> {
        let port = |number: i64| {
            u16::try_from(number)
                .map_err(|_| filters::out_of_range(&self.described(), primitive, number, u32::from(u16::MAX)))
        };
        match self.scalar {
            Scalar::Number(number) => port(number).map(PortRange::one),
            Scalar::Range(low, high) => Ok(PortRange::new(port(low)?, port(high)?)),
            _ => Err(filters::wrong_value(
                &self.described(),
                primitive,
                "a port or a range of ports",
            )),
        }
    }

    /// An Ethernet address.
    pub(super) fn mac(&self) -> Result<Mac, Diagnostic> {
        match self.scalar {
            Scalar::Mac(mac) => Ok(mac),
            _ => Err(filters::wrong_value(
                &self.described(),
                "ether host",
                "an Ethernet address",
            )),
        }
    }

    /// A single address, as its /32 or /128.
    pub(super) fn host(&self) -> Result<IpNet, Diagnostic> {
        match self.scalar {
            Scalar::Addr(addr) => Ok(IpNet::from(addr)),
            Scalar::Prefix(prefix) => Err(filters::prefix_as_host(&self.described(), prefix)),
            _ => Err(filters::wrong_value(
                &self.described(),
                "host",
                "an IPv4 or IPv6 address",
            )),
        }
    }

    /// A prefix without host bits, or an address as its /32 or /128.
    pub(super) fn net(&self) -> Result<IpNet, Diagnostic> {
        match self.scalar {
            Scalar::Addr(addr) => Ok(IpNet::from(addr)),
            Scalar::Prefix(prefix) => match IpNet::new(prefix.addr, prefix.len) {
                Ok(net) if net.trunc() == net => Ok(net),
                _ => Err(filters::host_bits(&self.described(), prefix)),
            },
            _ => Err(filters::wrong_value(
                &self.described(),
                "net",
                "a prefix or an address",
            )),
        }
    }
}

impl Scalar {
    fn describe(&self) -> String {
        match self {
            Self::Number(number) => format!("the number {number}"),
            Self::Range(low, high) => format!("the range {low}-{high}"),
            Self::Addr(addr) => format!("the address {addr}"),
            Self::Prefix(prefix) => format!("the prefix {prefix}"),
            Self::Mac(mac) => format!("the Ethernet address {mac}"),
            Self::Other(what) => (*what).to_owned(),
        }
    }
}
