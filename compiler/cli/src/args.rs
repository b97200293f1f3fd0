//! The command line as clap reads it.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Compiles chains of network functions and talks to the runtime that carries them.
#[derive(Debug, Parser)]
#[command(name = "onvmc", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// How diagnostics are shown
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) error_format: ErrorFormat,
    /// Results and errors as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ErrorFormat {
    /// With the source, for people
    #[default]
    Human,
    /// One line each, for editors
    Short,
    /// For programs
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check sources and report every mistake
    Check(CheckArgs),
    /// Format sources
    Fmt(FmtArgs),
    /// Compile a source into a bundle
    Build(BuildArgs),
    /// Check that a bundle is whole and unchanged
    Verify(VerifyArgs),
    /// Explain a diagnostic, or list all
    Explain(ExplainArgs),
    /// Write a working starting point
    New(NewArgs),
    /// Show the state of a running manager
    Status(StatusArgs),
    /// Stop a running manager in order, as SIGTERM does, and wait for its end
    Stop(StopArgs),
    /// Show what an apply would change
    Plan(PlanArgs),
    /// Change a running manager to a source or bundle
    Apply(ApplyArgs),
    /// Change how many replicas an NF of a running manager has
    Scale(ScaleArgs),
    /// Show or remove the flow entries that NFs have made
    Flows(FlowsArgs),
    /// Show what an NF of a running manager has printed
    Logs(LogsArgs),
    /// Send a message to an NF of a running manager, and show the answers of its instances
    Send(SendArgs),
    /// Show the differences between two sources or bundles
    Diff(DiffArgs),
    /// Draw ports, steering rules and chains
    Graph(GraphArgs),
    /// Serve an editor on stdin and stdout (the Language Server Protocol)
    Lsp,
    /// Show what would happen to a packet, or to those of a capture
    Trace(TraceArgs),
    /// Show where packets can go, and which packets can reach a port
    Query(QueryArgs),
    /// Run the tests of sources
    Test(TestArgs),
    /// Compare a program's requirements with this host
    Doctor(DoctorArgs),
    /// Make a container image of the standard NFs, or of an NF of your own
    Image(ImageArgs),
    /// Print the version
    Version,
    /// Print a completion script
    Completions {
        /// For which shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    Man(ManArgs),
}

/// Options of the compilation of a source.
#[derive(Debug, Clone, Args)]
pub(crate) struct SourceArgs {
    /// Value of a `param`, e.g. --set uplink=wan0
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub(crate) set: Vec<(String, String)>,
    /// Treat warnings as errors
    #[arg(long)]
    pub(crate) deny_warnings: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The sources, each a program of its own
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Show the cores of each part, the memory required of the host, and the sums
    #[arg(long)]
    pub(crate) explain_placement: bool,
    /// Report steering rules that overlap in part, each pair with a packet of both
    #[arg(long)]
    pub(crate) overlaps: bool,
    /// Name each assertion that is proved, and the NFs whose rules the proof rests on
    #[arg(short, long)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FmtArgs {
    /// The sources; `-` reads stdin and writes stdout
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Change nothing; exit 1 when a file would change
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The source
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The bundle's directory; an existing bundle is replaced
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The bundle's name [default: the file's, without its ending]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Keep the service ids of this bundle
    #[arg(long, value_name = "BUNDLE")]
    pub(crate) previous: Option<PathBuf>,
    /// Show the cores of each part, the memory required of the host, and the sums
    #[arg(long)]
    pub(crate) explain_placement: bool,
    /// Propose NFs that could share a process, and how many hand-overs of a packet that saves
    #[arg(long)]
    pub(crate) explain_fusion: bool,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    #[command(subcommand)]
    pub(crate) what: New,
}

#[derive(Debug, Subcommand)]
pub(crate) enum New {
    /// A chain on captures, which runs anywhere
    Chain {
        /// In lower case: letters, digits and `_`
        name: String,
    },
    /// A crate with a network function of your own
    Nf {
        /// In lower case: letters, digits and `_`
        name: String,
        /// The `nflib` crate to build against [default: that of the package onvm-dev, or of the workspace that onvmc was
        /// built from]
        #[arg(long, value_name = "PATH")]
        nflib: Option<PathBuf>,
        /// With a Dockerfile, and a test of the program that goes into the image
        #[arg(long)]
        container: bool,
    },
}

