//! `test-nf NAME`: network functions that do what no network function should, for the suites.

mod crash;
mod hostile;
mod pacer;
mod probe;

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("crash") => nflib::run::<crash::Crash>(),
        Some("hostile") => hostile::run(),
        Some("pacer") => nflib::run::<pacer::Pacer>(),
        Some("probe") => probe::run(),
        other => {
            eprintln!("error: test-nf takes crash, hostile, pacer or probe, not {other:?}");
            ExitCode::from(2)
        }
    }
}
