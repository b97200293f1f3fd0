//! The commands of `onvmc`. Data goes to stdout, messages to stderr.
//!
//! What the compiler knows is in the crate `onvmc`, which performs no I/O; here is what touches the machine.

#![forbid(unsafe_code)]

mod apply;
mod args;
mod build;
mod check;
mod client;
mod diff;
pub mod disk;
mod doctor;
mod explain;
mod flows;
mod format;
mod graph;
mod image;
mod input;
mod limited;
mod logs;
mod lsp;
mod machine;
mod man;
mod new;
mod output;
mod placement;
mod query;
mod replay;
mod scale;
mod send;
mod status;
mod stop;
mod test;
mod trace;
mod traffic;
mod watch;
mod witness;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// How a command ended; each has one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// There are diagnostics, or the bundle is refused.
    Refused,
    Usage,
    /// Only with `plan --exit-code`.
    Pending,
    NoRuntime,
    ApplyFailed,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::Refused => 1,
            Outcome::Usage => 2,
            Outcome::Pending => 3,
            Outcome::NoRuntime => 4,
            Outcome::ApplyFailed => 5,
        })
    }
}

/// The same as `onvmc --version`.
fn version(out: &output::Output) -> Outcome {
    let onvmc = env!("CARGO_PKG_VERSION");
    if out.json {
        out.data_json(&serde_json::json!({ "version": 1, "onvmc": onvmc }));
    } else {
        out.data(&format!("onvmc {onvmc}\n"));
    }
    Outcome::Done
}

/// Does what the command line of this process says.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // `--help` and `--version` are not errors, and clap gives both the right stream.
            if !e.use_stderr() {
                let _ = e.print();
                return Outcome::Done.into();
            }
            if std::env::args_os().any(|a| a == "--json") {
                output::usage_as_json(&e.to_string());
            } else {
                let _ = e.print();
            }
            return Outcome::Usage.into();
        }
    };
    let out = output::Output::new(&cli);
    let outcome = match &cli.command {
        Command::Check(args) => check::run(&out, args),
        Command::Fmt(args) => format::run(&out, args),
        Command::Build(args) => build::run(&out, args),
        Command::Verify(args) => build::verify(&out, args),
        Command::Explain(args) => explain::run(&out, args),
        Command::New(args) => new::run(&out, args),
        Command::Status(args) => status::run(&out, args),
        Command::Stop(args) => stop::run(&out, args),
        Command::Scale(args) => scale::run(&out, args),
        Command::Flows(args) => flows::run(&out, args),
        Command::Logs(args) => logs::run(&out, args),
        Command::Send(args) => send::run(&out, args),
        Command::Plan(args) => apply::plan(&out, args),
        Command::Apply(args) => apply::apply(&out, args),
        Command::Diff(args) => diff::run(&out, args),
        Command::Graph(args) => graph::run(&out, args),
        Command::Image(args) => image::run(&out, args),
        Command::Doctor(args) => doctor::run(&out, args),
        Command::Version => version(&out),
        Command::Completions { shell } => man::completions(&out, *shell),
        Command::Man(args) => man::run(&out, args),
        Command::Lsp => lsp::run(&out),
        Command::Trace(args) => trace::run(&out, args),
        Command::Query(args) => query::run(&out, args),
        Command::Test(args) => test::run(&out, args),
    };
    out.finish(matches!(cli.command, Command::Check(_) | Command::Build(_)));
    match outcome {
        Outcome::Done if !out.complete() => Outcome::Refused.into(),
        outcome => outcome.into(),
    }
}