/// The running manager to talk to.
#[derive(Debug, Clone, Args)]
pub(crate) struct RuntimeArgs {
    /// Where managers keep their sockets [default: /run/onvm, or a directory of the user's]
    #[arg(long, value_name = "DIR", env = "ONVM_RUN_DIR")]
    pub(crate) run_dir: Option<PathBuf>,
    /// The manager's control socket itself
    #[arg(long, value_name = "SOCKET", conflicts_with = "run_dir")]
    pub(crate) socket: Option<PathBuf>,
}

/// The same where a source or a bundle says it, too.
#[derive(Debug, Clone, Args)]
pub(crate) struct TargetArgs {
    /// The manager's name [default: that of the source or bundle]
    #[arg(long, value_name = "NAME", conflicts_with = "socket")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The bundle's name, where several managers run
    pub(crate) name: Option<String>,
    /// Show the hits of each steering rule and the NFs' own counters, too
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Show it again every so many seconds [default: 1], until the manager stops
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = period)]
    pub(crate) watch: Option<Duration>,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// The bundle's name, where several managers run
    pub(crate) name: Option<String>,
    /// How long to wait for its end
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    timeout: u64,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

impl StopArgs {
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// A source or a bundle
    #[arg(value_name = "FILE|BUNDLE")]
    pub(crate) target: PathBuf,
    /// Exit 3 when something would change
    #[arg(long)]
    pub(crate) exit_code: bool,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) runtime: TargetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// A source or a bundle
    #[arg(value_name = "FILE|BUNDLE")]
    pub(crate) target: PathBuf,
    /// Do not ask
    #[arg(long)]
    pub(crate) auto_approve: bool,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) runtime: TargetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ScaleArgs {
    /// The NF's name in the source
    #[arg(value_name = "NF")]
    pub(crate) nf: String,
    /// How many, within the `replicas` of the source; `auto`: as many as the load asks for
    #[arg(value_name = "REPLICAS|auto", value_parser = replicas)]
    pub(crate) replicas: Replicas,
    /// The bundle's name, where several managers run
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The NF's name in the source, or that of one of its instances, e.g. ids-1
    #[arg(value_name = "NF|INSTANCE")]
    pub(crate) nf: String,
    /// Go on with what it prints from now on, until the manager stops or Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last lines [default: all that the manager has kept, 1000 at most]
    #[arg(short = 'n', long, value_name = "LINES", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) tail: Option<u32>,
    /// The bundle's name, where several managers run
    #[arg(long, value_name = "NAME")]
    pub(crate) of: Option<String>,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// The NF's name in the source, or that of one of its instances, e.g. ids-1
    #[arg(value_name = "NF|INSTANCE")]
    pub(crate) nf: String,
    /// One of the messages that the NF takes: its page or manifest lists them
    #[arg(value_name = "MESSAGE")]
    pub(crate) kind: String,
    /// A field of the message, written as in a source, e.g. time='10 s'
    #[arg(value_name = "NAME=VALUE", value_parser = assignment)]
    pub(crate) fields: Vec<(String, String)>,
    /// The bundle's name, where several managers run
    #[arg(long, value_name = "NAME")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct FlowsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<FlowsCommand>,
    #[command(flatten)]
    pub(crate) which: WhichFlowsArgs,
    /// So many at most, the oldest first
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) limit: u64,
    /// Those with ids after this one
    #[arg(long, value_name = "ID", default_value_t = 0)]
    pub(crate) after: u64,
    /// The bundle's name, where several managers run
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FlowsCommand {
    /// Remove flow entries: those that have all that is given
    Delete(FlowsDeleteArgs),
}

