//! The control API: what `onvmc` and `onvm-run` say to each other, as JSON over HTTP on the control socket.
//!
//! | request | body | reply |
//! |---|---|---|
//! | `GET /v1/status` | – | [`Status`] |
//! | `GET /v1/status?verbose` | – | [`Status`] with the hits of each steering rule |
//! | `POST /v1/apply` | [`ApplyRequest`] | [`ApplyReply`] |
//! | `POST /v1/scale` | [`ScaleRequest`] | [`ScaleReply`] |
//! | `POST /v1/flows` | [`FlowsRequest`] | [`FlowsReply`] |
//! | `POST /v1/flows/delete` | [`FlowsDeleteRequest`] | [`FlowsDeleteReply`] |
//! | `POST /v1/send` | [`SendRequest`] | [`SendReply`] |
//! | `POST /v1/logs` | [`LogsRequest`] | [`LogsReply`] |
//! | `POST /v1/stop` | – | [`StopReply`] |
//! | `GET /metrics` | – | Prometheus text |
//!
//! Every failure is an [`ApiError`] with an HTTP status of 4xx (the request) or 5xx (the manager). Readers ignore
//! fields that they do not know, so a newer manager may say more.

#![forbid(unsafe_code)]

pub mod client;
mod reason;
#[cfg(test)]
mod shape;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

pub use self::{
    client::{Client, ClientError},
    reason::Reason,
};

/// Where managers of this user have their run directories when the operator names none.
pub fn default_run_dir() -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    run_dir_of(user, std::env::var_os("XDG_RUNTIME_DIR"))
}

/// `session`: `$XDG_RUNTIME_DIR`.
fn run_dir_of(user: u32, session: Option<OsString>) -> PathBuf {
    match session {
        _ if user == 0 => PathBuf::from("/run/onvm"),
        Some(dir) if !dir.is_empty() => PathBuf::from(dir).join("onvm"),
        _ => PathBuf::from(format!("/tmp/onvm-{user}")),
    }
}

/// The version in every body. A change of a message that a program of the other version could not read raises it
/// (`shape`).
pub const API_VERSION: u32 = 1;
/// The socket's file name in `<run dir>/<bundle name>/`.
pub const CONTROL_SOCKET: &str = "control.sock";
pub const STATUS_PATH: &str = "/v1/status";
/// The query behind [`STATUS_PATH`] that asks for steering rules, too.
pub const VERBOSE: &str = "verbose";
pub const APPLY_PATH: &str = "/v1/apply";
pub const SCALE_PATH: &str = "/v1/scale";
pub const FLOWS_PATH: &str = "/v1/flows";
pub const FLOWS_DELETE_PATH: &str = "/v1/flows/delete";
pub const SEND_PATH: &str = "/v1/send";
pub const LOGS_PATH: &str = "/v1/logs";
pub const STOP_PATH: &str = "/v1/stop";
pub const METRICS_PATH: &str = "/metrics";

/// Everything that `onvmc status` shows. Counters run since the manager started and never go back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Status {
    pub version: u32,
    /// Name of the bundle.
    pub bundle: String,
    /// Generation id of the running bundle.
    pub generation: String,
    /// Absolute path of the running bundle, so that a plan can compare against it.
    pub bundle_dir: String,
    pub pid: u32,
    pub uptime_s: f64,
    pub state: ManagerState,
    pub isolation: Isolation,
    pub ports: Vec<PortStatus>,
    pub chains: Vec<ChainStatus>,
    pub services: Vec<ServiceStatus>,
    /// Every reason and place with at least one packet.
    pub drops: Vec<Drop>,
    /// Security domains; none where no NF and no port names one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<DomainStatus>,
    /// Of all domains.
    pub buffers: BufferStatus,
    pub balance: Balance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ManagerState {
    Starting,
    Running,
    /// An apply is under way.
    Applying,
    Stopping,
}

