//! `onvm-run`: loads a bundle on DPDK, runs its NFs, and keeps its chains open to change.

#![forbid(unsafe_code)]

use std::{io::Write, path::PathBuf, process::ExitCode, sync::LazyLock, time::Duration};

use clap::{CommandFactory, Parser};
use clap_complete::Shell;
use onvm_api::Isolation;
use onvm_run::{
    api::notify_ready,
    control::{self, Options},
    error::RunError,
    fleet::{HostOptions, NfMode},
    jail::{self, Part},
};
use tracing_subscriber::EnvFilter;

/// Run the chains of a bundle until stopped by SIGTERM or Ctrl-C
#[derive(Debug, Parser)]
#[command(name = "onvm-run", version = VERSION.as_str())]
struct Arguments {
    /// The directory that `onvmc build -o` wrote
    #[arg(required_unless_present_any = ["isolation", "generate"])]
    bundle: Option<PathBuf>,
    /// Print the means of isolation that this host offers, and exit
    #[arg(long, conflicts_with = "bundle")]
    isolation: bool,
    /// Who starts the NFs
    #[arg(long, value_enum, default_value = "process")]
    nfs: NfMode,
    /// Where sockets are made [default: /run/onvm for root, else $XDG_RUNTIME_DIR/onvm or /tmp/onvm-<uid>]
    #[arg(long, value_name = "DIR", env = "ONVM_RUN_DIR")]
    run_dir: Option<PathBuf>,
    /// A directory to look for NF programs in, after onvm-run's own; may be given more than once
    #[arg(long, value_name = "DIR")]
    nf_path: Vec<PathBuf>,
    /// A directory with one file for each secret, named as the secret
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// Start NFs although nothing on this host keeps them from PART; may be given more than once
    #[arg(long, value_name = "PART", value_enum)]
    waive: Vec<Part>,
    /// End when every capture has been read to its end and every packet has left
    #[arg(long)]
    exit_when_done: bool,
    /// How long a flow may be silent and still keeps its replica, while replicas are added or leave
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=3600))]
    flow_idle: u16,
    /// How long an NF with a range of replicas must have little to do until it has one replica fewer
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    scale_down_after: u16,
    /// Print the final balance as JSON, and logs as JSON lines
    #[arg(long)]
    json: bool,
    /// More detail in the log; given twice, all of it
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Print what is installed beside the program, and exit
    #[arg(long, value_enum, hide = true, conflicts_with = "bundle")]
    generate: Option<Generated>,
}

/// Made from the definition of the command line.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Generated {
    /// The manual page.
    Man,
    Bash,
    Fish,
    Zsh,
}

/// Its own version and DPDK's.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{} (DPDK {})",
        env!("CARGO_PKG_VERSION"),
        onvm_run::dpdk::version()
    )
});

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(what) = arguments.generate {
        return match generate(what, &mut std::io::stdout()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    log_to_stderr(&arguments);
    // Children inherit it: no NF gains rights by executing a set-user-id program. Without it they start all the same.
    let _ = rustix::thread::set_no_new_privs(true);
    match run(&arguments) {
        Ok(code) => code,
        Err(e) => {
            // Where nobody reads that, the exit code says it.
            let _ = writeln!(std::io::stderr(), "error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, RunError> {
    let failed = RunError::system("the event loop cannot be started");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let Some(bundle) = arguments.bundle.clone() else {
        let isolation = runtime.block_on(jail::isolation(&arguments.waive))?;
        print(&isolation_text(&isolation, arguments.json));
        return Ok(ExitCode::SUCCESS);
    };
    let options = Options {
        bundle,
        run_dir: arguments
            .run_dir
            .clone()
            .unwrap_or_else(onvm_api::default_run_dir),
        host: HostOptions {
            mode: arguments.nfs,
            nf_path: arguments.nf_path.clone(),
            secrets: arguments.secrets.clone(),
            waived: arguments.waive.clone(),
        },
        exit_when_done: arguments.exit_when_done,
        flow_idle: Duration::from_secs(arguments.flow_idle.into()),
        scale_down_after: Duration::from_secs(arguments.scale_down_after.into()),
    };
    let local = tokio::task::LocalSet::new();
    let summary = local.block_on(&runtime, async {
        let manager = control::start(options).await?;
        tracing::info!("READY");
        notify_ready();
        manager.serve().await
    })?;
    let text = match arguments.json {
        true => serde_json::json!(summary).to_string(),
        false => summary.to_string(),
    };
    print(&text);
    let unread = summary.unread.iter().map(ToString::to_string);
    // A manager that runs on outlives its NFs; what a capture goes through is to arrive.
    let lost = summary.lost.iter().filter(|_| arguments.exit_when_done);
    let errors: Vec<String> = unread
        .chain(summary.cut.iter().map(ToString::to_string))
        .chain(lost.map(ToString::to_string))
        .collect();
    for error in &errors {
        let _ = writeln!(std::io::stderr(), "error: {error}");
    }
    Ok(match errors.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn generate(what: Generated, out: &mut impl Write) -> std::io::Result<()> {
    // Without the number of DPDK, which is that of the machine that builds.
    let mut command = Arguments::command().version(env!("CARGO_PKG_VERSION"));
    let shell = match what {
        Generated::Man => return clap_mangen::Man::new(command).render(out),
        Generated::Bash => Shell::Bash,
        Generated::Fish => Shell::Fish,
        Generated::Zsh => Shell::Zsh,
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "onvm-run", &mut text);
    out.write_all(&text)
}

/// A pipe that nobody reads any more ends nothing.
fn print(text: &str) {
    if let Err(e) = writeln!(std::io::stdout(), "{text}") {
        tracing::warn!("the output cannot be printed: {e}");
    }
}

fn isolation_text(isolation: &Isolation, json: bool) -> String {
    if json {
        return serde_json::json!(isolation).to_string();
    }
    let there = isolation.means.iter().map(|means| format!("there    {means}"));
    let missing = isolation.missing.iter();
    let missing = missing.map(|m| format!("missing  {}: {}", m.means, m.reason));
    let optional = isolation.optional.iter();
    let optional = optional.map(|m| format!("optional {}: {}", m.means, m.reason));
    let waived = isolation.waived.iter().map(|part| format!("waived   {part}"));
    there
        .chain(missing)
        .chain(optional)
        .chain(waived)
        .collect::<Vec<_>>()
        .join("\n")
}

fn log_to_stderr(arguments: &Arguments) {
    let level = match arguments.verbose {
        0 => "info",
        // Of the talk with the container engine there would be more than of all else.
        1 => "debug,bollard=info,hyper_util=info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("ONVM_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A log that nobody reads must not end the manager, which the report of a failed write to it would.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let colour =
        std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    match arguments.json {
        true => builder.json().init(),
        false => builder.with_ansi(colour).init(),
    }
}
