//! `onvmc`, the operator's command line.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    onvmc_cli::run()
}
