//! The statements of `test "name" { ... }`.

use super::{Ident, Record, Spanned, Value};

/// `test "name" { ... }`
#[derive(Debug, Clone, PartialEq)]
pub struct Test {
    /// What the test says.
    pub name: Spanned<String>,
    /// Its statements in order.
    pub stmts: Vec<Stmt>,
}

/// One statement.
pub type Stmt = Spanned<StmtKind>;

/// What a statement does.
#[derive(Debug, Clone, PartialEq)]
pub enum StmtKind {
    /// `send PORT PROTO { ... } [times N]`
    Send {
        /// Where the packet enters.
        port: Ident,
        /// The packet's outermost named protocol.
        proto: Spanned<PacketProto>,
        /// Header fields and `payload`, if braces were written.
        fields: Option<Record>,
        /// How many copies; one if not said.
        times: Option<Spanned<u64>>,
    },
    /// `replay PORT file("trace.pcap")`
    Replay {
        /// Where the packets enter.
        port: Ident,
        /// The capture's path, relative to the source file.
        file: Spanned<String>,
    },
    /// `expect ...`
    Expect(Expect),
}

/// Protocols that `send` can build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PacketProto {
    /// `ether`
    Ether,
    /// `arp`
    Arp,
    /// `ip`
    Ip,
    /// `ip6`
    Ip6,
    /// `icmp`
    Icmp,
    /// `tcp`
    Tcp,
    /// `udp`
    Udp,
}

/// What a test expects.
#[derive(Debug, Clone, PartialEq)]
pub enum Expect {
    /// `expect A -> B -> lan`: exactly this path. The last name may be `drop`.
    Path(Vec<Ident>),
    /// `expect passes NF`
    Passes(Ident),
    /// `expect drop`, `expect drop at NODE`
    Drop {
        /// Where.
        at: Option<Ident>,
    },
    /// `expect PORT N packets`
    Packets {
        /// The egress port.
        port: Ident,
        /// How many packets leave it.
        count: Spanned<u64>,
    },
    /// `expect PORT same as file("out.pcap")`
    SameAs {
        /// The egress port.
        port: Ident,
        /// The capture's path, relative to the source file.
        file: Spanned<String>,
    },
    /// `expect NF counter NAME == N`
    Counter {
        /// The NF.
        nf: Ident,
        /// The counter's name in its manifest.
        counter: Ident,
        /// An integer, or `$name`.
        value: Spanned<Value>,
    },
}

impl PacketProto {
    /// Every protocol, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::Ether,
        Self::Arp,
        Self::Ip,
        Self::Ip6,
        Self::Icmp,
        Self::Tcp,
        Self::Udp,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ether => "ether",
            Self::Arp => "arp",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Icmp => "icmp",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// The protocol with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }
}
