//! `onvm-nf`: every standard NF in one program, chosen by the first argument or by the name it is called by.

use std::{path::Path, process::ExitCode};

const USAGE: &str = "\
onvm-nf NAME    run the standard network function NAME; onvm-run does this
onvm-nf fused   run several of them, as onvm-run says
onvm-nf --list  names and summaries of all network functions
onvm-nf --version
A link to onvm-nf that is named as a network function runs that one.
";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().map(|a| a.to_string_lossy().into_owned());
    let called_as = arguments.next().unwrap_or_default();
    let called_as = Path::new(&called_as)
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    match (arguments.as_slice(), stdlib_nfs::find(called_as)) {
        ([], Some(nf)) => (nf.program.run)(),
        ([], None) => wrong_use("which network function"),
        ([flag], _) if flag == "--list" => {
            for nf in stdlib_nfs::NFS {
                println!("{:<14} {}", nf.name, nf.summary());
            }
            ExitCode::SUCCESS
        }
        ([flag], _) if flag == "--version" || flag == "-V" => {
            println!("onvm-nf {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        ([flag], _) if flag == "--help" || flag == "-h" => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        ([name], _) if name == nflib::FUSED => {
            nflib::run_fused(|name| stdlib_nfs::find(name).map(|nf| nf.program))
        }
        ([name], _) => match stdlib_nfs::find(name) {
            Some(nf) => (nf.program.run)(),
            None => wrong_use(&format!("no network function `{name}`")),
        },
        (more, _) => wrong_use(&format!("{} arguments instead of one", more.len())),
    }
}

/// One line with the names that would be right, and exit code 2.
fn wrong_use(what: &str) -> ExitCode {
    let names: Vec<&str> = stdlib_nfs::NFS.iter().map(|nf| nf.name).collect();
    eprintln!(
        "error: {what}: give one of {} (see onvm-nf --help)",
        names.join(", ")
    );
    ExitCode::from(2)
}
