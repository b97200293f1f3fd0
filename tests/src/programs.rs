//! Finding the project's programs, beside the test that runs.

use std::{path::PathBuf, process::Command};

/// The directory that Cargo built into: `target/debug` for a test in `target/debug/deps`.
pub fn directory() -> PathBuf {
    let test = std::env::current_exe().expect("the test knows its own path");
    let deps = test.parent().expect("the test lies in a directory");
    match deps.file_name().is_some_and(|name| name == "deps") {
        true => deps.parent().expect("deps lies in a directory").to_path_buf(),
        false => deps.to_path_buf(),
    }
}

/// The path of `onvmc`, `onvm-run`, `onvm-nf` or `test-nf`.
pub fn path(name: &str) -> PathBuf {
    let path = directory().join(name);
    assert!(
        path.is_file(),
        "{} does not exist: run `cargo build --workspace --bins` first",
        path.display()
    );
    path
}

/// The `onvm-nf` that needs no library, which images of it are made from.
pub fn static_onvm_nf() -> PathBuf {
    let build = directory();
    let machine = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let profile = build.file_name().expect("a profile's directory");
    let target = build.parent().expect("it lies in target");
    let path = target.join(machine).join(profile).join("onvm-nf");
    assert!(
        path.is_file(),
        "{} does not exist: run `sh .ci/static` first",
        path.display()
    );
    path
}

pub fn command(name: &str) -> Command {
    Command::new(path(name))
}

/// Runs a tool of the system to its end and gives its output; fails, with what it said, when it fails or is missing.
pub fn tool(name: &str, arguments: &[&str]) -> String {
    let output = Command::new(name)
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("{name} cannot be run ({e}); `make setup` installs it"));
    assert!(
        output.status.success(),
        "{name} {}: {}\n{}{}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