/// The means of isolation in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Isolation {
    /// By what they are held, e.g. `pid namespace`. None: the manager starts no NFs.
    pub means: Vec<String>,
    /// Means that the host lacks.
    pub missing: Vec<Missing>,
    /// Further limits that are not available; no promise depends on them.
    #[serde(default)]
    pub optional: Vec<Missing>,
    /// Parts of the jail that the operator does without, by `--waive`.
    pub waived: Vec<String>,
    /// The engine and Compose that run NFs in containers; none: no NF runs in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Missing {
    pub means: String,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PortStatus {
    pub name: String,
    /// As in the source: `pci`, `tap`, `pcap`, ...
    pub kind: String,
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    /// Packets by reason.
    #[serde(default)]
    pub drops: BTreeMap<String, u64>,
    /// Packets a second over the last second.
    pub rx_pps: f64,
    pub tx_pps: f64,
    /// The port will receive nothing more: a capture that was read to its end.
    pub done: bool,
    /// Of a port on a kernel's interface: `up`, `down` (switched off or without a carrier), `gone`.
    #[serde(default)]
    pub link: Option<String>,
    /// The steering rules in order, `else` last. Only where the request asked for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleStatus>,
    /// What NFs have made of the table, by NF and chain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programmed: Vec<ProgrammedStatus>,
    /// Packets that each worker has received through it, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rx_by_worker: Vec<u64>,
    /// How its card spreads flows over several queues; none: it does not, or its driver does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss: Option<RssStatus>,
}

/// What a card says of how it spreads flows over its receive queues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RssStatus {
    pub queues: u16,
    /// The kinds of packets that it hashes: `ipv4-udp`, …
    pub kinds: Vec<String>,
    /// Both directions of a flow come by the same queue.
    pub symmetric: bool,
}

