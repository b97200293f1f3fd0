//! Sources that are wrong in every way: by slips, by malice, and by a dice.

mod mutants;
mod programs;
mod twenty;

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

/// What one check may take: address space in KiB, and seconds of processor time.
const MEMORY: u32 = 1 << 20;
const CPU: u32 = 60;

/// `onvmc check` of a file as a process of its own, within limits.
fn check_within_limits(dir: &Path, file: &str) -> Output {
    let script =
        format!("ulimit -v {MEMORY} && ulimit -t {CPU} && exec \"$0\" check --error-format short \"$1\"");
    let mut command = Command::new("sh");
    command
        .args(["-c", &script, env!("CARGO_BIN_EXE_onvmc"), file])
        .current_dir(dir)
        .stdin(Stdio::null());
    command.output().unwrap()
}

/// Files beside the program, which it may import.
fn neighbours(dir: &Path) {
    fs::write(dir.join("self.chain"), "use \"self.chain\"\n").unwrap();
    fs::write(dir.join("one.chain"), "use \"two.chain\"\n").unwrap();
    fs::write(dir.join("two.chain"), "use \"one.chain\"\n").unwrap();
    fs::write(dir.join("latin1.chain"), b"// caf\xe9\n").unwrap();
    fs::write(dir.join("damaged.nf.toml"), "name = \"damaged\nversion = 1\n").unwrap();
    fs::create_dir(dir.join("folder.chain")).unwrap();
    for n in 0..100 {
        let text = format!("use \"deep{}.chain\"\n", n + 1);
        fs::write(dir.join(format!("deep{n}.chain")), text).unwrap();
    }
    fs::write(dir.join("deep100.chain"), "").unwrap();
}