#[derive(Debug, Args)]
pub(crate) struct FlowsDeleteArgs {
    /// Ids, as `onvmc flows` shows them
    #[arg(value_name = "ID", required_unless_present_any = ["port", "nf", "cookie", "all"])]
    pub(crate) ids: Vec<u64>,
    #[command(flatten)]
    pub(crate) which: WhichFlowsArgs,
    /// All of them
    #[arg(long, conflicts_with_all = ["ids", "port", "nf", "cookie"])]
    pub(crate) all: bool,
    /// The bundle's name, where several managers run
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WhichFlowsArgs {
    /// Those of packets that come in by this port
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<String>,
    /// Those that this NF has made
    #[arg(long, value_name = "NF")]
    pub(crate) nf: Option<String>,
    /// Those that the NF has marked with this number
    #[arg(long, value_name = "N")]
    pub(crate) cookie: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Replicas {
    /// As many as the load asks for.
    Auto,
    Fixed(u16),
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// A source or a bundle
    #[arg(value_name = "A")]
    pub(crate) old: PathBuf,
    /// A source or a bundle
    #[arg(value_name = "B")]
    pub(crate) new: PathBuf,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// A source or a bundle
    #[arg(value_name = "FILE|BUNDLE")]
    pub(crate) target: PathBuf,
    /// The output format [default: by the ending of --out, else svg]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<GraphFormat>,
    /// Where to [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// A picture
    Svg,
    /// For Graphviz
    Dot,
    /// For Markdown pages
    Mermaid,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Where packets arrive
    #[arg(value_name = "PORT")]
    pub(crate) port: String,
    /// As behind `send PORT`, e.g. 'tcp { dst = 203.0.113.9:80 }', or shorter: tcp dst 203.0.113.9:80
    #[arg(value_name = "PACKET", required_unless_present = "pcap")]
    pub(crate) packet: Vec<String>,
    /// The packets of a capture (pcap or pcapng, also compressed by gzip or zstd), grouped by path
    #[arg(long, value_name = "CAPTURE", conflicts_with = "packet")]
    pub(crate) pcap: Option<PathBuf>,
    /// One line for each packet of the capture in place of groups
    #[arg(long, requires = "pcap", conflicts_with = "packet")]
    pub(crate) each: bool,
    /// With these flow entries in front of the rules: what `onvmc flows --json` printed
    #[arg(long, value_name = "FILE")]
    pub(crate) flows: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Where packets arrive
    #[arg(
        value_name = "PORT",
        required_unless_present = "from",
        conflicts_with = "from"
    )]
    pub(crate) port: Option<String>,
    /// Which packets, as in a `steer` rule, e.g. 'tcp dst port 23' [default: all]
    #[arg(value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// Where packets arrive, in place of PORT
    #[arg(long, value_name = "PORT")]
    pub(crate) from: Option<String>,
    /// Only packets that leave by this port; `drop`: that are dropped
    #[arg(long, value_name = "PORT")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The sources, each a program of its own
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Only tests whose name contains this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,
    /// In place of the tests: make a packet for every way through the chains, and send them through onvm-run
    #[arg(long, conflicts_with = "filter")]
    pub(crate) witness: bool,
    /// Where the packets and the expected results are written, as captures
    #[arg(short, long, value_name = "DIR", requires = "witness")]
    pub(crate) out: Option<PathBuf>,
    /// The longest that one run of onvm-run may take
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    timeout: u64,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

impl TestArgs {
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The directory that `build -o` wrote
    #[arg(value_name = "BUNDLE")]
    pub(crate) bundle: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A code such as C0101; none: the list of all
    #[arg(value_name = "CODE")]
    pub(crate) code: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// A source or a bundle; none: what every program needs
    #[arg(value_name = "FILE|BUNDLE")]
    pub(crate) target: Option<PathBuf>,
    /// As `onvm-run --secrets`
    #[arg(long, value_name = "DIR")]
    pub(crate) secrets: Option<PathBuf>,
    /// As `onvm-run --nf-path`; may be given more than once
    #[arg(long, value_name = "DIR")]
    pub(crate) nf_path: Vec<PathBuf>,
    /// As `onvm-run --run-dir`
    #[arg(long, value_name = "DIR", env = "ONVM_RUN_DIR")]
    pub(crate) run_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// The NF's program, linked statically [default: onvm-nf, looked up beside onvmc, then in PATH]
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) binary: Option<PathBuf>,
    /// The image's name and version [default: onvm-nf:VERSION]; for an NF of your own, as in its manifest: BINARY:VERSION
    #[arg(long, value_name = "NAME:VERSION")]
    pub(crate) tag: Option<String>,
    /// Write an archive of this form in place of loading the image into docker or podman
    #[arg(long, value_enum, value_name = "FORMAT", requires = "out")]
    pub(crate) format: Option<ImageFormat>,
    /// Where the archive is written
    #[arg(short, long, value_name = "FILE", requires = "format")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImageFormat {
    /// An OCI image layout, for any registry or engine
    Oci,
    /// As `docker save` writes it, for `docker load`
    Docker,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Where a page for each command is written, e.g. /usr/local/share/man/man1; none: the page of onvmc to stdout
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// Of `--watch`.
fn period(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| (0.1..=3600.0).contains(s));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "expected seconds from 0.1 to 3600".to_owned())
}

/// Of `scale`.
fn replicas(text: &str) -> Result<Replicas, String> {
    match (text, text.parse()) {
        ("auto", _) => Ok(Replicas::Auto),
        (_, Ok(replicas @ 1..=1024)) => Ok(Replicas::Fixed(replicas)),
        _ => Err("expected a number from 1 to 1024, or `auto`".to_owned()),
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, _)) if name.contains('\n') => Err("a name holds no line break".to_owned()),
        Some((name, value)) if !name.is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
