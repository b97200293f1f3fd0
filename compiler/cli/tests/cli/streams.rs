//! What the commands say when something is wrong with how they are called, with their files or with their streams.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

fn onvmc(dir: &Path, args: &[&str], stdout: Stdio) -> Output {
    Command::new(env!("CARGO_BIN_EXE_onvmc"))
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap()
}

fn fails(dir: &Path, args: &[&str], code: i32) -> String {
    let output = onvmc(dir, args, Stdio::null());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    text
}

#[test]
fn data_that_cannot_be_written_is_an_error() {
    let full = || Stdio::from(fs::File::options().write(true).open("/dev/full").unwrap());
    for args in [&["explain"][..], &["completions", "bash"]] {
        let output = onvmc(Path::new("."), args, full());
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(text.contains("cannot write to stdout: No space left"), "{text}");
    }
}

#[test]
fn wrong_usage_is_json_where_json_is_asked_for() {
    for args in [&["--json", "frobnicate"][..], &["build", "--json"]] {
        let text = fails(Path::new("."), args, 2);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["error"]["code"], "usage", "{text}");
    }
}

#[test]
fn diagnostics_name_the_file_as_it_was_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(
        dir.path().join("sub/main.chain"),
        "use \"../lib.chain\"\nnf a = b\n",
    )
    .unwrap();
    fs::write(dir.path().join("lib.chain"), "nf c = d\n").unwrap();
    let text = fails(
        dir.path(),
        &["check", "--error-format", "short", "sub/main.chain"],
        1,
    );
    assert!(text.contains("sub/main.chain:2:8: error"), "{text}");
    assert!(
        text.lines().any(|l| l.starts_with("lib.chain:1:8: error")),
        "{text}"
    );
}

#[test]
fn what_cannot_be_read_says_why() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("bad.chain"), b"// \xff\n").unwrap();
    for command in ["check", "fmt"] {
        assert!(fails(dir.path(), &[command, "."], 1).contains("it is a directory"));
        assert!(fails(dir.path(), &[command, "sub"], 1).contains("it is a directory"));
        assert!(fails(dir.path(), &[command, "bad.chain"], 1).contains("Save it as UTF-8"));
    }
}

#[test]
fn names_under_which_nothing_would_compile_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["port", "match", "wan", "nflib"] {
        let text = fails(dir.path(), &["new", "nf", name], 2);
        assert!(text.contains("Choose another"), "{text}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is written");
}
