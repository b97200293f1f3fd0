//! The commands as an operator meets them: exit codes, streams, what is shown, and a manager or an editor at the other
//! end of a connection. All run the real program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod applying;
mod bundle;
mod files;
mod hostile;
mod image;
mod lsp;
mod manager;
mod overlaps;
mod programmed;
mod query;
mod refusals;
mod sarif;
mod streams;
mod trace;
mod trace_tcpdump;
mod views;

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

const CHAIN: &str = "port wan = null {}\nnf fw = forward\nsteer wan { else -> fw -> wan }\n";

fn onvmc(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onvmc"));
    command
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .env_remove("ONVM_RUN_DIR");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs a command, checks how it ends, and returns stdout and stderr.
fn run(dir: &Path, args: &[&str], code: i32) -> (String, String) {
    let output = onvmc(dir, args);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(
        output.status.code(),
        Some(code),
        "onvmc {args:?}\nstdout: {out}\nstderr: {err}"
    );
    assert!(
        !out.contains('\u{1b}') && !err.contains('\u{1b}'),
        "no colour without a terminal"
    );
    assert!(!err.contains("panicked"), "{err}");
    (out, err)
}

fn workspace(chain: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.chain"), chain).unwrap();
    dir
}
