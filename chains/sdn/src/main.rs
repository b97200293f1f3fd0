//! `sdn-nf NAME`: the NFs of `sdn.chain`.

mod decide;
mod watch;

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("decide") => nflib::run::<decide::Decide>(),
        Some("watch") => nflib::run::<watch::Watch>(),
        _ => {
            eprintln!("error: which NF: sdn-nf decide or sdn-nf watch; onvm-run starts it");
            ExitCode::from(2)
        }
    }
}
