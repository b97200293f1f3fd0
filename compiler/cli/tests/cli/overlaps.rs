//! `onvmc check --overlaps`: in every format, and how the command ends.

use std::process::Command;

const SOURCE: &str = "port wan = null\nport lan = null\nsteer wan {\n    src net 10.0.0.0/8 -> drop\n    tcp -> lan\n    \
                      else -> drop\n}\nsteer lan { else -> drop }\n";

/// Exit code, stdout and stderr.
fn check(source: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.chain"), source).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_onvmc"))
        .args(["check", "a.chain"])
        .args(args)
        .current_dir(dir.path())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_note_refuses_nothing() {
    let (code, _, said) = check(SOURCE, &["--overlaps", "--deny-warnings"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("note[C0507]"), "{said}");
    assert!(
        said.contains("takes tcp { src = 10.0.0.7:4000, dst = 203.0.113.9:80 }, for example"),
        "{said}"
    );
    assert!(
        said.contains("0 errors, 0 warnings, 1 note; `onvmc explain C0507` says more"),
        "{said}"
    );
    let (code, _, said) = check(SOURCE, &["--deny-warnings"]);
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "1 file checked\n"),
        "only on request"
    );
}

#[test]
fn an_error_is_told_beside_it() {
    let wrong = SOURCE.replace("steer lan { else", "steer lan { tcp");
    let (code, _, said) = check(&wrong, &["--overlaps"]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("error[C0501]") && said.contains("note[C0507]"),
        "{said}"
    );
    assert!(
        said.contains("1 error, 0 warnings, 1 note; `onvmc explain C0501` says more"),
        "{said}"
    );
}

#[test]
fn formats() {
    let (code, _, said) = check(SOURCE, &["--overlaps", "--error-format", "short"]);
    assert_eq!(code, Some(0));
    let line =
        "a.chain:5:5: note[C0507]: the rule at 4:5 takes some packets of this one, and leads elsewhere\n";
    assert_eq!(said.replace("1 file checked\n", ""), line);
    let (_, _, said) = check(SOURCE, &["--overlaps", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(found["diagnostics"][0]["severity"], "note");
    assert_eq!(found["diagnostics"][0]["labels"][1]["line"], 4);
    let (_, log, _) = check(SOURCE, &["--overlaps", "--error-format", "sarif"]);
    let log: serde_json::Value = serde_json::from_str(&log).unwrap();
    let run = &log["runs"][0];
    assert_eq!(run["results"][0]["level"], "note");
    assert_eq!(
        run["tool"]["driver"]["rules"][0]["defaultConfiguration"]["level"],
        "note"
    );
}
