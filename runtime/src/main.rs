//! `onvm-run`: loads a bundle on DPDK, runs its NFs, and keeps its chains open to change.

#![forbid(unsafe_code)]

use std::{io::Write, path::PathBuf, process::ExitCode, sync::LazyLock};

use clap::Parser;
use onvm_run::control::{self, HostOptions, NfMode, Options};
use tracing_subscriber::EnvFilter;

/// Run the chains of a bundle until stopped by SIGTERM or Ctrl-C
#[derive(Debug, Parser)]
#[command(name = "onvm-run", version = VERSION.as_str())]
struct Arguments {
    /// The directory that `onvmc build -o` wrote
    bundle: PathBuf,
    /// Who starts the NFs
    #[arg(long, value_enum, default_value = "process")]
    nfs: NfMode,
    /// Where sockets are made [default: /run/onvm for root, else $XDG_RUNTIME_DIR/onvm or /tmp/onvm-<uid>]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// A directory to look for NF programs in, after onvm-run's own; may be given more than once
    #[arg(long, value_name = "DIR")]
    nf_path: Vec<PathBuf>,
    /// A directory with one file for each secret, named as the secret
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// End when every capture has been read to its end and every packet has left
    #[arg(long)]
    exit_when_done: bool,
    /// Print the final balance as JSON, and logs as JSON lines
    #[arg(long)]
    json: bool,
    /// More detail in the log; given twice, all of it
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
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

fn run(arguments: &Arguments) -> Result<ExitCode, onvm_run::error::RunError> {
    let failed = onvm_run::error::RunError::system("the event loop cannot be started");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let options = Options {
        bundle: arguments.bundle.clone(),
        run_dir: arguments.run_dir.clone().unwrap_or_else(control::default_base),
        host: HostOptions {
            mode: arguments.nfs,
            nf_path: arguments.nf_path.clone(),
            secrets: arguments.secrets.clone(),
        },
        exit_when_done: arguments.exit_when_done,
    };
    let local = tokio::task::LocalSet::new();
    let summary = local.block_on(&runtime, async {
        let manager = control::start(options).await?;
        tracing::info!("READY");
        control::notify_ready();
        manager.serve().await
    })?;
    let text = match arguments.json {
        true => serde_json::json!(summary).to_string(),
        false => summary.to_string(),
    };
    if let Err(e) = writeln!(std::io::stdout(), "{text}") {
        tracing::warn!("the balance cannot be printed: {e}");
    }
    for cut in &summary.cut {
        let _ = writeln!(std::io::stderr(), "error: {cut}");
    }
    Ok(match summary.cut.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn log_to_stderr(arguments: &Arguments) {
    let level = match arguments.verbose {
        0 => "info",
        1 => "debug",
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