/// The flow entries of an NF at a port that lead to a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProgrammedStatus {
    pub nf: String,
    pub chain: String,
    /// Entries that there are now.
    pub entries: u64,
    /// Packets that they took, and former ones.
    pub packets: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RuleStatus {
    /// The filter as it was written, or `else`.
    pub rule: String,
    pub chain: String,
    /// Where the source says so; none for `else` in a bundle of an older compiler.
    pub source: Option<String>,
    /// Packets that the rule was the first to match.
    pub packets: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChainStatus {
    pub name: String,
    /// Packets that entered.
    pub packets: u64,
    /// In the order of the hop table.
    pub hops: Vec<HopStatus>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HopStatus {
    /// The NF's or port's name, or `drop`.
    pub at: String,
    /// Packets that arrived here.
    pub packets: u64,
    /// Packets that were dropped here, for any reason.
    pub drops: u64,
    /// Packets that went on without the NF, as none of its instances ran.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bypassed: u64,
    /// Packets that were copied into the NF's security domain.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub crossings: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServiceStatus {
    pub name: String,
    pub id: u16,
    #[serde(rename = "type")]
    pub nf_type: String,
    #[serde(default)]
    pub replicas: Replicas,
    pub instances: Vec<InstanceStatus>,
}

/// How many instances a service has, those left out that keep their flows until these end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Replicas {
    pub now: u16,
    pub min: u16,
    pub max: u16,
    /// The manager chooses by load, and not the operator.
    pub automatic: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InstanceStatus {
    pub name: String,
    pub state: InstanceState,
    /// None while no process is attached.
    pub pid: Option<u32>,
    /// The id of its container; none: it is a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    pub restarts: u32,
    /// Packets handed to the instance and taken back from it.
    pub rx_packets: u64,
    pub tx_packets: u64,
    /// Packets dropped by its verdict, for its ring, or because it was lost.
    pub drops: u64,
    /// Verdicts that the bundle does not permit; the packets followed the chain.
    #[serde(default)]
    pub overruled: u64,
    /// Packets that it made.
    #[serde(default)]
    pub generated: u64,
    /// Descriptors of buffers that the instance did not hold.
    #[serde(default)]
    pub refused: u64,
    /// Messages of operators and peers that it was given.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub messages: u64,
    /// Messages for it that it was not given: too many waited, or it was lost.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub messages_missed: u64,
    /// Messages to peers that its manifest does not declare.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub messages_refused: u64,
    pub rx_pps: f64,
    /// Descriptors now in the rings to the instance, and how many fit.
    pub ring_used: u32,
    pub ring_size: u32,
    /// The NF's own counters and gauges by name.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// The names among them that are gauges.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub gauges: BTreeSet<String>,
    /// Why it was lost or did not start, last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_loss: Option<String>,
    /// The cores that it may run on; none: somebody else started it and chose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cores: Vec<u16>,
    /// No worker and no other instance runs on these.
    #[serde(default)]
    pub own_cores: bool,
    /// Milliseconds until it is started again; none: it does not pause before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_in_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// Started, not yet registered.
    Starting,
    Running,
    Draining,
    Stopped,
    /// Gone or stuck; waiting for its restart.
    Lost,
    /// Not restarted any more.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Drop {
    /// `ring_full`, `nf_verdict`, `hop_limit`, ...
    pub reason: String,
    /// Where: `wan`, `fast/0 fw`, ...
    pub place: String,
    pub packets: u64,
}

/// Packet memory that no NF of another domain sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DomainStatus {
    /// `default`: that of NFs and ports that name none.
    pub name: String,
    /// Ports, then NFs, of the present generation. Empty: the domain is gone, and its memory is kept for its return.
    pub members: Vec<String>,
    pub buffers: BufferStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BufferStatus {
    pub total: u64,
    pub in_use: u64,
}

/// `received + generated = delivered + dropped + in_flight` whenever the system is quiet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Balance {
    pub received: u64,
    /// Packets made by NFs.
    #[serde(default)]
    pub generated: u64,
    pub delivered: u64,
    pub dropped: u64,
    pub in_flight: u64,
}

/// Asks the manager to go over to another bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApplyRequest {
    pub version: u32,
    /// Absolute path of the bundle's directory; the manager copies what it needs before it answers.
    pub bundle: String,
    /// The generation that the plan was made against; refused with [`ApiError::BASE_MOVED`] when another runs now.
    #[serde(default)]
    pub base: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApplyReply {
    pub version: u32,
    /// The generation that runs now; the same as `previous` when there was nothing to change.
    pub generation: String,
    pub previous: String,
    /// Instances by name; one that was replaced is both started and stopped.
    pub started: Vec<String>,
    pub stopped: Vec<String>,
    /// Instances that get no new flows, and are stopped once those that they have have ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub draining: Vec<String>,
    /// Instances that went on with new parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reconfigured: Vec<String>,
    pub kept: Vec<String>,
    /// Flow entries that ended, since the new bundle does not permit them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub flow_entries_ended: u64,
    /// Milliseconds from the request to the old generation's end.
    pub took_ms: f64,
}

/// Asks for another number of instances of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ScaleRequest {
    pub version: u32,
    /// The service's name.
    pub nf: String,
    /// Within the bounds of the bundle; none: the manager chooses by load from now on.
    #[serde(default)]
    pub replicas: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ScaleReply {
    pub version: u32,
    pub nf: String,
    /// How many there were.
    pub before: u16,
    pub replicas: Replicas,
    /// Instances by name.
    pub started: Vec<String>,
    pub stopped: Vec<String>,
    /// They get no new flows, and are stopped once those that they have have ended.
    pub draining: Vec<String>,
    /// Milliseconds from the request until new flows meet the new set of instances.
    pub took_ms: f64,
}

/// Which flow entries: those that have all that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct WhichFlows {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nf: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<u64>,
}

/// Asks for the flow entries that NFs have made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FlowsRequest {
    pub version: u32,
    #[serde(default)]
    pub which: WhichFlows,
    /// Those with ids after this one, in the order of ids.
    #[serde(default)]
    pub after: u64,
    /// So many at most, up to [`MOST_FLOWS`].
    pub limit: usize,
}

