//! `test-nf NAME`: network functions that do what no network function should, for the suites.

mod crash;
mod hostile;
mod pacer;

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("crash") => nflib::run::<crash::Crash>(),
        Some("hostile") => hostile::run(),
        Some("pacer") => nflib::run::<pacer::Pacer>(),
        other => {
            eprintln!("error: test-nf takes crash, hostile or pacer, not {other:?}");
            ExitCode::from(2)
        }
    }
}
