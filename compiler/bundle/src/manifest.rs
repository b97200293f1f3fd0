//! `NAME.nf.toml`: an NF's description of itself; checked by the compiler, enforced by the runtime.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The type name in `nf x = NAME { ... }`, `[a-z][a-z0-9_]*`.
    pub name: String,
    pub version: String,
    /// One line.
    pub summary: String,
    #[serde(default)]
    pub state: State,
    /// It takes new parameters while packets flow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reconfigure: bool,
    /// Packets may go on without it while no instance runs, where an operator wants that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bypassable: bool,
    pub run: RunSpec,
    #[serde(default)]
    pub effects: Effects,
    #[serde(default)]
    pub resources: Resources,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Param>,
    /// Ways out beside the main line; the verdict `output N` is an index into this list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Output>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counters: Vec<Counter>,
    /// The messages that it takes while it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<MessageKind>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// A program's file name, looked up beside `onvm-run`, in each `--nf-path`, then in `PATH`.
    pub binary: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Files and directories beside the program that it reads when it runs as a process, by their names: modules of a script.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// The program can run several of its NFs in one process, each named by its one argument.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fuses: bool,
    /// Container image; none: `onvmc image` names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: ParamKind,
    /// A list of values of `type`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub list: bool,
    pub doc: String,
    /// In the source's own notation (`"1 s"`, `"drop"`, `"[80, 443]"`); none: the parameter must be given, unless
    /// `optional`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// May be left out without a default: the NF then does not see it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// Smallest and largest value, in the source's own notation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
    /// The words of an `enum`; of `rules`, the verdicts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamKind {
    Bool,
    Int,
    Decimal,
    String,
    Enum,
    File,
    Secret,
    Time,
    Size,
    BitRate,
    PacketRate,
    Address,
    Prefix,
    Mac,
    /// `addr:port`.
    Endpoint,
    /// A packet filter; the NF gets it lowered.
    Filter,
    /// Lines of a verdict and a filter, in a file or a block; the NF gets them lowered, in a file of the bundle.
    Rules,
}

impl Manifest {
    /// The image of its containers: the one that it names, or that of its program in this version, as `onvmc image` tags it.
    pub fn image(&self) -> String {
        let Self { run, version, .. } = self;
        let named = run.image.clone();
        named.unwrap_or_else(|| format!("{}:{version}", run.binary))
    }
}

impl ParamKind {
    /// The units of a quantity of this kind, smallest first, each with its size in the smallest, which is the one that
    /// a bundle's values are in. Empty for what has no unit.
    pub fn units(self) -> &'static [(&'static str, i64)] {
        match self {
            Self::Time => &[
                ("ns", 1),
                ("us", 1_000),
                ("ms", 1_000_000),
                ("s", 1_000_000_000),
                ("min", 60_000_000_000),
                ("h", 3_600_000_000_000),
            ],
            Self::Size => &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)],
            Self::BitRate => &[
                ("bps", 1),
                ("kbps", 1_000),
                ("Mbps", 1_000_000),
                ("Gbps", 1_000_000_000),
            ],
            Self::PacketRate => &[("pps", 1), ("kpps", 1_000), ("Mpps", 1_000_000)],
            _ => &[],
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    pub name: String,
    pub doc: String,
    /// A chain that does not say where this output leads is an error; otherwise it continues on the main line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_handle: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counter {
    pub name: String,
    pub doc: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageKind {
    pub name: String,
    pub doc: String,
    /// Who may send it: somebody at least.
    pub from: Vec<Sender>,
    /// Of types that [`ParamKind::fits_messages`]; a list has no default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Param>,
}

/// Who sends a message to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sender {
    /// `onvmc send`.
    Operator,
    /// The other instances of its service.
    Peers,
}

/// The NF's effects on packets. A field is named as in `ip.src`, `ip.ttl`, `tcp.dst_port`, `ether.dst`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Effects {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<String>,
    pub payload: Payload,
    pub drops: bool,
    pub generates: bool,
    pub steers: bool,
    /// Gives the verdict `lookup`: its packets are classified again by what their headers are then.
    pub lookups: bool,
    pub programs: bool,
}

impl Effects {
    /// Whether the NF needs the packet file mapped writable.
    pub fn writes_packets(&self) -> bool {
        !self.writes.is_empty() || self.payload == Payload::Write || self.generates
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    #[default]
    None,
    Read,
    Write,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    #[default]
    None,
    Flow,
    Global,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// In the source's notation, e.g. `"16 MiB"`.
    pub memory: String,
    /// A hint for placement: cycles for a 64-byte packet.
    pub cycles_per_packet: u32,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            memory: "16 MiB".into(),
            cycles_per_packet: 50,
        }
    }
}