/// Flow entries in one reply.
pub const MOST_FLOWS: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FlowsReply {
    pub version: u32,
    /// Entries that there are, of any kind.
    pub total: u64,
    pub entries: Vec<FlowEntry>,
    /// There are more of those that were asked for.
    pub more: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FlowEntry {
    pub id: u64,
    /// The NF that made it.
    pub nf: String,
    pub port: String,
    /// The flow that it matches, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// Also the other direction.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub both_ways: bool,
    /// The lowered filter that it matches, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    pub chain: String,
    pub priority: u16,
    pub cookie: u64,
    /// Milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_ms: Option<u32>,
    /// It outlives the service.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
    /// Milliseconds since it was made or last changed.
    pub age_ms: u64,
    pub packets: u64,
    pub bytes: u64,
}

/// Asks for the removal of flow entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FlowsDeleteRequest {
    pub version: u32,
    pub which: WhichFlows,
    /// All of them, where `which` names none.
    #[serde(default)]
    pub all: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FlowsDeleteReply {
    pub version: u32,
    /// Entries that no worker obeys any more.
    pub removed: u64,
}

/// Asks for what the instances of an NF have printed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LogsRequest {
    pub version: u32,
    /// The NF's name, or that of one of its instances.
    pub nf: String,
    /// Only lines after this number, the oldest first; none: the newest lines.
    #[serde(default)]
    pub after: Option<u64>,
    /// So many lines at most; none: 1000, which is the most.
    #[serde(default)]
    pub limit: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LogsReply {
    pub version: u32,
    pub nf: String,
    /// In the order in which they came. The manager keeps the last 128 KiB of each instance.
    pub lines: Vec<LogLine>,
    /// The number to go on after.
    pub last: u64,
}

/// A line that an instance printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LogLine {
    /// Lines of all instances are numbered from 1.
    pub number: u64,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    pub instance: String,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    pub text: String,
}

/// A message to an NF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SendRequest {
    pub version: u32,
    /// The NF's name, or that of one of its instances.
    pub nf: String,
    /// A kind of messages that the NF's manifest declares.
    pub kind: String,
    /// The fields by name, in the units of parameters.
    #[serde(default)]
    pub fields: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SendReply {
    pub version: u32,
    pub nf: String,
    pub kind: String,
    pub instances: Vec<SendAnswer>,
}

/// What an instance has answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SendAnswer {
    pub instance: String,
    /// In the NF's own form.
    #[serde(default)]
    pub answer: Option<serde_json::Value>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StopReply {
    pub version: u32,
}

/// Why a request failed, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApiError {
    pub version: u32,
    /// One of the constants below.
    pub code: String,
    pub message: String,
    pub remedy: String,
}

impl ApiError {
    /// The body or the path could not be understood.
    pub const BAD_REQUEST: &str = "bad_request";
    /// The bundle was refused on loading.
    pub const BAD_BUNDLE: &str = "bad_bundle";
    /// Another generation runs than the plan was made against.
    pub const BASE_MOVED: &str = "base_moved";
    /// Another apply is under way.
    pub const BUSY: &str = "busy";
    /// The new bundle asks for what cannot be changed while running (buffers, workers, ...).
    pub const NOT_CHANGEABLE: &str = "not_changeable";
    /// An instance did not become ready; the old generation goes on.
    pub const NOT_READY: &str = "not_ready";
    /// The running bundle has no such NF.
    pub const UNKNOWN_NF: &str = "unknown_nf";
    /// The running bundle has no such port.
    pub const UNKNOWN_PORT: &str = "unknown_port";
    /// The NF's manifest declares no such message from operators.
    pub const BAD_MESSAGE: &str = "bad_message";
    /// The running bundle does not allow so many instances.
    pub const OUT_OF_RANGE: &str = "out_of_range";
    pub const INTERNAL: &str = "internal";

    pub fn new(code: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            version: API_VERSION,
            code: code.to_owned(),
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// `fixed` as `onvm_bundle::fixed_while_running` names it.
    pub fn not_changeable(fixed: &[String]) -> Self {
        let fixed = fixed.join(", ");
        Self::new(
            Self::NOT_CHANGEABLE,
            format!("This edit changes settings that are fixed while the manager runs: {fixed}"),
            "Stop onvm-run and start it with the new bundle, or take that change back.",
        )
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}. {}", self.message.trim_end_matches('.'), self.remedy)
    }
}

impl std::error::Error for ApiError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_directories_of_root_a_session_and_others() {
        let session = |dir: &str| Some(OsString::from(dir));
        assert_eq!(run_dir_of(0, session("/run/user/0")), PathBuf::from("/run/onvm"));
        assert_eq!(
            run_dir_of(7, session("/run/user/7")),
            PathBuf::from("/run/user/7/onvm")
        );
        assert_eq!(run_dir_of(7, session("")), PathBuf::from("/tmp/onvm-7"));
        assert_eq!(run_dir_of(7, None), PathBuf::from("/tmp/onvm-7"));
    }
}
