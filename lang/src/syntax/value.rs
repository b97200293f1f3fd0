//! Values: what stands right of `=` in a setting, a `let` or a `param`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Filter, Ident, RuleLine, Span, Spanned};

/// A value. Types and units are the compiler's question; here it is only what was written.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `12`, `-3`, `0x1f`, `1_000`
    Int(i64),
    /// `0.25`
    Decimal(f64),
    /// `true`, `false`
    Bool(bool),
    /// `"text"`, escapes resolved
    Str(String),
    /// A bare word, one of an enum's values: `drop`, `adaptive`
    Word(String),
    /// `10.0.0.1`
    Ipv4(Ipv4Addr),
    /// `2001:db8::1`
    Ipv6(Ipv6Addr),
    /// `10.0.0.0/8`, `2001:db8::/32`; host bits are kept as written
    Prefix(Prefix),
    /// `02:00:00:00:00:01`
    Mac(Mac),
    /// `198.51.100.7:4000`, `[2001:db8::1]:80`
    AddrPort(SocketAddr),
    /// `2..4`, both ends included
    Range(i64, i64),
    /// `[a, b]`
    List(Vec<Spanned<Value>>),
    /// `{ k = v }`
    Record(Record),
    /// `file("relative/path")`
    File(Spanned<String>),
    /// `secret("NAME")`
    Secret(Spanned<String>),
    /// `$name`; the span of the name leaves out the `$`
    Ref(Ident),
    /// `tcp dst port 80`, of more than one word; one word is a [`Value::Word`]
    Filter(Box<Filter>),
    /// `{ drop tcp dst port 23 ... }`
    Rules(Vec<RuleLine>),
    /// `64 MiB`
    Quantity {
        /// How many.
        number: Number,
        /// The unit as written, one of [`crate::UNITS`].
        unit: Spanned<String>,
    },
}

/// The number of a quantity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number.
    Int(i64),
    /// A decimal.
    Decimal(f64),
}

/// `{ k = v, ... }`; the span covers the braces.
pub type Record = Spanned<RecordFields>;

/// The fields of a record in source order; names may repeat, which the compiler reports.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RecordFields {
    /// The fields.
    pub fields: Vec<Field>,
}

/// `k = v`
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The key.
    pub name: Ident,
    /// Its value.
    pub value: Spanned<Value>,
}

/// An address and a length: `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// The address as written, host bits included.
    pub addr: IpAddr,
    /// Length in bits: 0-32 for IPv4, 0-128 for IPv6.
    pub len: u8,
}

/// A 48-bit Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl RecordFields {
    /// The first field of that name.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name.node == name)
    }
}

impl Field {
    /// The whole `k = v`.
    pub fn span(&self) -> Span {
        self.name.span.to(self.value.span)
    }
}

impl Prefix {
    /// The prefix with its host bits cleared.
    #[must_use]
    pub fn network(self) -> Self {
        let addr = match self.addr {
            IpAddr::V4(a) => {
                let mask = u32::MAX
                    .checked_shl(32_u32.saturating_sub(u32::from(self.len)))
                    .unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from(u32::from(a) & mask))
            }
            IpAddr::V6(a) => {
                let mask = u128::MAX
                    .checked_shl(128_u32.saturating_sub(u32::from(self.len)))
                    .unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(a) & mask))
            }
        };
        Self { addr, len: self.len }
    }

    /// True when bits beyond the length are set, as in `10.0.0.1/8`.
    pub fn has_host_bits(self) -> bool {
        self.network() != self
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
