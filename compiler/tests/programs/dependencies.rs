//! The library performs no I/O: what the commands need for theirs is not a part of it.

use std::process::Command;

#[test]
fn the_library_has_no_command_line_and_no_network() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "-p", "onvmc", "-e", "normal", "--prefix", "none"])
        .args(["--format", "{lib}", "--no-dedupe", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let tree = String::from_utf8_lossy(&output.stdout);
    assert!(tree.lines().any(|name| name == "onvmc"), "{output:?}");
    for absent in ["clap", "tokio", "hyper", "tempfile"] {
        assert!(!tree.lines().any(|name| name == absent), "{absent}");
    }
}
